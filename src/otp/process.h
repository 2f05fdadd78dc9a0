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
// 5. A bounded mailbox: whoever sends a message takes its place and its bytes from load_ first, and then pushes; the
//    process gives them back when it takes the message out. load_ carries bits of the generation, so a sender that is
//    late takes nothing from the next tenant. Signals and values that timers send take no place.
// 6. Only the worker that runs the process touches what is below "owner only".
#pragma once

#include <algorithm>
#include <atomic>
#include <concepts>
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
#include "otp/blocking.h"
#include "otp/body.h"
#include "otp/message.h"
#include "otp/message_timer.h"
#include "otp/pid.h"
#include "otp/timer_wheel.h"

namespace rusm::otp {

class Runtime;
struct SpawnOptions;

// What becomes of a message for which a mailbox has no room.
enum class MailboxOverflow : std::uint8_t {
  kUnbounded,
  kShed,  // it is gone, and counted; try_send says so, and a request is answered with `limit`
  kExit,  // the process that does not keep up ends with the reason limit("mailbox")
};

// What a suspended coroutine waits for. Lies in the coroutine's own frame, and only its process refers to it.
struct Waiter {
  std::coroutine_handle<> handle;
  // True when the coroutine should go on. Null: at once.
  bool (*ready)(Waiter& waiter, Process& self) noexcept = nullptr;
};

// The room that is left in a bounded mailbox, in one word: generation 14 | messages 20 | units of kUnit bytes 30.
struct MailboxRoom {
  static constexpr std::size_t kUnit = 16;
  static constexpr std::uint64_t kMessagesMax = (1u << 20) - 1;
  static constexpr std::uint64_t kUnitsMax = (1u << 30) - 1;

  static constexpr std::uint64_t of(std::uint32_t generation, std::uint64_t messages, std::uint64_t units) noexcept {
    return std::uint64_t{mask(generation)} << 50 | messages << 30 | units;
  }
  static constexpr std::uint32_t mask(std::uint32_t generation) noexcept { return generation & 0x3fff; }
  static constexpr std::uint32_t generation(std::uint64_t word) noexcept {
    return static_cast<std::uint32_t>(word >> 50);
  }
  static constexpr std::uint64_t messages(std::uint64_t word) noexcept { return word >> 30 & kMessagesMax; }
  static constexpr std::uint64_t units(std::uint64_t word) noexcept { return word & kUnitsMax; }
  static constexpr std::uint64_t units_of(std::size_t bytes) noexcept {
    return std::min<std::uint64_t>((bytes + kUnit - 1) / kUnit, kUnitsMax);
  }
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
  Timer timer;          // ends the present wait
  bool tagged = false;  // has an entry in the runtime's tags
  Pid parent;           // see Process::parent()
  // Peer → 0 for a link, else the id of an unlink that the peer has not acknowledged.
  SmallMap<Pid, std::uint64_t> links;
  SmallMap<Reference, Pid> watching;           // monitors of ours
  SmallMap<Watch, std::monostate> watched_by;  // monitors on us, those of requests included
  PendingCall* calls = nullptr;
  std::uint64_t unlink_ids = 0;
  SmallMap<std::uint32_t, std::monostate> nodes;  // others with whose processes there are, or were, links or monitors
  Ref<BlockingJob> blocking;                      // while it waits for one
  OwnedTimers timers;                             // message timers that end with it
  std::unique_ptr<SmallMap<Reference, std::string>> watched_names;  // of monitors by name
  SmallMap<Claim, std::monostate> claims;
  Envelope* stash_head = nullptr;
  Envelope* stash_tail = nullptr;
  std::move_only_function<void(Pid, const ExitReason&)> on_exit;

  ProcessDetail() = default;
  ProcessDetail(const ProcessDetail&) = delete;
  ProcessDetail& operator=(const ProcessDetail&) = delete;
  ~ProcessDetail() { Envelope::destroy_list(stash_head); }
};

class alignas(64) Process {
 public:
  Process() = default;
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // ── For the body, while it runs ────────────────────────────────────────────────────────────────────────────────────
  Pid pid() const noexcept { return Pid::from_raw(pid_.load(std::memory_order_relaxed)); }
  Runtime& runtime() const noexcept { return *runtime_; }
  // The process that spawned it linked, or that was named as its parent; empty when there is none.
  Pid parent() const noexcept { return detail_ ? detail_->parent : Pid(); }

  // Sending to a dead or never used pid is no error and has no effect.
  void send(Pid to, Message message) noexcept;
  void send(Pid to, std::span<const std::byte> bytes) noexcept { send(to, Message::of_bytes(bytes)); }
  // A value, moved there.
  template <class T>
    requires(!std::is_same_v<T, Message> && !std::is_convertible_v<T, std::span<const std::byte>>)
  void send(Pid to, T value) noexcept {
    send(to, Message::of(std::move(value)));
  }
  // The same; false when the receiver's mailbox is full, and the message is gone.
  bool try_send(Pid to, Message message) noexcept;

  // The first message that waits, if any. Never suspends.
  std::optional<Message> try_receive() noexcept;

  // Puts a message that was received aside, as it was received; unstash() puts all of them back to the front of the
  // mailbox, in the order in which they were stashed. What is stashed has its place in a bounded mailbox, unless it is
  // EXIT or DOWN; false when there is none, and then `message` is left as it is.
  bool stash(Message&& message) noexcept;
  void unstash() noexcept;

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
  bool traps_exit() const noexcept { return trap_exit_; }
  // Its side of links, without those that it gave up, and the monitors of its own that have not fired.
  bool is_linked(Pid peer) const noexcept;
  std::uint32_t link_count() const noexcept;
  std::uint32_t monitor_count() const noexcept;
  // Drops each EXIT of a link with `peer` that was not received, also what was put aside: for who unlinks and wants to
  // hear no more.
  void drop_link_exits(Pid peer) noexcept;
  // As OTP's exit/2. kKill cannot be trapped.
  void exit(Pid target, ExitReason reason) noexcept;
  // Answers a request, at most once; an answer that nobody awaits any more vanishes. Any process may answer.
  void reply(ReplyTo to, Message answer) noexcept;
  // ── Timers: one that fires when its process has ended has no effect; with its owner all of them end, unless started
  //    by Runtime::send_after ──
  // Sends `message` to `to` once `span` ns have passed; never early. Timers of one process with the same deadline fire
  // in the order in which they were started, unless it moved to another worker between them. Empty when
  // TimerTable::kTimersMax are in use.
  TimerId send_after(Nanoseconds span, Pid to, Message message);
  // The same with an exit signal from this process.
  TimerId exit_after(Nanoseconds span, Pid target, ExitReason reason);
  // Again and again, what `make` returns, which runs on a worker and must neither block nor throw. What is missed is
  // left out.
  TimerId send_every(Nanoseconds period, Pid to, std::move_only_function<Message()> make);
  // The same with copies of a value.
  template <std::copy_constructible T>
    requires(!std::is_invocable_r_v<Message, T&>)
  TimerId send_every(Nanoseconds period, Pid to, T value) {
    return send_every(period, to, std::move_only_function<Message()>([value] { return Message::of(value); }));
  }
  // The time that was left, or nothing when it had fired, or was cancelled, or never was. After the first answer
  // nothing of it arrives; one that repeats and is just firing may arrive once more after the second.
  std::optional<Nanoseconds> cancel(TimerId timer) noexcept;

  // What people see it as.
  void set_label(std::string label);

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
  // `wait`: what info() says while the process is parked.
  void set_waiter(Waiter* waiter, Step step, Wait wait = Wait::kOther) noexcept {
    waiter_ = waiter;
    wait_step_ = step;
    wait_.store(wait, std::memory_order_relaxed);
  }
  Step wait_step() const noexcept { return wait_step_; }
  void set_yield() noexcept { yield_ = true; }
  bool take_yield() noexcept { return std::exchange(yield_, false); }
  // Ends the process at the present suspension with this reason.
  void end(ExitReason reason) noexcept;
  // Runs `job` outside the workers and wakes the process after it. One at a time.
  void start_blocking(Ref<BlockingJob> job);
  void end_blocking() noexcept { detail_->blocking.reset(); }
  // Sends `request` and registers `call`, which must not move until it is done or abandoned.
  void ask(PendingCall& call, Pid server, Message request) noexcept;
  // Whatever answers it from now on vanishes.
  void abandon(PendingCall& call) noexcept;
  Envelope* mailbox_head() const noexcept { return mailbox_head_; }
  // Takes `envelope`, whose predecessor in the mailbox is `previous` (null: it is the first).
  EnvelopePtr take(Envelope* previous, Envelope* envelope) noexcept;
  // Removes what was put aside; `previous`: what lies before it there, if anything does.
  void drop_stashed(Envelope* previous, Envelope* at) noexcept;

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

  static constexpr std::uint64_t kOneMessage = std::uint64_t{1} << 40;  // in load_, when unbounded

  enum class Push : std::uint8_t { kDone, kSchedule, kClosed };

  // Any thread. Takes room for a message in a bounded mailbox; false when there is none.
  bool take_room(Envelope& message, std::uint32_t generation) noexcept;
  // Owner.
  void count(Envelope& message) noexcept;
  void give_room(const Envelope& message) noexcept;
  bool is_bounded() const noexcept { return overflow_.load(std::memory_order_relaxed) != MailboxOverflow::kUnbounded; }

  // Any thread. Takes the envelope unless the inbox is closed.
  Push push(Envelope* envelope) noexcept;
  // Any thread. True when the caller has to schedule the process.
  bool wake() noexcept;
  // Owner. True when it is parked now and must not be touched any more; false when it has to look again.
  bool park(Step step) noexcept;

  bool drain_slow() noexcept;
  // At the end of a step: what stays in the mailbox is counted.
  void count_rest() noexcept {
    if (mailbox_head_ != nullptr && mailbox_head_->counted == Envelope::Counted::kNowhere) count(*mailbox_head_);
  }
  void append(Envelope* envelope) noexcept;
  void act(EnvelopePtr signal) noexcept;
  void on_exit_signal(EnvelopePtr signal) noexcept;
  void on_link_exit(EnvelopePtr signal) noexcept;
  EnvelopePtr with_name(EnvelopePtr down) noexcept;
  // Before anything is between us and a process of another node: so that the loss of that node is told us.
  void meet(Pid other);
  void watch_us(Watch watch);
  void on_node_down(std::uint32_t node) noexcept;
  PendingCall* find_call(Reference reference) noexcept;
  void settle_call(PendingCall& call) noexcept;
  ProcessDetail& detail();
  void clear_mailbox() noexcept;
  // Into the caches, all at once instead of one after the other, as the step would.
  void bring_slot_near() const noexcept { prefetch(this, sizeof(Process)); }  // any thread
  void bring_near() const noexcept {
    prefetch(body_, kBodyBytes);
    if (detail_) prefetch(detail_.get(), sizeof(ProcessDetail));
  }
  static void prefetch(const void* at, std::size_t bytes) noexcept {
    for (std::size_t i = 0; i < bytes; i += 64) __builtin_prefetch(static_cast<const std::byte*>(at) + i, 1);
  }
  static constexpr std::size_t kBodyBytes = 192;  // of the body; more than most have

  // Any thread.
  std::atomic<std::uintptr_t> inbox_{kClosed};
  std::atomic<std::uint64_t> pid_{0};   // of the present tenant, or of the next while the slot is free
  std::atomic<std::uint64_t> room_{0};  // of a bounded mailbox when it is empty; constant for a tenant

  // Constant once the slot exists.
  Runtime* runtime_ = nullptr;

  // Owner only.
  std::int32_t budget_ = 0;
  bool trap_exit_ = false;
  bool exit_pending_ = false;
  bool woken_ = false;
  bool yield_ = false;
  Step wait_step_ = Step::kWait;
  std::atomic<Wait> wait_{Wait::kOther};                                // written by the owner; any thread
  std::atomic<MailboxOverflow> overflow_{MailboxOverflow::kUnbounded};  // constant for a tenant; any thread
  std::atomic<std::uint32_t> received_{0};                              // messages that came in; written by the owner
  ExitReason exit_reason_;
  Process* next_ = nullptr;  // in an injection queue or a list of free slots
  // ─── second cache line ───
  Body* body_ = nullptr;
  Waiter* waiter_ = nullptr;
  Envelope* mailbox_head_ = nullptr;
  Envelope* mailbox_tail_ = nullptr;
  std::unique_ptr<ProcessDetail> detail_;
  // Any thread. Bounded: a MailboxRoom. Else the messages in the mailbox (24 bits) and their bytes (40 bits), without
  // those that are still in the inbox; written by the owner.
  std::atomic<std::uint64_t> load_{0};
  std::atomic<std::uint64_t> reductions_{0};  // of past steps; written by the owner
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

inline void Process::give_room(const Envelope& message) noexcept {
  if (message.counted == Envelope::Counted::kNowhere) [[likely]]
    return;
  if (message.counted == Envelope::Counted::kInRoom) {
    load_.fetch_add(MailboxRoom::of(0, 1, MailboxRoom::units_of(message.weight())), std::memory_order_relaxed);
  } else {
    load_.store(load_.load(std::memory_order_relaxed) - kOneMessage - message.size(), std::memory_order_relaxed);
  }
}

inline EnvelopePtr Process::take(Envelope* previous, Envelope* envelope) noexcept {
  __builtin_prefetch(envelope->next);  // in a long mailbox it has gone cold
  give_room(*envelope);
  envelope->counted = Envelope::Counted::kNowhere;  // it may be sent on
  (previous == nullptr ? mailbox_head_ : previous->next) = envelope->next;
  if (mailbox_tail_ == envelope) mailbox_tail_ = previous;
  envelope->next = nullptr;
  return EnvelopePtr(envelope);
}

}  // namespace rusm::otp
