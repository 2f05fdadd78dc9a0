#include "otp/process.h"

#include <algorithm>

#include "otp/runtime.h"
#include "otp/worker.h"

namespace rusm::otp {

bool Process::wake() noexcept {
  std::uintptr_t word = inbox_.load(std::memory_order_relaxed);
  for (;;) {
    if ((word & kClosed) != 0) return false;
    const bool parked = (word & (kWaitAny | kWaitSignals)) != 0;
    const std::uintptr_t next = parked ? word & ~(kWaitAny | kWaitSignals) : word | kWoken;
    if (inbox_.compare_exchange_weak(word, next, std::memory_order_acq_rel, std::memory_order_relaxed)) return parked;
  }
}

bool Process::park(Step step) noexcept {
  if (woken_ || exit_pending_) return false;
  const std::uintptr_t flag = step == Step::kWaitSignals ? kWaitSignals : kWaitAny;
  std::uintptr_t word = 0;
  for (;;) {
    // acq_rel: whoever schedules it next sees all that this worker wrote (partners: push, wake).
    if (inbox_.compare_exchange_weak(word, word | flag, std::memory_order_acq_rel, std::memory_order_relaxed)) {
      return true;
    }
    // Messages alone do not keep a process from waiting for signals.
    if (step != Step::kWaitSignals || (word & (kSignals | kWoken)) != 0) {
      if (word != 0) return false;
    }
  }
}

bool Process::drain_slow() noexcept {
  const std::uintptr_t word = inbox_.exchange(0, std::memory_order_acquire);  // partner: push
  if ((word & kWoken) != 0) woken_ = true;
  auto* stack = reinterpret_cast<Envelope*>(word & ~kFlags);
  Envelope* list = nullptr;
  while (stack != nullptr) {
    Envelope* next = stack->next;
    stack->next = list;
    list = stack;
    stack = next;
  }
  const std::uint32_t generation = pid().generation();
  while (list != nullptr) {
    Envelope* envelope = std::exchange(list, list->next);
    if (envelope->generation != generation) [[unlikely]] {
      // Its room went with the tenant that it was meant for.
      runtime_->reject(Pid(runtime_->node(), pid().index(), envelope->generation), EnvelopePtr(envelope),
                       ExitReason::Kind::kNoProc);
      continue;
    }
    if (runtime_->traces_arrivals_) [[unlikely]]
      runtime_->parts_.hook->on_arrival(pid(), *envelope);
    if (is_signal(envelope->kind)) {
      act(EnvelopePtr(envelope));
    } else {
      if (envelope->is_request()) watch_us({envelope->reference, envelope->from});
      append(envelope);
    }
  }
  return !exit_pending_;
}

bool Process::take_room(Envelope& message, std::uint32_t generation) noexcept {
  const std::uint64_t units = MailboxRoom::units_of(message.weight());
  std::uint64_t room = load_.load(std::memory_order_relaxed);
  do {
    // A late sender: the inbox will not take the message either.
    if (MailboxRoom::generation(room) != MailboxRoom::mask(generation)) return true;
    if (MailboxRoom::messages(room) == 0 || MailboxRoom::units(room) < units) return false;
  } while (!load_.compare_exchange_weak(room, room - MailboxRoom::of(0, 1, units), std::memory_order_relaxed));
  message.counted = Envelope::Counted::kInRoom;
  return true;
}

void Process::count(Envelope& message) noexcept {
  if (is_bounded()) return;  // signals that became messages: they have no limit
  message.counted = Envelope::Counted::kByOwner;
  load_.store(load_.load(std::memory_order_relaxed) + kOneMessage + message.size(), std::memory_order_relaxed);
}

void Process::append(Envelope* envelope) noexcept {
  received_.store(received_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  if (mailbox_head_ != nullptr && envelope->counted == Envelope::Counted::kNowhere) count(*envelope);
  envelope->next = nullptr;
  (mailbox_tail_ == nullptr ? mailbox_head_ : mailbox_tail_->next) = envelope;
  mailbox_tail_ = envelope;
}

void Process::clear_mailbox() noexcept {
  Envelope::destroy_list(std::exchange(mailbox_head_, nullptr));
  mailbox_tail_ = nullptr;
}

bool Process::stash(Message&& message) noexcept {
  ProcessDetail& ours = detail();
  Envelope* envelope = std::move(message).release().release();
  if (is_bounded() && !is_signal(envelope->kind) && !take_room(*envelope, pid().generation())) {
    message = Message(EnvelopePtr(envelope));
    return false;
  }
  envelope->next = nullptr;  // of a reply it may still point to what came behind it
  (ours.stash_tail == nullptr ? ours.stash_head : ours.stash_tail->next) = envelope;
  ours.stash_tail = envelope;
  return true;
}

void Process::unstash() noexcept {
  if (!detail_ || detail_->stash_head == nullptr) return;
  count_rest();  // the present head will be the head no more
  if (!is_bounded()) {
    for (Envelope* at = detail_->stash_head; at != nullptr; at = at->next) count(*at);
  }
  detail_->stash_tail->next = mailbox_head_;
  if (mailbox_head_ == nullptr) mailbox_tail_ = detail_->stash_tail;
  mailbox_head_ = detail_->stash_head;
  detail_->stash_head = detail_->stash_tail = nullptr;
}

void Process::send(Pid to, Message message) noexcept {
  charge();
  runtime_->send(to, std::move(message));
}

bool Process::try_send(Pid to, Message message) noexcept {
  charge();
  return runtime_->try_send(to, std::move(message));
}

void Process::end(ExitReason reason) noexcept {
  if (exit_pending_) return;
  exit_pending_ = true;
  exit_reason_ = std::move(reason);
}

void Process::wake_at(Nanoseconds deadline) {
  Timer& timer = detail().timer;
  if (timer.wheel.load(std::memory_order_acquire) != nullptr) {
    if (timer.deadline <= deadline) return;
    TimerWheel::cancel(&timer);
  }
  timer.pid = pid();
  Worker::current()->timers().arm(&timer, deadline);
}

void Process::start_blocking(Ref<BlockingJob> job) {
  detail().blocking = job;
  runtime_->run_blocking(std::move(job), pid());
}

TimerId Process::send_after(Nanoseconds span, Pid to, Message message) {
  charge();
  return runtime_->start_timer(this, span, to, std::move(message).release_plain());
}

TimerId Process::exit_after(Nanoseconds span, Pid target, ExitReason reason) {
  charge();
  return runtime_->start_timer(this, span, target, make_exit_signal(EnvelopeKind::kExit, pid(), 0, std::move(reason)));
}

TimerId Process::send_every(Nanoseconds period, Pid to, std::move_only_function<Message()> make) {
  charge();
  return runtime_->start_repeat(this, period, to, std::move(make));
}

std::optional<Nanoseconds> Process::cancel(TimerId timer) noexcept {
  charge();
  return runtime_->cancel(timer);
}

void Process::set_label(std::string label) {
  detail().tagged = true;
  runtime_->tags_.set_label(pid(), std::move(label));
}

ProcessDetail& Process::detail() {
  if (!detail_) detail_ = std::make_unique<ProcessDetail>();
  return *detail_;
}

}  // namespace rusm::otp
