#include "wasm/ticker.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace rusm::wasm {
namespace {

// A full barrier on every thread of the program that runs; one that does not run has executed one. False: there is
// none.
bool barrier_everywhere() noexcept {
  return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}

bool register_for_barriers() noexcept {
  return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

}  // namespace

Ticker::Ticker(Nanoseconds period, unsigned slots, std::function<void()> tick)
    : period_(period),
      may_sleep_(register_for_barriers()),
      slot_count_(slots),
      tick_(std::move(tick)),
      flags_(new Flag[slots + 1]) {
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
    if (idle_ticks >= kIdleTicksMax && may_sleep_) {
      idle_ticks = 0;
      asleep_.store(1);
      if (!barrier_everywhere() || any_running() || stop_.load()) {
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
