#include "app/command.h"

#include <algorithm>
#include <chrono>
#include <future>

#include "app/guests.h"
#include "net/epoll_reactor.h"
#include "otp/runtime.h"
#include "wasm/guest_body.h"
#include "wasm/guest_factory.h"
#include "wasm/program.h"

namespace rusm::app {
namespace {

// One guest; but a component can be made of many core instances, which count as several.
constexpr std::uint64_t kCommandInstances = 8;

Config one_guest(const CommandOptions& options) {
  Config config;
  config.node.workers = 1;
  config.engine = options.engine;
  config.engine.max_instances = kCommandInstances;
  config.engine.max_memory_mb = options.capability.max_memory_mb;
  return config;
}

// The reason, or nothing when `timeout` ns pass first.
std::optional<otp::ExitReason> wait_for(std::future<otp::ExitReason>& ended, Nanoseconds timeout) {
  if (timeout == kNever) return ended.get();
  if (ended.wait_for(std::chrono::nanoseconds(timeout)) == std::future_status::timeout) return std::nullopt;
  return ended.get();
}

}  // namespace

Result<CommandOutcome> run_command(const CommandOptions& options, CommandParts parts) {
  if (Result<> checked = check_folders(options.capability); !checked) return std::unexpected(checked.error());
  const Environment environment(parts.environment);
  const Config config = one_guest(options);
  Result<std::unique_ptr<wasm::Engine>> engine = wasm::Engine::open(to_engine_options(config), &parts.log);
  if (!engine) return std::unexpected(engine.error());
  const std::optional<wasm::CodeCache> cache =
      open_code_cache(config.engine, **engine, parts.environment, parts.entropy, parts.log);
  wasm::ProgramOptions program_options = {.name = options.file,
                                          .entry = wasm::Entry::kCommand,
                                          .function = {},
                                          .capabilities = to_capabilities(options.capability, environment, parts.log)};
  program_options.capabilities.stdio = wasm::Stdio::kInherit;
  program_options.capabilities.args = options.args;
  Result<std::shared_ptr<wasm::Program>> program =
      wasm::Program::load(**engine, cache ? &*cache : nullptr, options.file, std::move(program_options));
  if (!program) return std::unexpected(program.error());

  // Outlive the runtime, whose worker fulfils the promise.
  std::promise<otp::ExitReason> promise;
  std::future<otp::ExitReason> ended = promise.get_future();
  net::IoDriver driver;
  otp::Runtime runtime({.workers = 1}, {.clock = parts.clock, .entropy = parts.entropy, .reactors = driver});
  wasm::GuestMaker maker(*program, runtime);
  const Ref<wasm::CommandStatus> status = make_ref<wasm::CommandStatus>();
  Result<otp::BodyPtr> body = maker.make({.bytes = {}, .attachment = status});
  if (!body) return std::unexpected(body.error());

  const otp::Pid pid = runtime.spawn_body(
      std::move(*body), {.label = options.file, .on_exit = [&promise](otp::Pid, const otp::ExitReason& reason) {
                           promise.set_value(reason);
                         }});
  if (!pid) return fail(ErrorCode::kUnavailable, options.file, "there is no room for another process");
  CommandOutcome outcome;
  std::optional<otp::ExitReason> reason = wait_for(ended, options.timeout);
  if (!reason) {
    outcome.timed_out = true;
    runtime.exit(pid, otp::ExitReason::Kind::kKill);
    reason = ended.get();
  }
  outcome.reason = std::move(*reason);
  outcome.exit_code = outcome.timed_out ? -1 : status->exit_code();
  return outcome;
}

}  // namespace rusm::app
