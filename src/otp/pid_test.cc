#include "otp/pid.h"

#include <gtest/gtest.h>

#include <unordered_set>

namespace rusm::otp {
namespace {

TEST(Pid, KeepsItsThreeParts) {
  const Pid pid(Pid::kNodeMax, Pid::kIndexMax, Pid::kGenerationMax);
  EXPECT_EQ(pid.node(), Pid::kNodeMax);
  EXPECT_EQ(pid.index(), Pid::kIndexMax);
  EXPECT_EQ(pid.generation(), Pid::kGenerationMax);
  const Pid other(3, 70'000, 5);
  EXPECT_EQ(other.node(), 3u);
  EXPECT_EQ(other.index(), 70'000u);
  EXPECT_EQ(other.generation(), 5u);
  EXPECT_EQ(Pid::from_raw(other.raw()), other);
}

TEST(Pid, FitsWhereGuestsKeepIt) {
  EXPECT_EQ(Pid(Pid::kNodeMax, Pid::kIndexMax, (1u << 29) - 1).raw() >> 63, 0u) << "the sign bit stays free";
  EXPECT_LT(Pid(0, Pid::kIndexMax, (1u << 29) - 1).raw(), std::uint64_t{1} << 53) << "exact in JavaScript";
}

TEST(Pid, EmptyIsNoProcess) {
  EXPECT_FALSE(Pid());
  EXPECT_TRUE(Pid(0, 0, 1));
  EXPECT_NE(Pid(), Pid(0, 0, 1));
}

TEST(Pid, TextGoesRoundTrip) {
  for (const Pid pid : {Pid(), Pid(0, 0, 1), Pid(7, 12, 99), Pid(Pid::kNodeMax, Pid::kIndexMax, (1u << 29) - 1)}) {
    EXPECT_EQ(Pid::parse(pid.to_string()), pid) << pid.to_string();
  }
  EXPECT_EQ(Pid(1, 2, 3).to_string(), "<1.2.3>");
}

TEST(Pid, TextThatIsNoPidIsRefused) {
  for (const char* text : {"", "<", "<>", "<1.2>", "<1.2.3", "1.2.3>", "<1.2.3.4>", "<1..3>", "<-1.2.3>", "<a.2.3>",
                           "<1.2.3 >", " <1.2.3>", "<1024.2.3>", "<1.16777216.3>", "<1.2.536870912>",
                           "<99999999999999999999.2.3>", "<1,2,3>", "<1.2.>", "<...>>"}) {
    EXPECT_FALSE(Pid::parse(text).has_value()) << text;
  }
}

TEST(Pid, HashesApart) {
  std::unordered_set<std::size_t> hashes;
  for (std::uint32_t i = 0; i < 1000; ++i) hashes.insert(std::hash<Pid>()(Pid(0, i, 1)));
  EXPECT_EQ(hashes.size(), 1000u);
}

}  // namespace
}  // namespace rusm::otp
