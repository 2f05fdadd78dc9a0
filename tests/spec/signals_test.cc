// S: signals and their order.
#include <algorithm>

#include "spec/fixture.h"

namespace rusm::otp::spec {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Routine talk(Self& self, Pid to, Pid other, std::string name, int count) {
  for (int i = 0; i < count; ++i) {
    self.send(to, Message::of_text(name + std::to_string(i)));
    self.send(other, Message::of_text("noise"));
    if (i % 3 == 0) co_await yield(self);
    if (i % 7 == 0) co_await sleep(self, kMillisecond);
    if (i % 5 == 0) (void)co_await receive_for(self, 100 * kMicrosecond);
  }
}

TEST(S, Case1_MessagesFromOneSenderKeepTheirOrder) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Pid to = w.puppet(w.there());
    const Pid other = w.puppet(w.here());
    w.here().spawn(talk, to, other, std::string("a"), 20);
    w.there().spawn(talk, to, other, std::string("b"), 20);
    w.run_out();
    for (const char name : {'a', 'b'}) {
      Lines expected;
      for (int i = 0; i < 20; ++i) expected.push_back(name + std::to_string(i));
      Lines of_sender;
      std::ranges::copy_if(w.seen(to), std::back_inserter(of_sender), [name](const auto& l) { return l[0] == name; });
      EXPECT_EQ(of_sender, expected);
    }
    EXPECT_EQ(w.seen(other).size(), 40u);
  });
}

TEST(S, Case2_AMessageIsThereBeforeALaterSignalOfTheSameSenderActs) {
  for_seeds(
      On::kOneNodeAndTwo,
      [](World& w) {
        const Pid a = w.puppet(w.here());
        const Pid b = w.puppet(w.there());
        w.tell(b, [](Self& self) { self.trap_exit(true); });
        w.run();
        w.tell(a, [b](Self& self) {
          self.send(b, Message::of_text("before exit"));
          self.exit(b, ExitReason::other("go"));
          self.send(b, Message::of_text("before link"));
          self.link(b);
        });
        w.send(a, b, "last");
        w.tell_end(a, ExitReason::other("end"));
        w.run();
        EXPECT_THAT(w.seen(b), ElementsAre("before exit", "EXIT go", "before link", "last", "EXIT end"));
      },
      kManySeeds);
}

TEST(S, Case2_AMessageIsThereBeforeAKillOfTheSameSenderActs) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.there());
    const Pid c = w.puppet(w.there());
    w.run();
    // What b got before the kill it may have handled; it never handles what came after.
    w.tell(a, [b](Self& self) {
      self.send(b, Message::of_text("1"));
      self.exit(b, ExitReason::Kind::kKill);
      self.send(b, Message::of_text("2"));
    });
    w.tell(c, [b](Self& self) { self.monitor(b); });
    w.run();
    EXPECT_EQ(w.end_of(b), "killed");
    EXPECT_EQ(std::ranges::count(w.seen(b), "2"), 0);
    ASSERT_EQ(w.seen(c).size(), 1u);
  });
}

TEST(S, Case3_NothingArrivesAfterTheSendersDownOrExit) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.there());
    w.tell(b, [a](Self& self) {
      self.trap_exit(true);
      self.link(a);
      self.monitor(a);
    });
    w.run();
    for (const char* text : {"1", "2", "3"}) w.send(a, b, text);
    w.tell_end(a, ExitReason::other("done"));
    w.send(a, b, "late");
    w.run();
    EXPECT_THAT(w.seen(b), ElementsAre("1", "2", "3", "EXIT done", "DOWN done"));
  });
}

TEST(S, Case3_AKilledSenderIsSilentAfterItsDown) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.there());
    const Pid killer = w.puppet(w.there());
    w.tell(b, [a](Self& self) { self.monitor(a); });
    w.run();
    for (int i = 0; i < 8; ++i) w.send(a, b, std::to_string(i));
    w.tell(killer, [a](Self& self) { self.exit(a, ExitReason::Kind::kKill); });
    w.run();
    ASSERT_FALSE(w.seen(b).empty());
    EXPECT_EQ(w.seen(b).back(), "DOWN killed");
    for (std::size_t i = 0; i + 1 < w.seen(b).size(); ++i) EXPECT_EQ(w.seen(b)[i], std::to_string(i));
  });
}

TEST(S, Case4_SendingToNobodyIsNoErrorAndHasNoEffect) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid dead = w.puppet(w.there());
    w.tell_end(dead, ExitReason::Kind::kNormal);
    w.run();
    const std::uint32_t node = w.there().node();
    const std::vector<Pid> nobody = {dead,
                                     Pid(),
                                     Pid(node, Pid::kIndexMax, 1),
                                     Pid(node, 7, 1),
                                     Pid(9, 0, 1),
                                     Pid::from_raw(UINT64_MAX),
                                     Pid(node, dead.index(), dead.generation() + 1)};
    for (const Pid pid : nobody) w.send(a, pid, "anyone?");
    w.run();
    EXPECT_TRUE(w.alive(a));
    EXPECT_THAT(w.seen(a), IsEmpty());
    EXPECT_EQ(w.process_count(), 1u);
  });
}

TEST(S, Case5_AStalePidAddressesNothingAndOwedAnswersAreNoProc) {
  for_seeds(
      On::kOneNodeAndTwo,
      [](World& w) {
        const Pid a = w.puppet(w.here());
        const Pid stale = w.puppet(w.there());
        w.tell(a, [](Self& self) { self.trap_exit(true); });
        w.tell_end(stale, ExitReason::other("gone"));
        w.run();
        // Tenants of the slot that the stale pid names.
        std::vector<Pid> successors;
        w.tell(w.puppet(w.there()), [&](Self& self) {
          for (int i = 0; i < 300; ++i) successors.push_back(w.puppet_from(self, false, false).pid);
        });
        w.run();
        w.tell(a, [stale](Self& self) {
          self.send(stale, Message::of_text("lost"));
          self.exit(stale, ExitReason::Kind::kKill);
          self.link(stale);
          self.monitor(stale);
          self.unlink(stale);  // too late for the answer to the link only if that has been delivered
          self.link(stale);
        });
        w.there().wake(stale);
        w.run();
        EXPECT_FALSE(w.there().is_alive(stale));
        EXPECT_EQ(std::ranges::count(w.seen(a), "DOWN noproc"), 1);
        EXPECT_GE(std::ranges::count(w.seen(a), "EXIT noproc"), 1);
        EXPECT_TRUE(std::ranges::any_of(successors, [&](Pid p) { return p.index() == stale.index(); }));
        for (const Pid pid : successors) {
          EXPECT_NE(pid, stale);
          EXPECT_TRUE(w.alive(pid));
          EXPECT_THAT(w.seen(pid), IsEmpty());
        }
      },
      kSeeds / 10);
}

TEST(S, Case5_APidThatWasNotYetGivenOutIsNotAlive) {
  for_seeds(
      On::kOneNode,
      [](World& w) {
        const Pid dead = w.puppet(w.here());
        w.tell_end(dead, ExitReason::Kind::kNormal);
        w.run();
        EXPECT_FALSE(w.here().is_alive(dead));
        EXPECT_FALSE(w.here().is_alive(Pid(0, dead.index(), dead.generation() + 1)));
        EXPECT_FALSE(w.here().is_alive(Pid()));
      },
      3);
}

TEST(S, Case6_AProcessMaySendToItself) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid a = w.puppet(w.here());
    w.tell(a, [](Self& self) {
      for (const char* text : {"1", "2", "3"}) self.send(self.pid(), Message::of_text(text));
    });
    w.send(a, a, "4");
    w.run();
    EXPECT_THAT(w.seen(a), ElementsAre("1", "2", "3", "4"));
  });
}

Routine run_on_with_exit_pending(Self& self, Pid to) {
  self.runtime().exit(self.pid(), ExitReason::other("pending"));  // as another worker would in the middle of a step
  self.send(to, Message::of_text("still running"));
  (void)self.try_receive();  // looks, and takes the signal in
  self.send(to, Message::of_text("to the end of the step"));
  co_await yield(self);
  self.send(to, Message::of_text("never"));
}

TEST(S, Case7_AnExitSignalActsAtTheNextSchedulingPointNotInsideAStep) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid b = w.puppet(w.here());
    w.here().spawn(run_on_with_exit_pending, b);
    w.run();
    EXPECT_THAT(w.seen(b), ElementsAre("still running", "to the end of the step"));
    EXPECT_EQ(w.process_count(), 1u);
  });
}

}  // namespace
}  // namespace rusm::otp::spec
