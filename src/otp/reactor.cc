#include "otp/reactor.h"

#include <chrono>

namespace rusm::otp {

void QuietReactor::park(Nanoseconds timeout) noexcept {
  std::unique_lock lock(mutex_);
  if (timeout == kNever) {
    condition_.wait(lock, [this] { return woken_; });
  } else {
    condition_.wait_for(lock, std::chrono::nanoseconds(timeout), [this] { return woken_; });
  }
  woken_ = false;
}

void QuietReactor::wake() noexcept {
  {
    const std::scoped_lock lock(mutex_);
    woken_ = true;
  }
  condition_.notify_one();
}

}  // namespace rusm::otp
