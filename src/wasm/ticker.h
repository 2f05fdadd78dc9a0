// Ticker: ends the slice of guests that run, from a thread of its own that sleeps while none does.
//
// Each worker has a flag on a cache line of its own: it says that a guest runs there. The ticker looks at the flags
// once a tick and calls `tick` when one is set. After kIdleTicksMax ticks without any it goes to sleep: it says so in
// asleep_ and looks at the flags once more; whoever sets a flag looks at asleep_ afterwards. At least one of the two
// must see the other, which takes a full barrier between the write and the look on both sides. Resumes are frequent and
// sleep is rare, so the ticker pays for both: membarrier(2) makes each running thread of the program execute one. Where
// the system has no membarrier the ticker never sleeps.
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
  // `slots`: how many threads may drive guests with a flag of their own; all others share one.
  Ticker(Nanoseconds period, unsigned slots, std::function<void()> tick);
  ~Ticker();
  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;

  // Around each resume of a guest, with the same slot. A slot below `slots` is of one thread at a time.
  void enter(unsigned slot) noexcept {
    if (slot < slot_count_) [[likely]] {
      flags_[slot].running.store(1, std::memory_order_relaxed);
      // Not moved by the compiler; the processor's part is the ticker's membarrier.
      std::atomic_signal_fence(std::memory_order_seq_cst);
    } else {
      flags_[slot_count_].running.fetch_add(1);  // a count, because several threads share it
    }
    if (asleep_.load(std::memory_order_relaxed) != 0) [[unlikely]]
      wake();
  }
  void leave(unsigned slot) noexcept {
    if (slot < slot_count_) [[likely]] {
      flags_[slot].running.store(0, std::memory_order_relaxed);
    } else {
      flags_[slot_count_].running.fetch_sub(1, std::memory_order_relaxed);
    }
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
  const bool may_sleep_;
  const unsigned slot_count_;
  const std::function<void()> tick_;
  const std::unique_ptr<Flag[]> flags_;

  alignas(64) std::atomic<std::uint32_t> asleep_{0};
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> ticks_{0};
  std::thread thread_;
};

}  // namespace rusm::wasm
