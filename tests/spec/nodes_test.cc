// The loss of a node, and its return as another incarnation.
#include <algorithm>

#include "otp/match.h"
#include "spec/fixture.h"

namespace rusm::otp::spec {
namespace {

using Kind = ExitReason::Kind;
using testing::ElementsAre;

void for_two_nodes(const std::function<void(World&)>& test, int seeds = kSeeds) {
  for_seeds(
      On::kOneNodeAndTwo,
      [&](World& w) {
        if (w.two_nodes()) test(w);
      },
      seeds);
}

TEST(L, Case8_LinksThatStandEndWithTheirNode) {
  for_two_nodes([](World& w) {
    const Pid trapping = w.puppet(w.here());
    const Pid plain = w.puppet(w.here());
    const Pid unlinked = w.puppet(w.here());
    const Pid far = w.puppet(w.there());
    const Pid far_trapping = w.puppet(w.there());
    w.tell(trapping, [&](Self& self) {
      self.trap_exit(true);
      self.link(far_trapping);
    });
    w.tell(far_trapping, [&](Self& self) {
      self.trap_exit(true);
      self.link(plain);  // this time from the other side
    });
    w.tell(unlinked, [&](Self& self) {
      self.link(far);
      self.unlink(far);
    });
    w.run();
    w.disconnect();
    w.run();
    EXPECT_THAT(w.seen(trapping), ElementsAre("EXIT noconnection"));
    EXPECT_EQ(w.end_of(plain), "noconnection");
    EXPECT_TRUE(w.alive(unlinked));
    EXPECT_THAT(w.seen(far_trapping), ElementsAre("EXIT noconnection", "EXIT noconnection"));
    EXPECT_TRUE(w.alive(far));
  });
}

TEST(M, Case7_MonitorsThatStandFireWhenTheirNodeIsLostAndOnlyOnce) {
  for_two_nodes([](World& w) {
    const Pid watcher = w.puppet(w.here());
    const Pid target = w.puppet(w.there());
    Reference removed = 0;
    w.tell(watcher, [&](Self& self) {
      self.monitor(target);
      self.monitor(target);
      removed = self.monitor(target);
      self.demonitor(removed);
    });
    w.run();
    w.disconnect();
    w.run();
    const std::uint64_t sends = w.there().counters().sends;
    w.there().exit(target, Kind::kKill);
    w.run();
    EXPECT_THAT(w.seen(watcher), ElementsAre("DOWN noconnection", "DOWN noconnection"));
    EXPECT_EQ(w.there().counters().sends, sends + 1) << "the kill itself: the target knows of no watcher any more";
  });
}

TEST(C, Case1_ACallUnderWayFailsWhenItsNodeIsLost) {
  for_two_nodes([](World& w) {
    const Pid server = w.puppet(w.there());  // never answers
    std::string outcome;
    w.here().spawn(
        [](Self& self, Pid to, std::string* said) -> Routine {
          const auto answer = co_await call(self, to, Message::of_text("?"), kNever);
          *said = answer ? "answered" : answer.error().to_string();
        },
        server, &outcome);
    w.run();
    EXPECT_EQ(outcome, "");
    w.disconnect();
    w.run();
    EXPECT_EQ(outcome, "noconnection");
  });
}

TEST(S, Case5_APidOfAnEarlierIncarnationAddressesNothing) {
  if (Pid::kGenerationMax < 1000) GTEST_SKIP() << "generations begin at random: among so few, two lives can meet";
  for_two_nodes([](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid before = w.puppet(w.there());
    w.send(a, before, "to the first");
    w.run();
    w.restart_there();
    const Pid after = w.puppet(w.there());
    w.tell(a, [&](Self& self) {
      self.send(before, Message::of_text("to nobody"));
      self.send(after, Message::of_text("to the second"));
      self.monitor(before);
      self.monitor(after);
    });
    w.run();
    EXPECT_THAT(w.seen(a), ElementsAre("DOWN noproc"));
    EXPECT_THAT(w.seen(after), ElementsAre("to the second"));
    w.tell_end(after, ExitReason::other("done"));
    w.run();
    EXPECT_THAT(w.seen(a), ElementsAre("DOWN noproc", "DOWN done"));
  });
}

TEST(N, NodeChangesAreToldToWhoWatches) {
  for_two_nodes([](World& w) {
    std::vector<std::string> changes;
    const Pid watcher = w.here().spawn(
        [](Self& self, std::vector<std::string>* out) -> Routine {
          self.runtime().watch_nodes(self.pid());
          for (;;) {
            const NodeChange change = co_await receive<NodeChange>(self);
            out->push_back(std::to_string(change.node) + (change.up ? " up" : " down"));
          }
        },
        &changes);
    w.run();
    w.restart_there();
    w.run();
    EXPECT_THAT(changes, ElementsAre("2 down", "2 up"));
    w.here().exit(watcher, Kind::kKill);
    w.run();
    w.disconnect();
    w.run();
    EXPECT_THAT(changes, ElementsAre("2 down", "2 up"));
  });
}

// Whatever was under way when the connection broke: nobody waits for ever, and nobody is told twice.
TEST(M, Case7_ALossAtAnyMomentIsToldOnce) {
  for_seeds(
      On::kOneNodeAndTwo,
      [](World& w) {
        if (!w.two_nodes()) return;
        const Pid a = w.puppet(w.here());
        const Pid b = w.puppet(w.there());
        w.tell(a, [&](Self& self) {
          self.trap_exit(true);
          self.monitor(b);
          self.link(b);
        });
        w.tell_end(b, ExitReason::other("r"));
        for (std::uint64_t n = w.random().below(12); n > 0; --n) w.step();
        w.disconnect();
        w.run();
        const Lines& seen = w.seen(a);
        EXPECT_EQ(std::ranges::count_if(seen, [](const std::string& line) { return line.starts_with("DOWN"); }), 1);
        EXPECT_EQ(std::ranges::count_if(seen, [](const std::string& line) { return line.starts_with("EXIT"); }), 1);
      },
      kManySeeds);
}

// A link that arrived and was not handled yet when its node was lost.
TEST(L, Case8_ALinkOnItsWayIntoAProcessEndsAsWell) {
  for_two_nodes(
      [](World& w) {
        const Pid a = w.puppet(w.there());
        const Pid b = w.puppet(w.here());
        w.tell(b, [](Self& self) { self.trap_exit(true); });
        w.run();
        w.tell(a, [&](Self& self) { self.link(b); });
        for (std::uint64_t n = w.random().below(6); n > 0; --n) w.step();
        w.disconnect();
        w.run();
        w.here().send(b, Message::of_text("and nothing more"));
        w.run();
        const Lines& seen = w.seen(b);
        const bool linked = seen.size() == 2;  // it may never have arrived
        EXPECT_EQ(seen, linked ? (Lines{"EXIT noconnection", "and nothing more"}) : (Lines{"and nothing more"}));
        const std::uint64_t sends = w.here().counters().sends;
        w.here().exit(b, Kind::kKill);
        w.run();
        EXPECT_EQ(w.here().counters().sends, sends + 1) << "it has no link left to tell";
      },
      kManySeeds);
}

// ── Values between nodes ─────────────────────────────────────────────────────────────────────────────────────────────

struct Deposit {
  int cents = 0;
  std::string from;
};
struct Balance {};

Routine account(Self& self) {
  int cents = 0;
  for (;;) {
    Message message = co_await receive(self);
    match(
        message, [&](const Deposit& deposit) { cents += deposit.cents; },
        [&](const Balance&, ReplyTo to) { self.reply(to, Message::of(cents)); });
  }
}

Routine customer(Self& self, Pid bank, std::shared_ptr<Lines> lines) {
  self.send(bank, Deposit{40, "cash"});
  self.send(bank, Message::local(std::make_shared<int>(1)));
  self.send(bank, Deposit{2, std::string(10'000, 'x')});
  const std::expected<int, ExitReason> cents = co_await call<int>(self, bank, Balance());
  lines->push_back(cents ? std::to_string(*cents) : cents.error().to_string());
}

TEST(Values, GoToOtherNodesAsTheirCodecWritesThem) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const auto lines = std::make_shared<Lines>();
    w.here().spawn(customer, w.there().spawn(account), lines);
    w.run();
    EXPECT_THAT(*lines, ElementsAre("42"));
  });
}

TEST(Values, WithoutACodecStayAndSaySo) {
  for_two_nodes([](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.there());
    const auto held = std::make_shared<int>(1);
    PendingCall pending;
    w.tell(a, [&](Self& self) {
      EXPECT_FALSE(self.try_send(b, Message::local(held)));
      self.ask(pending, b, Message::local(held));
      self.send(b, Message::of_text("later"));
    });
    w.run();
    EXPECT_TRUE(pending.done);
    EXPECT_EQ(pending.failure.crash_kind(), "codec");
    EXPECT_EQ(held.use_count(), 1);
    EXPECT_THAT(w.seen(b), ElementsAre("later"));
  });
}

Routine answers_with_what_stays(Self& self) {
  const Message request = co_await receive(self);
  self.reply(request.reply_to(), Message::local(std::make_shared<int>(1)));
}

TEST(Values, AReplyThatCannotLeaveIsAnAnswerAllTheSame) {
  for_two_nodes([](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid server = w.there().spawn(answers_with_what_stays);
    PendingCall pending;
    w.tell(a, [&](Self& self) { self.ask(pending, server, Message::of_text("request")); });
    w.run();
    EXPECT_TRUE(pending.done);
    EXPECT_EQ(pending.failure.crash_kind(), "codec");
  });
}

}  // namespace
}  // namespace rusm::otp::spec
