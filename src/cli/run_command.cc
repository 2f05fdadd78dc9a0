#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <filesystem>

#include "app/command.h"
#include "cli/commands.h"

namespace rusm::cli {
namespace {

app::CommandOptions options_of(const RunCommand& command) {
  app::CommandOptions options;
  options.file = command.file;
  options.args.push_back(std::filesystem::path(command.file).filename().string());
  options.args.insert(options.args.end(), command.args.begin(), command.args.end());
  options.timeout = command.timeout;
  options.capability = app::builtin_capability("sandboxed");
  options.capability.name = "of the command line";
  options.capability.allow_network = command.allow_network;
  options.capability.max_memory_mb = command.max_memory_mb;
  options.capability.max_cpu_ms = 0;  // a command may take its time; --timeout bounds it
  options.capability.env = command.env;
  for (const Folder& folder : command.folders) {
    options.capability.preopen.push_back({.host = folder.host, .guest = folder.guest, .read_only = folder.read_only});
  }
  return options;
}

// Says how the guest ended, unless it ended by itself, and returns the exit code for it.
int report(const RunCommand& command, const app::CommandOutcome& outcome) {
  using Kind = otp::ExitReason::Kind;
  if (outcome.timed_out) {
    fmt::print(stderr, "rusm: {} did not end in {} ms and was killed\n", command.file, command.timeout / kMillisecond);
    return kExitTimeout;
  }
  if (outcome.exit_code >= 0) return outcome.exit_code;
  fmt::print(stderr, "rusm: {}: {}\n", command.file, outcome.reason.to_string());
  if (!outcome.reason.backtrace().empty()) fmt::print(stderr, "{}\n", outcome.reason.backtrace());
  return outcome.reason.kind() == Kind::kLimit ? kExitLimit : kExitTrap;
}

}  // namespace

int run(const RunCommand& command, const app::EnvironmentLookup& environment) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is the guest's to notice
  const SystemClock clock;
  SystemEntropy entropy;
  Log log({.level = LogLevel::kWarn}, clock);
  const Result<app::CommandOutcome> outcome = app::run_command(
      options_of(command), {.clock = clock, .entropy = entropy, .log = log, .environment = environment});
  log.flush();
  if (outcome) return report(command, *outcome);
  fmt::print(stderr, "rusm: {}\n", outcome.error().to_string());
  return kExitFailure;
}

}  // namespace rusm::cli
