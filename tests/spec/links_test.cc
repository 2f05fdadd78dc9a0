// L: links.
#include <algorithm>

#include "spec/fixture.h"

namespace rusm::otp::spec {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Kind = ExitReason::Kind;

const ExitReason kReason = ExitReason::other("r");

// True when an EXIT of `from` lies in the mailbox already.
bool exit_delivered(Self& self, Pid from) {
  for (const Envelope* at = self.mailbox_head(); at != nullptr; at = at->next) {
    if (at->kind == EnvelopeKind::kLinkExit && at->from == from) return true;
  }
  return false;
}

void trap(World& w, std::initializer_list<Pid> puppets) {
  for (const Pid pid : puppets) w.tell(pid, [](Self& self) { self.trap_exit(true); });
  w.run();
}

TEST(L, Case1_ALinkWorksInBothDirections) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    for (const bool first_dies : {true, false}) {
      const Pid a = w.puppet(w.here());
      const Pid b = w.puppet(w.there());
      trap(w, {a, b});
      w.tell(a, [b](Self& self) { self.link(b); });
      w.run();
      w.tell_end(first_dies ? a : b, kReason);
      w.run();
      EXPECT_THAT(w.seen(first_dies ? b : a), ElementsAre("EXIT r"));
    }
  });
}

TEST(L, Case1_LinkingTwiceIsOneLinkAndUnlinkingOnceRemovesIt) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.there());
    const Pid c = w.puppet(w.there());
    trap(w, {a, b, c});
    w.tell(a, [=](Self& self) {
      for (const Pid to : {b, b, c, c}) self.link(to);
      self.unlink(c);
    });
    w.tell(b, [a](Self& self) { self.link(a); });
    w.run();
    w.tell_end(b, kReason);
    w.tell_end(c, kReason);
    w.run();
    EXPECT_THAT(w.seen(a), ElementsAre("EXIT r")) << "one for b, none for c";
  });
}

TEST(L, Case1_LinkingAndUnlinkingItselfDoesNothing) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid a = w.puppet(w.here());
    trap(w, {a});
    w.tell(a, [](Self& self) {
      self.link(self.pid());
      self.unlink(self.pid());
      self.link(self.pid());
    });
    w.run();
    EXPECT_TRUE(w.alive(a));
    w.tell_end(a, kReason);
    w.run();
    EXPECT_EQ(w.end_of(a), "r");
    EXPECT_THAT(w.seen(a), IsEmpty());
  });
}

TEST(L, Case1_ANormalEndDoesNotEndThePeerThatDoesNotTrap) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.there());
    w.tell(a, [b](Self& self) { self.link(b); });
    w.run();
    w.tell_end(b, Kind::kNormal);
    w.run();
    EXPECT_TRUE(w.alive(a));
    EXPECT_THAT(w.seen(a), IsEmpty());
  });
}

TEST(L, Case2_LinkToADeadProcessIsAnExitSignalNoProc) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Pid trapping = w.puppet(w.here());
    const Pid plain = w.puppet(w.here());
    const Pid empty = w.puppet(w.here());
    const Pid dead = w.puppet(w.there());
    w.tell_end(dead, kReason);
    trap(w, {trapping, empty});
    w.tell(trapping, [dead](Self& self) { self.link(dead); });
    w.tell(plain, [dead](Self& self) { self.link(dead); });
    w.tell(empty, [](Self& self) { self.link(Pid()); });
    w.run();
    EXPECT_THAT(w.seen(trapping), ElementsAre("EXIT noproc"));
    EXPECT_EQ(w.end_of(plain), "noproc");
    EXPECT_THAT(w.seen(empty), ElementsAre("EXIT noproc"));
  });
}

TEST(L, Case3_AfterUnlinkNoExitOfThatLinkArrives) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.there());
    trap(w, {a});
    w.tell(a, [b](Self& self) { self.link(b); });
    w.run();
    std::ptrdiff_t delivered = 0;
    w.tell_end(b, kReason);
    for (std::uint64_t i = w.random().below(4); i > 0; --i) w.send(a, a, "busy");
    w.tell(a, [b, &delivered, &w](Self& self) {
      w.step_there_meanwhile();
      delivered = exit_delivered(self, b) || std::ranges::count(w.seen(self.pid()), "EXIT r") != 0;
      self.unlink(b);
    });
    w.run();
    EXPECT_EQ(std::ranges::count(w.seen(a), "EXIT r"), delivered);
  });
}

TEST(L, Case3_WhoDoesNotTrapSurvivesThePeersEndAfterUnlink) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.there());
    w.tell(a, [b](Self& self) { self.link(b); });
    w.run();
    bool unlinked = false;
    w.tell_end(b, kReason);
    w.tell(a, [b, &unlinked, &w](Self& self) {
      w.step_there_meanwhile();
      self.unlink(b);
      unlinked = !self.exit_pending();
    });
    w.run();
    EXPECT_EQ(w.alive(a), unlinked);
  });
}

// One more link (unlink) by either side must leave a link (none), whoever ends then: it could not if the two disagreed,
// because a link that one side already believes in is not asked for again. Both trap exits and end here.
void expect_agreement(World& w, Pid a, Pid b, bool linked) {
  const bool by_a = w.random().below(2) == 0;
  w.tell(by_a ? a : b, [peer = by_a ? b : a, linked](Self& self) { linked ? self.link(peer) : self.unlink(peer); });
  w.run();
  const bool a_ends = w.random().below(2) == 0;
  w.tell_end(a_ends ? a : b, kReason);
  w.run();
  if (linked) {
    EXPECT_THAT(w.seen(a_ends ? b : a), ElementsAre("EXIT r"));
  } else {
    EXPECT_THAT(w.seen(a_ends ? b : a), IsEmpty());
  }
  w.tell_end(a_ends ? b : a, kReason);
  w.run();
  EXPECT_EQ(w.process_count(), 0u);
}

Act link_and_unlink(World& w, Pid peer) {
  std::vector<bool> links;
  for (std::uint64_t i = 1 + w.random().below(3); i > 0; --i) links.push_back(w.random().below(2) == 0);
  return [links, peer](Self& self) {
    for (const bool link : links) link ? self.link(peer) : self.unlink(peer);
  };
}

TEST(L, Case4_CrossingLinksAndUnlinksLeaveBothSidesAgreeing) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    for (const bool link_last : {true, false}) {
      const Pid a = w.puppet(w.here());
      const Pid b = w.puppet(w.there());
      trap(w, {a, b});
      for (std::uint64_t i = 2 + w.random().below(8); i > 0; --i) {
        const bool by_a = w.random().below(2) == 0;
        w.tell(by_a ? a : b, link_and_unlink(w, by_a ? b : a));
        for (std::uint64_t n = w.random().below(3); n > 0; --n) w.step();
      }
      w.run();
      expect_agreement(w, a, b, link_last);
    }
  });
}

// The other node runs while a is in the middle of a step, as another thread would.
TEST(L, Case4_LinksAndUnlinksThatCrossInTheMiddleOfAStepLeaveBothSidesAgreeing) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    if (!w.two_nodes()) return;
    for (const bool link_last : {true, false, true, false}) {
      const Pid a = w.puppet(w.here());
      const Pid b = w.puppet(w.there());
      trap(w, {a, b});
      for (std::uint64_t i = 1 + w.random().below(4); i > 0; --i) {
        w.tell(b, link_and_unlink(w, a));
        w.tell(a, [&w, before = link_and_unlink(w, b), after = link_and_unlink(w, b)](Self& self) mutable {
          before(self);
          w.step_there_meanwhile();
          after(self);
        });
        for (std::uint64_t n = w.random().below(3); n > 0; --n) w.here().step();
      }
      w.run();
      expect_agreement(w, a, b, link_last);
    }
  });
}

TEST(L, Case4_UnlinkAndLinkAgainBeforeTheAnswerIsALink) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.there());
    trap(w, {a, b});
    w.tell(a, [b](Self& self) {
      for (int i = 0; i < 5; ++i) {
        self.link(b);
        self.unlink(b);
      }
      self.link(b);
    });
    w.run();
    w.tell_end(a, kReason);
    w.run();
    EXPECT_THAT(w.seen(b), ElementsAre("EXIT r"));
  });
}

TEST(L, Case5_SpawnLinkIsAtomic) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid trapping = w.puppet(w.here());
    const Pid plain = w.puppet(w.here());
    trap(w, {trapping});
    for (const Pid parent : {trapping, plain}) {
      w.tell(parent, [&w](Self& self) { w.stillborn_from(self, true, false, kReason); });
    }
    w.run();
    EXPECT_THAT(w.seen(trapping), ElementsAre("EXIT r"));
    EXPECT_EQ(w.end_of(plain), "r");
  });
}

TEST(L, Case5_AParentThatEndsTakesItsLinkedChildWithIt) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid parent = w.puppet(w.here());
    Pid child;
    w.tell(parent, [&](Self& self) {
      child = w.puppet_from(self, true, false).pid;
      self.end(kReason);
    });
    w.run();
    EXPECT_EQ(w.end_of(child), "r");
    EXPECT_EQ(w.process_count(), 0u);
  });
}

TEST(L, Case6_TrapExitBesideAPendingSignalActsAsOneOrderOrTheOther) {
  int died = 0;
  int trapped = 0;
  for_seeds(On::kOneNodeAndTwo, [&](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.there());
    w.run();
    w.tell(a, [b](Self& self) { self.exit(b, kReason); });
    w.tell(b, [](Self& self) { self.trap_exit(true); });
    w.run();
    if (w.alive(b)) {
      ++trapped;
      EXPECT_THAT(w.seen(b), ElementsAre("EXIT r"));
    } else {
      ++died;
      EXPECT_EQ(w.end_of(b), "r");
      EXPECT_THAT(w.seen(b), IsEmpty());
    }
  });
  EXPECT_GT(died, 0) << "the seeds reached only one of the two orders";
  EXPECT_GT(trapped, 0) << "the seeds reached only one of the two orders";
}

TEST(L, Case7_ACascadeEndsAllButTheTrappersEachOnce) {
  for_seeds(
      On::kOneNodeAndTwo,
      [](World& w) {
        const Pid root = w.puppet(w.here());
        std::vector<Pid> leaves;
        for (int i = 0; i < 1000; ++i) leaves.push_back(w.puppet(i % 2 == 0 ? w.here() : w.there()));
        for (std::size_t i = 0; i < leaves.size(); i += 100) trap(w, {leaves[i]});
        w.tell(root, [leaves](Self& self) {
          for (const Pid leaf : leaves) self.link(leaf);
        });
        w.run();
        w.tell_end(root, kReason);
        w.run();
        for (std::size_t i = 0; i < leaves.size(); ++i) {
          EXPECT_EQ(w.alive(leaves[i]), i % 100 == 0);
          if (i % 100 == 0) {
            EXPECT_THAT(w.seen(leaves[i]), ElementsAre("EXIT r"));
          } else {
            EXPECT_EQ(w.end_of(leaves[i]), "r");
          }
        }
      },
      5);
}

TEST(L, Case7_ARingOfLinksEndsWhole) {
  for_seeds(
      On::kOneNodeAndTwo,
      [](World& w) {
        std::vector<Pid> ring;
        for (int i = 0; i < 1000; ++i) ring.push_back(w.puppet(i % 2 == 0 ? w.here() : w.there()));
        for (std::size_t i = 0; i < ring.size(); ++i) {
          w.tell(ring[i], [to = ring[(i + 1) % ring.size()]](Self& self) { self.link(to); });
        }
        w.run();
        w.tell_end(ring[w.random().below(ring.size())], kReason);
        w.run();
        for (const Pid pid : ring) EXPECT_EQ(w.end_of(pid), "r");
        EXPECT_EQ(w.process_count(), 0u);
      },
      5);
}

TEST(L, Case8_ALinkToANodeThatIsLostYieldsNoConnection) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    if (!w.two_nodes()) return;
    const Pid trapping = w.puppet(w.here());
    const Pid plain = w.puppet(w.here());
    const Pid there = w.puppet(w.there());
    trap(w, {trapping});
    w.disconnect();
    w.tell(trapping, [there](Self& self) { self.link(there); });
    w.tell(plain, [there](Self& self) { self.link(there); });
    w.run();
    EXPECT_THAT(w.seen(trapping), ElementsAre("EXIT noconnection"));
    EXPECT_EQ(w.end_of(plain), "noconnection");
    EXPECT_TRUE(w.alive(there));
  });
}

}  // namespace
}  // namespace rusm::otp::spec
