#include <gtest/gtest.h>

#include "sim/supervisor_worlds.h"

namespace rusm::otp::sim {
namespace {

#ifdef RUSM_SANITIZED
constexpr std::uint64_t kWorlds = 1'000;
#else
constexpr std::uint64_t kWorlds = 20'000;
#endif

TEST(Supervisors, DoWhatTheModelDoes) {
  SupervisorRun sum;
  for (std::uint64_t seed = 1; seed <= kWorlds; ++seed) {
    const SupervisorRun run = run_supervisors(seed);
    ASSERT_EQ(run.problem, "") << "seed " << seed;
    sum.add(run);
  }
  // The worlds are worth looking at.
  EXPECT_GT(sum.supervisors, 2 * kWorlds);
  EXPECT_GT(sum.deeds, 10 * kWorlds);
  EXPECT_GT(sum.answers, 5 * kWorlds);
  EXPECT_GT(sum.waits_shorter, kWorlds / 50);
  EXPECT_GT(sum.waits_longer, kWorlds / 50);
}

}  // namespace
}  // namespace rusm::otp::sim
