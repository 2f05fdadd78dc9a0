// A supervisor as its documentation describes it, to be held against a real one: it is given everything that reached
// the real one, in its order and with its times, and says what that should have done and answered.
#pragma once

#include <cstdint>
#include <string>

#include "sim/supervisor_life.h"

namespace rusm::otp::sim {

struct Verdict {
  std::string problem;  // what it did wrong; empty when nothing
  // Waits before restarts that were shorter and longer than they would be without jitter.
  std::uint64_t waits_shorter = 0;
  std::uint64_t waits_longer = 0;
};
Verdict judge(const SupervisorSpec& spec, const Life& life);

}  // namespace rusm::otp::sim
