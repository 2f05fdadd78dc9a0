// LogAllowance: how many bytes a guest may still write to the log. So many at once, then so many a second. Each line
// takes kLineBytes beside its text, for what the log writes around it: short lines are not for free.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/clock.h"

namespace rusm::wasm {

// Threads: one owner.
class LogAllowance {
 public:
  LogAllowance(std::uint64_t burst, std::uint64_t per_second) : burst_(burst), per_second_(per_second), left_(burst) {}

  static constexpr std::uint64_t kLineBytes = 128;

  // How many of `wanted` bytes may be written.
  std::uint64_t take(std::uint64_t wanted, Nanoseconds now) noexcept {
    if (refilled_ == 0) refilled_ = now;
    const Nanoseconds span = std::clamp<Nanoseconds>(now - refilled_, 0, kDay);
    const auto earned =
        static_cast<std::uint64_t>(static_cast<double>(span) * static_cast<double>(per_second_) / kSecond);
    if (earned > 0) {
      left_ = std::min(burst_, left_ + earned);
      refilled_ = now;
    }
    if (left_ > 0 && left_ >= burst_ / 2) dropped_ = false;
    const std::uint64_t granted = std::min(wanted, left_);
    left_ -= granted;
    return granted;
  }
  // Something was dropped. True when that is to be told: once until half of the burst may be written again, and not too
  // often.
  bool tells_drop(Nanoseconds now) noexcept {
    if (std::exchange(dropped_, true) || (told_ && now - *told_ < kTellEvery)) return false;
    told_ = now;
    return true;
  }

 private:
  static constexpr Nanoseconds kDay = 86'400 * kSecond;
  static constexpr Nanoseconds kTellEvery = 10 * kSecond;

  const std::uint64_t burst_;
  const std::uint64_t per_second_;
  std::uint64_t left_;
  Nanoseconds refilled_ = 0;
  bool dropped_ = false;
  std::optional<Nanoseconds> told_;
};

}  // namespace rusm::wasm
