#include "otp/timer_wheel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <thread>

#include "base/entropy.h"
#include "otp/message_timer.h"

namespace rusm::otp {
namespace {

constexpr Nanoseconds kTick = 1 << 16;
constexpr Nanoseconds kStart = 12'345'678'901;
#ifdef RUSM_SANITIZED
constexpr std::size_t kMany = 30'000;
#else
constexpr std::size_t kMany = 300'000;
#endif

Pid pid_of(std::size_t number) {
  return Pid(0, static_cast<std::uint32_t>(number), 1);
}

std::vector<Pid> advance(TimerWheel& wheel, Nanoseconds now) {
  std::vector<DueTimer> due;
  do {
    wheel.advance(now, &due);
  } while (wheel.next_due() <= now);
  std::vector<Pid> pids;
  for (const DueTimer& timer : due) pids.push_back(timer.pid);
  return pids;
}

TEST(TimerWheel, FiresNeverEarlyAndAtMostATickLate) {
  for (const Nanoseconds span :
       {Nanoseconds{0}, Nanoseconds{1}, kTick, 63 * kTick, 64 * kTick, 65 * kTick, 4095 * kTick, 4096 * kTick,
        4097 * kTick, 64 * 4096 * kTick - 1, 64 * 4096 * kTick, 64 * 4096 * kTick + 1, kSecond, 3600 * kSecond,
        7 * 86400 * kSecond, 30 * 365 * 86400 * kSecond}) {
    TimerWheel wheel(kStart);
    Timer timer;
    timer.pid = pid_of(1);
    wheel.arm(&timer, kStart + span);
    EXPECT_TRUE(advance(wheel, kStart + span - 1).empty()) << span;
    EXPECT_EQ(timer.wheel.load(), &wheel);
    EXPECT_EQ(advance(wheel, kStart + span + kTick), std::vector{pid_of(1)}) << span;
    EXPECT_EQ(timer.wheel.load(), nullptr);
    EXPECT_TRUE(advance(wheel, kStart + 2 * span + 10 * kTick).empty()) << "fired twice";
    EXPECT_EQ(wheel.next_due(), kNever);
  }
}

TEST(TimerWheel, ADeadlineThatHasPassedFiresAtTheNextTick) {
  TimerWheel wheel(kStart);
  Timer timer;
  wheel.arm(&timer, kStart - kSecond);
  EXPECT_LE(wheel.next_due(), kStart + kTick);
  EXPECT_EQ(advance(wheel, kStart + kTick).size(), 1u);
}

TEST(TimerWheel, ADeadlineAtTheEndOfTimeStaysAndCanBeCancelled) {
  TimerWheel wheel(kStart);
  Timer timer;
  wheel.arm(&timer, kNever - 1);
  EXPECT_TRUE(advance(wheel, kStart + 365 * 86400 * kSecond).empty());
  EXPECT_TRUE(TimerWheel::cancel(&timer));
}

TEST(TimerWheel, ACancelledTimerDoesNotFire) {
  TimerWheel wheel(kStart);
  Timer timer;
  EXPECT_FALSE(TimerWheel::cancel(&timer)) << "never armed";
  wheel.arm(&timer, kStart + kSecond);
  EXPECT_TRUE(TimerWheel::cancel(&timer));
  EXPECT_FALSE(TimerWheel::cancel(&timer)) << "cancelled already";
  EXPECT_TRUE(advance(wheel, kStart + 2 * kSecond).empty());
  wheel.arm(&timer, kStart + 3 * kSecond);
  EXPECT_EQ(advance(wheel, kStart + 4 * kSecond).size(), 1u);
  EXPECT_FALSE(TimerWheel::cancel(&timer)) << "fired";
}

TEST(TimerWheel, CancellingOneOfManyInASlotLeavesTheOthers) {
  for (std::size_t cancelled = 0; cancelled < 3; ++cancelled) {
    TimerWheel wheel(kStart);
    Timer timers[3];
    for (std::size_t i = 0; i < 3; ++i) {
      timers[i].pid = pid_of(i);
      wheel.arm(&timers[i], kStart + kSecond);
    }
    EXPECT_TRUE(TimerWheel::cancel(&timers[cancelled]));
    const std::vector<Pid> due = advance(wheel, kStart + 2 * kSecond);
    EXPECT_EQ(due.size(), 2u);
    EXPECT_EQ(std::ranges::count(due, pid_of(cancelled)), 0);
  }
}

// Against a sorted map: random spans of all magnitudes, cancels, and advances that are small, large or exactly to
// next_due().
TEST(TimerWheel, BehavesAsASortedListDoes) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    Random random(seed);
    Nanoseconds now = kStart + static_cast<Nanoseconds>(random.below(kSecond));
    TimerWheel wheel(now);
    std::deque<Timer> timers(80);
    std::map<std::size_t, Nanoseconds> armed;
    for (std::size_t i = 0; i < timers.size(); ++i) timers[i].pid = pid_of(i);
    for (int round = 0; round < 800; ++round) {
      const auto i = static_cast<std::size_t>(random.below(timers.size()));
      if (random.below(3) != 0) {
        EXPECT_EQ(TimerWheel::cancel(&timers[i]), armed.erase(i) == 1);
        const auto span = static_cast<Nanoseconds>(random.below(std::uint64_t{1} << random.below(54)));
        wheel.arm(&timers[i], now + span);
        armed[i] = now + span;
      } else {
        const Nanoseconds due = wheel.next_due();
        const auto step = static_cast<Nanoseconds>(random.below(std::uint64_t{1} << random.below(46)));
        now = random.below(2) == 0 && due != kNever ? std::max(now, due) : now + step;
        for (const Pid pid : advance(wheel, now)) {
          const auto it = armed.find(pid.index());
          ASSERT_NE(it, armed.end()) << "seed " << seed << ": fired without being armed";
          ASSERT_LE(it->second, now) << "seed " << seed << ": early";
          armed.erase(it);
        }
        for (const auto& [number, deadline] : armed) {
          ASSERT_GT(deadline, now - kTick) << "seed " << seed << ": timer " << number << " is late";
        }
      }
      for (const auto& [number, deadline] : armed) {
        ASSERT_LE(wheel.next_due(), deadline + kTick) << "seed " << seed << ": next_due would miss timer " << number;
      }
    }
    for (Timer& timer : timers) TimerWheel::cancel(&timer);
  }
}

TEST(TimerWheel, OfVeryManyTimersEachFiresOnce) {
  Random random(1);
  TimerWheel wheel(kStart);
  std::vector<Timer> timers(kMany);
  for (std::size_t i = 0; i < kMany; ++i) {
    timers[i].pid = pid_of(i);
    wheel.arm(&timers[i], kStart + static_cast<Nanoseconds>(random.below(10 * kSecond)));
  }
  std::vector<bool> fired(kMany);
  std::size_t count = 0;
  for (Nanoseconds now = kStart; count < kMany; now += 100 * kMillisecond) {
    ASSERT_LT(now, kStart + 11 * kSecond);
    for (const Pid pid : advance(wheel, now)) {
      EXPECT_FALSE(fired[pid.index()]);
      EXPECT_LE(timers[pid.index()].deadline, now);
      fired[pid.index()] = true;
      ++count;
    }
  }
}

TEST(OwnedTimers, ForgetWhatIsNoMore) {
  TimerWheel wheel(0);
  TimerTable table;
  TimerTable::FreeList free;
  OwnedTimers owner;
  const auto start = [&](Nanoseconds deadline) {
    MessageTimer* timer = table.acquire(&free);
    timer->put_message(Message::of(1).release());
    timer->owner = &owner;
    owner.add(TimerId{timer->id.load()}, table);
    wheel.arm(timer, deadline);
    return timer;
  };
  std::vector<MessageTimer*> kept;
  std::size_t too_many = 0;
  for (int i = 0; i < 10'000; ++i) {
    MessageTimer* timer = start(kSecond);
    if (i % 100 == 0) {
      kept.push_back(timer);
      continue;
    }
    ASSERT_TRUE(TimerWheel::cancel(timer, timer->id.load()));
    timer->drop_message();
    table.release(timer, &free);
    if (owner.ids.size() > 20 + 2 * kept.size()) ++too_many;
  }
  EXPECT_EQ(too_many, 0u);
  EXPECT_EQ(owner.armed.load(), kept.size());
  for (const MessageTimer* timer : kept) {
    EXPECT_EQ(std::ranges::count(owner.ids, TimerId{timer->id.load()}), 1) << "one that is armed was forgotten";
  }
  std::vector<DueTimer> due;
  wheel.advance(2 * kSecond, &due);
  EXPECT_EQ(due.size(), kept.size());
  EXPECT_EQ(owner.armed.load(), 0u);
}

// An owner arms and cancels in turn while another thread advances: each timer either fires or is cancelled.
TEST(TimerWheel, CancelBesideAdvanceHappensOnceOrNotAtAll) {
  constexpr int kRounds = 2'000;
  TimerWheel wheel(0);
  std::atomic<bool> done{false};
  std::atomic<std::int64_t> fired{0};
  std::thread advancing([&] {
    Nanoseconds now = 0;
    std::vector<DueTimer> due;
    while (!done.load()) {
      now += kTick;
      due.clear();
      wheel.advance(now, &due);
      fired.fetch_add(static_cast<std::int64_t>(due.size()));
    }
  });
  std::int64_t cancelled = 0;
  Random random(3);
  for (int i = 0; i < kRounds; ++i) {
    Timer timer;  // its memory is given back while the other thread goes on
    const Nanoseconds due = wheel.next_due();
    wheel.arm(&timer, (due == kNever ? 0 : due) + static_cast<Nanoseconds>(random.below(3 * kTick)));
    if (i % 64 == 0) {
      while (timer.wheel.load() != nullptr) std::this_thread::yield();
    }
    cancelled += TimerWheel::cancel(&timer) ? 1 : 0;
  }
  done.store(true);
  advancing.join();
  EXPECT_EQ(fired.load() + cancelled, kRounds);
}

}  // namespace
}  // namespace rusm::otp
