// 100,000 guests that end in every way, and nothing is left of them. Ten millions of them: `make soak`.
#include "hostcalls/storm.h"

#include <gtest/gtest.h>

namespace rusm::hostcalls {
namespace {

#ifdef RUSM_SANITIZED
constexpr std::uint64_t kGuests = 10'000;
#else
constexpr std::uint64_t kGuests = 100'000;
#endif

TEST(StormTest, NothingIsLeftOfGuestsThatEndInEveryWay) {
  const StormResult result = storm(Calls::of_modules(), Calls::of_components(), {.guests = kGuests});
  EXPECT_EQ(result.problem, "") << result.to_string();
  EXPECT_EQ(result.guests, kGuests);
  // Each way is there, and each end was heard of.
  for (const std::uint64_t count : {result.normal, result.crashed, result.killed}) EXPECT_GT(count, kGuests / 100);
  for (const std::uint64_t count : {result.limits, result.codes}) EXPECT_GT(count, 0u);
  EXPECT_GE(result.exits + result.downs, kGuests);
  RecordProperty("figures", result.to_string());
}

}  // namespace
}  // namespace rusm::hostcalls
