// The supervisor's process: what it knows and what it does. Internal to otp; supervisor.h is for its users.
//
// The supervisor's body is one coroutine. Whatever it awaits, it receives messages one by one and sorts them (take):
// ends of children and requests wait in queues of their own until the present work is done, the answers that the work
// waits for are noted at their child, and the end of its own parent makes it stop. So nothing is searched for in the
// mailbox, and many children start and stop in linear time.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "otp/match.h"
#include "otp/supervisor.h"
#include "otp/supervisor_messages.h"

namespace rusm::otp::detail {

using Kind = ExitReason::Kind;

struct RestartDue {
  std::uint64_t child = 0;
  std::uint64_t wait = 0;
};

struct Child {
  ChildSpec spec;
  ChildState state = ChildState::kStopped;
  Pid pid = {};
  bool answered = false;  // ready() or decline() came
  bool declined = false;
  std::uint64_t incarnation = 0;          // how often it was started
  std::optional<ExitReason> ended = {};   // while somebody waits for it
  std::optional<ExitReason> unseen = {};  // it ended by itself, and nobody has seen to that yet
  bool to_run = false;                    // with one that could not be started again
  Nanoseconds started = 0;                // with a back-off only
  Nanoseconds lived = 0;                  // the last time, of one that has ended
  Nanoseconds wait = 0;                   // of the last back-off
  std::uint64_t wait_number = 0;          // a wait that was given up does not restart it
};

struct Ended {
  std::uint64_t number;
  std::uint64_t incarnation;  // of it, that ended
  Child* child;               // as long as Supervisor::forgotten_ stays
  std::uint64_t forgotten;
};

inline bool is_failure(const ExitReason& reason) {
  return reason.kind() != Kind::kNormal && reason.kind() != Kind::kShutdown;
}

class Supervisor {
 public:
  Supervisor(Self& self, SupervisorSpec spec) : self_(self), spec_(std::move(spec)) {}

  Task<> run();

 private:
  using Number = std::uint64_t;  // of a child, in the order of their first start

  Child& at(Number number) { return children_.at(number); }
  bool is_dynamic() const { return spec_.strategy == Strategy::kSimpleOneForOne; }
  Number add(ChildSpec spec);
  void forget(Number number);
  // The child that ended; null if it was started again, or forgotten, by what was done since.
  Child* still_ended(const Ended& ended);
  void lose(Child& child);

  void take(Message message);
  void take_down(Down& down);
  // One more message, or until `deadline`; false when it has passed.
  Task<bool> take_next(Nanoseconds deadline = kNever);

  // What went wrong, or nothing. Nothing as well when it declined, or its supervisor has to stop.
  Task<std::optional<ExitReason>> start(Number number);
  Result<Spawned> call_start(const ChildSpec& spec, SpawnOptions options);
  ChildSpec call_dynamic(const Message& argument);
  std::optional<ExitReason> launch(Number number, Child& child);
  Task<std::optional<ExitReason>> wait_until_started(Number number);
  // The child lives no more when it returns.
  Task<> stop(Number number);
  Task<> stop_all();
  Task<> stop_at_once();
  Task<> start_first();

  // The child that is to start again now; null when nothing is left to be done about this end.
  Child* settle_end(const Ended& ended);
  enum class Alone : std::uint8_t { kNotAlone, kDone, kFailed };
  Alone start_alone(Number number, Child& child);
  void restart_later(Number number);
  Task<> restart_now(Number number);
  Task<> look_up();
  Task<std::optional<Number>> start_again(std::vector<Number> numbers);
  std::vector<Number> affected_by(Number number) const;
  static bool starts_again(const Child& child, const ExitReason& reason);
  void note_end(Number number, Child& child, ExitReason reason);
  bool note_restart();
  Nanoseconds next_wait(Child& child);
  void report(std::string_view what, const Child& child, const ExitReason& reason);

  Task<> handle(Message request);
  Task<> handle_start(ReplyTo to, ChildSpec spec);
  Task<> handle_order(ReplyTo to, const OrderRequest& order);
  void answer(ReplyTo to, Pid pid) { self_.reply(to, Message::of(Answer{pid, {}})); }
  void refuse(ReplyTo to, ErrorCode code, std::string text) {
    self_.reply(to, Message::of(Answer{Pid(), std::pair(code, std::move(text))}));
  }
  std::vector<ChildInfo> which() const;
  ChildCounts count() const;

  Self& self_;
  const SupervisorSpec spec_;
  std::map<Number, Child> children_;
  Number next_number_ = 1;
  std::uint64_t forgotten_ = 0;  // how many children
  std::unordered_map<std::string, Number> by_id_;
  boost::unordered_flat_map<Pid, std::pair<Number, Child*>, std::hash<Pid>> by_pid_;  // of those that live
  std::uint64_t alive_ = 0;
  std::uint64_t waiting_ = 0;
  std::deque<Nanoseconds> restarts_;  // within the window
  std::deque<Ended> ended_;
  std::deque<RestartDue> due_;
  std::deque<Message> requests_;
  std::optional<ExitReason> stop_;
};

}  // namespace rusm::otp::detail
