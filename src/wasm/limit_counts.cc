#include "wasm/limit_counts.h"

namespace rusm::wasm {
namespace {

constexpr std::array<std::string_view, kLimits> kNames = {
    "memory",        "tables",  "cpu",     "time",   "stack",   "instances", "log",      "address", "name",
    "http-requests", "message", "mailbox", "timers", "streams", "chunk",     "monitors", "names",   "processes",
};

}  // namespace

std::string_view name_of(Limit limit) noexcept {
  return kNames[static_cast<std::size_t>(limit)];
}

void LimitCounts::count(const otp::ExitReason& reason) noexcept {
  using Kind = otp::ExitReason::Kind;
  const bool is_stack = reason.kind() == Kind::kCrashed && reason.crash_kind() == name_of(Limit::kStack);
  if (reason.kind() != Kind::kLimit && !is_stack) return;
  for (std::size_t i = 0; i < kLimits; ++i) {
    if (kNames[i] == reason.crash_kind()) return count(static_cast<Limit>(i));
  }
}

LimitsHit LimitCounts::get() const noexcept {
  LimitsHit hit;
  for (std::size_t i = 0; i < kLimits; ++i) hit.counts[i] = counts_[i].load(std::memory_order_relaxed);
  return hit;
}

}  // namespace rusm::wasm
