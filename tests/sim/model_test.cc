// Random programs on the real runtime and on the model: what processes see is what they should see.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "sim/execution.h"

namespace rusm::otp::sim {
namespace {

#ifdef RUSM_SANITIZED
constexpr std::uint64_t kSeeds = 300;
#else
constexpr std::uint64_t kSeeds = 10'000;
#endif

TEST(Model, RandomProgramsDoWhatTheModelSays) {
  Seen seen;
  EXPECT_EQ(explore(1, kSeeds, &seen), "");
  // That the programs reach what they are about.
  EXPECT_GT(seen.events, kSeeds * 100);
  EXPECT_GT(seen.processes, kSeeds * 10);
  EXPECT_GT(seen.messages, kSeeds * 10);
  EXPECT_GT(seen.exits, kSeeds);
  EXPECT_GT(seen.downs, kSeeds);
  EXPECT_GT(seen.replies, kSeeds);
  EXPECT_GT(seen.failed_calls, kSeeds / 2);
  EXPECT_GT(seen.timeouts, kSeeds * 2);
  EXPECT_GT(seen.crashes, kSeeds);
}

// A runtime that is wrong is found out, and by a program in which there is little that does not matter.
class FaultTest : public testing::TestWithParam<Fault> {};

TEST_P(FaultTest, IsFoundAndShrunk) {
  const std::string report = explore(1, 200, nullptr, GetParam());
  ASSERT_NE(report, "");
  EXPECT_LE(std::ranges::count(report, '\n'), 12) << report;
  EXPECT_NE(report.find("repeat with: " RUSM_SIM_PROGRAM " --seed "), std::string::npos) << report;
}

INSTANTIATE_TEST_SUITE_P(Model, FaultTest,
                         testing::Values(Fault::kForgetsUnlink, Fault::kForgetsDemonitor, Fault::kForgetsLink,
                                         Fault::kSendsTwice, Fault::kLosesReplies, Fault::kDoesNotTrap));

TEST(Shrink, LeavesOnlyWhatMatters) {
  const Program program = make_program(1, false);
  const std::set<std::size_t> matter = {3, 11, 12};
  const Program small = shrink(program, [&](const Program& less) {
    std::set<std::size_t> missing = matter;
    for (const Instruction& instruction : less.instructions) missing.erase(instruction.number);
    return missing.empty();
  });
  std::set<std::size_t> left;
  for (const Instruction& instruction : small.instructions) left.insert(instruction.number);
  EXPECT_EQ(left, matter);
  EXPECT_EQ(to_string(keep(program, matter)), to_string(small));
}

}  // namespace
}  // namespace rusm::otp::sim
