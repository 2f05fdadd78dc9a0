// Program: what the processes of one simulation do, chosen by a seed, as data: so that what does not matter for a
// failure can be left out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

namespace rusm::otp::sim {

enum class Op : std::uint8_t {
  kSpawn,  // amount % 4: plain, linked, monitored, both
  kLink,
  kUnlink,
  kMonitor,
  kMonitorName,
  kDemonitor,
  kTrap,  // amount % 4: 0 no longer
  kExit,  // amount % 4: normal, shutdown, kill, its own words
  kSend,  // amount % 4 + 1 messages
  kSendName,
  kCall,
  kReply,     // to a request that somebody, perhaps another, has received and not answered
  kRegister,  // itself or another
  kUnregister,
  kReceive,      // for a millisecond
  kReceiveFor,   // amount µs; some 0
  kReceiveFrom,  // the first from the other, for amount µs
  kReceiveDown,  // the first DOWN or EXIT, for amount µs
  kYield,
  kSleep,
  kEnd,   // amount % 4: returns, throws, kill, its own words
  kLose,  // the connection between the nodes
};
inline constexpr int kOps = static_cast<int>(Op::kLose) + 1;

// One of the processes does something, to another or with a name.
struct Instruction {
  std::size_t number;  // in the whole program
  Op op;
  std::uint8_t who;
  std::uint8_t whom;
  std::uint8_t amount;
};

inline constexpr std::size_t kFirstActors = 4;  // half of them on each node
inline constexpr std::size_t kActorsMax = 12;   // the others are spawned by these

struct Program {
  std::uint64_t seed;  // of the schedule too
  bool two_nodes;
  std::vector<Instruction> instructions;
};

Program make_program(std::uint64_t seed, bool two_nodes);
// The same with these instructions only.
Program keep(const Program& program, const std::set<std::size_t>& numbers);
std::string to_string(const Program& program);

// Leaves instructions out as long as the rest `fails` (delta debugging, as Zeller's ddmin): of what is left none can be
// spared.
Program shrink(Program program, const std::function<bool(const Program&)>& fails);

}  // namespace rusm::otp::sim
