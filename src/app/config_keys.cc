#include "app/config_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace rusm::app {
namespace {

constexpr std::uint64_t kDayMs = 24ull * 3600 * 1000;

constexpr std::array kNodeKeys = {
    Key<NodeConfig>{"workers", &NodeConfig::workers, "Worker threads that run processes; 0: one for each core.", 0,
                    1024},
    Key<NodeConfig>{"max_processes", &NodeConfig::max_processes,
                    "Processes alive at once, connections and guests together.", 16, 1u << 24},
    Key<NodeConfig>{"drain_timeout_ms", &NodeConfig::drain_timeout_ms,
                    "After SIGTERM: how long requests in flight may take to finish before they are killed.", 0, kDayMs},
    Key<NodeConfig>{"control", &NodeConfig::control,
                    "A local socket, for this user alone, by which `rusm top` and its like look into the node."},
    Key<NodeConfig>{"store", &NodeConfig::store,
                    "Folder of the durable store that guests use, relative to rusm.toml, made if need be; empty: "
                    "none."},
};

constexpr std::array kLogKeys = {
    Key<LogConfig>{"level", &LogConfig::level, "The least important lines that are written.", 0, 0,
                   "off|error|warn|info|debug"},
    Key<LogConfig>{"format", &LogConfig::format, "Lines for people, or one JSON object a line.", 0, 0, "text|json"},
};

constexpr std::array kEngineKeys = {
    Key<EngineConfig>{"max_instances", &EngineConfig::max_instances,
                      "WebAssembly instances alive at once; 0: derived from the machine and logged at the start.", 0,
                      1'000'000},
    Key<EngineConfig>{"pool_instances", &EngineConfig::pool_instances,
                      "Of them, those with a slot of the pool, which start sooner and run faster; 0: derived from the "
                      "machine. See [guests.md](guests.md#where-instances-live).",
                      0, 1'000'000},
    Key<EngineConfig>{"slot_core_instances", &EngineConfig::slot_core_instances,
                      "Core instances for which one slot stands; an instance with more takes several slots.", 1, 32},
    Key<EngineConfig>{"slot_tables", &EngineConfig::slot_tables, "Tables for which one slot stands.", 1, 32},
    Key<EngineConfig>{"table_elements", &EngineConfig::table_elements,
                      "Elements of the largest table of an instance in the pool.", 1, 10'000'000},
    Key<EngineConfig>{"warm_slots", &EngineConfig::warm_slots,
                      "Free slots that keep the image of a component that nobody runs at the moment.", 0, 1'000'000},
    Key<EngineConfig>{"max_memory_mb", &EngineConfig::max_memory_mb,
                      "MiB of address space that each instance's memory can grow to; 0: the most that a capability in "
                      "use allows.",
                      0, 4'096},
    Key<EngineConfig>{"stack_kb", &EngineConfig::stack_kb,
                      "KiB of stack of each instance; the host functions that it calls have as much again.", 64,
                      16'384},
    Key<EngineConfig>{
        "keep_resident_kb", &EngineConfig::keep_resident_kb,
        "KiB of a free slot that stay mapped and are cleared by writing: faster than giving them back to the "
        "system.",
        0, 65'536},
    Key<EngineConfig>{"slice_us", &EngineConfig::slice_us,
                      "How long, in µs, an instance runs before others get their turn; the grain of CPU limits, too.",
                      100, 100'000},
    Key<EngineConfig>{"blocking_threads", &EngineConfig::blocking_threads, "Threads for the files of all instances.", 1,
                      512},
    Key<EngineConfig>{"zero_stacks", &EngineConfig::zero_stacks,
                      "Clear stacks between two tenants. No guest can read them anyway; costs 1.5 µs a start; the "
                      "overflow always does it."},
    Key<EngineConfig>{"code_cache", &EngineConfig::code_cache,
                      "Keep compiled code on disk, so that the next start is quick."},
    Key<EngineConfig>{"code_cache_dir", &EngineConfig::code_cache_dir,
                      "Folder of the code cache, relative to rusm.toml, for this user alone (mode 0700); empty: "
                      "`$XDG_CACHE_HOME/rusm/code`, "
                      "else `~/.cache/rusm/code`."},
    Key<EngineConfig>{"compile_threads", &EngineConfig::compile_threads,
                      "Threads for compiling, at low priority; 0: one for each core.", 0, 512},
    Key<EngineConfig>{"compile_seconds_max", &EngineConfig::compile_seconds_max,
                      "How long compiling one component may take; then it is an error.", 1, 86'400},
    Key<EngineConfig>{"compile_function_kb_max", &EngineConfig::compile_function_kb_max,
                      "KiB of the largest function that is compiled.", 1, 7'000},
    Key<EngineConfig>{"core_dumps", &EngineConfig::core_dumps,
                      "Folder for the core dumps of crashed instances, relative to rusm.toml; empty: none are made. A "
                      "dump holds the instance's whole memory."},
    Key<EngineConfig>{"core_dumps_max_mb", &EngineConfig::core_dumps_max_mb,
                      "MiB that all core dumps together may have; the oldest go first.", 1, 1u << 20},
};

constexpr std::array kServeKeys = {
    Key<ServeConfig>{"protocol", &ServeConfig::protocol, "What the listener speaks.", 0, 0, "http"},
    Key<ServeConfig>{"listen", &ServeConfig::listen,
                     "Address and port: `127.0.0.1:8080`, `[::1]:8080`, `0.0.0.0:80`; port 0 takes any free one."},
    Key<ServeConfig>{"component", &ServeConfig::component,
                     "The component that answers every request; instead of `[serve.routes]`."},
    Key<ServeConfig>{"max_connections", &ServeConfig::max_connections,
                     "Connections open at once; more wait in the system's queue.", 1, 1'000'000},
    Key<ServeConfig>{"max_in_flight", &ServeConfig::max_in_flight,
                     "Requests handled at once; 0: as many as the engine's pool has slots.", 0, 1'000'000},
    Key<ServeConfig>{"max_queue", &ServeConfig::max_queue,
                     "Requests that wait for one in flight to end; more are answered 503 at once.", 0, 1'000'000},
    Key<ServeConfig>{"max_queue_per_client", &ServeConfig::max_queue_per_client,
                     "Of those, how many one client address may have waiting; more are answered 503.", 0, 1'000'000},
    Key<ServeConfig>{"max_line_bytes", &ServeConfig::max_line_bytes,
                     "Bytes of the request line, or of one header line; a longer one is answered 414 or 431.", 256,
                     1u << 20},
    Key<ServeConfig>{"max_header_bytes", &ServeConfig::max_header_bytes,
                     "Bytes of a request's line and headers together; more are answered 431.", 1'024, 1u << 20},
    Key<ServeConfig>{"max_headers", &ServeConfig::max_headers, "Header lines of a request; more are answered 431.", 1,
                     10'000},
    Key<ServeConfig>{"max_body_bytes", &ServeConfig::max_body_bytes,
                     "Bytes of a request's body; more are answered 413. 0: no limit; bodies are streamed, not held.", 0,
                     1ull << 50},
    Key<ServeConfig>{
        "max_unread_body_bytes", &ServeConfig::max_unread_body_bytes,
        "Bytes of a body that its handler did not read which are read and dropped, so that the connection can "
        "go on; beyond it the connection closes.",
        0, 1ull << 40},
    Key<ServeConfig>{
        "request_timeout_ms", &ServeConfig::request_timeout_ms,
        "From the head of a request to the head of its response, and then from one piece of the response to the "
        "next; after that the handler is killed and, if no head was sent yet, 504 answered.",
        1, kDayMs},
    Key<ServeConfig>{"queue_timeout_ms", &ServeConfig::queue_timeout_ms,
                     "How long a request may wait for one in flight to end; then 503.", 0, kDayMs},
    Key<ServeConfig>{"header_timeout_ms", &ServeConfig::header_timeout_ms,
                     "From a request's first byte to the end of its headers; then 408 and the connection closes.", 1,
                     kDayMs},
    Key<ServeConfig>{"body_timeout_ms", &ServeConfig::body_timeout_ms,
                     "How long either body may stand still because of the client; then the connection closes.", 1,
                     kDayMs},
    Key<ServeConfig>{"idle_timeout_ms", &ServeConfig::idle_timeout_ms,
                     "How long a connection may stay open without a request.", 1, kDayMs},
    Key<ServeConfig>{"half_closed_timeout_ms", &ServeConfig::half_closed_timeout_ms,
                     "How long an answer may take to a client that has closed its sending side.", 0, kDayMs},
    Key<ServeConfig>{"linger_timeout_ms", &ServeConfig::linger_timeout_ms,
                     "How long what a client still sends is read and dropped after the server's last word.", 0, kDayMs},
    Key<ServeConfig>{"retry_after_secs", &ServeConfig::retry_after_secs, "The `Retry-After` of a 503.", 0, 86'400},
};

constexpr std::array kComponentKeys = {
    Key<ComponentConfig>{"capability", &ComponentConfig::capability,
                         "What its instances may do: `sandboxed`, `network-client`, `trusted` or a name under "
                         "`[capabilities]`."},
    Key<ComponentConfig>{"resident", &ComponentConfig::resident,
                         "One instance is started with the node, registered under the component's name, and started "
                         "again when it ends."},
    Key<ComponentConfig>{"source", &ComponentConfig::source,
                         "The .wasm file, relative to rusm.toml; empty: `wasm/NAME.wasm`."},
};

constexpr std::array kCapabilityKeys = {
    Key<CapabilityConfig>{"inherits", &CapabilityConfig::inherits, "Where to start from; the other keys change it.", 0,
                          0, "sandboxed|network-client|trusted"},
    Key<CapabilityConfig>{"allow-network", &CapabilityConfig::allow_network,
                          "Any public address and any name, through `wasi:sockets` and `wasi:http`."},
    Key<CapabilityConfig>{
        "network", &CapabilityConfig::network,
        "Where it may connect and send to: `HOST`, `*.HOST`, `ADDRESS`, `NETWORK/BITS` or `*`, each with "
        "`:PORT`, `:FIRST-LAST` or no port. See [capabilities.md](capabilities.md)."},
    Key<CapabilityConfig>{"network-listen", &CapabilityConfig::network_listen,
                          "Addresses of this machine that it may listen on: `127.0.0.1:8080`, `*:9000-9099`."},
    Key<CapabilityConfig>{
        "allow-stdio", &CapabilityConfig::allow_stdio,
        "Standard output and error go to the node's log, line by line; without it they vanish. Standard "
        "input is empty."},
    Key<CapabilityConfig>{"allow-spawn", &CapabilityConfig::allow_spawn,
                          "Starting, supervising and monitoring processes; a child never may more than its parent."},
    Key<CapabilityConfig>{"spawn", &CapabilityConfig::spawn,
                          "With `allow-spawn`: only these components; empty: every component of the node."},
    Key<CapabilityConfig>{"allow-process-control", &CapabilityConfig::allow_process_control,
                          "Seeing, monitoring and killing any process of the node."},
    Key<CapabilityConfig>{"allow-storage", &CapabilityConfig::allow_storage, "The store of `[node] store`."},
    Key<CapabilityConfig>{"buckets", &CapabilityConfig::buckets,
                          "With `allow-storage`: only these buckets; empty: every bucket."},
    Key<CapabilityConfig>{
        "max-processes", &CapabilityConfig::max_processes,
        "Processes alive at once that all instances of a component started, and those started, and so "
        "on; with at most half of the engine's instances.",
        1, 1'000'000},
    Key<CapabilityConfig>{"max-memory-mb", &CapabilityConfig::max_memory_mb,
                          "MiB of memory of one instance; a guest that needs more ends with the reason `limit`.", 1,
                          4'096},
    Key<CapabilityConfig>{"max-cpu-ms", &CapabilityConfig::max_cpu_ms,
                          "CPU time of one instance in ms; then it ends with the reason `limit`. 0: no limit.", 0,
                          kDayMs},
    Key<CapabilityConfig>{"max-time-ms", &CapabilityConfig::max_time_ms,
                          "Time on the clock of one instance in ms, from its first step; then it ends with the reason "
                          "`limit`. 0: no limit.",
                          0, 366 * kDayMs},
    Key<CapabilityConfig>{"max-table-elements", &CapabilityConfig::max_table_elements,
                          "Elements of all tables of one instance.", 0, 20'000},
    Key<CapabilityConfig>{"max-handles", &CapabilityConfig::max_handles,
                          "Streams, files, sockets and the like that one instance may have open.", 16, 1u << 20},
    Key<CapabilityConfig>{"max-log-kb", &CapabilityConfig::max_log_kb,
                          "KiB that one instance may write to the log at once; what is more is dropped.", 0, 1u << 20},
    Key<CapabilityConfig>{"max-log-kb-per-second", &CapabilityConfig::max_log_kb_per_second,
                          "How fast, in KiB each second, that room comes back.", 0, 1u << 20},
    Key<CapabilityConfig>{"max-http-requests", &CapabilityConfig::max_http_requests,
                          "Outgoing HTTP requests under way at once, over all instances of one component.", 0, 100'000},
    Key<CapabilityConfig>{
        "http-timeout-ms", &CapabilityConfig::http_timeout_ms,
        "The longest that an outgoing request may wait for its connection, for the head of its response, "
        "and for each next piece of the body.",
        1, kDayMs},
    Key<CapabilityConfig>{
        "env", &CapabilityConfig::env,
        "Environment variables that the guest sees: `NAME` takes the value from the node's environment "
        "or from the file .env beside rusm.toml, `NAME=value` sets it."},
};

constexpr std::array kPreopenKeys = {
    Key<PreopenConfig>{"host", &PreopenConfig::host, "The folder, relative to rusm.toml. Required."},
    Key<PreopenConfig>{"guest", &PreopenConfig::guest, "The path under which the guest sees it. Required."},
    Key<PreopenConfig>{"read-only", &PreopenConfig::read_only, "Reading only."},
};

constexpr std::string_view kNoAttach = "there is no attach endpoint yet";
constexpr std::array kLaterKeys = {
    LaterKey{"node", "listen", "", kNoAttach},
    LaterKey{"node", "ticks_per_second", "", kNoAttach},
    LaterKey{"node", "profile", "", "set [node] workers and the keys of [engine] instead"},
    LaterKey{"node", "dynamic_wasm_ttl_secs", "", "components are loaded at the start only"},
    LaterKey{"serve", "protocol", "ws", "use \"http\""},
    LaterKey{"serve", "protocol", "sse", "use \"http\": a component can stream its response"},
    LaterKey{"serve", "tls", "", "put a proxy that ends TLS in front"},
    LaterKey{"serve", "source", "", "set it under [components.NAME]"},
    LaterKey{"serve", "subprotocols", "", "there are no WebSockets yet"},
    LaterKey{"serve", "max_message_size", "", "there are no WebSockets yet"},
    LaterKey{"serve", "allowed_origins", "", "there are no WebSockets yet"},
    LaterKey{"serve", "compression", "true", "let the component or a proxy compress"},
    LaterKey{"serve", "authentication", "", "let the component check the request"},
    LaterKey{"components", "dynamic", "", "components are loaded at the start only"},
    LaterKey{"components", "entry", "", "a component is entered by what it exports"},
    LaterKey{"capabilities", "bridges", "", "there are no bridges yet"},
};

template <class T>
std::string type_of(const Key<T>& key) {
  if (std::holds_alternative<bool T::*>(key.field)) return "true or false";
  if (std::holds_alternative<std::uint64_t T::*>(key.field)) return fmt::format("integer {}…{}", key.min, key.max);
  if (std::holds_alternative<std::vector<std::string> T::*>(key.field)) return "list of texts";
  if (key.choices.empty()) return "text";
  std::string text;
  for (const char c : key.choices) text += c == '|' ? std::string(", ") : std::string(1, c);
  return text;
}

template <class T>
std::string default_of(const Key<T>& key) {
  const T defaults;
  if (const auto* field = std::get_if<bool T::*>(&key.field)) return defaults.**field ? "true" : "false";
  if (const auto* field = std::get_if<std::uint64_t T::*>(&key.field)) return std::to_string(defaults.**field);
  if (const auto* field = std::get_if<std::string T::*>(&key.field)) return fmt::format("\"{}\"", defaults.**field);
  return "[]";
}

template <class T>
void document(std::string_view section, std::span<const Key<T>> keys, std::vector<DocumentedKey>* out) {
  for (const Key<T>& key : keys) out->push_back({section, key.name, type_of(key), default_of(key), key.doc});
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

std::span<const Key<NodeConfig>> node_keys() {
  return kNodeKeys;
}
std::span<const Key<LogConfig>> log_keys() {
  return kLogKeys;
}
std::span<const Key<EngineConfig>> engine_keys() {
  return kEngineKeys;
}
std::span<const Key<ServeConfig>> serve_keys() {
  return kServeKeys;
}
std::span<const Key<ComponentConfig>> component_keys() {
  return kComponentKeys;
}
std::span<const Key<CapabilityConfig>> capability_keys() {
  return kCapabilityKeys;
}
std::span<const Key<PreopenConfig>> preopen_keys() {
  return kPreopenKeys;
}
std::span<const LaterKey> later_keys() {
  return kLaterKeys;
}

std::string DocumentedKey::row() const {
  return fmt::format("| `{}` | {} | `{}` | {} |", name, type, default_value, doc);
}

std::vector<DocumentedKey> documented_keys() {
  std::vector<DocumentedKey> keys;
  document("[node]", node_keys(), &keys);
  document("[log]", log_keys(), &keys);
  document("[engine]", engine_keys(), &keys);
  document("[[serve]]", serve_keys(), &keys);
  document("[components.NAME]", component_keys(), &keys);
  document("[capabilities.NAME]", capability_keys(), &keys);
  document("preopen", preopen_keys(), &keys);
  return keys;
}

std::string_view nearest(std::string_view name, std::span<const std::string_view> known) {
  // A mistyped letter or two; more in a long name.
  const std::size_t distance_max = std::max<std::size_t>(2, name.size() / 3);
  std::size_t best = distance_max + 1;
  std::string_view found;
  for (const std::string_view candidate : known) {
    const std::size_t distance = edit_distance(name, candidate);
    if (distance < best && distance < candidate.size()) {
      best = distance;
      found = candidate;
    }
  }
  return found;
}

}  // namespace rusm::app
