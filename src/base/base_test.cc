#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/entropy.h"
#include "base/error.h"
#include "base/histogram.h"
#include "base/refcount.h"

namespace rusm {
namespace {

TEST(Clock, SimulatedMovesOnlyWhenTold) {
  SimulatedClock clock(5);
  EXPECT_EQ(clock.now(), 5);
  clock.advance(10);
  EXPECT_EQ(clock.now(), 15);
  clock.advance_to(12);
  EXPECT_EQ(clock.now(), 15);
}

TEST(Clock, DeadlinesSaturate) {
  EXPECT_EQ(deadline_after(10, 5), 15);
  EXPECT_EQ(deadline_after(10, kNever), kNever);
  EXPECT_EQ(deadline_after(kNever - 1, 5), kNever);
}

TEST(Entropy, SeededRepeatsAndSystemDoesNot) {
  SeededEntropy a(7);
  SeededEntropy b(7);
  EXPECT_EQ(a.next_u64(), b.next_u64());
  SystemEntropy system;
  EXPECT_NE(system.next_u64(), system.next_u64());
}

TEST(Entropy, BelowStaysBelow) {
  Random random(1);
  bool seen[7] = {};
  for (int i = 0; i < 1000; ++i) seen[random.below(7)] = true;
  for (const bool s : seen) EXPECT_TRUE(s);
}

TEST(Histogram, PercentilesAreWithinTheStepWidth) {
  Histogram h;
  for (std::uint64_t i = 1; i <= 100'000; ++i) h.record(i);
  EXPECT_NEAR(static_cast<double>(h.percentile(0.5)), 50'000, 50'000 * 0.07);
  EXPECT_NEAR(static_cast<double>(h.percentile(0.99)), 99'000, 99'000 * 0.07);
  EXPECT_EQ(h.count(), 100'000u);
  Histogram empty;
  EXPECT_EQ(empty.percentile(0.5), 0u);
  h.record(UINT64_MAX);
  EXPECT_GE(h.percentile(1.0), UINT64_MAX >> 1);
}

struct Counted : RefCounted {
  explicit Counted(int* alive) : alive_(alive) { ++*alive_; }
  ~Counted() override { --*alive_; }
  int* alive_;
};

TEST(Ref, DestroysWithTheLastOwner) {
  int alive = 0;
  {
    Ref<Counted> a = make_ref<Counted>(&alive);
    Ref<Counted> b = a;
    Ref<Counted> c = std::move(a);
    EXPECT_FALSE(a);
    b.reset();
    EXPECT_EQ(alive, 1);
    EXPECT_TRUE(c);
  }
  EXPECT_EQ(alive, 0);
}

TEST(Error, ReadsAsASentence) {
  EXPECT_EQ((Error{ErrorCode::kNotFound, "rusm.toml:3", "no such component"}).to_string(),
            "rusm.toml:3: no such component");
  EXPECT_EQ(name_of(ErrorCode::kLimit), "limit");
}

TEST(ClockTest, ReadingsOfTheSystemClockMeasureSpansAsItsTimeDoes) {
  const SystemClock clock;
  clock.reading();  // the first one sets it up
  constexpr Nanoseconds kSpan = 5 * kMillisecond;
  const Nanoseconds outer_begin = clock.now();
  const Nanoseconds begin = clock.reading();
  const Nanoseconds inner_begin = clock.now();
  while (clock.now() < inner_begin + kSpan) {
  }
  const Nanoseconds inner_end = clock.now();
  const Nanoseconds span = clock.reading() - begin;
  const Nanoseconds outer_end = clock.now();
  EXPECT_GE(span, (inner_end - inner_begin) / 100 * 99);
  EXPECT_LE(span, (outer_end - outer_begin) / 100 * 101);
}

TEST(ClockTest, ReadingsOfASimulatedClockAreItsTime) {
  SimulatedClock clock;
  const Nanoseconds begin = clock.reading();
  clock.advance(kSecond);
  EXPECT_EQ(clock.reading() - begin, kSecond);
}

}  // namespace
}  // namespace rusm
