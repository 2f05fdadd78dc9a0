// Execution: runs a program on the real runtime in deterministic mode, beside the model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "sim/program.h"

namespace rusm::otp {
class EventHook;
}

namespace rusm::otp::sim {

// What one or many executions did: that the programs reach what they are about.
struct Seen {
  std::size_t events = 0;  // that the model was told of
  std::size_t processes = 0;
  std::size_t messages = 0;
  std::size_t exits = 0;  // EXITs that were received
  std::size_t downs = 0;
  std::size_t replies = 0;
  std::size_t failed_calls = 0;  // the server ended, was not there, or was lost
  std::size_t timeouts = 0;
  std::size_t crashes = 0;  // processes that did not end normally
};

// A runtime that would be wrong, to see that it is found out.
enum class Fault : std::uint8_t {
  kNone,
  kForgetsUnlink,
  kForgetsDemonitor,
  kForgetsLink,
  kSendsTwice,
  kLosesReplies,
  kDoesNotTrap,
};

// Returns what was wrong first; empty when nothing was.
std::string execute(const Program& program, Seen* seen = nullptr, Fault fault = Fault::kNone);

// What this thread explores: should it crash or hang, that is what to repeat.
struct Present {
  std::uint64_t seed = 0;
  bool two_nodes = false;
};
extern thread_local Present present;

// Executes the program of each seed, on one node and on two, until one fails; returns the report: what was wrong, the
// program shrunk to what matters, and the command that repeats it. Empty when none fails.
std::string explore(std::uint64_t first_seed, std::uint64_t count, Seen* seen = nullptr, Fault fault = Fault::kNone);

}  // namespace rusm::otp::sim
