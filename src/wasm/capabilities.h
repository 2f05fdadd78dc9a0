// Capabilities: what a guest may do and use, as a value. The default is nothing but a bounded amount of memory and
// time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "wasm/bridge.h"

namespace rusm::wasm {

enum class Stdio : std::uint8_t {
  kNone,     // no input, output vanishes
  kLog,      // no input, output becomes lines of the node's log
  kInherit,  // the streams of this process
};

struct Preopen {
  std::string host_path;
  std::string guest_path;
  bool read_only = true;
};

// Threads: a value.
struct Capabilities {
  // ── Limits ──
  std::uint64_t memory_bytes_max = 64 << 20;  // all linear memories together
  std::uint64_t table_elements_max = 20'000;
  Nanoseconds cpu_max = 10 * kSecond;           // time on a core; kNever: unlimited
  std::uint64_t hostcall_bytes_max = 16 << 20;  // copied out of the guest by one host call
  std::uint32_t resources_max = 4096;           // open streams, files, fields, …
  std::uint32_t http_fields_bytes_max = 128 << 10;
  std::uint64_t random_bytes_max = 1 << 20;  // in one call
  std::uint64_t log_bytes_max = 64 << 10;    // over the guest's life; the rest is dropped and said so

  // ── Rights ──
  Stdio stdio = Stdio::kLog;
  bool network = false;  // TCP, UDP and name look-ups, unfiltered
  std::vector<std::string> args;
  std::vector<std::pair<std::string, std::string>> env;
  std::vector<Preopen> preopens;

  // The same for the bridge. Errors: kInvalid for text that is not UTF-8.
  Result<GrantsPtr> to_grants() const;
};

}  // namespace rusm::wasm
