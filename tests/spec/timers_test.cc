// T. Timers.
#include "spec/fixture.h"

namespace rusm::otp::spec {
namespace {

using Kind = ExitReason::Kind;
using testing::ElementsAre;
using testing::IsEmpty;

// Moves the clock on by `span`, stopping at every deadline on the way.
void pass(World& w, Nanoseconds span) {
  const Nanoseconds until = w.clock().now() + span;
  w.run();
  for (Nanoseconds due = w.here().next_timer(); due <= until; due = w.here().next_timer()) {
    w.clock().advance_to(due);
    w.run();
  }
  w.clock().advance_to(until);
  w.run();
}

TEST(T, Case1_SendAfterNeverFiresEarlyAndHardlyLate) {
  for_seeds(
      On::kOneNode,
      [](World& w) {
        for (const Nanoseconds span :
             {Nanoseconds{0}, Nanoseconds{1}, kMillisecond, kSecond, 3600 * kSecond, 7 * 86400 * kSecond}) {
          const Pid a = w.puppet(w.here());
          const Pid b = w.puppet(w.here());
          w.tell(a, [&](Self& self) { EXPECT_TRUE(self.send_after(span, b, Message::of_text("now"))); });
          w.run();
          if (span > kMillisecond) {
            pass(w, span - kMillisecond);
            EXPECT_THAT(w.seen(b), IsEmpty()) << span;
            pass(w, 2 * kMillisecond);
          } else {
            pass(w, span + kMillisecond);
          }
          EXPECT_THAT(w.seen(b), ElementsAre("now")) << span;
        }
      },
      30);
}

TEST(T, Case1_ACancelledTimerNeverArrives) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid a = w.puppet(w.here());
    std::optional<Nanoseconds> left;
    TimerId id;
    w.tell(a, [&](Self& self) { id = self.send_after(kSecond, self.pid(), Message::of_text("never")); });
    pass(w, 400 * kMillisecond);
    w.tell(a, [&](Self& self) { left = self.cancel(id); });
    pass(w, 10 * kSecond);
    ASSERT_TRUE(left);
    EXPECT_EQ(*left, 600 * kMillisecond);
    EXPECT_THAT(w.seen(a), IsEmpty());
  });
}

TEST(T, Case2_CancelSaysThatItHadFiredAndTwiceIsHarmless) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid a = w.puppet(w.here());
    TimerId fired;
    TimerId cancelled;
    w.tell(a, [&](Self& self) {
      fired = self.send_after(kMillisecond, self.pid(), Message::of_text("fired"));
      cancelled = self.send_after(kSecond, self.pid(), Message::of_text("cancelled"));
    });
    pass(w, 10 * kMillisecond);
    w.tell(a, [&](Self& self) {
      EXPECT_EQ(self.cancel(fired), std::nullopt);
      EXPECT_NE(self.cancel(cancelled), std::nullopt);
      EXPECT_EQ(self.cancel(cancelled), std::nullopt);
      EXPECT_EQ(self.cancel(TimerId()), std::nullopt);
      EXPECT_EQ(self.cancel(TimerId{~std::uint64_t{0}}), std::nullopt);
      // The memory serves another timer by now: the old id does not reach it.
      const TimerId next = self.send_after(kMillisecond, self.pid(), Message::of_text("next"));
      EXPECT_EQ(self.cancel(cancelled), std::nullopt);
      EXPECT_EQ(self.cancel(fired), std::nullopt);
      EXPECT_NE(next, cancelled);
    });
    pass(w, 2 * kSecond);
    EXPECT_THAT(w.seen(a), ElementsAre("fired", "next"));
  });
}

TEST(T, Case3_ATimerToADeadProcessHasNoEffect) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.here());
    w.tell(a, [&](Self& self) {
      self.send_after(kSecond, b, Message::of_text("late"));
      self.exit_after(kSecond, b, ExitReason::other("late"));
    });
    w.tell_end(b, Kind::kNormal);
    pass(w, 2 * kSecond);
    EXPECT_TRUE(w.alive(a));
    EXPECT_EQ(w.process_count(), 1u);
  });
}

TEST(T, Case3_TimersEndWithTheirOwnerUnlessTheyHaveNone) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.here());
    w.tell(a, [&](Self& self) {
      self.send_after(kSecond, b, Message::of_text("owned"));
      self.send_every(kMillisecond, b, std::string("repeated"));
      self.runtime().send_after(kSecond, b, Message::of_text("outlives"));
    });
    w.run();
    w.here().exit(a, Kind::kKill);
    pass(w, 5 * kSecond);
    EXPECT_THAT(w.seen(b), ElementsAre("outlives"));
    EXPECT_EQ(w.here().next_timer(), kNever);
  });
}

TEST(T, Case4_TheSameDeadlineFiresInTheOrderOfSetting) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.here());
    const Nanoseconds deadline = w.clock().now() + 10 * kSecond + static_cast<Nanoseconds>(w.random().below(kSecond));
    Lines expected;
    // Set at different times, so that they start in different levels of the wheel.
    for (int i = 0; i < 40; ++i) {
      expected.push_back(std::to_string(i));
      w.tell(a, [&w, b, i, deadline](Self& self) {
        self.send_after(deadline - w.clock().now(), b, Message::of_text(std::to_string(i)));
      });
      w.run();
      if (i % 2 == 0) pass(w, static_cast<Nanoseconds>(w.random().below(500 * kMillisecond)));
    }
    pass(w, 20 * kSecond);
    EXPECT_EQ(w.seen(b), expected);
  });
}

TEST(T, Case4_TheEarlierOfOneTickComesFirst) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.here());
    w.tell(a, [&](Self& self) {
      for (const int microseconds : {5, 3, 1, 4, 2}) {
        self.send_after(kSecond + microseconds * 1000, b, Message::of_text(std::to_string(microseconds)));
      }
    });
    pass(w, 2 * kSecond);
    // They may fall into two ticks, but never one behind a later one.
    EXPECT_THAT(w.seen(b), ElementsAre("1", "2", "3", "4", "5"));
  });
}

TEST(T, ExitAfterEndsItsTarget) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.here());
    w.tell(a, [&](Self& self) { self.exit_after(kSecond, b, ExitReason::other("time is up")); });
    pass(w, kSecond / 2);
    EXPECT_TRUE(w.alive(b));
    pass(w, kSecond);
    EXPECT_EQ(w.end_of(b), "time is up");
  });
}

TEST(T, AnIntervalRepeatsUntilItIsCancelledAndLeavesOutWhatItMissed) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.here());
    TimerId id;
    w.tell(a, [&](Self& self) { id = self.send_every(kSecond, b, [] { return Message::of_text("tick"); }); });
    pass(w, 3 * kSecond + kMillisecond);
    EXPECT_EQ(w.seen(b).size(), 3u);
    w.clock().advance(10 * kSecond);  // in one go: nobody ran
    w.run();
    EXPECT_EQ(w.seen(b).size(), 4u);
    pass(w, kSecond);
    EXPECT_EQ(w.seen(b).size(), 5u);
    w.tell(a, [&](Self& self) { EXPECT_NE(self.cancel(id), std::nullopt); });
    pass(w, 10 * kSecond);
    EXPECT_EQ(w.seen(b).size(), 5u);
  });
}

TEST(T, Case4_ManyAtOnceAllFire) {
#ifdef RUSM_SANITIZED
  constexpr int kTimers = 20'000;
#else
  constexpr int kTimers = 200'000;
#endif
  World w(1, false);
  int fired = 0;
  const Pid counter = w.here().spawn(
      [](Self& self, int* count) -> Routine {
        for (;;) {
          co_await receive(self);
          ++*count;
        }
      },
      &fired);
  const Pid a = w.puppet(w.here());
  w.tell(a, [&](Self& self) {
    for (int i = 0; i < kTimers; ++i) self.send_after(kSecond, counter, Message::of(i));
  });
  w.run();
  EXPECT_EQ(fired, 0);
  pass(w, 2 * kSecond);
  EXPECT_EQ(fired, kTimers);
}

}  // namespace
}  // namespace rusm::otp::spec
