// M: monitors.
#include <algorithm>

#include "spec/fixture.h"

namespace rusm::otp::spec {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Kind = ExitReason::Kind;

const ExitReason kReason = ExitReason::other("r");

TEST(M, Case1_AMonitorWorksInOneDirection) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.there());
    w.tell(a, [b](Self& self) { self.monitor(b); });
    w.run();
    w.tell_end(a, kReason);
    w.run();
    EXPECT_TRUE(w.alive(b));
    EXPECT_THAT(w.seen(b), IsEmpty());
  });
}

TEST(M, Case1_EachMonitorIsItsOwnAndFiresOnce) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Pid b = w.puppet(w.there());
    std::map<Reference, int> fired;
    const Pid a = w.here().spawn(
        +[](Self& self, Pid target, std::map<Reference, int>* downs) -> Routine {
          for (int i = 0; i < 5; ++i) (*downs)[self.monitor(target)] = 0;
          for (;;) {
            const Message message = co_await receive(self);
            EXPECT_TRUE(message.is_down());
            EXPECT_EQ(message.from(), target);
            EXPECT_EQ(message.reason(), kReason);
            ++(*downs)[message.reference()];
          }
        },
        b, &fired);
    w.run();
    w.tell_end(b, kReason);
    w.run();
    EXPECT_TRUE(w.here().is_alive(a));
    EXPECT_EQ(fired.size(), 5u);
    EXPECT_TRUE(std::ranges::all_of(fired, [](const auto& entry) { return entry.second == 1; }));
  });
}

TEST(M, Case1_WatchersOnSeveralNodesDoNotDisturbEachOther) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Pid target = w.puppet(w.here());
    std::vector<Pid> watchers;
    for (int i = 0; i < 6; ++i) {
      watchers.push_back(w.puppet(i % 2 == 0 ? w.here() : w.there()));
      w.tell(watchers.back(), [target](Self& self) { self.monitor(target); });
    }
    w.run();
    w.tell_end(target, kReason);
    w.run();
    for (const Pid watcher : watchers) EXPECT_THAT(w.seen(watcher), ElementsAre("DOWN r"));
  });
}

TEST(M, Case2_MonitorOfADeadProcessIsDownNoProcAtOnce) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid dead = w.puppet(w.there());
    w.tell_end(dead, kReason);
    w.run();
    w.tell(a, [dead](Self& self) {
      self.monitor(dead);
      self.monitor(dead);
    });
    w.run();
    EXPECT_THAT(w.seen(a), ElementsAre("DOWN noproc", "DOWN noproc"));
  });
}

TEST(M, Case3_DownCarriesTheReasonAndComesAfterAllEarlierMessages) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const ExitReason reasons[] = {Kind::kNormal, Kind::kShutdown, Kind::kKilled, kReason,
                                  ExitReason::crashed("trap", "unreachable")};
    for (const ExitReason& reason : reasons) {
      const Pid a = w.puppet(w.here());
      const Pid b = w.puppet(w.there());
      w.tell(a, [b](Self& self) { self.monitor(b); });
      w.run();
      w.send(b, a, "1");
      w.tell(b, [a, reason](Self& self) {
        self.send(a, Message::of_text("2"));
        self.end(reason);
      });
      w.run();
      EXPECT_THAT(w.seen(a), ElementsAre("1", "2", "DOWN " + reason.to_string()));
    }
  });
}

TEST(M, Case4_AfterDemonitorNoDownIsOrGetsIntoTheMailbox) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.there());
    Reference reference = 0;
    bool demonitored = false;
    w.tell(a, [&, b](Self& self) { reference = self.monitor(b); });
    w.run();
    w.tell_end(b, kReason);
    for (std::uint64_t i = w.random().below(4); i > 0; --i) w.send(a, a, "busy");
    w.tell(a, [&](Self& self) {
      w.step_there_meanwhile();
      self.demonitor(reference);
      demonitored = true;
      w.script(self.pid()).disallow("DOWN *");
    });
    w.run();
    ASSERT_TRUE(demonitored);
  });
}

Routine flush_first_down(Self& self, Pid target, Lines* lines) {
  const Reference first = self.monitor(target);
  const Reference second = self.monitor(target);
  (void)co_await receive_if(self, [](const Message& m) { return m.text() == "now"; });
  self.demonitor(first);
  self.demonitor(first);  // twice is harmless
  while (const auto message = co_await receive_for(self, 0)) {
    EXPECT_TRUE(!message->is_down() || message->reference() == second);
    lines->push_back(describe(*message));
  }
}

TEST(M, Case4_DemonitorFlushesADownThatWaitsInTheMailbox) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid b = w.puppet(w.here());
    Lines got;
    const Pid a = w.here().spawn(flush_first_down, b, &got);
    w.run();
    w.here().send(a, Message::of_text("earlier"));
    w.tell_end(b, kReason);
    w.run();
    w.here().send(a, Message::of_text("later"));
    w.here().send(a, Message::of_text("now"));
    w.run();
    EXPECT_THAT(got, ElementsAre("earlier", "DOWN r", "later"));
  });
}

TEST(M, Case4_OnlyTheOwnerOfAReferenceCanRemoveIt) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.there());
    const Pid thief = w.puppet(w.there());
    Reference reference = 0;
    w.tell(a, [&, b](Self& self) { reference = self.monitor(b); });
    w.run();
    w.tell(thief, [&, b](Self& self) {
      self.demonitor(reference);
      self.demonitor(reference + 1);
      self.demonitor(0);
      // What a guest of another node may put on the wire.
      self.runtime().post(b, make_signal(EnvelopeKind::kDemonitor, self.pid(), reference));
    });
    w.run();
    w.tell_end(b, kReason);
    w.run();
    EXPECT_THAT(w.seen(a), ElementsAre("DOWN r"));
  });
}

TEST(M, Case5_DemonitorDuringTheTargetsExitLeavesNoLateDown) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.there());
    w.run();
    w.tell(a, [b, &w](Self& self) {
      const Reference reference = self.monitor(b);
      w.step_there_meanwhile();
      self.exit(b, Kind::kKill);
      w.step_there_meanwhile();
      self.demonitor(reference);
    });
    w.run();
    EXPECT_THAT(w.seen(a), IsEmpty());
    EXPECT_EQ(w.end_of(b), "killed");
  });
}

TEST(M, Case6_MonitoringItselfDoesNoHarm) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid a = w.puppet(w.here());
    w.tell(a, [](Self& self) { self.monitor(self.pid()); });
    w.run();
    w.tell_end(a, kReason);
    w.run();
    EXPECT_EQ(w.end_of(a), "r");
    EXPECT_EQ(w.process_count(), 0u);
  });
}

TEST(M, Case6_ShortLivedMonitorsLeaveNoTrace) {
  for_seeds(
      On::kOneNodeAndTwo,
      [](World& w) {
        const Pid target = w.puppet(w.there());
        for (int i = 0; i < 50; ++i) {
          const Pid watcher = w.puppet(w.here());
          w.tell(watcher, [target](Self& self) {
            for (int n = 0; n < 200; ++n) {
              const Reference reference = self.monitor(target);
              if (n % 2 == 0) self.demonitor(reference);
            }
            self.end(kReason);
          });
          w.run();
        }
        const std::uint64_t sends = w.there().counters().sends;
        w.there().exit(target, Kind::kKill);
        w.run();
        EXPECT_EQ(w.there().counters().sends, sends + 1) << "somebody was still in its list of watchers";
      },
      5);
}

TEST(M, Case7_AMonitorOfANodeThatIsLostIsDownNoConnection) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    if (!w.two_nodes()) return;
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.there());
    w.disconnect();
    w.tell(a, [b](Self& self) { self.monitor(b); });
    w.run();
    EXPECT_THAT(w.seen(a), ElementsAre("DOWN noconnection"));
  });
}

TEST(M, Case8_SpawnMonitorIsAtomic) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid a = w.puppet(w.here());
    w.tell(a, [&w](Self& self) {
      EXPECT_NE(w.stillborn_from(self, false, true, kReason).reference, 0u);
      EXPECT_EQ(w.stillborn_from(self, false, false, kReason).reference, 0u);
    });
    w.run();
    EXPECT_THAT(w.seen(a), ElementsAre("DOWN r"));
    w.tell(a, [&w](Self& self) {
      self.trap_exit(true);
      w.stillborn_from(self, true, true, kReason);
    });
    w.run();
    EXPECT_EQ(w.seen(a).size(), 3u);
    EXPECT_EQ(std::ranges::count(w.seen(a), "EXIT r"), 1);
  });
}

}  // namespace
}  // namespace rusm::otp::spec
