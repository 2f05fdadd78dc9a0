// Clock: monotonic and wall time behind an interface, so that tests and the deterministic scheduler own time.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace rusm {

using Nanoseconds = std::int64_t;  // a span, or a point on the monotonic clock of one Clock

inline constexpr Nanoseconds kMicrosecond = 1'000;
inline constexpr Nanoseconds kMillisecond = 1'000'000;
inline constexpr Nanoseconds kSecond = 1'000'000'000;
// A deadline that never comes.
inline constexpr Nanoseconds kNever = INT64_MAX;

// Threads: any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  // Monotonic nanoseconds since an arbitrary origin.
  virtual Nanoseconds now() const noexcept = 0;
  // Nanoseconds since 1970-01-01 UTC.
  virtual Nanoseconds wall() const noexcept = 0;
  // For measuring short spans at little cost: the difference of two readings is a span, good to a thousandth. A reading
  // cannot be compared with now().
  virtual Nanoseconds reading() const noexcept { return now(); }
};

// The operating system's clocks.
class SystemClock final : public Clock {
 public:
  Nanoseconds now() const noexcept override;
  Nanoseconds wall() const noexcept override;
  // The processor's counter where the system itself keeps time by it. The first call of a program takes 0.2 ms.
  Nanoseconds reading() const noexcept override;
};

// A clock that stands still until it is advanced. Threads: any thread.
class SimulatedClock final : public Clock {
 public:
  explicit SimulatedClock(Nanoseconds start = kSecond, Nanoseconds wall_offset = 1'700'000'000 * kSecond)
      : now_(start), wall_offset_(wall_offset) {}
  Nanoseconds now() const noexcept override { return now_.load(std::memory_order_acquire); }
  Nanoseconds wall() const noexcept override { return now() + wall_offset_; }
  void advance(Nanoseconds by) noexcept { now_.fetch_add(by, std::memory_order_acq_rel); }
  // Moves forward to `at`; never back.
  void advance_to(Nanoseconds at) noexcept;

 private:
  std::atomic<Nanoseconds> now_;
  const Nanoseconds wall_offset_;
};

// `now + span` that saturates at kNever.
constexpr Nanoseconds deadline_after(Nanoseconds now, Nanoseconds span) noexcept {
  return span >= kNever - now ? kNever : now + span;
}

}  // namespace rusm
