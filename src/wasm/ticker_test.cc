#include "wasm/ticker.h"

#include <gtest/gtest.h>

#include <chrono>

namespace rusm::wasm {
namespace {

template <class Condition>
bool eventually(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

TEST(TickerTest, SleepsWhileNoGuestRunsAndTicksWhileOneDoes) {
  std::atomic<int> ticks{0};
  Ticker ticker(kMillisecond / 10, 2, [&] { ticks.fetch_add(1); });
  ASSERT_TRUE(eventually([&] { return ticker.asleep(); }));
  EXPECT_EQ(ticks.load(), 0);
  for (unsigned slot : {0u, 1u, 7u}) {
    const int before = ticks.load();
    ticker.enter(slot);
    EXPECT_TRUE(eventually([&] { return ticks.load() > before + 3; })) << "slot " << slot;
    ticker.leave(slot);
    ASSERT_TRUE(eventually([&] { return ticker.asleep(); })) << "slot " << slot;
  }
}

TEST(TickerTest, ThreadsWithoutASlotOfTheirOwnAreCounted) {
  std::atomic<int> ticks{0};
  Ticker ticker(kMillisecond / 10, 1, [&] { ticks.fetch_add(1); });
  ticker.enter(5);
  ticker.enter(6);
  ticker.leave(5);
  const int before = ticks.load();
  EXPECT_TRUE(eventually([&] { return ticks.load() > before + 3; })) << "one of the two still runs";
  ticker.leave(6);
  EXPECT_TRUE(eventually([&] { return ticker.asleep(); }));
}

TEST(TickerTest, NoWakeIsLostBetweenLookingAndSleeping) {
  std::atomic<int> ticks{0};
  Ticker ticker(kMicrosecond, 1, [&] { ticks.fetch_add(1); });
  for (int i = 0; i < 200; ++i) {
    const int before = ticks.load();
    ticker.enter(0);
    ASSERT_TRUE(eventually([&] { return ticks.load() > before; })) << "round " << i;
    ticker.leave(0);
    if (i % 2 == 0) {
      ASSERT_TRUE(eventually([&] { return ticker.asleep(); }));
    }
  }
}

}  // namespace
}  // namespace rusm::wasm
