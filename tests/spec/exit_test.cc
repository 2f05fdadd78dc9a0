// X: how processes end.
#include <stdexcept>

#include "otp/match.h"
#include "spec/fixture.h"

namespace rusm::otp::spec {
namespace {

using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Kind = ExitReason::Kind;

const ExitReason kReason = ExitReason::other("r");

Routine return_at_once(Self&) {
  co_return;
}

Task<int> fail_inside(Self& self) {
  co_await yield(self);
  throw std::runtime_error("no bread");
}

Routine throw_from_task(Self& self) {
  (void)co_await fail_inside(self);
}

Routine throw_number(Self& self) {
  co_await yield(self);
  throw 7;
}

template <class... Args>
ExitReason reason_of_body(World& w, Routine (*body)(Self&, Args...), Args... args) {
  ExitReason end = kReason;
  w.here().spawn_with({.on_exit = [&end](Pid, const ExitReason& reason) { end = reason; }}, body, args...);
  w.run_out();
  return end;
}

TEST(X, Case1_ABodyThatReturnsExitsNormal) {
  for_seeds(On::kOneNode, [](World& w) { EXPECT_TRUE(reason_of_body(w, return_at_once).is_normal()); });
}

TEST(X, Case1_ABodyThatThrowsExitsCrashedWithKindAndText) {
  for_seeds(On::kOneNode, [](World& w) {
    const ExitReason crash = reason_of_body(w, throw_from_task);
    EXPECT_EQ(crash.kind(), Kind::kCrashed);
    EXPECT_EQ(crash.crash_kind(), "exception");
    EXPECT_THAT(std::string(crash.text()), testing::AllOf(HasSubstr("runtime_error"), HasSubstr("no bread")));
    const ExitReason odd = reason_of_body(w, throw_number);
    EXPECT_EQ(odd.kind(), Kind::kCrashed);
    EXPECT_THAT(std::string(odd.text()), HasSubstr("int"));
    EXPECT_EQ(w.here().counters().crashes, 2u);
  });
}

TEST(X, Case1_ExitWithAReasonEndsWithThatReason) {
  for_seeds(On::kOneNode, [](World& w) {
    const ExitReason limit = ExitReason::limit("memory", "64 MiB");
    EXPECT_EQ(reason_of_body(
                  w, +[](Self& self, ExitReason r) -> Routine { co_await end(self, std::move(r)); }, limit),
              limit);
  });
}

TEST(X, Case2_ExitEndsAProcessThatDoesNotTrap) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.there());
    w.tell(a, [b](Self& self) { self.exit(b, Kind::kNormal); });
    w.run();
    EXPECT_TRUE(w.alive(b)) << "normal is ignored";
    w.tell(a, [b](Self& self) { self.exit(b, kReason); });
    w.run();
    EXPECT_EQ(w.end_of(b), "r");
    EXPECT_TRUE(w.alive(a));
  });
}

TEST(X, Case2_ExitIsAMessageForAProcessThatTraps) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.there());
    w.tell(b, [](Self& self) { self.trap_exit(true); });
    w.run();
    w.tell(a, [b](Self& self) {
      self.exit(b, Kind::kNormal);
      self.exit(b, kReason);
    });
    w.run();
    EXPECT_TRUE(w.alive(b));
    EXPECT_THAT(w.seen(b), ElementsAre("EXIT normal", "EXIT r"));
    w.tell(b, [](Self& self) { self.trap_exit(false); });
    w.run();
    w.tell(a, [b](Self& self) { self.exit(b, kReason); });
    w.run();
    EXPECT_EQ(w.end_of(b), "r");
  });
}

TEST(X, Case2_ExitNormalToItselfEndsTheProcess) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid trapping = w.puppet(w.here());
    w.tell(a, [](Self& self) { self.exit(self.pid(), Kind::kNormal); });
    w.tell(trapping, [](Self& self) {
      self.trap_exit(true);
      self.exit(self.pid(), Kind::kNormal);
    });
    w.run();
    EXPECT_EQ(w.end_of(a), "normal");
    EXPECT_THAT(w.seen(trapping), ElementsAre("EXIT normal"));
  });
}

TEST(X, Case3_KillEndsATrapperTooAndItsLinksSeeKilled) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Pid killer = w.puppet(w.here());
    const Pid b = w.puppet(w.there());
    const Pid trapping = w.puppet(w.here());
    const Pid plain = w.puppet(w.here());
    const Pid watcher = w.puppet(w.here());
    w.tell(b, [=](Self& self) {
      self.trap_exit(true);
      self.link(trapping);
      self.link(plain);
    });
    w.tell(trapping, [](Self& self) { self.trap_exit(true); });
    w.tell(watcher, [b](Self& self) { self.monitor(b); });
    w.run();
    w.tell(killer, [b](Self& self) { self.exit(b, Kind::kKill); });
    w.run();
    EXPECT_EQ(w.end_of(b), "killed");
    EXPECT_THAT(w.seen(b), IsEmpty());
    EXPECT_THAT(w.seen(trapping), ElementsAre("EXIT killed"));
    EXPECT_TRUE(w.alive(trapping));
    EXPECT_EQ(w.end_of(plain), "killed");
    EXPECT_THAT(w.seen(watcher), ElementsAre("DOWN killed"));
  });
}

TEST(X, Case4_KilledTravelsAlongChainsOfLinksAndCanBeTrapped) {
  for (const std::size_t length : {1u, 2u, 9u, 10u}) {
    for_seeds(
        On::kOneNodeAndTwo,
        [length](World& w) {
          std::vector<Pid> chain = {w.puppet(w.here())};
          for (std::size_t i = 0; i < length; ++i) {
            const Pid next = w.puppet(i % 2 == 0 ? w.there() : w.here());
            w.tell(chain.back(), [next](Self& self) { self.link(next); });
            chain.push_back(next);
          }
          w.tell(chain.back(), [](Self& self) { self.trap_exit(true); });
          w.run();
          w.here().exit(chain.front(), Kind::kKill);
          w.run();
          for (std::size_t i = 0; i < length; ++i) EXPECT_EQ(w.end_of(chain[i]), "killed");
          EXPECT_TRUE(w.alive(chain.back()));
          EXPECT_THAT(w.seen(chain.back()), ElementsAre("EXIT killed"));
        },
        kSeeds / 4);
  }
}

// ── Killed in every state ────────────────────────────────────────────────────────────────────────────────────────────

struct InFrame {
  explicit InFrame(int* alive) : alive_(alive) { ++*alive_; }
  InFrame(const InFrame&) = delete;
  InFrame& operator=(const InFrame&) = delete;
  ~InFrame() { --*alive_; }
  int* alive_;
};

Routine in_receive(Self& self, int* alive) {
  const InFrame frame(alive);
  (void)co_await receive(self);
}
Routine in_receive_for(Self& self, int* alive) {
  const InFrame frame(alive);
  (void)co_await receive_for(self, 3600 * kSecond);
}
Routine in_receive_if(Self& self, int* alive) {
  const InFrame frame(alive);
  (void)co_await receive_if(self, [](const Message&) { return false; });
}
Routine in_sleep(Self& self, int* alive) {
  const InFrame frame(alive);
  co_await sleep(self, 3600 * kSecond);
}
Routine in_yield(Self& self, int* alive) {
  const InFrame frame(alive);
  for (;;) co_await yield(self);
}
Routine in_news(Self& self, int* alive) {
  const InFrame frame(alive);
  for (;;) co_await news(self);
}
Task<> deep(Self& self, int* alive, int depth) {
  const InFrame frame(alive);
  if (depth > 0) co_await deep(self, alive, depth - 1);
  (void)co_await receive(self);
}
Routine in_task(Self& self, int* alive) {
  const InFrame frame(alive);
  co_await deep(self, alive, 5);
}
Routine trapping_all(Self& self, int* alive) {
  const InFrame frame(alive);
  self.trap_exit(true);
  for (;;) (void)co_await receive(self);
}

Routine in_typed_receive(Self& self, int* alive) {
  const InFrame frame(alive);
  (void)co_await receive<std::string, double>(self);
}
Routine never_answers(Self& self) {
  for (;;) (void)co_await receive(self);
}
Routine in_call(Self& self, int* alive) {
  const InFrame frame(alive);
  const Spawned server = self.runtime().spawn_from(self, SpawnOptions{.link = true}, never_answers);
  (void)co_await call(self, server.pid, Message::of_text("?"), kNever);
}
Routine after_blocking(Self& self, int* alive) {
  const InFrame frame(alive);
  for (;;) {
    int local = 0;
    co_await blocking(self, [&local] { ++local; });
  }
}
// Holds everything that a process can hold.
Routine holding_all(Self& self, int* alive) {
  const InFrame frame(alive);
  const std::string name = "holds " + self.pid().to_string();
  (void)self.runtime().register_name(name, self.pid());
  (void)self.runtime().join("group", self.pid());
  (void)self.runtime().watch_group("group", self.pid());
  self.runtime().watch_nodes(self.pid());
  self.send_after(3600 * kSecond, self.pid(), Message::of_text("late"));
  self.send_every(kSecond, self.pid(), 1);
  self.monitor(name);
  for (;;) (void)co_await receive(self);
}

using Body5 = Routine (*)(Self&, int*);
constexpr Body5 kStates[] = {in_typed_receive, in_call,  after_blocking, holding_all, in_receive, in_receive_for,
                             in_receive_if,    in_sleep, in_yield,       in_news,     in_task,    trapping_all};

TEST(X, Case5_AProcessInAnyStateCanBeKilled) {
  for_seeds(On::kOneNode, [](World& w) {
    int alive = 0;
    std::vector<std::string> ends;
    for (const Body5 state : kStates) {
      const Pid watcher = w.puppet(w.here());
      const Pid pid = w.here().spawn(state, &alive);
      w.tell(watcher, [pid](Self& self) { self.monitor(pid); });
      // Not at all, or somewhere on the way to its state.
      for (std::uint64_t i = w.random().below(12); i > 0; --i) w.step();
      w.here().send(pid, Message::of_text("lies in the mailbox"));
      for (std::uint64_t i = w.random().below(6); i > 0; --i) w.step();
      w.here().exit(pid, Kind::kKill);
      w.run();
      EXPECT_FALSE(w.here().is_alive(pid));
      ASSERT_EQ(w.seen(watcher).size(), 1u);
      EXPECT_THAT(w.seen(watcher).front(), AnyOf("DOWN killed", "DOWN noproc", "DOWN normal"));
    }
    EXPECT_EQ(alive, 0) << "a frame outlived its process";
    EXPECT_EQ(w.process_count(), std::size(kStates)) << "only the watchers";
    EXPECT_THAT(w.here().names(), IsEmpty());
    EXPECT_THAT(w.here().groups(), IsEmpty());
    const std::uint64_t steps = w.here().counters().steps;
    w.run_out();
    EXPECT_EQ(w.here().counters().steps, steps) << "no timer of theirs is left";
  });
}

TEST(X, Case5_KilledBeforeItsFirstStepItsCodeNeverRuns) {
  for_seeds(On::kOneNode, [](World& w) {
    int alive = 0;
    const Pid pid = w.here().spawn(
        +[](Self& self, int* ran) -> Routine {
          ++*ran;
          co_await yield(self);
        },
        &alive);
    w.here().exit(pid, Kind::kKill);
    w.run();
    EXPECT_EQ(alive, 0);
    EXPECT_EQ(w.process_count(), 0u);
  });
}

TEST(X, Case6_FramesAndMailboxAreGoneBeforeAnyoneHearsOfTheEnd) {
  for_seeds(On::kOneNode, [](World& w) {
    int alive = 0;
    const auto shared = std::make_shared<int>(1);
    const Pid b = w.here().spawn(in_sleep, &alive);
    const Pid a = w.puppet(w.here());
    w.tell(a, [b](Self& self) { self.monitor(b); });
    w.run();
    w.here().send(b, Message::local(shared));
    EXPECT_EQ(shared.use_count(), 2);
    w.here().exit(b, Kind::kKill);
    while (w.seen(a).empty()) ASSERT_TRUE(w.step());
    EXPECT_EQ(alive, 0);
    EXPECT_EQ(shared.use_count(), 1) << "the mailbox outlived the process";
    w.here().send(b, Message::local(shared));
    EXPECT_EQ(shared.use_count(), 1) << "a message to the dead was kept";
  });
}

TEST(X, Case6_TheEndRemovesLinksAndMonitorsItHeld) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.here());
    w.tell(a, [b](Self& self) {
      for (int i = 0; i < 40; ++i) self.monitor(b);
    });
    w.tell(b, [](Self& self) { self.trap_exit(true); });
    w.tell(b, [a](Self& self) { self.link(a); });
    w.run();
    w.tell_end(a, kReason);
    w.run();
    EXPECT_THAT(w.seen(b), ElementsAre("EXIT r"));
    const std::uint64_t sends = w.here().counters().sends;
    w.here().exit(b, Kind::kKill);
    w.run();
    EXPECT_EQ(w.here().counters().sends, sends + 1) << "b told somebody of its end who no longer wanted to know";
  });
}

TEST(X, Case7_OneReasonWinsAndAllObserversSeeIt) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Pid b = w.puppet(w.there());
    std::vector<Pid> observers;
    for (int i = 0; i < 4; ++i) {
      const Pid observer = w.puppet(i % 2 == 0 ? w.here() : w.there());
      w.tell(observer, [b, i](Self& self) {
        self.trap_exit(true);
        i < 2 ? self.link(b) : static_cast<void>(self.monitor(b));
      });
      observers.push_back(observer);
    }
    w.run();
    for (int i = 0; i < 3; ++i) {
      const Pid sender = w.puppet(i % 2 == 0 ? w.here() : w.there());
      w.tell(sender, [b, i](Self& self) { self.exit(b, ExitReason::other("r" + std::to_string(i))); });
    }
    w.tell(observers[0], [b](Self& self) { self.exit(b, Kind::kKill); });
    w.tell_end(b, ExitReason::other("own"));
    w.run();
    const std::string reason = w.end_of(b);
    EXPECT_THAT(reason, AnyOf("r0", "r1", "r2", "killed", "own"));
    for (std::size_t i = 0; i < 4; ++i) {
      EXPECT_THAT(w.seen(observers[i]), ElementsAre((i < 2 ? "EXIT " : "DOWN ") + reason));
    }
  });
}

TEST(X, Case8_TwoLinkedProcessesThatExitAtOnceAreReportedConsistently) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.there());
    const Pid c = w.puppet(w.here());
    w.tell(a, [b](Self& self) { self.link(b); });
    w.tell(c, [=](Self& self) {
      self.monitor(a);
      self.trap_exit(true);
      self.link(b);
    });
    w.run();
    w.tell_end(a, ExitReason::other("ra"));
    w.tell_end(b, ExitReason::other("rb"));
    w.run();
    EXPECT_THAT(w.end_of(a), AnyOf("ra", "rb"));
    EXPECT_THAT(w.end_of(b), AnyOf("ra", "rb"));
    EXPECT_FALSE(w.end_of(a) == "rb" && w.end_of(b) == "ra") << "each died of the other";
    EXPECT_THAT(w.seen(c), testing::UnorderedElementsAre("DOWN " + w.end_of(a), "EXIT " + w.end_of(b)));
  });
}

TEST(X, Case9_EndingItselfWithKillIsAnOrdinaryReasonForItsLinks) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid trapping = w.puppet(w.there());
    const Pid plain = w.puppet(w.there());
    w.tell(trapping, [a](Self& self) {
      self.trap_exit(true);
      self.link(a);
    });
    w.tell(plain, [a](Self& self) { self.link(a); });
    w.run();
    w.tell_end(a, Kind::kKill);
    w.run();
    EXPECT_EQ(w.end_of(a), "kill");
    EXPECT_THAT(w.seen(trapping), ElementsAre("EXIT kill"));
    EXPECT_TRUE(w.alive(trapping));
    EXPECT_EQ(w.end_of(plain), "kill");
  });
}

}  // namespace
}  // namespace rusm::otp::spec
