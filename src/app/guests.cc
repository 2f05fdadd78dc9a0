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

}  // namespace

wasm::Capabilities to_capabilities(const CapabilityConfig& config, const Environment& environment, Log& log) {
  wasm::Capabilities capabilities;
  capabilities.memory_bytes_max = config.max_memory_mb * kMiB;
  capabilities.cpu_max = config.max_cpu_ms == 0 ? kNever : static_cast<Nanoseconds>(config.max_cpu_ms) * kMillisecond;
  capabilities.stdio = config.allow_stdio ? wasm::Stdio::kLog : wasm::Stdio::kNone;
  capabilities.network = config.allow_network;
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
