// Running one command: a node of one guest, from start to exit code.
#pragma once

#include <string>
#include <vector>

#include "app/config.h"
#include "app/environment.h"
#include "base/clock.h"
#include "base/entropy.h"
#include "base/log.h"
#include "otp/exit_reason.h"

namespace rusm::app {

struct CommandOptions {
  std::string file;
  std::vector<std::string> args;  // the guest's, its own name first
  CapabilityConfig capability;    // standard streams are this program's own, whatever it says
  Nanoseconds timeout = kNever;
  EngineConfig engine;  // for the code cache
};

struct CommandParts {
  const Clock& clock;
  Entropy& entropy;
  Log& log;
  const EnvironmentLookup& environment;
};

struct CommandOutcome {
  int exit_code = -1;  // the guest's own; -1 when it was cut off
  otp::ExitReason reason;
  bool timed_out = false;
};

// Returns when the guest has ended. Blocks: not for workers.
// Errors: those of loading the file and of opening the folders; kUnavailable.
Result<CommandOutcome> run_command(const CommandOptions& options, CommandParts parts);

}  // namespace rusm::app
