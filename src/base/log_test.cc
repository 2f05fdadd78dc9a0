#include "base/log.h"

#include <gtest/gtest.h>

#include <latch>
#include <mutex>
#include <thread>
#include <vector>

namespace rusm {
namespace {

struct Captured {
  std::mutex mutex;
  std::string text;
  Log::Sink sink() {
    return [this](std::string_view lines) {
      const std::scoped_lock lock(mutex);
      text += lines;
    };
  }
  std::string get() {
    const std::scoped_lock lock(mutex);
    return text;
  }
};

TEST(Log, WritesAReadableLineWithFields) {
  SimulatedClock clock(0, 1'700'000'000 * kSecond);
  Captured captured;
  Log log({}, clock, captured.sink());
  log.info("serve", "listening", {{"address", "127.0.0.1:80"}, {"note", "two words"}});
  log.flush();
  EXPECT_EQ(captured.get(),
            "2023-11-14T22:13:20.000Z info  serve   listening address=127.0.0.1:80 note=\"two words\"\n");
}

TEST(Log, JsonIsEscaped) {
  SimulatedClock clock(0, 0);
  Captured captured;
  Log log({.format = LogFormat::kJson}, clock, captured.sink());
  log.error("guest", "a \"quoted\"\nline", {{"k", "v"}});
  log.flush();
  EXPECT_EQ(
      captured.get(),
      "{\"ts\":\"1970-01-01T00:00:00.000Z\",\"level\":\"error\",\"area\":\"guest\",\"msg\":\"a \\\"quoted\\\"\\nline\","
      "\"k\":\"v\"}\n");
}

TEST(Log, TextOfAGuestCannotForgeALine) {
  SimulatedClock clock(0, 0);
  Captured captured;
  Log log({}, clock, captured.sink());
  log.info("guest", "one\n1970-01-01T00:00:00.000Z error forged");
  log.flush();
  const std::string text = captured.get();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
}

TEST(Log, LevelsFilter) {
  SimulatedClock clock;
  Captured captured;
  Log log({.level = LogLevel::kWarn}, clock, captured.sink());
  log.info("a", "hidden");
  log.warn("a", "seen");
  log.flush();
  EXPECT_EQ(captured.get().find("hidden"), std::string::npos);
  EXPECT_NE(captured.get().find("seen"), std::string::npos);
  EXPECT_FALSE(log.wants(LogLevel::kInfo));
}

TEST(Log, AFullRingDropsAndCountsAndNeverBlocks) {
  SimulatedClock clock;
  std::latch blocked(1);
  std::latch release(1);
  std::atomic<bool> first{true};
  Captured captured;
  {
    Log log({.ring_lines_max = 4}, clock, [&](std::string_view lines) {
      if (first.exchange(false)) {
        blocked.count_down();
        release.wait();
      }
      captured.sink()(lines);
    });
    log.info("a", "first");
    blocked.wait();  // the log's thread now hangs in the sink
    for (int i = 0; i < 100; ++i) log.info("a", "line");
    EXPECT_GE(log.dropped(), 90u);
    release.count_down();
  }
  EXPECT_NE(captured.get().find("lines dropped"), std::string::npos);
}

TEST(Log, ManyThreadsLoseNothingWhenThereIsRoom) {
  SimulatedClock clock;
  Captured captured;
  {
    Log log({.ring_lines_max = 1 << 14}, clock, captured.sink());
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&log] {
        for (int i = 0; i < 1000; ++i) log.info("t", "line");
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(log.dropped(), 0u);
  }
  const std::string text = captured.get();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4000);
}

}  // namespace
}  // namespace rusm
