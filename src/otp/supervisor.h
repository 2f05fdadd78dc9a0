// Supervisor: a process that starts others, watches them, and restarts them when they end, as OTP's.
//
//   const Pid supervisor = runtime.spawn(supervise, SupervisorSpec{
//       .strategy = Strategy::kRestForOne,
//       .children = {child("store", store, path), child("server", server, port)},
//   });
//
// Children start in order and stop in the reverse order. The supervisor links itself to each, so that its kill takes
// them along, and monitors each, so that a child that unlinks itself is noticed all the same. While it waits for a
// child to start or to stop it hears of everything else, and does it afterwards; the end of its own parent comes first,
// or an order to stop: any exit signal from its parent or from outside, and `shutdown` from anyone (see
// stop_process()).
//
// Differs from OTP: restarts can be delayed (Backoff); {shutdown, Term} does not exist; kOneForAll and kRestForOne
// start again what ran, and not what was terminated, declined or ended and was not to start again; `shutdown` from
// anyone stops it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "otp/body.h"
#include "otp/routine.h"

namespace rusm::otp {

// Which ends make a child start again.
enum class Restart : std::uint8_t {
  kPermanent,  // every one
  kTransient,  // all but normal and shutdown
  kTemporary,  // none; it is forgotten
};

// What else is restarted with a child.
enum class Strategy : std::uint8_t {
  kOneForOne,        // nothing
  kOneForAll,        // all: the others are stopped first
  kRestForOne,       // those that were started after it
  kSimpleOneForOne,  // nothing; all children are of one kind, and come and go (SupervisorSpec::dynamic)
};

// Starts a child from its supervisor with these options, which link, monitor and label it.
using StartChild = std::function<Result<Spawned>(Self& supervisor, SpawnOptions options)>;

// What a child is, and when and how it is started again and stopped.
struct ChildSpec {
  std::string id = {};  // unique in its supervisor; of dynamic ones empty
  StartChild start = {};
  Restart restart = Restart::kPermanent;
  // Stopped by an exit signal `shutdown`, and killed if it still lives after so many ns. 0: killed at once; kNever:
  // waited for, for a child that is a supervisor itself.
  Nanoseconds shutdown = 5 * kSecond;
  // Its start ends when it says so by ready() or decline(); else as soon as it exists.
  bool reports_ready = false;
  Nanoseconds start_timeout = kNever;  // of one that reports; then it is killed, and its start has failed
  std::string name = {};               // registered; see SpawnOptions
};

// How long to wait before a child is started again, also when that has failed; what is to start with it waits as well.
// Not in OTP.
struct Backoff {
  Nanoseconds first = 100 * kMillisecond;
  Nanoseconds max = 30 * kSecond;
  double factor = 2;
  double jitter = 0.1;               // up to so much more or less, as a part of the wait
  Nanoseconds quiet = 60 * kSecond;  // a child that lived so long waits `first` again
};

// What a supervisor starts, and what it does when one of them ends.
struct SupervisorSpec {
  Strategy strategy = Strategy::kOneForOne;
  // More restarts than `restarts_max` within `window` ns: it stops its children and ends with `shutdown`, and its own
  // supervisor decides.
  std::uint32_t restarts_max = 1;
  Nanoseconds window = 5 * kSecond;
  std::optional<Backoff> backoff = {};
  std::vector<ChildSpec> children = {};
  // Of kSimpleOneForOne: what a child is, given what start_child(…, argument) was given. See dynamic_child().
  std::function<ChildSpec(const Message& argument)> dynamic = {};
};

// Errors name the field: kInvalid, kExists.
Result<> validate(const SupervisorSpec& spec);

// A supervisor's body. Ends with crashed ("start") naming the child when one cannot be started, with crashed ("spec")
// when the spec is not valid, with `shutdown` after too many restarts, else with its parent's reason.
Routine supervise(Self& self, SupervisorSpec spec);

// ── Specs ────────────────────────────────────────────────────────────────────────────────────────────────────────────

// function(Self&, args...) returns a Routine; each start gets copies.
template <class F, class... Args>
ChildSpec child(std::string id, F function, Args... args) {
  StartChild start = [function, args...](Self& supervisor, SpawnOptions options) -> Result<Spawned> {
    return supervisor.runtime().spawn_from(supervisor, std::move(options), function, args...);
  };
  return {.id = std::move(id), .start = std::move(start)};
}
// A body that others know how to make, such as a component.
ChildSpec child(std::string id, std::shared_ptr<BodyMaker> maker, std::vector<std::byte> argument = {});
// A supervisor under a supervisor.
ChildSpec child_supervisor(std::string id, SupervisorSpec spec);
// The children of a kSimpleOneForOne run function(Self&, T) on what start_child() is given; `like`: all but id and
// start.
template <class T, class F>
std::function<ChildSpec(const Message&)> dynamic_child(F function, ChildSpec like = {}) {
  return [function, like = std::move(like)](const Message& argument) {
    const T* value = argument.get_if<T>();
    if (value == nullptr) return ChildSpec();
    ChildSpec spec = like;
    spec.start = child(std::string(), function, *value).start;
    return spec;
  };
}

// ── For a child whose spec says reports_ready; from any other process they have no effect ────────────────────────────

// Its start was a success.
void ready(Self& self);
// There is nothing for it to do: it should end now. It is kept, and can be started by restart_child(); a temporary one
// is forgotten.
void decline(Self& self);

// ── For others ───────────────────────────────────────────────────────────────────────────────────────────────────────

enum class ChildState : std::uint8_t { kStarting, kRunning, kStopping, kStopped, kWaiting };

// A child as its supervisor sees it now.
struct ChildInfo {
  std::string id;
  Pid pid;  // empty unless it lives
  ChildState state = ChildState::kStopped;
  Restart restart = Restart::kPermanent;
};

// How many children a supervisor has.
struct ChildCounts {
  std::uint64_t specs = 0;  // of kSimpleOneForOne as many as children
  std::uint64_t active = 0;
  std::uint64_t waiting = 0;  // for their restart; not those that start with another that waits
};

// Each waits for the supervisor, which may be busy. Errors: kNotFound when there is no such supervisor or child; those
// of validate(), kExists for an id that is in use; kUnavailable with the reason when a child cannot be started.
// A pid that is empty: the child declined.
Task<Result<Pid>> start_child(Self& self, Pid supervisor, ChildSpec spec);
Task<Result<Pid>> start_child(Self& self, Pid supervisor, Message argument);  // of kSimpleOneForOne
Task<Result<>> terminate_child(Self& self, Pid supervisor, std::string id);   // a temporary one is forgotten
Task<Result<>> terminate_child(Self& self, Pid supervisor, Pid child);
Task<Result<Pid>> restart_child(Self& self, Pid supervisor, std::string id);      // kExists: it runs
Task<Result<>> delete_child(Self& self, Pid supervisor, std::string id);          // kExists: it runs
Task<Result<std::vector<ChildInfo>>> which_children(Self& self, Pid supervisor);  // in the order of their start
Task<Result<ChildCounts>> count_children(Self& self, Pid supervisor);

}  // namespace rusm::otp
