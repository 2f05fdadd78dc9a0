// Limits in time and in log lines: what ends a guest, what is dropped, and that each is counted.

#include <gtest/gtest.h>

#include "wasm/log_allowance.h"
#include "wasm/test_node.h"

namespace rusm::wasm {
namespace {

using Kind = otp::ExitReason::Kind;

constexpr std::string_view kSpin = R"((func (export "run") (loop $l (br $l))))";

// Waits for an hour in one call of WASI.
constexpr std::string_view kSleep = R"((module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "run")
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const 3600000000000))
    (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128))))))";

Capabilities for_a_while(Nanoseconds wall) {
  Capabilities capabilities;
  capabilities.wall_max = wall;
  capabilities.cpu_max = kNever;
  return capabilities;
}

void expect_time_over(TestNode& node, const otp::ExitReason& reason) {
  EXPECT_EQ(reason.kind(), Kind::kLimit);
  EXPECT_EQ(reason.crash_kind(), "time");
  EXPECT_EQ(node.engine->limits_hit()[Limit::kTime], 1u);
  EXPECT_TRUE(node.settles());
}

TEST(GuestLimitsTest, AGuestThatRunsEndsWithItsTime) {
  TestNode node;
  expect_time_over(node, node.run(kSpin, for_a_while(20 * kMillisecond)));
}

TEST(GuestLimitsTest, AGuestThatWaitsEndsWithItsTime) {
  TestNode node;
  const auto maker = node.maker(kSleep, Entry::kExport, for_a_while(20 * kMillisecond));
  expect_time_over(node, node.wait(node.start(*maker)));
}

TEST(GuestLimitsTest, AGuestThatIsDoneInTimeEndsNormally) {
  TestNode node;
  EXPECT_TRUE(node.run(R"((func (export "run")))", for_a_while(kSecond * 3600)).is_normal());
  EXPECT_EQ(node.engine->limits_hit()[Limit::kTime], 0u);
}

TEST(GuestLimitsTest, CpuTimeAndMemoryAreCounted) {
  TestNode node;
  Capabilities little;
  little.cpu_max = kMillisecond;
  little.memory_bytes_max = 64 << 10;
  EXPECT_EQ(node.run(kSpin, little).crash_kind(), "cpu");
  EXPECT_EQ(node.run(R"((memory 1) (func (export "run") (drop (memory.grow (i32.const 1))) unreachable))", little)
                .crash_kind(),
            "memory");
  const LimitsHit hit = node.engine->limits_hit();
  EXPECT_EQ(hit[Limit::kCpu], 1u);
  EXPECT_EQ(hit[Limit::kMemory], 1u);
  EXPECT_EQ(hit[Limit::kTables], 0u);
}

// Writes "x" and a new line, 1,000 times.
constexpr std::string_view kChatter = R"((module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "x\n")
  (func (export "run") (local $i i32)
    (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 2))
    (loop $l
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get $i) (i32.const 1000)))))))";

std::size_t lines_with(std::string_view text, std::string_view what) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string_view::npos; ++at) ++count;
  return count;
}

TEST(LogAllowanceTest, WhoWritesTooMuchIsToldSeldom) {
  LogAllowance log(100, 10);
  Nanoseconds now = kSecond;
  int told = 0;
  const auto write = [&](std::uint64_t bytes) { told += log.take(bytes, now) < bytes && log.tells_drop(now) ? 1 : 0; };
  for (int i = 0; i < 1000; ++i) {
    write(200);
    write(0);  // nothing is no sign that there is room again
    now += kMillisecond;
  }
  EXPECT_EQ(told, 1) << "10 of 100 bytes came back";
  now += 11 * kSecond;
  write(1);
  write(200);
  EXPECT_EQ(told, 2) << "more than half came back";

  LogAllowance mute(0, 0);
  told = 0;
  for (int i = 0; i < 100; ++i) {
    told += mute.take(5, now) < 5 && mute.tells_drop(now) ? 1 : 0;
    (void)mute.take(0, now);
  }
  EXPECT_EQ(told, 1);
}

TEST(GuestLimitsTest, LogRoomComesBackWithTime) {
  TestNode node;
  Capabilities quiet;
  quiet.log_bytes_max = 10 * (LogAllowance::kLineBytes + 1);
  quiet.log_bytes_per_second = 0;
  node.wait(node.start(*node.maker(kChatter, Entry::kExport, quiet)));
  EXPECT_EQ(lines_with(node.lines.text(), " stream=stdout"), 10u) << node.lines.text();
  EXPECT_EQ(lines_with(node.lines.text(), "writes more than it may"), 1u);
  EXPECT_EQ(node.engine->limits_hit()[Limit::kLog], 1u);

  TestNode silent;
  Capabilities none;
  none.log_bytes_max = 0;
  silent.wait(silent.start(*silent.maker(kChatter, Entry::kExport, none)));
  EXPECT_EQ(silent.lines.text().find("writes more than it may"), std::string::npos);

  TestNode talkative;
  quiet.log_bytes_per_second = std::uint64_t{1} << 40;
  talkative.wait(talkative.start(*talkative.maker(kChatter, Entry::kExport, quiet)));
  EXPECT_EQ(lines_with(talkative.lines.text(), " stream=stdout"), 1000u);
  EXPECT_EQ(talkative.engine->limits_hit()[Limit::kLog], 0u);
}

TEST(GuestLimitsTest, DroppingIsToldOnceInAWhile) {
  LogAllowance allowance(10, 10);
  Nanoseconds now = kSecond;
  int told = 0;
  for (int i = 0; i < 20; ++i, now += kSecond) {
    EXPECT_EQ(allowance.take(10, now), 10u);
    EXPECT_EQ(allowance.take(1, now), 0u);
    told += allowance.tells_drop(now) ? 1 : 0;
  }
  EXPECT_EQ(told, 2);
}

}  // namespace
}  // namespace rusm::wasm
