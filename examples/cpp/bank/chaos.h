// Chaos: kills processes of the bank, chosen at random: accounts, transfers, and now and then a supervisor with all
// that is under it.
#pragma once

#include <rusm/otp/routine.h>

#include <atomic>
#include <cstdint>

namespace bank {

// Threads: any thread.
struct Kills {
  std::atomic<int> accounts{0};
  std::atomic<int> transfers{0};
  std::atomic<int> supervisors{0};
};

rusm::otp::Routine chaos(rusm::otp::Self& self, std::uint64_t seed, rusm::Nanoseconds every, Kills* kills);

}  // namespace bank
