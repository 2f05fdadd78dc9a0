// The runtime's message timers.
#include <algorithm>
#include <utility>

#include "otp/runtime.h"
#include "otp/worker.h"

namespace rusm::otp {

TimerId Runtime::start_timer(Process* owner, Nanoseconds span, Pid to, EnvelopePtr envelope) {
  MessageTimer* timer = acquire_timer();
  if (timer == nullptr) return TimerId();
  timer->put_message(std::move(envelope));
  return arm(owner, timer, span, to);
}

TimerId Runtime::start_repeat(Process* owner, Nanoseconds period, Pid to, std::move_only_function<Message()> make) {
  MessageTimer* timer = acquire_timer();
  if (timer == nullptr) return TimerId();
  period = std::max<Nanoseconds>(period, 1);
  timer->put_repeat(period, std::move(make));
  return arm(owner, timer, period, to);
}

MessageTimer* Runtime::acquire_timer() {
  if (Worker* worker = Worker::current_of(*this)) return timers_.acquire(&worker->free_timers);
  const std::scoped_lock lock(outside_mutex_);
  return timers_.acquire(&outside_timers_);
}

TimerId Runtime::arm(Process* owner, MessageTimer* timer, Nanoseconds span, Pid to) {
  const Nanoseconds deadline = deadline_after(clock().now(), span);
  const TimerId id{timer->id};
  timer->pid = to;
  Worker* worker = Worker::current_of(*this);
  Worker* home = worker != nullptr ? worker : workers_.front().get();
  TimerLink* list = nullptr;
  if (owner != nullptr) {
    ProcessDetail& detail = owner->detail();
    if (detail.timers_home == nullptr) detail.timers_home = &home->timers();
    list = &detail.timers;
    if (detail.timers_home != &home->timers()) home = worker_of(*detail.timers_home);
  }
  const bool first = home->timers().arm(timer, deadline, list);
  // Sequentially consistent on both sides: either its worker sees the new deadline, or we that it sleeps.
  if (first && home != worker && home->parked_.load()) home->interrupt();
  return id;
}

Worker* Runtime::worker_of(const TimerWheel& wheel) noexcept {
  for (const auto& worker : workers_) {
    if (&worker->timers() == &wheel) return worker.get();
  }
  return nullptr;
}

std::optional<Nanoseconds> Runtime::cancel(TimerId id) noexcept {
  MessageTimer* timer = timers_.find(id);
  if (timer == nullptr || !TimerWheel::cancel(timer, id.raw)) return std::nullopt;
  const Nanoseconds left = std::max<Nanoseconds>(timer->deadline - clock().now(), 0);
  timer->drop_message();
  give_back(timer);
  return left;
}

void Runtime::give_back(MessageTimer* timer) noexcept {
  if (Worker* worker = Worker::current_of(*this)) return timers_.release(timer, &worker->free_timers);
  const std::scoped_lock lock(outside_mutex_);
  timers_.release(timer, &outside_timers_);
}

void Runtime::end_timers(ProcessDetail& detail, Worker& worker) noexcept {
  if (detail.timers_home == nullptr) return;
  std::vector<MessageTimer*> cancelled;
  detail.timers_home->cancel_all(&detail.timers, &cancelled);
  for (MessageTimer* timer : cancelled) {
    timer->drop_message();
    timers_.release(timer, &worker.free_timers);
  }
}

void Runtime::deliver(std::vector<DueTimer>* due) noexcept {
  // The wheel's order is that of its ticks; within one the earlier deadline comes first.
  const auto key = [](const DueTimer& timer) { return std::pair(timer.deadline, timer.order); };
  if (!std::ranges::is_sorted(*due, {}, key)) std::ranges::sort(*due, {}, key);
  for (DueTimer& timer : *due) {
    if (timer.message) {
      post_unbounded(timer.pid, std::move(timer.message));
    } else if (timer.spent == nullptr) {
      wake(timer.pid);
    } else {
      post_unbounded(timer.pid, timer.spent->make_message().release_plain());
      if (timer.spent->wheel.load(std::memory_order_acquire)->rearm(timer.spent, clock().now())) continue;
      timer.spent->drop_message();
    }
    if (timer.spent != nullptr) give_back(timer.spent);
  }
  due->clear();
}

}  // namespace rusm::otp
