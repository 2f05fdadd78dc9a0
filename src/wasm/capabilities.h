// Capabilities: what a guest may do and use, as a value. The default is nothing but a bounded amount of memory and
// time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "wasm/actor_rights.h"
#include "wasm/bridge.h"
#include "wasm/network_policy.h"

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
  std::uint64_t random_bytes_max = 1 << 20;       // in one call
  Nanoseconds wall_max = kNever;                  // from its first step to its end
  std::uint64_t log_bytes_max = 64 << 10;         // at once; what is more is dropped and said so
  std::uint64_t log_bytes_per_second = 16 << 10;  // how fast that room comes back
  std::uint32_t http_requests_max = 64;           // outgoing and under way, over all its instances
  Nanoseconds http_timeout_max = 120 * kSecond;   // of each phase of an outgoing request
  ActorLimits actor_limits;

  // ── Rights ──
  Stdio stdio = Stdio::kLog;
  std::vector<NetworkPolicy> network;  // it may do what all of them allow; none: no network
  std::vector<std::string> args;
  std::vector<std::pair<std::string, std::string>> env;
  std::vector<Preopen> preopens;
  ActorRights actor;

  // What both allow: the lesser of two limits, and of the child's rights those that the parent has, too. A folder
  // within one of the parent's is kept, read-only if either says so; a variable is kept if the parent has it with the
  // same value; arguments are the child's.
  static Capabilities intersect(const Capabilities& parent, const Capabilities& child);

  // The same for the bridge. Errors: kInvalid for text that is not UTF-8.
  Result<GrantsPtr> to_grants() const;
};

}  // namespace rusm::wasm
