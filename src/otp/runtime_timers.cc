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
  const TimerId id{timer->id.load(std::memory_order_relaxed)};
  timer->pid = to;
  timer->owner = owner != nullptr ? &owner->detail().timers : nullptr;
  Worker* worker = Worker::current_of(*this);
  Worker* home = worker != nullptr ? worker : workers_.front().get();
  if (timer->owner != nullptr) timer->owner->add(id, timers_);
  const bool first = home->timers().arm(timer, deadline);
  // Sequentially consistent on both sides: either its worker sees the new deadline, or we that it sleeps.
  if (first && home != worker && home->parked_.load()) home->interrupt();
  return id;
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
  if (detail.timers.armed.load(std::memory_order_acquire) == 0) return;  // partner: TimerWheel::count_armed
  for (const TimerId id : detail.timers.ids) {
    MessageTimer* timer = timers_.find(id);
    if (!TimerWheel::cancel(timer, id.raw)) continue;
    timer->drop_message();
    timers_.release(timer, &worker.free_timers);
  }
}

void Runtime::deliver(std::vector<DueTimer>* due, std::vector<DueOrder>* order) noexcept {
  // The wheel's order is that of its ticks; within one the earlier deadline comes first, and of one deadline the one
  // that was armed first.
  order->clear();
  for (const DueTimer& timer : *due) order->emplace_back(timer.deadline, order->size());
  if (!std::ranges::is_sorted(*order)) std::ranges::sort(*order);
  for (const auto& [deadline, index] : *order) {
    DueTimer& timer = (*due)[index];
    if (timer.message) {
      post_due(timer.pid, std::move(timer.message));
    } else if (timer.spent == nullptr) {
      wake(timer.pid);
    } else {
      post_due(timer.pid, timer.spent->make_message().release_plain());
      if (timer.spent->wheel.load(std::memory_order_acquire)->rearm(timer.spent, clock().now())) continue;
      timer.spent->drop_message();
    }
    if (timer.spent != nullptr) give_back(timer.spent);
  }
  due->clear();
}

}  // namespace rusm::otp
