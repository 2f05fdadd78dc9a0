// Process: one slot of the process table: an inbox, a body, and how the two meet.
//
// The inbox is one atomic word: the top of a stack of envelopes that senders push and the process takes whole, beside
// flags in the bits that a pointer leaves free:
//   kWaitAny      the process is parked; whatever comes has to schedule it
//   kWaitSignals  the process is parked; signals and wakes have to schedule it, messages do not
//   kWoken        a wake came while it was not parked: whatever it looked at before may have changed
//   kSignals      there is a signal among the envelopes
//   kClosed       nobody lives here
//
// Invariants
// 1. A process is in exactly one state: running (one worker has it), queued (one run queue has it), parked (a wait flag
//    is set and nobody has it) or free. Only the step from parked to queued is taken by others, by the one whose
//    compare-and-swap clears the wait flag: so it is never queued twice and never run by two workers.
// 2. A process parks by compare-and-swap from an empty word. A push or a wake that came since it last looked makes the
//    swap fail, and it looks again: no wake is lost. Every push and wake is a read-modify-write of the word, even when
//    it changes nothing, so that what the sender wrote before is seen by the process that takes it.
// 3. Messages and signals go through the one stack, so they act in the order in which one sender sent them.
// 4. Each envelope carries the generation it is meant for. A tenant that finds one for an earlier tenant drops it, or
//    answers noproc when it asks for an answer.
// 5. Only the worker that runs the process touches what is below "owner only".
#pragma once

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "base/clock.h"
#include "base/small_map.h"
#include "otp/body.h"
#include "otp/message.h"
#include "otp/message_timer.h"
#include "otp/pid.h"
#include "otp/timer_wheel.h"

namespace rusm::otp {

class Runtime;
struct SpawnOptions;

// What a suspended coroutine waits for. Lies in the coroutine's own frame, and only its process refers to it.
struct Waiter {
  std::coroutine_handle<> handle;
  // True when the coroutine should go on. Null: at once.
  bool (*ready)(Waiter& waiter, Process& self) noexcept = nullptr;
};

// A request that waits for its answer. Lies in the frame of who asked, and only its process refers to it. The request
// is its own monitor: the end of the server, or of the connection to it, answers it too.
struct PendingCall {
  Reference reference = 0;  // 0: not asked yet
  Pid server;
  bool done = false;
  std::optional<Message> reply;
  ExitReason failure;  // when done without a reply
  PendingCall* next = nullptr;
  PendingCall* previous = nullptr;
};

// A monitor on a process: a reference is unique on the watcher's node only.
struct Watch {
  Reference reference;
  Pid watcher;
  bool operator==(const Watch&) const = default;
};

}  // namespace rusm::otp

template <>
struct std::hash<rusm::otp::Watch> {
  std::size_t operator()(const rusm::otp::Watch& watch) const noexcept {
    return std::hash<rusm::otp::Pid>()(watch.watcher) ^ (watch.reference * 0x9e3779b97f4a7c15);
  }
};

namespace rusm::otp {

// What most processes never need. Threads: the owner of the process.
struct ProcessDetail {
  Timer timer;  // ends the present wait
  std::string label;
  // Peer → 0 for a link, else the id of an unlink that the peer has not acknowledged.
  SmallMap<Pid, std::uint64_t> links;
  SmallMap<Reference, Pid> watching;           // monitors of ours
  SmallMap<Watch, std::monostate> watched_by;  // monitors on us, those of requests included
  PendingCall* calls = nullptr;
  TimerWheel* timers_home = nullptr;  // the one wheel of all its message timers
  TimerLink timers;                   // message timers that end with it; under the lock of timers_home
  std::unique_ptr<SmallMap<Reference, std::string>> watched_names;  // of monitors by name
  SmallMap<Claim, std::monostate> claims;
  std::move_only_function<void(Pid, const ExitReason&)> on_exit;
};

class alignas(64) Process {
 public:
  Process() = default;
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // ── For the body, while it runs ────────────────────────────────────────────────────────────────────────────────────
  Pid pid() const noexcept { return pid_; }
  Runtime& runtime() const noexcept { return *runtime_; }

  // Sending to a dead or never used pid is no error and has no effect.
  void send(Pid to, Message message) noexcept;
  void send(Pid to, std::span<const std::byte> bytes) noexcept { send(to, Message::of_bytes(bytes)); }

  // The first message that waits, if any. Never suspends.
  std::optional<Message> try_receive() noexcept;

  // Bidirectional; linking twice is one link; to itself does nothing. A dead target: an exit signal `noproc`.
  void link(Pid to);
  // When it returns no EXIT from that link arrives any more.
  void unlink(Pid to);
  // A message DOWN with this reference arrives when the target ends; at once with `noproc` when it is dead.
  Reference monitor(Pid target);
  // The same for whoever has that name now; its DOWN says the name. Nobody: DOWN with `noproc` at once.
  Reference monitor(std::string_view name);
  // Afterwards no DOWN of this reference is in the mailbox, or gets there.
  void demonitor(Reference reference);
  // A trapping process receives exit signals as messages.
  void trap_exit(bool on) noexcept { trap_exit_ = on; }
  // As OTP's exit/2. kKill cannot be trapped.
  void exit(Pid target, ExitReason reason) noexcept;
  // Answers a request, at most once; an answer that nobody awaits any more vanishes. Any process may answer.
  void reply(ReplyTo to, Message answer) noexcept;
  // ── Timers: one that fires when its process has ended has no effect; with its owner all of them end, unless started
  //    by Runtime::send_after ──
  // Sends `message` to `to` once `span` ns have passed; never early. Timers of one process with the same deadline fire
  // in the order in which they were started. Empty when TimerTable::kTimersMax are in use.
  TimerId send_after(Nanoseconds span, Pid to, Message message);
  // The same with an exit signal from this process.
  TimerId exit_after(Nanoseconds span, Pid target, ExitReason reason);
  // Again and again, each time a copy: bytes, or a value that can be copied. What is missed is left out.
  TimerId send_every(Nanoseconds period, Pid to, Message message);
  // The time that was left, or nothing when it had fired, or was cancelled, or never was. After the first answer
  // nothing of it arrives.
  std::optional<Nanoseconds> cancel(TimerId timer) noexcept;

  void set_label(std::string label);
  std::string_view label() const noexcept { return detail_ ? std::string_view(detail_->label) : std::string_view(); }

  // True when a signal waits that may end the process: a body that runs long looks here and yields.
  bool has_signals() const noexcept { return (inbox_.load(std::memory_order_relaxed) & kSignals) != 0; }

  // ── For bodies that are not coroutines, and for awaitables ─────────────────────────────────────────────────────────
  // Sets the reason with which the process ends when the body returns Step::kExit.
  // A reason that came from outside first stands.
  void set_exit_reason(ExitReason reason) noexcept {
    if (!exit_pending_) exit_reason_ = std::move(reason);
  }
  // Asks to be woken at `deadline`, once; an earlier one that is still to come stands.
  void wake_at(Nanoseconds deadline);
  // Pays for an await or a send. False when the budget is used up and the body should yield.
  bool charge(std::int32_t reductions = 1) noexcept { return (budget_ -= reductions) > 0; }
  // Takes what has come in: signals act, messages go to the mailbox. False when the process has to end now.
  bool drain() noexcept;
  bool exit_pending() const noexcept { return exit_pending_; }
  Waiter* waiter() const noexcept { return waiter_; }
  void set_waiter(Waiter* waiter, Step step) noexcept {
    waiter_ = waiter;
    wait_step_ = step;
  }
  Step wait_step() const noexcept { return wait_step_; }
  void set_yield() noexcept { yield_ = true; }
  bool take_yield() noexcept { return std::exchange(yield_, false); }
  // Ends the process at the present suspension with this reason.
  void end(ExitReason reason) noexcept;
  // Sends `request` and registers `call`, which must not move until it is done or abandoned.
  void ask(PendingCall& call, Pid server, Message request) noexcept;
  // Whatever answers it from now on vanishes.
  void abandon(PendingCall& call) noexcept;
  Envelope* mailbox_head() const noexcept { return mailbox_head_; }
  // Takes `envelope`, whose predecessor in the mailbox is `previous` (null: it is the first).
  EnvelopePtr take(Envelope* previous, Envelope* envelope) noexcept;

 private:
  friend class ProcessTable;
  friend class Runtime;
  friend class RunQueue;
  friend class SlotList;
  friend class Worker;

  static constexpr std::uintptr_t kWaitAny = 1;
  static constexpr std::uintptr_t kWaitSignals = 2;
  static constexpr std::uintptr_t kWoken = 4;
  static constexpr std::uintptr_t kClosed = 8;
  static constexpr std::uintptr_t kSignals = std::uintptr_t{1} << 63;
  static constexpr std::uintptr_t kFlags = 15 | kSignals;

  enum class Push : std::uint8_t { kDone, kSchedule, kClosed };

  // Any thread. Takes the envelope unless the inbox is closed.
  Push push(Envelope* envelope) noexcept;
  // Any thread. True when the caller has to schedule the process.
  bool wake() noexcept;
  // Owner. True when it is parked now and must not be touched any more; false when it has to look again.
  bool park(Step step) noexcept;

  bool drain_slow() noexcept;
  void append(Envelope* envelope) noexcept;
  void act(EnvelopePtr signal) noexcept;
  void on_exit_signal(EnvelopePtr signal) noexcept;
  void on_link_exit(EnvelopePtr signal) noexcept;
  EnvelopePtr with_name(EnvelopePtr down) noexcept;
  PendingCall* find_call(Reference reference) noexcept;
  void settle_call(PendingCall& call) noexcept;
  ProcessDetail& detail();
  void clear_mailbox() noexcept;

  // Any thread.
  std::atomic<std::uintptr_t> inbox_{kClosed};
  std::atomic<std::uint32_t> generation_{0};  // of the present tenant, or of the next while the slot is free

  // Constant once the slot exists.
  std::uint32_t index_ = 0;
  Runtime* runtime_ = nullptr;

  // Constant for a tenant.
  Pid pid_;

  // Owner only.
  std::int32_t budget_ = 0;
  bool trap_exit_ = false;
  bool exit_pending_ = false;
  bool woken_ = false;
  bool yield_ = false;
  Step wait_step_ = Step::kWait;
  ExitReason exit_reason_;
  Process* next_ = nullptr;  // in an injection queue or a list of free slots
  // ─── second cache line ───
  Body* body_ = nullptr;
  Waiter* waiter_ = nullptr;
  Envelope* mailbox_head_ = nullptr;
  Envelope* mailbox_tail_ = nullptr;
  std::unique_ptr<ProcessDetail> detail_;
  std::uint64_t unlink_ids_ = 0;
};
static_assert(sizeof(Process) == 128);

// What a native body is given: its own process.
using Self = Process;

inline Process::Push Process::push(Envelope* envelope) noexcept {
  const bool signal = is_signal(envelope->kind);
  const std::uintptr_t wakes = signal ? kWaitAny | kWaitSignals : kWaitAny;
  std::uintptr_t word = inbox_.load(std::memory_order_relaxed);
  for (;;) {
    if ((word & kClosed) != 0) [[unlikely]]
      return Push::kClosed;
    envelope->next = reinterpret_cast<Envelope*>(word & ~kFlags);
    std::uintptr_t flags = word & kFlags;
    if ((flags & wakes) != 0) flags &= ~(kWaitAny | kWaitSignals);
    if (signal) flags |= kSignals;
    // acq_rel: the process sees the envelope (partner: drain), and whoever schedules it sees its parked state.
    if (inbox_.compare_exchange_weak(word, reinterpret_cast<std::uintptr_t>(envelope) | flags,
                                     std::memory_order_acq_rel, std::memory_order_relaxed)) {
      return (word & wakes) != 0 ? Push::kSchedule : Push::kDone;
    }
  }
}

inline bool Process::drain() noexcept {
  // A plain look first: most steps end with nothing new. What is missed here makes park() fail.
  if (inbox_.load(std::memory_order_relaxed) == 0) return !exit_pending_;
  return drain_slow();
}

inline std::optional<Message> Process::try_receive() noexcept {
  if (mailbox_head_ == nullptr && !drain()) return std::nullopt;
  if (mailbox_head_ == nullptr || exit_pending_) return std::nullopt;
  return Message(take(nullptr, mailbox_head_));
}

inline EnvelopePtr Process::take(Envelope* previous, Envelope* envelope) noexcept {
  (previous == nullptr ? mailbox_head_ : previous->next) = envelope->next;
  if (mailbox_tail_ == envelope) mailbox_tail_ = previous;
  envelope->next = nullptr;
  return EnvelopePtr(envelope);
}

}  // namespace rusm::otp
