// Worlds of supervisors: a random tree of them whose children crash, hang, decline and die at random moments, watched
// from outside. What each supervisor met and did is held against the model.
#pragma once

#include <cstdint>
#include <string>

namespace rusm::otp::sim {

struct SupervisorRun {
  std::string problem;  // empty: all is as it should be
  std::uint64_t supervisors = 0;
  std::uint64_t deeds = 0;  // starts, exit signals, ends
};
// Everything follows from the seed.
SupervisorRun run_supervisors(std::uint64_t seed);

}  // namespace rusm::otp::sim
