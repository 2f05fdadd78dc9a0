#include "base/clock.h"

#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>

#include <fstream>
#include <string>
#endif

namespace rusm {
namespace {

Nanoseconds read(clockid_t id) noexcept {
  timespec t{};
  clock_gettime(id, &t);
  return static_cast<Nanoseconds>(t.tv_sec) * kSecond + t.tv_nsec;
}

#if defined(__x86_64__)

constexpr Nanoseconds kCalibration = 200 * kMicrosecond;
constexpr int kTries = 8;
constexpr unsigned kShift = 32;

// The counter and the clock at one moment: of some tries the one that took least, so that an interruption between the
// two does not count.
struct Moment {
  std::uint64_t count = 0;
  Nanoseconds time = 0;

  static Moment now() noexcept {
    Moment best;
    Nanoseconds least = kNever;
    for (int i = 0; i < kTries; ++i) {
      const Nanoseconds before = read(CLOCK_MONOTONIC);
      const std::uint64_t count = __rdtsc();
      const Nanoseconds after = read(CLOCK_MONOTONIC);
      if (after - before < least) {
        least = after - before;
        best = {count, before + (after - before) / 2};
      }
    }
    return best;
  }
};

// Nanoseconds of one count of the time stamp counter, times 2^kShift. 0 where it is no clock: the system says by its
// own choice whether the counters of all processors agree and never stop.
std::uint64_t counter_scale() noexcept try {
  std::string source;
  std::ifstream("/sys/devices/system/clocksource/clocksource0/current_clocksource") >> source;
  if (source != "tsc") return 0;
  const Moment begin = Moment::now();
  while (read(CLOCK_MONOTONIC) < begin.time + kCalibration) {
  }
  const Moment end = Moment::now();
  if (end.count <= begin.count) return 0;
  const auto span = static_cast<std::uint64_t>(end.time - begin.time);
  return static_cast<std::uint64_t>((static_cast<unsigned __int128>(span) << kShift) / (end.count - begin.count));
} catch (...) {
  return 0;
}

#endif

}  // namespace

Nanoseconds SystemClock::now() const noexcept {
  return read(CLOCK_MONOTONIC);
}

Nanoseconds SystemClock::wall() const noexcept {
  return read(CLOCK_REALTIME);
}

Nanoseconds SystemClock::reading() const noexcept {
#if defined(__x86_64__)
  static const std::uint64_t scale = counter_scale();
  if (scale != 0) [[likely]] {
    return static_cast<Nanoseconds>((static_cast<unsigned __int128>(__rdtsc()) * scale) >> kShift);
  }
#endif
  return now();
}

void SimulatedClock::advance_to(Nanoseconds at) noexcept {
  Nanoseconds seen = now_.load(std::memory_order_acquire);
  while (seen < at && !now_.compare_exchange_weak(seen, at, std::memory_order_acq_rel)) {
  }
}

}  // namespace rusm
