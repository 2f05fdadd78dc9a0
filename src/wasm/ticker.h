// Ticker: ends the slice of guests that run, from a thread of its own that sleeps while none does.
//
// Each worker has a flag on a cache line of its own: it says that a guest runs there. The ticker looks at the flags
// once a tick and calls `tick` when one was set since it last looked. After kIdleTicksMax ticks without any it goes to
// sleep: it says so in asleep_ and looks at the flags once more; whoever sets a flag looks at asleep_ afterwards. Both
// are sequentially consistent, so at least one of the two sees the other and no guest runs while the ticker sleeps for
// good.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>

#include "base/clock.h"

namespace rusm::wasm {

// Threads: enter and leave on any thread, `tick` is called on the ticker's own.
class Ticker {
 public:
  // `slots`: how many threads may drive guests with a flag of their own; others share the last one.
  Ticker(Nanoseconds period, unsigned slots, std::function<void()> tick);
  ~Ticker();
  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;

  // Around each resume of a guest, with the same slot.
  void enter(unsigned slot) noexcept {
    Flag& flag = flags_[slot < slot_count_ ? slot : slot_count_];
    // seq_cst: see above. A count, because threads without a slot share one.
    flag.running.fetch_add(1);
    if (asleep_.load() != 0) [[unlikely]]
      wake();
  }
  void leave(unsigned slot) noexcept {
    flags_[slot < slot_count_ ? slot : slot_count_].running.fetch_sub(1, std::memory_order_release);
  }

  bool asleep() const noexcept { return asleep_.load() != 0; }
  std::uint64_t ticks() const noexcept { return ticks_.load(std::memory_order_relaxed); }

 private:
  struct alignas(64) Flag {
    std::atomic<std::uint32_t> running{0};
  };

  static constexpr std::uint32_t kIdleTicksMax = 20;

  void run() noexcept;
  void wake() noexcept;
  bool any_running() const noexcept;

  const Nanoseconds period_;
  const unsigned slot_count_;
  const std::function<void()> tick_;
  const std::unique_ptr<Flag[]> flags_;

  alignas(64) std::atomic<std::uint32_t> asleep_{0};
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> ticks_{0};
  std::thread thread_;
};

}  // namespace rusm::wasm
