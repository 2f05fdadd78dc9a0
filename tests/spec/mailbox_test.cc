// R6 and what belongs to it: bounded mailboxes; and what is known of a process while it goes on.
#include "spec/fixture.h"

namespace rusm::otp::spec {
namespace {

using Kind = ExitReason::Kind;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

struct Go {};  // the word as a value

// Waits for the word, then receives everything that is there; then again.
struct Sluggish {
  Lines lines;
  std::string end;
};

Routine sluggish(Self& self, bool traps, std::shared_ptr<Sluggish> seen) {
  self.trap_exit(traps);
  for (;;) {
    const Message word =
        co_await receive_if(self, [](const Message& m) { return m.text() == "go" || m.get_if<Go>() != nullptr; });
    while (const auto message = self.try_receive()) seen->lines.push_back(describe(*message));
  }
}

using Seen = std::shared_ptr<Sluggish>;

Pid spawn_sluggish(World& w, const Seen& seen, SpawnOptions options, bool traps = false) {
  options.on_exit = [seen](Pid, const ExitReason& reason) { seen->end = reason.to_string(); };
  return w.here().spawn_with(std::move(options), sluggish, traps, seen);
}

TEST(R, Case6_AFullMailboxShedsTheNewestAndCounts) {
  for_seeds(On::kOneNode, [](World& w) {
    const Seen seen = std::make_shared<Sluggish>();
    const Pid to = spawn_sluggish(w, seen, {.mailbox_messages_max = 3});
    const Pid a = w.puppet(w.here());
    std::vector<bool> taken;
    w.tell(a, [&](Self& self) {
      for (int i = 0; i < 5; ++i) taken.push_back(self.try_send(to, Message::of_text(std::to_string(i))));
    });
    w.run();
    EXPECT_THAT(taken, ElementsAre(true, true, true, false, false));
    EXPECT_EQ(w.here().counters().sheds, 2u);
    EXPECT_EQ(w.here().info(to)->mailbox_length, 3u);
    // Full of what it does not want: the word that it waits for is shed as well, and that is why limits need care.
    w.tell(a, [&](Self& self) { EXPECT_FALSE(self.try_send(to, Message::of_text("go"))); });
    w.run();
    w.here().exit(to, Kind::kKill);
    w.run();
    EXPECT_EQ(seen->end, "killed");
  });
}

TEST(R, Case6_RoomComesBackAndSelectiveReceiveWorksWhenFull) {
  for_seeds(On::kOneNode, [](World& w) {
    const Seen seen = std::make_shared<Sluggish>();
    const Pid to = spawn_sluggish(w, seen, {.mailbox_messages_max = 3});
    const Pid a = w.puppet(w.here());
    for (int round = 0; round < 4; ++round) {
      w.tell(a, [&](Self& self) {
        for (const char* text : {"1", "2", "go"}) EXPECT_TRUE(self.try_send(to, Message::of_text(text)));
      });
      w.run();
    }
    EXPECT_THAT(seen->lines, SizeIs(8));
    EXPECT_EQ(w.here().info(to)->mailbox_length, 0u);
    EXPECT_EQ(w.here().info(to)->mailbox_bytes, 0u);
    EXPECT_EQ(w.here().info(to)->received, 12u);
    EXPECT_EQ(w.here().counters().sheds, 0u);
  });
}

TEST(R, Case6_BytesAreALimitToo) {
  for_seeds(On::kOneNode, [](World& w) {
    const Seen seen = std::make_shared<Sluggish>();
    const Pid to = spawn_sluggish(w, seen, {.mailbox_bytes_max = 10'000});
    const Pid a = w.puppet(w.here());
    w.tell(a, [&](Self& self) {
      EXPECT_TRUE(self.try_send(to, Message::of_text(std::string(8'000, 'x'))));
      EXPECT_FALSE(self.try_send(to, Message::of_text(std::string(2'000, 'x'))));
      EXPECT_TRUE(self.try_send(to, Message::of_text("go")));
    });
    w.run();
    w.tell(a, [&](Self& self) { EXPECT_TRUE(self.try_send(to, Message::of_text(std::string(9'000, 'x')))); });
    w.run();
    EXPECT_GE(w.here().info(to)->mailbox_bytes, 9'000u);
  });
}

TEST(R, Case6_SignalsAlwaysGetInAndValuesThatTimersSend) {
  for_seeds(On::kOneNode, [](World& w) {
    const Seen seen = std::make_shared<Sluggish>();
    const Pid to = spawn_sluggish(w, seen, {.mailbox_messages_max = 1}, true);
    const Pid a = w.puppet(w.here());
    w.run();
    w.tell(a, [&](Self& self) {
      self.send(to, Message::of_text("fills it"));
      self.send(to, Message::of_text("shed"));
      self.exit(to, ExitReason::other("exit"));
      self.link(to);
      for (int i = 0; i < 3; ++i) self.runtime().send_after(0, to, Message::of_text("shed too"));
      self.runtime().send_after(kMillisecond, to, Message::local(Go{}));
    });
    w.run();
    w.tell_end(a, ExitReason::other("link"));
    w.run_out();
    EXPECT_THAT(seen->lines, ElementsAre("fills it", "EXIT exit", "EXIT link"));
    EXPECT_EQ(w.here().counters().sheds, 4u) << "one that was sent, and three of timers";
  });
}

TEST(R, Case6_AProcessThatDoesNotKeepUpMayEndInstead) {
  for_seeds(On::kOneNode, [](World& w) {
    const Seen seen = std::make_shared<Sluggish>();
    const Pid to =
        spawn_sluggish(w, seen, {.mailbox_messages_max = 2, .mailbox_overflow = MailboxOverflow::kExit}, true);
    const Pid a = w.puppet(w.here());
    w.tell(a, [&](Self& self) {
      for (int i = 0; i < 4; ++i) self.send(to, Message::of_text("x"));
    });
    w.run();
    EXPECT_EQ(seen->end, "limit (mailbox): it is full") << "trapping exits does not help";
  });
}

TEST(R, Case6_ARequestThatFindsNoRoomIsAnswered) {
  for_seeds(On::kOneNode, [](World& w) {
    const Seen seen = std::make_shared<Sluggish>();
    const Pid to = spawn_sluggish(w, seen, {.mailbox_messages_max = 1});
    w.here().send(to, Message::of_text("fills it"));
    std::string outcome;
    w.here().spawn(
        [](Self& self, Pid server, std::string* said) -> Routine {
          const auto answer = co_await call(self, server, Message::of_text("?"));
          *said = answer ? "answered" : answer.error().to_string();
        },
        to, &outcome);
    w.run();
    EXPECT_EQ(outcome, "limit (mailbox): it is full");
  });
}

TEST(R, Case6_ASlotsNextTenantHasItsOwnMailbox) {
  for_seeds(On::kOneNode, [](World& w) {
    const Seen first = std::make_shared<Sluggish>();
    const Seen next = std::make_shared<Sluggish>();
    const Pid a = w.puppet(w.here());
    Pid bounded;
    Pid unbounded;
    w.tell(a, [&](Self&) { bounded = spawn_sluggish(w, first, {.mailbox_messages_max = 1}); });
    w.run();
    w.here().send(bounded, Message::of_text("x"));
    w.here().exit(bounded, Kind::kKill);
    w.run();
    w.tell(a, [&](Self&) { unbounded = spawn_sluggish(w, next, {}); });
    w.run();
    ASSERT_EQ(unbounded.index(), bounded.index());
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(w.here().try_send(unbounded, Message::of_text("x")));
    w.here().send(unbounded, Message::of_text("go"));
    w.run();
    EXPECT_THAT(next->lines, SizeIs(10));
    EXPECT_TRUE(w.here().try_send(bounded, Message::of_text("to nobody")));
  });
}

TEST(Info, TellsWhatAProcessDoesWithoutStoppingIt) {
  for_seeds(On::kOneNode, [](World& w) {
    const Seen seen = std::make_shared<Sluggish>();
    const Pid to = spawn_sluggish(w, seen, {});
    w.run();
    auto info = w.here().info(to);
    ASSERT_TRUE(info);
    EXPECT_EQ(info->state, ProcessInfo::State::kWaiting);
    const std::uint64_t before = info->reductions;
    for (int i = 0; i < 7; ++i) w.here().send(to, Message::of_text("12345678"));
    EXPECT_EQ(w.here().info(to)->state, ProcessInfo::State::kActive);
    w.run();
    info = w.here().info(to);
    EXPECT_EQ(info->mailbox_length, 7u);
    EXPECT_EQ(info->mailbox_bytes, 7 * (sizeof(Envelope) + 8));
    EXPECT_EQ(info->received, 7u);
    EXPECT_GT(info->reductions, before);
    EXPECT_THAT(w.here().processes(), ElementsAre(to));
    w.here().exit(to, Kind::kKill);
    w.run();
    EXPECT_FALSE(w.here().info(to));
    EXPECT_FALSE(w.here().info(Pid()));
    EXPECT_THAT(w.here().processes(), IsEmpty());
  });
}

// What was received is sent on: it takes its place anew, and a signal that was received is a mere value.
TEST(R, Case6_WhatIsSentOnIsCountedWhereItGoes) {
  for_seeds(On::kOneNode, [](World& w) {
    const Seen seen = std::make_shared<Sluggish>();
    const Pid to = spawn_sluggish(w, seen, {.mailbox_messages_max = 5});
    const Pid unbounded = w.puppet(w.here());
    const Pid relay = w.here().spawn_with(
        {.mailbox_messages_max = 10},
        [](Self& self, Pid one, Pid other) -> Routine {
          self.trap_exit(true);
          for (;;) {
            self.send(one, co_await receive(self));
            self.send(other, co_await receive(self));
            self.send_after(0, one, co_await receive(self));
          }
        },
        to, unbounded);
    w.run();
    for (int round = 0; round < 2; ++round) {
      for (int i = 0; i < 3; ++i) w.here().send(relay, Message::of_text("x"));
    }
    w.run_out();
    EXPECT_EQ(w.here().info(unbounded)->mailbox_length, 0u);
    EXPECT_EQ(w.here().info(unbounded)->mailbox_bytes, 0u);
    EXPECT_EQ(w.here().info(relay)->mailbox_length, 0u);
    // Two were sent, and two came by timers: one more has room, and no second.
    EXPECT_EQ(w.here().info(to)->mailbox_length, 4u);
    EXPECT_TRUE(w.here().try_send(to, Message::of_text("fifth")));
    EXPECT_FALSE(w.here().try_send(to, Message::of_text("sixth")));
    // A signal that was received ends nobody where it is sent on to.
    w.here().exit(relay, ExitReason::other("to be passed on"));
    w.here().exit(relay, ExitReason::other("to be passed on"));
    w.here().exit(relay, ExitReason::other("to be passed on"));
    w.run_out();
    EXPECT_TRUE(w.here().is_alive(to));
    EXPECT_TRUE(w.alive(unbounded));
    EXPECT_THAT(w.seen(unbounded), ElementsAre("x", "x", "value"));
  });
}

}  // namespace
}  // namespace rusm::otp::spec
