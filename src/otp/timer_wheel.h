// TimerWheel: a hierarchical timing wheel (Varghese and Lauck, 1987). Arming and cancelling are O(1); a timer never
// fires early, and at most one tick (2^16 ns, 66 µs) late beside what the scheduler adds.
//
// Invariants
// 1. A timer is in at most one wheel; Timer::wheel says in which, and changes only under that wheel's lock.
// 2. A timer that is due leaves the wheel before its pid is woken; the wake happens without the lock.
// 3. Whoever destroys a timer has cancelled it first: after cancel() returns no wheel refers to it.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "base/clock.h"
#include "otp/pid.h"

namespace rusm::otp {

class TimerWheel;

// Threads: armed and cancelled by its owner; see the wheel.
struct Timer {
  Timer* next = nullptr;
  Timer* previous = nullptr;
  std::atomic<TimerWheel*> wheel{nullptr};
  Nanoseconds deadline = kNever;
  Pid pid;  // woken when it is due
  std::uint16_t slot = 0;
};

// Threads: any thread; a mutex inside, held for O(1) except while due timers are collected.
class TimerWheel {
 public:
  explicit TimerWheel(Nanoseconds now);
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  // REQUIRES: the timer is in no wheel; only its owner arms it.
  void arm(Timer* timer, Nanoseconds deadline) noexcept;
  // Takes the timer out of whatever wheel it is in. Returns false when it was in none (it fired, or never was armed).
  static bool cancel(Timer* timer) noexcept;
  // Takes out what is due at `now` and appends the pids to *due.
  void advance(Nanoseconds now, std::vector<Pid>* due);
  // When advance() should be called next, at the latest; kNever when empty. Never later than the earliest deadline,
  // sometimes earlier (a coarse level has to be spread over finer ones).
  Nanoseconds next_due() const noexcept { return next_due_.load(std::memory_order_relaxed); }

 private:
  static constexpr int kTickBits = 16;  // a tick is 2^16 ns
  static constexpr int kSlotBits = 6;
  static constexpr int kSlots = 1 << kSlotBits;
  static constexpr int kLevels = 8;  // 2^(16 + 48) ns: all of time

  void insert(Timer* timer) noexcept;
  void remove(Timer* timer) noexcept;
  void take_slot(int level, int slot, Timer** list) noexcept;
  std::uint64_t next_occupied_tick() const noexcept;
  void refresh_next_due() noexcept;

  std::mutex mutex_;
  std::uint64_t tick_;  // everything before it has been handled
  std::array<std::uint64_t, kLevels> occupied_{};
  std::array<std::array<Timer*, kSlots>, kLevels> slots_{};
  std::atomic<Nanoseconds> next_due_{kNever};
};

}  // namespace rusm::otp
