// TimedAwait: what every wait for the network has in common. Internal to net.
#pragma once

#include <coroutine>

#include "otp/routine.h"

namespace rusm::net::detail {

// Op::step() tries what can be done now: true when that was all, false when it has to wait. It is called by its process
// only, so nothing that is pending refers to the frame in which this lies. Op::look_again_at(): when it has to be tried
// again though no wake comes; what is past: as soon as others had their turn.
template <class Op, otp::Step kStep>
struct TimedAwait : otp::detail::Await {
  static constexpr std::int32_t kCost = 20;  // reductions: a system call takes as long as so many other awaits

  TimedAwait(otp::Self& s, Nanoseconds span) noexcept : Await(s), until(span) {
    ready = [](otp::Waiter& waiter, otp::Process&) noexcept { return static_cast<TimedAwait&>(waiter).look(); };
  }
  bool await_ready() noexcept { return self.charge(kCost) && !self.exit_pending() && op().step(); }
  void await_suspend(std::coroutine_handle<> h) noexcept {
    if (until != kNever) {
      until = deadline_after(self.runtime().clock().now(), until);
      self.wake_at(until);
    }
    look_in_time();
    suspend(h, kStep, !self.charge(0), otp::Wait::kSocket);
  }
  bool look() noexcept {
    if (op().step()) return true;
    look_in_time();
    timed_out = passed(until);
    return timed_out;
  }
  void look_in_time() noexcept {
    const Nanoseconds at = op().look_again_at();
    if (at == kNever) return;
    if (at > self.runtime().clock().now()) return self.wake_at(at);
    self.runtime().wake(self.pid());
  }
  Nanoseconds look_again_at() noexcept { return kNever; }
  Op& op() noexcept { return static_cast<Op&>(*this); }

  Nanoseconds until;  // a span; once it waits, a point in time
  bool timed_out = false;
};

}  // namespace rusm::net::detail
