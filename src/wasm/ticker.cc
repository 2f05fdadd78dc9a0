#include "wasm/ticker.h"

#include <time.h>

namespace rusm::wasm {

Ticker::Ticker(Nanoseconds period, unsigned slots, std::function<void()> tick)
    : period_(period), slot_count_(slots), tick_(std::move(tick)), flags_(new Flag[slots + 1]) {
  thread_ = std::thread([this] { run(); });
}

Ticker::~Ticker() {
  stop_.store(true);
  wake();
  thread_.join();
}

void Ticker::wake() noexcept {
  asleep_.store(0);
  asleep_.notify_one();
}

bool Ticker::any_running() const noexcept {
  for (unsigned i = 0; i <= slot_count_; ++i) {
    if (flags_[i].running.load() != 0) return true;
  }
  return false;
}

void Ticker::run() noexcept {
  std::uint32_t idle_ticks = 0;
  while (!stop_.load()) {
    if (idle_ticks >= kIdleTicksMax) {
      idle_ticks = 0;
      asleep_.store(1);
      if (any_running() || stop_.load()) {
        asleep_.store(0);
      } else {
        asleep_.wait(1);
      }
    }
    timespec span{.tv_sec = period_ / kSecond, .tv_nsec = period_ % kSecond};
    nanosleep(&span, nullptr);
    if (any_running()) {
      idle_ticks = 0;
      ticks_.fetch_add(1, std::memory_order_relaxed);
      tick_();
    } else {
      ++idle_ticks;
    }
  }
}

}  // namespace rusm::wasm
