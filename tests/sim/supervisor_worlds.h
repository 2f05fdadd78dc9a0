// Worlds of supervisors: a random tree of them whose children crash, hang, decline and die at random moments, and come
// and go by requests, watched from outside. What each supervisor met, did and answered is held against the model.
#pragma once

#include <cstdint>
#include <string>

namespace rusm::otp::sim {

struct SupervisorRun {
  std::string problem = {};  // empty: all is as it should be
  std::uint64_t supervisors = 0;
  std::uint64_t deeds = 0;  // starts, exit signals, ends
  std::uint64_t answers = 0;
  std::uint64_t waits_shorter = 0;  // of back-off, by their jitter
  std::uint64_t waits_longer = 0;

  void add(const SupervisorRun& other) {
    supervisors += other.supervisors;
    deeds += other.deeds;
    answers += other.answers;
    waits_shorter += other.waits_shorter;
    waits_longer += other.waits_longer;
  }
};
// Everything follows from the seed.
SupervisorRun run_supervisors(std::uint64_t seed);

}  // namespace rusm::otp::sim
