// A storm: guests that end in every way, at every call, beside each other, each linked or monitored by the process that
// started it; and what is left of them.
#pragma once

#include <cstdint>
#include <string>

#include "hostcalls/calls.h"

namespace rusm::hostcalls {

struct StormOptions {
  std::uint64_t guests = 100'000;
  std::uint64_t seed = 1;
  unsigned workers = 2;
};

// Threads: a value.
struct StormResult {
  std::uint64_t guests = 0;
  std::uint64_t normal = 0;
  std::uint64_t crashed = 0;
  std::uint64_t killed = 0;
  std::uint64_t limits = 0;
  std::uint64_t codes = 0;  // exited with one
  std::uint64_t exits = 0;  // EXITs of links that their parents heard of
  std::uint64_t downs = 0;  // DOWNs of monitors
  double seconds = 0;
  std::uint64_t resident_warm = 0;  // bytes of this program after a tenth
  std::uint64_t resident_end = 0;
  std::string problem;  // what does not hold; empty when all does

  std::string to_string() const;
};

// `modules` and `components`: what the guests call. One guest in 16 is a component, which is slower to start.
StormResult storm(const Calls& modules, const Calls& components, StormOptions options);

}  // namespace rusm::hostcalls
