// GuestActor: a guest as a process among processes: what it sends, receives, starts and is told.
//
// Invariants
// 1. A call that would block has left nothing half done. It says by waits_ what the process is to wait for; the guest
// is
//    suspended, and when its body is resumed, for whatever cause, it makes the same call again. So a wake without
//    cause does no harm.
// 2. No wake is lost: before it would block, a call has drained the inbox and looked at everything in the mailbox that
//    it could take. What comes after that makes the process fail to park, or wakes it: messages do so for kWait; for
//    kWaitSignals a stream, a store or a timer does, by waking the pid.
// 3. What a call hands to the guest lies in memory that lives until the next call.
#pragma once

#include <rusm_bridge.h>

#include <algorithm>
#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "otp/process.h"
#include "wasm/family.h"
#include "wasm/guest_kv.h"
#include "wasm/guest_services.h"
#include "wasm/guest_streams.h"
#include "wasm/log_allowance.h"
#include "wasm/program.h"

namespace rusm::otp {
struct ChildSpec;
struct SupervisorSpec;
}  // namespace rusm::otp

namespace rusm::wasm {

// What a process is given by whoever starts it. Threads: a value.
struct GuestStart {
  std::vector<std::byte> argument = {};
  std::string name = {};  // that it is registered under
};

// Threads: as the body that it is part of.
class GuestActor {
 public:
  // `place`: in the family of whoever started it, or as a founder of its program's.
  GuestActor(Program& program, otp::Runtime& runtime, const GuestServices& services, FamilyPlace place,
             GuestStart start);
  GuestActor(const GuestActor&) = delete;
  GuestActor& operator=(const GuestActor&) = delete;
  ~GuestActor();

  // Around each resume of the guest.
  void enter(otp::Process& self) noexcept {
    self_ = &self;
    pid_ = self.pid();
    waits_ = otp::Step::kWaitSignals;
  }
  // What the process waits for, when its guest waits.
  otp::Step waits() const noexcept { return waits_; }
  // Why a call ended the guest, if one did.
  std::optional<otp::ExitReason> take_end() noexcept;
  // Whether that is what the guest wanted, in its own words.
  bool ended_itself() const noexcept { return more_ && more_->ended_itself; }
  // What is kept of answers that were handed to the guest. For tests; from the thread that runs it.
  std::size_t held_bytes() const noexcept;
  // How many of so many bytes may go to the log now; says so, but not often, when they are not all.
  std::size_t may_log(std::size_t bytes) noexcept;

  // ── The functions of rusm_actor_host ──
  std::string_view explain() const noexcept { return more_ ? std::string_view(more_->text) : std::string_view(); }
  std::uint64_t own_pid() const noexcept { return pid_.raw(); }
  rusm_call spawn(std::string_view component, std::uint64_t* pid) noexcept;
  rusm_call spawn_from(std::string_view component, std::string_view source) noexcept;
  rusm_call supervise(const rusm_supervision& what, std::uint64_t* pid) noexcept;
  rusm_call spawn_with(const rusm_spawn& what, std::uint64_t* pid, std::uint64_t* monitor) noexcept;
  rusm_call supervise_with(const rusm_supervisor& what, std::uint64_t* pid) noexcept;
  rusm_call monitor(otp::Pid target) noexcept;
  rusm_call send(otp::Pid to, std::span<const std::byte> bytes) noexcept;
  rusm_call send_after(otp::Pid to, std::uint64_t delay_ms, std::span<const std::byte> bytes,
                       std::uint64_t* timer) noexcept;
  rusm_call cancel_timer(std::uint64_t timer) noexcept;
  rusm_call receive(std::uint64_t timeout_ms, rusm_bytes* message) noexcept;
  void keep() noexcept;
  rusm_call stash(std::span<const std::byte> bytes) noexcept;
  void unstash() noexcept { self_->unstash(); }
  std::span<const std::uint64_t> processes() noexcept;
  rusm_call info(otp::Pid target, rusm_process_info* info) noexcept;
  rusm_call is_alive(otp::Pid target) noexcept;
  rusm_call kill(otp::Pid target) noexcept;
  rusm_call register_name(std::string_view name) noexcept;
  rusm_call unregister_name(std::string_view name) noexcept;
  rusm_call whereis(std::string_view name, std::uint64_t* pid) noexcept;
  void set_label(std::string_view label) noexcept;
  rusm_call join(std::string_view tag) noexcept;
  void leave(std::string_view tag) noexcept;
  std::span<const std::uint64_t> members(std::string_view tag) noexcept;
  rusm_call kill_tag(std::string_view tag, std::uint32_t* count) noexcept;
  rusm_call stream_open(otp::Pid to, std::uint64_t* stream) noexcept;
  rusm_call stream_write(std::uint64_t stream, std::span<const std::byte> chunk) noexcept;
  void stream_close(std::uint64_t stream) noexcept;
  rusm_call stream_accept(std::uint64_t* stream) noexcept;
  rusm_call stream_read(std::uint64_t stream, rusm_bytes* chunk) noexcept;
  rusm_call kv(KvQuestion question, KvReply* reply) noexcept;
  rusm_call kv_get(std::string_view bucket, std::string_view key, rusm_bytes* value) noexcept;
  rusm_call kv_list(std::string_view bucket, std::span<const rusm_bytes>* keys) noexcept;
  void log(std::uint32_t level, std::string_view text) noexcept;

  // ── The functions of rusm_event_host ──
  // A process of this node, or none: others are not reached yet.
  static otp::Pid resolve(rusm_pid pid) noexcept {
    return pid.incarnation == 0 ? otp::Pid::from_raw(pid.id) : otp::Pid();
  }
  rusm_call receive_event(std::span<const rusm_match> wanted, std::uint64_t timeout_ms, rusm_event* event) noexcept;
  rusm_call call(otp::Pid to, std::span<const std::byte> bytes, std::uint64_t timeout_ms, rusm_bytes* answer,
                 rusm_reason* reason, bool* timed_out) noexcept;
  rusm_call reply(std::uint64_t token, std::span<const std::byte> bytes) noexcept;
  rusm_call watch(otp::Pid target, std::uint64_t* monitor) noexcept;
  rusm_call demonitor(std::uint64_t monitor) noexcept;
  rusm_call link(otp::Pid target) noexcept;
  void unlink(otp::Pid target) noexcept;
  bool trap_exit(bool on) noexcept;
  rusm_call exit(const rusm_reason& reason) noexcept;
  rusm_call send_exit(otp::Pid target, const rusm_reason& reason) noexcept;
  rusm_call start_timer(std::uint64_t delay_ms, std::uint64_t* timer) noexcept;
  rusm_call timer_left(std::uint64_t timer, bool cancel, std::uint64_t* left_ms) noexcept;
  // All but the CPU time.
  void self_info(rusm_self_info* info) noexcept;
  std::span<const std::byte> argument() const noexcept;

 private:
  struct GuestTimer {
    otp::TimerId id;
    std::size_t bytes;      // of its message
    Nanoseconds deadline;   // by the clock
    bool is_event = false;  // it is there until its event was received
  };
  // What most guests never need.
  struct More {
    std::string text;  // of the last refusal
    std::optional<otp::ExitReason> end;
    std::vector<std::byte> rendered;  // the message that is shown, where it has no bytes of its own
    bool ended_itself = false;
    boost::unordered_flat_set<otp::Reference> monitors;                                 // whose DOWN was not received
    boost::unordered_flat_set<otp::Pid, std::hash<otp::Pid>> links;                     // of its own making, the same
    boost::unordered_flat_map<otp::Pid, std::uint32_t, std::hash<otp::Pid>> signalled;  // how often, without a right
    std::uint32_t signals = 0;                                                          // of signalled
    boost::unordered_flat_map<std::uint64_t, GuestTimer> timers;
    std::uint64_t timer_bytes = 0;
    std::uint64_t last_timer = 0;
    boost::unordered_flat_map<std::uint64_t, otp::ReplyTo> requests;  // by their tokens
    std::uint64_t last_token = 0;
    std::uint64_t oldest_token = 1;
    std::unique_ptr<otp::PendingCall> call;
    Nanoseconds call_ends_at = kNever;
    std::optional<otp::Message> answer;
    otp::ExitReason failure;
    std::vector<std::byte> argument;
    std::set<std::string, std::less<>> names;
    std::uint32_t tags = 0;
    std::unique_ptr<GuestStreams> streams;
    std::unique_ptr<GuestKv> store;
    std::optional<LogAllowance> log;
    bool said_no_monitor = false;
    // What was handed to the guest.
    std::vector<std::uint64_t> pids;
    std::vector<rusm_bytes> texts;
    std::vector<std::string> strings;
    std::string label;
    KvReply reply;
    bool handed_out = false;  // there may be much in what follows `pids`, or in `answer`
  };

  More& more();
  const ActorRights& rights() const noexcept { return program_.capabilities().actor; }
  const ActorLimits& limits() const noexcept { return program_.capabilities().actor_limits; }
  GuestStreams& streams();
  bool is_self(otp::Pid pid) const noexcept { return pid == pid_; }

  rusm_call refuse(std::string text);
  rusm_call end(otp::ExitReason reason);
  rusm_call limit(std::string which, std::string text) {
    return end(otp::ExitReason::limit(std::move(which), std::move(text)));
  }
  rusm_call block(otp::Step step) noexcept {
    waits_ = step;
    if (more_ && more_->handed_out) drop_handed_out();
    return RUSM_CALL_WOULD_BLOCK;
  }
  void drop_handed_out() noexcept;
  rusm_call result_of(GuestStreams::Outcome outcome);

  bool show(otp::Message message);
  void render(std::span<const std::byte> bytes);
  rusm_call wait_for_message(std::uint64_t timeout_ms) noexcept;
  bool has_name_room();
  bool is_reserved(std::string_view name) const noexcept;
  void forget_fired_timers();
  void forget_lost_names();
  std::span<const rusm_bytes> show_names(otp::Pid target);
  rusm_call monitor_refused();

  // guest_events.cc
  void note_received(const otp::Message& message) noexcept;
  bool show_event(otp::Message message, rusm_event* event);
  bool show_rare_event(otp::Message& message, rusm_event* event);
  std::uint64_t take_token(otp::ReplyTo to);
  rusm_call receive_matching(std::span<const rusm_match> wanted, std::uint64_t timeout_ms, rusm_event* event);
  rusm_call start_call(otp::Pid to, std::span<const std::byte> bytes, std::uint64_t timeout_ms);
  rusm_call end_call(rusm_bytes* answer, rusm_reason* reason);
  rusm_call add_timer(GuestTimer timer, std::uint64_t number, std::uint64_t* result);
  bool has_timer_room(std::size_t bytes);
  void drop_timer_event(std::uint64_t number) noexcept;

  // guest_signals.cc
  bool is_descendant(otp::Pid target) const noexcept;
  bool may_end(otp::Pid target) const noexcept;
  bool has_monitor_room();
  void forget_ended_links();
  rusm_call hears_too_much();
  rusm_call monitors_are_full();
  bool has_signal_room(otp::Pid target);

  // guest_spawn.cc
  Result<std::shared_ptr<otp::BodyMaker>> check_spawn(std::string_view component);
  Result<> check_start(std::string_view component, bool has_name, std::string_view name, std::size_t argument_bytes);
  rusm_call refuse_child(const Error& error);
  Result<otp::ChildSpec> make_supervised(const rusm_child& child);
  rusm_call start_supervisor(std::span<const rusm_child> children, otp::SupervisorSpec spec, std::uint64_t* pid);

  Program& program_;
  otp::Runtime& runtime_;
  const GuestServices& services_;
  const FamilyPlace place_;
  otp::Process* self_ = nullptr;  // while the guest runs
  otp::Pid pid_;
  otp::Step waits_ = otp::Step::kWaitSignals;
  bool blocked_ = false;                // the last receive would have blocked
  bool kept_ = false;                   // what is shown is received again
  bool chunk_shown_ = false;            // the last thing shown was a chunk of a stream
  otp::Envelope* looked_at_ = nullptr;  // the last one in the mailbox, while a receive of some events waits
  Nanoseconds deadline_ = 0;            // of a receive that blocked
  otp::EnvelopePtr current_;            // the message that was received last
  rusm_bytes shown_{};                  // as the guest saw it
  std::unique_ptr<More> more_;
};

// Milliseconds of a guest, at most ten years: far from where a sum of times would overflow.
inline Nanoseconds from_ms(std::uint64_t ms) noexcept {
  return static_cast<Nanoseconds>(std::min(ms, std::uint64_t{10} * 365 * 24 * 3600 * 1000)) * kMillisecond;
}

inline constexpr std::size_t kLabelBytesMax = 255;
// At most `bytes_max` of a text, and no broken character at the end.
std::string_view cut(std::string_view text, std::size_t bytes_max) noexcept;

// An exit reason for the bridge, valid as long as `reason`; and one of a guest's, its texts cut.
rusm_reason to_reason(const otp::ExitReason& reason) noexcept;
// Texts are cut to `bytes_max`.
otp::ExitReason from_reason(const rusm_reason& reason, std::size_t bytes_max);

// The tables for the bridge. Their contexts are GuestBody's.
rusm_actor_host actor_host() noexcept;
rusm_event_host event_host() noexcept;

}  // namespace rusm::wasm
