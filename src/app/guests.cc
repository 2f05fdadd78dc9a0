#include "app/guests.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace rusm::app {
namespace {

constexpr std::uint64_t kMiB = 1u << 20;
constexpr std::uint64_t kKiB = 1u << 10;

// `texts` were read without mistakes.
std::vector<wasm::NetworkRule> rules_of(const std::vector<std::string>& texts,
                                        Result<wasm::NetworkRule> (*parse)(std::string_view)) {
  std::vector<wasm::NetworkRule> rules;
  for (const std::string& text : texts) {
    if (Result<wasm::NetworkRule> rule = parse(text)) rules.push_back(std::move(*rule));
  }
  return rules;
}

wasm::NetworkPolicy network_of(const CapabilityConfig& config) {
  wasm::NetworkPolicy policy{.reach = rules_of(config.network, wasm::NetworkRule::parse),
                             .listen = rules_of(config.network_listen, wasm::NetworkRule::parse_listen)};
  if (config.allow_network) policy.reach.insert(policy.reach.begin(), wasm::NetworkRule());
  return policy;
}

Nanoseconds limit_of(std::uint64_t ms) {
  return ms == 0 ? kNever : static_cast<Nanoseconds>(ms) * kMillisecond;
}

}  // namespace

wasm::Capabilities to_capabilities(const CapabilityConfig& config, const Environment& environment, Log& log) {
  wasm::Capabilities capabilities;
  capabilities.memory_bytes_max = config.max_memory_mb * kMiB;
  capabilities.cpu_max = limit_of(config.max_cpu_ms);
  capabilities.wall_max = limit_of(config.max_time_ms);
  capabilities.table_elements_max = config.max_table_elements;
  capabilities.resources_max = static_cast<std::uint32_t>(config.max_handles);
  capabilities.log_bytes_max = config.max_log_kb * kKiB;
  capabilities.log_bytes_per_second = config.max_log_kb_per_second * kKiB;
  capabilities.http_requests_max = static_cast<std::uint32_t>(config.max_http_requests);
  capabilities.http_timeout_max = limit_of(config.http_timeout_ms);
  capabilities.stdio = config.allow_stdio ? wasm::Stdio::kLog : wasm::Stdio::kNone;
  capabilities.actor = {.spawn = config.allow_spawn,
                        .spawn_only = config.spawn,
                        .process_control = config.allow_process_control,
                        .storage = config.allow_storage,
                        .bucket_only = config.buckets};
  capabilities.actor_limits.processes_max = static_cast<std::uint32_t>(config.max_processes);
  if (wasm::NetworkPolicy network = network_of(config); !network.empty()) capabilities.network = {std::move(network)};
  std::vector<std::string> missing;
  capabilities.env = environment.resolve(config.env, &missing);
  if (!missing.empty()) {
    log.warn("config", "granted variables have no value and are left out",
             {{"capability", config.name}, {"variables", fmt::format("{}", fmt::join(missing, " "))}});
  }
  for (const PreopenConfig& preopen : config.preopen) {
    capabilities.preopens.push_back(
        {.host_path = preopen.host, .guest_path = preopen.guest, .read_only = preopen.read_only});
  }
  return capabilities;
}

Result<> check_folders(const CapabilityConfig& config) {
  for (const PreopenConfig& preopen : config.preopen) {
    const int fd = open(preopen.host.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
      close(fd);
      continue;
    }
    ErrorCode code = ErrorCode::kInvalid;
    if (errno == ENOENT) code = ErrorCode::kNotFound;
    if (errno == EACCES) code = ErrorCode::kDenied;
    return fail(code, preopen.host,
                fmt::format("the capability {} grants this folder, but it cannot be opened: {}", config.name,
                            errno_text(errno)));
  }
  return {};
}

wasm::EngineOptions to_engine_options(const Config& config) {
  wasm::EngineOptions options;
  options.guests_max = static_cast<std::uint32_t>(config.engine.max_instances);
  options.pool_max = static_cast<std::uint32_t>(config.engine.pool_instances);
  options.slot_core_instances = static_cast<std::uint32_t>(config.engine.slot_core_instances);
  options.slot_tables = static_cast<std::uint32_t>(config.engine.slot_tables);
  options.table_elements_max = static_cast<std::uint32_t>(config.engine.table_elements);
  options.warm_slots_max = static_cast<std::uint32_t>(config.engine.warm_slots);
  options.memory_bytes_max = config.engine.max_memory_mb * kMiB;
  for (const ComponentConfig& component : config.components) {
    if (config.engine.max_memory_mb != 0) break;
    const CapabilityConfig* capability = config.capability(component.capability);
    if (capability == nullptr) continue;
    options.memory_bytes_max = std::max(options.memory_bytes_max, capability->max_memory_mb * kMiB);
  }
  if (options.memory_bytes_max == 0) options.memory_bytes_max = builtin_capability("sandboxed").max_memory_mb * kMiB;
  options.stack_bytes = config.engine.stack_kb * kKiB;
  options.keep_resident_bytes = config.engine.keep_resident_kb * kKiB;
  options.slice = static_cast<Nanoseconds>(config.engine.slice_us) * kMicrosecond;
  options.blocking_threads = static_cast<std::uint32_t>(config.engine.blocking_threads);
  options.workers = static_cast<unsigned>(config.node.workers);
  options.zero_stacks = config.engine.zero_stacks;
  options.compile_threads = static_cast<std::uint32_t>(config.engine.compile_threads);
  options.compile_time_max = static_cast<Nanoseconds>(config.engine.compile_seconds_max) * kSecond;
  options.compile_function_bytes_max = config.engine.compile_function_kb_max * kKiB;
  options.core_dumps_folder = config.engine.core_dumps;
  options.core_dumps_bytes_max = config.engine.core_dumps_max_mb * kMiB;
  return options;
}

std::string default_code_cache_dir(const EnvironmentLookup& environment) {
  // The XDG rules: a relative path in the variable is to be ignored.
  const auto absolute = [&](std::string_view name) {
    std::optional<std::string> value = environment(name);
    return value && value->starts_with('/') ? *value : std::string();
  };
  if (const std::string cache = absolute("XDG_CACHE_HOME"); !cache.empty()) return cache + "/rusm/code";
  if (const std::string home = absolute("HOME"); !home.empty()) return home + "/.cache/rusm/code";
  return {};
}

std::optional<wasm::CodeCache> open_code_cache(const EngineConfig& config, const wasm::Engine& engine,
                                               const EnvironmentLookup& environment, Entropy& entropy, Log& log) {
  if (!config.code_cache) return std::nullopt;
  const std::string folder =
      config.code_cache_dir.empty() ? default_code_cache_dir(environment) : config.code_cache_dir;
  if (folder.empty()) {
    log.warn("engine", "no code cache: neither XDG_CACHE_HOME nor HOME is set; set [engine] code_cache_dir");
    return std::nullopt;
  }
  Result<wasm::CodeCache> cache = wasm::CodeCache::open(folder, engine, entropy, &log);
  if (cache) return std::move(*cache);
  log.warn("engine", "no code cache, so each start compiles anew", {{"reason", cache.error().to_string()}});
  return std::nullopt;
}

}  // namespace rusm::app
