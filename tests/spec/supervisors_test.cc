// V. Supervisors.
#include <algorithm>
#include <stdexcept>

#include "otp/match.h"
#include "otp/supervisor.h"
#include "spec/fixture.h"

namespace rusm::otp::spec {
namespace {

using Kind = ExitReason::Kind;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

using Log = std::shared_ptr<Lines>;

struct InLog {
  InLog(Log to, std::string who) : log(std::move(to)), id(std::move(who)) { log->push_back("+" + id); }
  InLog(const InLog&) = delete;
  InLog& operator=(const InLog&) = delete;
  ~InLog() { log->push_back("-" + id); }
  Log log;
  std::string id;
};

struct EndWith {
  ExitReason reason;
};

// Notes its start and its end, and ends as it is told.
Routine worker(Self& self, Log log, std::string id) {
  const InLog noted(log, id);
  ready(self);
  const EndWith how = co_await receive<EndWith>(self);
  co_await end(self, how.reason);
}

Routine fails_to_start(Self& self, Log log, std::string id) {
  const InLog noted(log, id);
  co_await end(self, ExitReason::other("no disk"));
}

Routine ignores_shutdown(Self& self, Log log, std::string id) {
  const InLog noted(log, id);
  self.trap_exit(true);
  ready(self);
  for (;;) (void)co_await receive(self);
}

Routine declines(Self& self, Log log, std::string id) {
  const InLog noted(log, id);
  decline(self);
  co_return;
}

Routine says_ready(Self& self, Log log, std::string id) {
  const InLog noted(log, id);
  ready(self);
  (void)co_await receive(self);
}

Routine hangs_in_start(Self& self, Log log, std::string id) {
  const InLog noted(log, id);
  for (;;) (void)co_await receive(self);
}

Routine leaves_its_supervisor(Self& self, Log log, std::string id) {
  const InLog noted(log, id);
  self.unlink(self.runtime().info(self.pid())->parent);
  const EndWith how = co_await receive<EndWith>(self);
  co_await end(self, how.reason);
}

ChildSpec named(const Log& log, const std::string& id, Restart restart = Restart::kPermanent) {
  ChildSpec spec = child(id, worker, log, id);
  spec.name = id;
  spec.restart = restart;
  spec.reports_ready = true;
  return spec;
}

// A supervisor of a, b and c, one that is told to end by `stop`, and what they did.
struct Family {
  Family(World& world, SupervisorSpec spec) : w(world) {
    parent = w.puppet(w.here());
    w.tell(parent, [&, spec](Self& self) {
      self.trap_exit(true);
      supervisor = self.runtime().spawn_from(self, {.link = true}, supervise, spec).pid;
    });
    w.run();
  }
  Pid of(const std::string& id) { return w.here().whereis(id); }
  void end(const std::string& id, ExitReason reason) {
    log->clear();
    w.here().send(of(id), Message::local(EndWith{std::move(reason)}));
    w.run();
  }
  void stop() {
    log->clear();
    w.tell(parent, [this](Self& self) { self.exit(supervisor, Kind::kShutdown); });
    w.run_out();
  }
  bool alive() const { return w.here().is_alive(supervisor); }

  World& w;
  Log log = std::make_shared<Lines>();
  Pid parent;
  Pid supervisor;
};

SupervisorSpec three(const Log& log, Strategy strategy, std::uint32_t restarts_max = 5) {
  return {.strategy = strategy,
          .restarts_max = restarts_max,
          .children = {named(log, "a"), named(log, "b"), named(log, "c")}};
}

const ExitReason kCrash = ExitReason::crashed("exception", "broken");

TEST(V, Case1_ChildrenStartInOrderAndStopInReverse) {
  for_seeds(On::kOneNode, [](World& w) {
    const Log log = std::make_shared<Lines>();
    Family family(w, three(log, Strategy::kOneForOne));
    EXPECT_THAT(*log, ElementsAre("+a", "+b", "+c"));
    log->clear();
    family.stop();
    EXPECT_THAT(*log, ElementsAre("-c", "-b", "-a"));
    EXPECT_FALSE(family.alive());
    EXPECT_THAT(w.seen(family.parent), ElementsAre("EXIT shutdown"));
    EXPECT_EQ(w.process_count(), 1u);
  });
}

TEST(V, Case1_OneWithoutAParentStopsInOrderWhenItIsToldFromOutside) {
  for_seeds(On::kOneNode, [](World& w) {
    const Log log = std::make_shared<Lines>();
    const Pid supervisor = w.here().spawn(supervise, three(log, Strategy::kOneForOne));
    w.run();
    log->clear();
    w.here().exit(supervisor, Kind::kShutdown);
    w.run_out();
    EXPECT_THAT(*log, ElementsAre("-c", "-b", "-a"));
    EXPECT_FALSE(w.here().is_alive(supervisor));
  });
}

TEST(V, Case1_AChildThatFailsToStartStopsTheEarlierOnesAndIsNamed) {
  for_seeds(On::kOneNode, [](World& w) {
    const Log log = std::make_shared<Lines>();
    SupervisorSpec spec = three(log, Strategy::kOneForOne);
    spec.children[2] = child("c", fails_to_start, log, "c");
    spec.children[2].reports_ready = true;
    Family family(w, spec);
    EXPECT_THAT(*log, ElementsAre("+a", "+b", "+c", "-c", "-b", "-a"));
    ASSERT_THAT(w.seen(family.parent), SizeIs(1));
    EXPECT_THAT(w.seen(family.parent)[0], HasSubstr("\"c\""));
    EXPECT_THAT(w.seen(family.parent)[0], HasSubstr("no disk"));
  });
}

TEST(V, Case1_ADeclinedChildIsKeptUnlessItIsTemporary) {
  for_seeds(On::kOneNode, [](World& w) {
    const Log log = std::make_shared<Lines>();
    SupervisorSpec spec{.children = {child("kept", declines, log, "kept"), child("gone", declines, log, "gone"),
                                     child("ready", says_ready, log, "ready")}};
    spec.children[1].restart = Restart::kTemporary;
    for (ChildSpec& one : spec.children) one.reports_ready = true;
    Family family(w, spec);
    Lines ids;
    struct Asks {
      static Routine ask(Self& self, Pid supervisor, Lines* out) {
        const auto infos = co_await which_children(self, supervisor);
        for (const ChildInfo& info : *infos) out->push_back(info.id + (info.pid ? " runs" : " stopped"));
      }
    };
    w.here().spawn(Asks::ask, family.supervisor, &ids);
    w.run();
    EXPECT_THAT(ids, ElementsAre("kept stopped", "ready runs"));
  });
}

TEST(V, Case2_WhatIsRestartedAfterWhichEnd) {
  struct Row {
    Restart restart;
    ExitReason reason;
    bool again;
  };
  const Row rows[] = {{Restart::kPermanent, Kind::kNormal, true},    {Restart::kPermanent, Kind::kShutdown, true},
                      {Restart::kPermanent, kCrash, true},           {Restart::kTransient, Kind::kNormal, false},
                      {Restart::kTransient, Kind::kShutdown, false}, {Restart::kTransient, kCrash, true},
                      {Restart::kTransient, Kind::kKill, true},      {Restart::kTemporary, Kind::kNormal, false},
                      {Restart::kTemporary, Kind::kShutdown, false}, {Restart::kTemporary, kCrash, false}};
  for (const Row& row : rows) {
    for_seeds(
        On::kOneNode,
        [&row](World& w) {
          const Log log = std::make_shared<Lines>();
          Family family(w, {.children = {named(log, "a", row.restart)}});
          log->clear();
          family.end("a", row.reason);
          if (row.again) {
            EXPECT_THAT(*log, ElementsAre("-a", "+a")) << row.reason.to_string();
          } else {
            EXPECT_THAT(*log, ElementsAre("-a")) << row.reason.to_string();
          }
          EXPECT_EQ(static_cast<bool>(family.of("a")), row.again);
          EXPECT_TRUE(family.alive());
        },
        20);
  }
}

TEST(V, Case3_TheStrategies) {
  struct Row {
    Strategy strategy;
    Lines expected;
  };
  const Row rows[] = {{Strategy::kOneForOne, {"-b", "+b"}},
                      {Strategy::kOneForAll, {"-b", "-c", "-a", "+a", "+b", "+c"}},
                      {Strategy::kRestForOne, {"-b", "-c", "+b", "+c"}}};
  for (const Row& row : rows) {
    for_seeds(
        On::kOneNode,
        [&row](World& w) {
          const Log log = std::make_shared<Lines>();
          Family family(w, three(log, row.strategy));
          log->clear();
          family.end("b", kCrash);
          EXPECT_EQ(*log, row.expected);
        },
        50);
  }
}

TEST(V, Case4_WhoIgnoresShutdownIsKilledAfterItsTime) {
  for_seeds(
      On::kOneNode,
      [](World& w) {
        const Log log = std::make_shared<Lines>();
        SupervisorSpec spec{
            .children = {child("a", ignores_shutdown, log, "a"), child("b", ignores_shutdown, log, "b")}};
        for (ChildSpec& one : spec.children) one.reports_ready = true;
        spec.children[0].shutdown = 2 * kSecond;
        spec.children[1].shutdown = 0;
        Family family(w, spec);
        const Nanoseconds before = w.clock().now();
        family.stop();
        EXPECT_THAT(*log, ElementsAre("+a", "+b", "-b", "-a"));
        EXPECT_GE(w.clock().now() - before, 2 * kSecond);
        EXPECT_LT(w.clock().now() - before, 3 * kSecond);
        EXPECT_EQ(w.process_count(), 1u);
      },
      30);
}

TEST(V, Case5_TooManyRestartsInTheWindowEndItAndSlowOnesNever) {
  for_seeds(
      On::kOneNode,
      [](World& w) {
        const Log log = std::make_shared<Lines>();
        SupervisorSpec spec = three(log, Strategy::kOneForOne, 3);
        Family family(w, spec);
        for (int i = 0; i < 50; ++i) {  // three in each window, for a long time
          family.end("a", kCrash);
          w.clock().advance_to(w.clock().now() + 5 * kSecond / 3 + kMillisecond);
          ASSERT_TRUE(family.alive()) << i;
        }
        w.clock().advance_to(w.clock().now() + 10 * kSecond);
        log->clear();
        for (int i = 0; i < 4; ++i) family.end("b", kCrash);
        EXPECT_FALSE(family.alive());
        EXPECT_THAT(w.seen(family.parent), ElementsAre("EXIT shutdown"));
        EXPECT_EQ(w.process_count(), 1u);
      },
      30);
}

TEST(V, Case6_AChildThatHangsInItsStartMakesNobodyDeaf) {
  for_seeds(
      On::kOneNode,
      [](World& w) {
        const Log log = std::make_shared<Lines>();
        SupervisorSpec spec{.restarts_max = 5, .children = {named(log, "a"), child("b", hangs_in_start, log, "b")}};
        spec.children[1].reports_ready = true;
        const bool in_time = w.random().below(2) == 0;
        if (in_time) spec.children[1].start_timeout = kSecond;
        Family family(w, spec);
        EXPECT_THAT(*log, ElementsAre("+a", "+b"));
        if (in_time) {
          w.run_out();
          EXPECT_THAT(w.seen(family.parent), ElementsAre(HasSubstr("\"b\" could not be started: timeout")));
        } else {
          w.tell(family.parent, [&](Self& self) { self.exit(family.supervisor, Kind::kShutdown); });
          w.run_out();
          EXPECT_THAT(w.seen(family.parent), ElementsAre("EXIT shutdown"));
        }
        EXPECT_THAT(*log, ElementsAre("+a", "+b", "-b", "-a"));
        EXPECT_EQ(w.process_count(), 1u);
      },
      50);
}

TEST(V, Case6_CrashesDuringARestartAreHandled) {
  for_seeds(On::kOneNode, [](World& w) {
    const Log log = std::make_shared<Lines>();
    Family family(w, three(log, Strategy::kRestForOne, 10));
    for (const char* id : {"b", "c", "a", "c"}) w.here().send(family.of(id), Message::local(EndWith{kCrash}));
    w.run();
    EXPECT_TRUE(family.alive());
    for (const char* id : {"a", "b", "c"}) EXPECT_TRUE(family.of(id)) << id;
    EXPECT_EQ(w.process_count(), 5u);
    log->clear();
    family.stop();
    EXPECT_THAT(*log, ElementsAre("-c", "-b", "-a"));
  });
}

TEST(V, Case7_AChildThatUnlinksItselfIsStillDetected) {
  for_seeds(
      On::kOneNode,
      [](World& w) {
        const Log log = std::make_shared<Lines>();
        ChildSpec spec = child("a", leaves_its_supervisor, log, "a");
        spec.name = "a";
        Family family(w, {.children = {spec}});
        log->clear();
        family.end("a", kCrash);
        EXPECT_THAT(*log, ElementsAre("-a", "+a"));
      },
      50);
}

Routine manage(Self& self, Pid supervisor, Log log, Lines* out) {
  const auto note = [out](const auto& result) {
    out->push_back(result ? "fine" : std::string(name_of(result.error().code)));
  };
  note(co_await start_child(self, supervisor, named(log, "d")));
  note(co_await start_child(self, supervisor, named(log, "d")));  // exists
  note(co_await start_child(self, supervisor, ChildSpec()));      // invalid
  note(co_await delete_child(self, supervisor, "d"));             // exists: it runs
  note(co_await restart_child(self, supervisor, "d"));            // exists: it runs
  note(co_await terminate_child(self, supervisor, "d"));
  note(co_await terminate_child(self, supervisor, "d"));  // again: nothing to do
  note(co_await restart_child(self, supervisor, "d"));
  note(co_await terminate_child(self, supervisor, "d"));
  note(co_await delete_child(self, supervisor, "d"));
  note(co_await delete_child(self, supervisor, "d"));          // not found
  note(co_await terminate_child(self, supervisor, "nobody"));  // not found
  ChildSpec bad = child("bad", fails_to_start, log, "bad");
  bad.reports_ready = true;
  note(co_await start_child(self, supervisor, bad));  // unavailable
  const auto counts = co_await count_children(self, supervisor);
  out->push_back(std::to_string(counts->specs) + " specs, " + std::to_string(counts->active) + " active");
  note(co_await count_children(self, Pid(0, 12345, 1)));  // no such supervisor
}

TEST(V, Case8_StartTerminateRestartDelete) {
  for_seeds(
      On::kOneNode,
      [](World& w) {
        const Log log = std::make_shared<Lines>();
        Family family(w, three(log, Strategy::kOneForOne));
        Lines out;
        w.here().spawn(manage, family.supervisor, log, &out);
        w.run_out();
        EXPECT_THAT(out,
                    ElementsAre("fine", "exists", "invalid", "exists", "exists", "fine", "fine", "fine", "fine", "fine",
                                "not_found", "not_found", "unavailable", "3 specs, 3 active", "not_found"));
      },
      50);
}

TEST(V, Case8_SpecsAreValidatedAndTheErrorNamesTheField) {
  const Log log = std::make_shared<Lines>();
  const auto where = [](const SupervisorSpec& spec) {
    const Result<> result = validate(spec);
    return result ? std::string() : result.error().where;
  };
  EXPECT_EQ(where(three(log, Strategy::kOneForAll)), "");
  EXPECT_EQ(where({.window = 0}), "window");
  EXPECT_EQ(where({.backoff = Backoff{.first = 0}}), "backoff");
  EXPECT_EQ(where({.backoff = Backoff{.factor = 0.5}}), "backoff.factor");
  EXPECT_EQ(where({.backoff = Backoff{.jitter = 1}}), "backoff.jitter");
  EXPECT_EQ(where({.strategy = Strategy::kSimpleOneForOne}), "dynamic");
  EXPECT_EQ(where({.children = {named(log, "a"), named(log, "a")}}), "children[1].id");
  EXPECT_EQ(where({.children = {ChildSpec{.id = "x", .start = {}}}}), "children[0].start");
  EXPECT_EQ(where({.children = {ChildSpec()}}), "children[0].id");
  ChildSpec late = named(log, "a");
  late.start_timeout = 0;
  EXPECT_EQ(where({.children = {late}}), "children[0].start_timeout");
}

// ── Dynamic children ─────────────────────────────────────────────────────────────────────────────────────────────────

#ifdef RUSM_SANITIZED
constexpr int kManyChildren = 5'000;
#else
constexpr int kManyChildren = 100'000;
#endif

Routine dynamic_worker(Self& self, int number) {
  if (number < 0) co_await end(self, ExitReason::other("negative"));
  for (;;) (void)co_await receive(self);
}

Routine start_many(Self& self, Pid supervisor, int count, std::uint64_t* active) {
  Pid last;
  for (int i = 0; i < count; ++i) {
    const Result<Pid> started = co_await start_child(self, supervisor, Message::of(i));
    EXPECT_TRUE(started.has_value());
    last = *started;
  }
  EXPECT_FALSE(co_await start_child(self, supervisor, Message::of_text("no number")));
  EXPECT_TRUE(co_await terminate_child(self, supervisor, last));
  EXPECT_FALSE(co_await terminate_child(self, supervisor, last));
  (void)co_await start_child(self, supervisor, Message::of(-1));
  *active = (co_await count_children(self, supervisor))->active;
}

TEST(V, Case9_ManyDynamicChildrenStartAndStopInLinearTime) {
  World w(1, false);
  ChildSpec like;
  like.restart = Restart::kTemporary;
  Family family(w, {.strategy = Strategy::kSimpleOneForOne, .dynamic = dynamic_child<int>(dynamic_worker, like)});
  std::uint64_t active = 0;
  w.here().spawn(start_many, family.supervisor, kManyChildren, &active);
  w.run();
  EXPECT_GE(active, static_cast<std::uint64_t>(kManyChildren) - 1);
  EXPECT_EQ(w.process_count(), static_cast<std::size_t>(kManyChildren) - 1 + 2);
  family.stop();
  EXPECT_EQ(w.process_count(), 1u);
}

// ── Trees ────────────────────────────────────────────────────────────────────────────────────────────────────────────

SupervisorSpec tree(const Log& log, std::uint32_t restarts_max) {
  const SupervisorSpec leaf{.restarts_max = restarts_max, .children = {named(log, "a"), named(log, "b")}};
  const SupervisorSpec middle{.restarts_max = restarts_max, .children = {child_supervisor("leaf", leaf)}};
  return {.restarts_max = restarts_max, .children = {child_supervisor("middle", middle)}};
}

TEST(V, Case10_ASupervisorThatIsKilledTakesItsChildrenAlong) {
  for_seeds(
      On::kOneNode,
      [](World& w) {
        const Log log = std::make_shared<Lines>();
        Family family(w, tree(log, 1));
        EXPECT_EQ(w.process_count(), 6u);
        w.here().exit(family.supervisor, Kind::kKill);
        w.run_out();
        EXPECT_EQ(w.process_count(), 1u);
        EXPECT_THAT(w.seen(family.parent), ElementsAre("EXIT killed"));
      },
      50);
}

TEST(V, Case12_EscalationEndsWithTheRoot) {
  for_seeds(
      On::kOneNode,
      [](World& w) {
        const Log log = std::make_shared<Lines>();
        Family family(w, tree(log, 1));
        // Each level forgives one: 2 * 2 * 2 crashes reach the root's end.
        int crashes = 0;
        while (family.alive() && crashes < 20) {
          w.here().send(family.of("a"), Message::local(EndWith{kCrash}));
          w.run();
          ++crashes;
        }
        EXPECT_EQ(crashes, 8);
        EXPECT_EQ(w.process_count(), 1u);
        EXPECT_THAT(w.seen(family.parent), ElementsAre("EXIT shutdown"));
      },
      50);
}

TEST(V, Case11_BackoffGrowsUpToItsLimitAndAQuietPeriodResetsIt) {
  World w(1, false);
  const Log log = std::make_shared<Lines>();
  SupervisorSpec spec{.restarts_max = 100, .children = {named(log, "a")}};
  spec.backoff = Backoff{.first = kSecond, .max = 5 * kSecond, .factor = 2, .jitter = 0, .quiet = 60 * kSecond};
  Family family(w, spec);
  const auto wait_after_crash = [&] {
    const Nanoseconds before = w.clock().now();
    family.end("a", kCrash);
    EXPECT_FALSE(family.of("a"));
    w.run_out();
    EXPECT_TRUE(family.of("a"));
    return (w.clock().now() - before + kMillisecond) / kSecond;
  };
  Lines waits;
  for (int i = 0; i < 5; ++i) waits.push_back(std::to_string(wait_after_crash()));
  EXPECT_THAT(waits, ElementsAre("1", "2", "4", "5", "5"));
  w.clock().advance_to(w.clock().now() + 61 * kSecond);
  EXPECT_EQ(wait_after_crash(), 1);
}

// ── Under random crashes ─────────────────────────────────────────────────────────────────────────────────────────────

// Needs a few steps to start, and sometimes fails to.
Routine shaky(Self& self, World* world) {
  for (std::uint64_t steps = world->random().below(4); steps > 0; --steps) co_await yield(self);
  if (world->random().below(4) == 0) throw std::runtime_error("shaky");
  ready(self);
  for (;;) (void)co_await receive(self);
}

SupervisorSpec shaky_tree(World& w, Strategy strategy) {
  SupervisorSpec leaf{.strategy = strategy, .restarts_max = 1'000'000};
  for (const char* id : {"a", "b", "c"}) {
    leaf.children.push_back(child(id, shaky, &w));
    leaf.children.back().reports_ready = true;
  }
  SupervisorSpec root{.strategy = strategy, .restarts_max = 1'000'000};
  for (const char* id : {"one", "two"}) {
    root.children.push_back(child_supervisor(id, leaf));
    root.children.back().shutdown = kNever;
  }
  return root;
}

// Whenever anything ends, at its start, in a restart, in the shutdown: in the end all are there, or nobody is.
TEST(V, Case6_RandomCrashesLeaveAllOrNobody) {
  int survived = 0;
  for_seeds(
      On::kOneNode,
      [&survived](World& w) {
        const Strategy strategies[] = {Strategy::kOneForOne, Strategy::kOneForAll, Strategy::kRestForOne};
        const Strategy strategy = strategies[w.random().below(3)];
        // The first start may fail, and then it is over.
        const Pid root = w.here().spawn(supervise, shaky_tree(w, strategy));
        for (int i = 0; i < 300; ++i) {
          w.step();
          if (w.random().below(10) != 0) continue;
          const std::vector<Pid> alive = w.here().processes();
          if (alive.empty()) return;
          const Pid victim = alive[w.random().below(alive.size())];
          if (victim != root) w.here().exit(victim, w.random().below(2) == 0 ? Kind::kKill : Kind::kNoProc);
        }
        w.run_out();
        if (!w.here().is_alive(root)) {
          EXPECT_EQ(w.process_count(), 0u);
          return;
        }
        ++survived;
        EXPECT_EQ(w.process_count(), 1u + 2 + 2 * 3);
        w.here().exit(root, Kind::kShutdown);
        for (int i = 0; i < 20; ++i) w.step();
        w.here().exit(root, Kind::kKill);
        w.run_out();
        EXPECT_EQ(w.process_count(), 0u);
      },
      kManySeeds);
  EXPECT_GT(survived, kManySeeds / 20);
}

}  // namespace
}  // namespace rusm::otp::spec
