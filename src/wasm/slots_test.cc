#include "wasm/slots.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace rusm::wasm {
namespace {

TEST(SlotsTest, GivesOutExactlyWhatThereIs) {
  Slots slots(10, 4);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(slots.take(1, static_cast<unsigned>(i)));
  EXPECT_FALSE(slots.take(1, 0));
  EXPECT_EQ(slots.used(), 10u);
  slots.give(1, 3);
  EXPECT_FALSE(slots.take(2, 0));
  EXPECT_TRUE(slots.take(1, 0)) << "a slot that lies in another shard counts, too";
}

TEST(SlotsTest, TakesSeveralOrNone) {
  Slots slots(100, 2);
  EXPECT_FALSE(slots.take(101, 0));
  EXPECT_EQ(slots.used(), 0u);
  EXPECT_TRUE(slots.take(60, 0));
  EXPECT_FALSE(slots.take(60, 1));
  EXPECT_TRUE(slots.take(40, 1));
  EXPECT_EQ(slots.used(), 100u);
  slots.give(60, 1);
  slots.give(40, 1);
  EXPECT_TRUE(slots.take(100, 0));
}

TEST(SlotsTest, NeverOversellsUnderContention) {
  constexpr std::uint32_t kTotal = 50;
  constexpr int kRounds = 20'000;
  Slots slots(kTotal, 3);
  std::atomic<int> out{0};
  std::atomic<bool> oversold{false};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kRounds; ++i) {
        const auto count = static_cast<std::uint32_t>(1 + i % 30);
        if (!slots.take(count, t)) continue;
        if (out.fetch_add(static_cast<int>(count)) + static_cast<int>(count) > static_cast<int>(kTotal))
          oversold = true;
        out.fetch_sub(static_cast<int>(count));
        slots.give(count, (t + static_cast<unsigned>(i)) % 3);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(oversold);
  EXPECT_EQ(slots.used(), 0u);
  EXPECT_TRUE(slots.take(kTotal, 0));
}

}  // namespace
}  // namespace rusm::wasm
