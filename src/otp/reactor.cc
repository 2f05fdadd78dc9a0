#include "otp/reactor.h"

#include <chrono>
#include <utility>

namespace rusm::otp {

void Bed::sleep(Nanoseconds timeout) noexcept {
  std::unique_lock lock(mutex_);
  if (timeout == kNever) {
    condition_.wait(lock, [this] { return woken_; });
  } else {
    condition_.wait_for(lock, std::chrono::nanoseconds(timeout), [this] { return woken_; });
  }
  woken_ = false;
}

bool Bed::wake() noexcept {
  {
    const std::scoped_lock lock(mutex_);
    if (std::exchange(woken_, true)) return false;
  }
  condition_.notify_one();
  return true;
}

bool Bed::take_wake() noexcept {
  const std::scoped_lock lock(mutex_);
  return std::exchange(woken_, false);
}

}  // namespace rusm::otp
