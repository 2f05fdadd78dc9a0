// Programs: what the two guests interpret. A series of calls with arguments as they are passed on the wire, so that
// each can be what no compiler would pass.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hostcalls/calls.h"

namespace rusm::hostcalls {

inline constexpr std::size_t kArgsMax = 16;
inline constexpr std::size_t kRegisters = 16;
inline constexpr std::size_t kScratchBytes = 2048;
inline constexpr std::size_t kCallsMax = 64;
// The most that a guest is asked to recurse when its stack is not what it is about.
inline constexpr std::uint32_t kDepthMax = 1000;

// Threads: a value.
struct Argument {
  enum class Kind : std::uint8_t { kValue, kRegister, kScratch, kMemoryEnd };
  Kind kind = Kind::kValue;
  std::uint64_t value = 0;  // or a register's number, or bytes from the start of the scratch, or from the memory's end
};

struct MadeCall {
  std::size_t call = 0;  // in Calls::all()
  std::vector<Argument> args;
};

// How it ends when its calls let it.
enum class End : std::uint32_t { kReturn, kTrap, kSpin };

struct Program {
  std::vector<MadeCall> calls;
  std::uint32_t depth = 0;   // of the stack
  std::uint32_t rounds = 1;  // how often all of it is done
  End end = End::kReturn;
  std::uint64_t report_to = 0;         // a pid that is sent registers and scratch at the end
  std::string scratch = {};            // at most kScratchBytes
  std::vector<std::uint64_t> pids{0};  // that `pidN` stands for

  // The message that the guest wants: little-endian
  //   u32 calls, depth, rounds, end; u64 report_to; 2048 bytes of scratch;
  //   for each call u32 its number, u32 0, u8 x 16 kinds of arguments, u64 x 16 values
  std::string encode() const;
  // One line, for reports.
  std::string to_string(const Calls& calls) const;
};

// "own_pid; send r0 m-6 7": calls by name, each with its arguments: a number; rN, the result of the N-th call; s+N,
// within the scratch; m-N, m+N, from the end of the memory; pidN. Throws std::runtime_error for what is none.
Program parse(const Calls& calls, std::string_view text, std::vector<std::uint64_t> pids);

// A scratch with names, texts that are none, and vectors for WASI preview 1. Offsets of what lies there:
inline constexpr std::size_t kNameAt = 0;       // "control", 7
inline constexpr std::size_t kOtherAt = 16;     // "other", 5
inline constexpr std::size_t kBadTextAt = 32;   // ff fe fd, 3
inline constexpr std::size_t kCutTextAt = 40;   // a character of three bytes of which two are there, 2
inline constexpr std::size_t kVectorsAt = 64;   // {1024, 16}, {0xfffffff0, 32}
inline constexpr std::size_t kResultAt = 1024;  // room for results
std::string usual_scratch();

// Any bytes are a program: this is what the fuzzer changes.
Program from_bytes(const Calls& calls, std::span<const std::uint8_t> bytes, std::vector<std::uint64_t> pids);

}  // namespace rusm::hostcalls
