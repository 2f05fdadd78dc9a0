// R: receive, and T: what of the timers receive and sleep show.
#include <algorithm>

#include "spec/fixture.h"

namespace rusm::otp::spec {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

auto text_is(std::string_view text) {
  return [text](const Message& message) { return message.text() == text; };
}

// Takes everything that is there.
Task<> take_rest(Self& self, Lines* lines) {
  while (const auto message = co_await receive_for(self, 0)) lines->push_back(describe(*message));
}

void send_all(World& w, Pid to, std::initializer_list<const char*> texts) {
  for (const char* text : texts) w.here().send(to, Message::of_text(text));
}

Routine selective(Self& self, Lines* lines) {
  for (const char* wanted : {"c", "a", "c"}) {
    lines->push_back(describe(co_await receive_if(self, text_is(wanted))));
  }
  co_await take_rest(self, lines);
}

TEST(R, Case1_TakesTheFirstThatMatchesAndTheOthersKeepTheirOrder) {
  for_seeds(On::kOneNode, [](World& w) {
    Lines lines;
    const Pid pid = w.here().spawn(selective, &lines);
    for (const char* text : {"a", "b", "c", "a", "d"}) {
      w.here().send(pid, Message::of_text(text));
      for (std::uint64_t i = w.random().below(3); i > 0; --i) w.step();
    }
    w.run();
    EXPECT_THAT(lines, ElementsAre("c", "a"));
    send_all(w, pid, {"e", "c", "f"});
    w.run();
    EXPECT_THAT(lines, ElementsAre("c", "a", "c", "b", "a", "d", "e", "f"));
  });
}

Routine time_out_then_take(Self& self, Lines* lines) {
  const auto found = co_await receive_if_for(self, kMillisecond, text_is("never"));
  EXPECT_FALSE(found);
  EXPECT_FALSE(co_await receive_if_for(self, 0, text_is("never")));
  lines->push_back("timed out");
  lines->push_back(describe(co_await receive_if(self, text_is("b"))));
  co_await take_rest(self, lines);
}

TEST(R, Case2_WhatAReceiveLookedAtInVainStaysAtItsPlace) {
  for_seeds(On::kOneNode, [](World& w) {
    Lines lines;
    const Pid pid = w.here().spawn(time_out_then_take, &lines);
    for (const char* text : {"a", "b", "c"}) {
      w.here().send(pid, Message::of_text(text));
      if (w.random().below(2) == 0) w.run();
    }
    w.run_out();
    EXPECT_THAT(lines, ElementsAre("timed out", "b", "a", "c"));
  });
}

Routine look_with_zero(Self& self, Lines* lines) {
  const Nanoseconds start = self.runtime().clock().now();
  EXPECT_FALSE(co_await receive_for(self, 0));
  EXPECT_FALSE(co_await receive_for(self, -kSecond));
  EXPECT_FALSE(co_await receive_if_for(self, 0, text_is("x")));
  self.send(self.pid(), Message::of_text("x"));
  self.send(self.pid(), Message::of_text("y"));
  const auto y = co_await receive_if_for(self, 0, text_is("y"));
  if (y) lines->push_back(describe(*y));
  const auto x = co_await receive_for(self, 0);
  if (x) lines->push_back(describe(*x));
  EXPECT_EQ(self.runtime().clock().now(), start) << "it waited";
}

TEST(R, Case3_DeadlineZeroLooksAndNeverWaits) {
  for_seeds(On::kOneNode, [](World& w) {
    Lines lines;
    w.here().spawn(look_with_zero, &lines);
    w.run();  // time stands still
    EXPECT_THAT(lines, ElementsAre("y", "x"));
    EXPECT_EQ(w.process_count(), 0u);
  });
}

Routine receive_one_for(Self& self, Nanoseconds span, Lines* lines) {
  const auto message = co_await receive_for(self, span);
  lines->push_back(message ? describe(*message) : "nothing");
}

Routine receive_match_for(Self& self, Nanoseconds span, Lines* lines) {
  const auto message = co_await receive_if_for(self, span, text_is("m"));
  lines->push_back(message ? describe(*message) : "nothing");
}

TEST(R, Case3_AnExpiredDeadlineYieldsAMessageThatIsThere) {
  for_seeds(On::kOneNode, [](World& w) {
    for (const auto body : {receive_one_for, receive_match_for}) {
      Lines lines;
      const Pid pid = w.here().spawn(body, kSecond, &lines);
      w.run();
      w.clock().advance(2 * kSecond);
      w.here().send(pid, Message::of_text("m"));
      w.run_out();
      EXPECT_THAT(lines, ElementsAre("m"));
    }
  });
}

Routine note_time_out(Self& self, Nanoseconds span, Nanoseconds* at) {
  EXPECT_FALSE(co_await receive_if_for(self, span, text_is("never")));
  *at = self.runtime().clock().now();
}

TEST(R, Case4_MessagesThatDoNotMatchDoNotRestartTheDeadline) {
  for_seeds(On::kOneNode, [](World& w) {
    Nanoseconds at = 0;
    const Nanoseconds start = w.clock().now();
    const Pid pid = w.here().spawn(note_time_out, kSecond, &at);
    w.run();
    for (int i = 0; i < 9; ++i) {
      w.clock().advance(100 * kMillisecond);
      w.here().send(pid, Message::of_text("no"));
      w.run();
      EXPECT_EQ(at, 0);
    }
    w.run_out();
    EXPECT_GE(at, start + kSecond);
    EXPECT_LE(at, start + kSecond + 100 * kMicrosecond);
  });
}

Routine remember_deadline(Self& self, Lines* lines) {
  // An earlier deadline that was not reached must not end a later wait.
  EXPECT_TRUE(co_await receive_for(self, kMillisecond));
  const Nanoseconds start = self.runtime().clock().now();
  EXPECT_FALSE(co_await receive_for(self, kSecond));
  EXPECT_GE(self.runtime().clock().now(), start + kSecond);
  // And a later one must not delay an earlier.
  self.send(self.pid(), Message::of_text("m"));
  EXPECT_TRUE(co_await receive_for(self, 3600 * kSecond));
  const Nanoseconds again = self.runtime().clock().now();
  EXPECT_FALSE(co_await receive_for(self, kMillisecond));
  EXPECT_LT(self.runtime().clock().now(), again + kSecond);
  lines->push_back("done");
}

TEST(R, Case4_DeadlinesOfFormerReceivesDoNotDisturbTheNext) {
  for_seeds(On::kOneNode, [](World& w) {
    Lines lines;
    const Pid pid = w.here().spawn(remember_deadline, &lines);
    w.run();
    w.here().send(pid, Message::of_text("first"));
    w.run_out();
    EXPECT_THAT(lines, ElementsAre("done"));
  });
}

TEST(R, Case7_AProcessKilledWhileItWaitsLeavesNothingBehind) {
  for_seeds(On::kOneNode, [](World& w) {
    Lines lines;
    for (const auto body : {receive_one_for, receive_match_for}) {
      const Pid pid = w.here().spawn(body, kSecond, &lines);
      w.run();
      w.here().exit(pid, ExitReason::Kind::kKill);
      w.run();
      EXPECT_EQ(w.process_count(), 0u);
    }
    const Pid next = w.here().spawn(receive_one_for, 5 * kSecond, &lines);  // in a slot of theirs
    w.run();
    w.clock().advance(2 * kSecond);
    w.run();
    EXPECT_THAT(lines, IsEmpty()) << "a deadline of a former tenant ended the wait";
    EXPECT_TRUE(w.here().is_alive(next));
    w.run_out();
    EXPECT_THAT(lines, ElementsAre("nothing"));
  });
}

Routine sleeper(Self& self, Nanoseconds span, std::vector<Nanoseconds>* late) {
  const Nanoseconds due = self.runtime().clock().now() + span;
  co_await sleep(self, span);
  late->push_back(self.runtime().clock().now() - due);
}

TEST(T, Case1_SleepNeverEndsEarlyAndHardlyLate) {
  for_seeds(On::kOneNode, [](World& w) {
    std::vector<Nanoseconds> late;
    for (int i = 0; i < 200; ++i) {
      const auto bits = w.random().below(50);  // up to two weeks
      w.here().spawn(sleeper, static_cast<Nanoseconds>(w.random().below(std::uint64_t{1} << bits)), &late);
      if (i % 10 == 0) w.clock().advance(static_cast<Nanoseconds>(w.random().below(kMillisecond)));
    }
    w.run_out();
    ASSERT_EQ(late.size(), 200u);
    EXPECT_GE(*std::ranges::min_element(late), 0);
    EXPECT_LE(*std::ranges::max_element(late), 2 << 16) << "more than a tick of the wheel";
  });
}

TEST(T, Case4_SleepTakesZeroAndAWeekAndMessagesWaitMeanwhile) {
  for_seeds(On::kOneNode, [](World& w) {
    std::vector<Nanoseconds> late;
    w.here().spawn(sleeper, 0, &late);
    w.run_out();
    EXPECT_EQ(late.size(), 1u);
    const Pid pid = w.here().spawn(sleeper, 7 * 86400 * kSecond, &late);
    w.run();
    const std::uint64_t steps = w.here().counters().steps;
    for (int i = 0; i < 20; ++i) w.here().send(pid, Message::of_text("wait"));
    w.run();
    EXPECT_EQ(w.here().counters().steps, steps) << "a message woke a sleeper";
    w.clock().advance(7 * 86400 * kSecond - kMillisecond);
    w.run();
    EXPECT_EQ(late.size(), 1u) << "it ended early";
    w.run_out();
    EXPECT_EQ(late.size(), 2u);
  });
}

}  // namespace
}  // namespace rusm::otp::spec
