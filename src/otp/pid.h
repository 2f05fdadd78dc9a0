// Pid: the address of a process. 64 bits: 0 | node 10 | index 24 | generation 29.
//
// The index names a slot of the process table, the generation one tenant of it: a pid of a dead process addresses
// nothing, for ever. The node number is part of a node's own pids too, because guests carry pids inside payloads that
// nobody can translate; it is 0 for a node that never joined a cluster. The pids of a node 0 fit 53 bits (exact in
// JavaScript), and the sign bit stays free.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

// Tests build with few generation bits to meet retired slots soon.
#ifndef RUSM_GENERATION_BITS
#define RUSM_GENERATION_BITS 29
#endif

namespace rusm::otp {

// Threads: a value.
class Pid {
 public:
  static constexpr int kGenerationBits = RUSM_GENERATION_BITS;
  static constexpr int kIndexBits = 24;
  static constexpr int kNodeBits = 10;
  static constexpr std::uint32_t kGenerationMax = (1u << kGenerationBits) - 1;
  static constexpr std::uint32_t kIndexMax = (1u << kIndexBits) - 1;
  static constexpr std::uint32_t kNodeMax = (1u << kNodeBits) - 1;

  // No process.
  constexpr Pid() = default;
  constexpr Pid(std::uint32_t node, std::uint32_t index, std::uint32_t generation)
      : raw_((std::uint64_t{node} << (kIndexBits + 29)) | (std::uint64_t{index} << 29) | generation) {}
  // Any bit pattern; one that no process ever had addresses nothing.
  static constexpr Pid from_raw(std::uint64_t raw) {
    Pid pid;
    pid.raw_ = raw;
    return pid;
  }

  constexpr std::uint64_t raw() const { return raw_; }
  constexpr std::uint32_t node() const { return static_cast<std::uint32_t>(raw_ >> (kIndexBits + 29)); }
  constexpr std::uint32_t index() const { return static_cast<std::uint32_t>(raw_ >> 29) & kIndexMax; }
  constexpr std::uint32_t generation() const { return static_cast<std::uint32_t>(raw_) & ((1u << 29) - 1); }
  constexpr explicit operator bool() const { return raw_ != 0; }
  constexpr auto operator<=>(const Pid&) const = default;

  // "<node.index.generation>".
  std::string to_string() const;
  static std::optional<Pid> parse(std::string_view text);

 private:
  std::uint64_t raw_ = 0;
};

// Names one monitor, call or timer; unique on its node for the life of the runtime. 0 is none.
using Reference = std::uint64_t;

}  // namespace rusm::otp

template <>
struct std::hash<rusm::otp::Pid> {
  std::size_t operator()(rusm::otp::Pid pid) const noexcept { return pid.raw() * 0x9e3779b97f4a7c15; }
};
