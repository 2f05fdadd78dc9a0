#include "base/clock.h"

#include <time.h>

namespace rusm {
namespace {

Nanoseconds read(clockid_t id) noexcept {
  timespec t{};
  clock_gettime(id, &t);
  return static_cast<Nanoseconds>(t.tv_sec) * kSecond + t.tv_nsec;
}

}  // namespace

Nanoseconds SystemClock::now() const noexcept {
  return read(CLOCK_MONOTONIC);
}

Nanoseconds SystemClock::wall() const noexcept {
  return read(CLOCK_REALTIME);
}

void SimulatedClock::advance_to(Nanoseconds at) noexcept {
  Nanoseconds seen = now_.load(std::memory_order_acquire);
  while (seen < at && !now_.compare_exchange_weak(seen, at, std::memory_order_acq_rel)) {
  }
}

}  // namespace rusm
