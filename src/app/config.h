// Config: rusm.toml as a value. Reading it reports every mistake of the file at once; nothing is guessed or skipped.
// docs/configuration.md describes each key; config_keys.h is the table from which files are read.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace rusm::app {

inline constexpr std::size_t kConfigBytesMax = 1u << 20;

// [node]
struct NodeConfig {
  std::uint64_t workers = 0;  // 0: one for each core
  std::uint64_t max_processes = 1u << 24;
  std::uint64_t drain_timeout_ms = 30'000;
  bool control = true;
  std::string store;  // folder; empty: none
};

// [log]
struct LogConfig {
  std::string level = "info";   // as base/log.h names them
  std::string format = "text";  // or "json"
};

// [engine]
struct EngineConfig {
  std::uint64_t max_instances = 0;   // 0: derived from the machine
  std::uint64_t pool_instances = 0;  // the same
  std::uint64_t slot_core_instances = 5;
  std::uint64_t slot_tables = 3;
  std::uint64_t table_elements = 20'000;
  std::uint64_t warm_slots = 256;
  std::uint64_t max_memory_mb = 0;  // 0: what the largest capability in use asks for
  std::uint64_t stack_kb = 512;
  std::uint64_t keep_resident_kb = 64;
  std::uint64_t slice_us = 1'000;
  std::uint64_t blocking_threads = 4;
  bool zero_stacks = false;
  bool code_cache = true;
  std::string code_cache_dir;         // empty: the user's cache folder
  std::uint64_t compile_threads = 0;  // 0: one for each core
  std::uint64_t compile_seconds_max = 120;
  std::uint64_t compile_function_kb_max = 4'096;
  std::string core_dumps;  // a folder; empty: none
  std::uint64_t core_dumps_max_mb = 256;
};

// One line of [serve.routes].
struct RouteConfig {
  std::string pattern;    // "GET /users/:id"
  std::string component;  // a name in Config::components
  std::string where;      // "rusm.toml:12"
};

// One name and its value, of [serve.headers].
struct HeaderConfig {
  std::string name;
  std::string value;
};

// [[serve]]
struct ServeConfig {
  std::string protocol = "http";
  std::string listen = "127.0.0.1:8080";
  std::string component;  // for every request; instead of routes
  std::vector<RouteConfig> routes;
  std::vector<HeaderConfig> headers;
  std::uint64_t max_connections = 10'000;
  std::uint64_t max_in_flight = 0;  // 0: the slots of the engine's pool
  std::uint64_t max_queue = 1'024;
  std::uint64_t max_queue_per_client = 512;
  std::uint64_t max_line_bytes = 8 << 10;
  std::uint64_t max_header_bytes = 32 << 10;
  std::uint64_t max_headers = 100;
  std::uint64_t max_body_bytes = 0;  // 0: no limit; bodies are streamed, not held
  std::uint64_t max_unread_body_bytes = 256 << 10;
  std::uint64_t request_timeout_ms = 30'000;
  std::uint64_t queue_timeout_ms = 1'000;
  std::uint64_t header_timeout_ms = 10'000;
  std::uint64_t body_timeout_ms = 30'000;
  std::uint64_t idle_timeout_ms = 60'000;
  std::uint64_t half_closed_timeout_ms = 1'000;
  std::uint64_t linger_timeout_ms = 2'000;
  std::uint64_t retry_after_secs = 1;
  std::string where;  // "rusm.toml:3"
};

// [components.NAME]
struct ComponentConfig {
  std::string name;
  std::string capability = "sandboxed";  // a name in Config::capabilities
  bool resident = false;
  std::string source;  // absolute, or relative to the working folder; never empty after reading
};

// One entry of preopen = [{ host = "…", guest = "…", read-only = true }].
struct PreopenConfig {
  std::string host;
  std::string guest;
  bool read_only = false;
};

// [capabilities.NAME]; also the three that are always there: sandboxed, network-client, trusted.
struct CapabilityConfig {
  std::string name = "sandboxed";
  std::string inherits = "sandboxed";
  bool allow_network = false;        // any public address, beside what `network` names
  std::vector<std::string> network;  // as wasm::NetworkRule reads them
  std::vector<std::string> network_listen;
  bool allow_stdio = false;
  bool allow_spawn = false;
  std::vector<std::string> spawn;  // names of components; empty: every one
  bool allow_process_control = false;
  bool allow_storage = false;
  std::vector<std::string> buckets;  // empty: every one
  std::uint64_t max_processes = 256;
  std::uint64_t max_memory_mb = 64;
  std::uint64_t max_cpu_ms = 10'000;  // 0: no limit
  std::uint64_t max_time_ms = 0;      // 0: no limit
  std::uint64_t max_table_elements = 20'000;
  std::uint64_t max_handles = 4'096;
  std::uint64_t max_log_kb = 64;
  std::uint64_t max_log_kb_per_second = 16;
  std::uint64_t max_http_requests = 64;
  std::uint64_t http_timeout_ms = 120'000;
  std::vector<std::string> env;  // NAME, or NAME=value
  std::vector<PreopenConfig> preopen;
};

struct Config {
  std::string folder;  // of the file; empty: the working folder
  NodeConfig node;
  LogConfig log;
  EngineConfig engine;
  std::vector<ServeConfig> serve;
  std::vector<ComponentConfig> components;
  std::vector<CapabilityConfig> capabilities;  // the built-in ones first

  // Null when there is none of that name.
  const ComponentConfig* component(std::string_view name) const noexcept;
  const CapabilityConfig* capability(std::string_view name) const noexcept;
};

// The capability of that name as it is before any file changes it: "sandboxed", "network-client" or "trusted".
// Any other name gives the first.
CapabilityConfig builtin_capability(std::string_view name);

// All mistakes of one file, in the order of their lines. Error::where is "rusm.toml:12".
using ConfigErrors = std::vector<Error>;
using ConfigResult = std::expected<Config, ConfigErrors>;

// Reads `text`, which stands in the file `path`; sources and folders in it are relative to the file's folder.
// Errors: kInvalid for each mistake.
ConfigResult parse_config(std::string_view text, const std::string& path);
// Reads the file. Errors: as above, and kNotFound, kIo, kLimit for the file itself.
ConfigResult load_config(const std::string& path);

}  // namespace rusm::app
