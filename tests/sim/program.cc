#include "sim/program.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/entropy.h"

namespace rusm::otp::sim {
namespace {

struct Choice {
  Op op;
  int weight;
  std::string_view name;
};

// What is rare in life but matters comes often enough here.
constexpr std::array<Choice, kOps> kChoices = {{
    {Op::kSpawn, 5, "spawn"},
    {Op::kLink, 9, "link"},
    {Op::kUnlink, 7, "unlink"},
    {Op::kMonitor, 8, "monitor"},
    {Op::kMonitorName, 2, "monitor-name"},
    {Op::kDemonitor, 6, "demonitor"},
    {Op::kTrap, 6, "trap"},
    {Op::kExit, 3, "exit"},
    {Op::kSend, 10, "send"},
    {Op::kSendName, 3, "send-name"},
    {Op::kCall, 6, "call"},
    {Op::kReply, 4, "reply"},
    {Op::kRegister, 4, "register"},
    {Op::kUnregister, 2, "unregister"},
    {Op::kReceive, 6, "receive"},
    {Op::kReceiveFor, 8, "receive-for"},
    {Op::kReceiveFrom, 4, "receive-from"},
    {Op::kReceiveDown, 4, "receive-down"},
    {Op::kYield, 6, "yield"},
    {Op::kSleep, 3, "sleep"},
    {Op::kEnd, 2, "end"},
    {Op::kLose, 0, "lose"},
}};

constexpr std::size_t kInstructionsMin = 20;
constexpr std::size_t kInstructionsMax = 240;

Op choose(Random& random) {
  int all = 0;
  for (const Choice& choice : kChoices) all += choice.weight;
  auto dice = static_cast<int>(random.below(static_cast<std::uint64_t>(all)));
  for (const Choice& choice : kChoices) {
    if ((dice -= choice.weight) < 0) return choice.op;
  }
  return Op::kYield;
}

}  // namespace

Program make_program(std::uint64_t seed, bool two_nodes) {
  Random random(seed);
  Program program{.seed = seed, .two_nodes = two_nodes, .instructions = {}};
  const std::size_t size = kInstructionsMin + random.below(kInstructionsMax - kInstructionsMin);
  const auto byte = [&random](std::uint64_t below) { return static_cast<std::uint8_t>(random.below(below)); };
  for (std::size_t i = 0; i < size; ++i) {
    program.instructions.push_back(
        {.number = i, .op = choose(random), .who = byte(kActorsMax), .whom = byte(kActorsMax), .amount = byte(256)});
  }
  // Every third pair of nodes loses its connection.
  if (two_nodes && random.below(3) == 0) {
    Instruction& instruction = program.instructions[random.below(size)];
    instruction.op = Op::kLose;
    instruction.who %= kFirstActors;
  }
  return program;
}

Program keep(const Program& program, const std::set<std::size_t>& numbers) {
  Program kept{.seed = program.seed, .two_nodes = program.two_nodes, .instructions = {}};
  std::ranges::copy_if(program.instructions, std::back_inserter(kept.instructions),
                       [&](const Instruction& instruction) { return numbers.contains(instruction.number); });
  return kept;
}

std::string to_string(const Program& program) {
  std::string text = "seed " + std::to_string(program.seed) + (program.two_nodes ? ", two nodes" : ", one node") + "\n";
  for (const Instruction& instruction : program.instructions) {
    text += "  " + std::to_string(instruction.number) + ": " + std::to_string(instruction.who) + " " +
            std::string(kChoices[static_cast<std::size_t>(instruction.op)].name) + " " +
            std::to_string(instruction.whom) + " (" + std::to_string(instruction.amount) + ")\n";
  }
  return text;
}

Program shrink(Program program, const std::function<bool(const Program&)>& fails) {
  std::size_t pieces = 2;
  while (!program.instructions.empty()) {
    const std::size_t size = program.instructions.size();
    pieces = std::min(pieces, size);
    bool smaller = false;
    for (std::size_t piece = 0; piece < pieces && !smaller; ++piece) {
      Program without{.seed = program.seed, .two_nodes = program.two_nodes, .instructions = {}};
      const std::size_t begin = size * piece / pieces;
      const std::size_t end = size * (piece + 1) / pieces;
      for (std::size_t i = 0; i < size; ++i) {
        if (i < begin || i >= end) without.instructions.push_back(program.instructions[i]);
      }
      if (fails(without)) {
        program = std::move(without);
        smaller = true;
      }
    }
    if (smaller) {
      pieces = std::max<std::size_t>(2, pieces - 1);
    } else if (pieces == size) {
      break;
    } else {
      pieces *= 2;
    }
  }
  return program;
}

}  // namespace rusm::otp::sim
