// LimitCounts: how often guests met their limits, by kind.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>

#include "otp/exit_reason.h"

namespace rusm::wasm {

enum class Limit : std::uint8_t {
  kMemory,
  kTables,
  kCpu,
  kTime,
  kStack,
  kInstances,
  kLog,           // dropped lines, once for each time that it began
  kAddress,       // an address that may not be reached, or listened on
  kName,          // a name that may not be looked up
  kHttpRequests,  // outgoing requests beyond those that may be under way
  kMessage,       // a message that is too long
  kMailbox,       // no room for what was stashed; what senders' messages find is counted by the runtime
  kTimers,
  kStreams,
  kChunk,
  kMonitors,
  kNames,
  kProcesses,  // of a family, or slots for one
  kCount,
};
inline constexpr std::size_t kLimits = static_cast<std::size_t>(Limit::kCount);

// "memory", "tables", "cpu", …: for those that end a guest the name in its exit reason.
std::string_view name_of(Limit limit) noexcept;

// What was counted up to a moment. Threads: a value.
struct LimitsHit {
  std::array<std::uint64_t, kLimits> counts{};
  std::uint64_t operator[](Limit limit) const noexcept { return counts[static_cast<std::size_t>(limit)]; }
  std::uint64_t& operator[](Limit limit) noexcept { return counts[static_cast<std::size_t>(limit)]; }
};

// Threads: any thread.
class LimitCounts {
 public:
  void count(Limit limit) noexcept {
    // relaxed: a count that orders nothing.
    counts_[static_cast<std::size_t>(limit)].fetch_add(1, std::memory_order_relaxed);
  }
  // Counts the limit that the reason tells of, if it does.
  void count(const otp::ExitReason& reason) noexcept;
  LimitsHit get() const noexcept;

 private:
  std::array<std::atomic<std::uint64_t>, kLimits> counts_{};
};

}  // namespace rusm::wasm
