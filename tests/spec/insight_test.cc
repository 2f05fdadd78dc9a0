// What is known of processes: labels, parents, names from the start, and how the last ones ended.
#include <algorithm>

#include "spec/fixture.h"

namespace rusm::otp::spec {
namespace {

using Kind = ExitReason::Kind;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

Routine wait_for_ever(Self& self) {
  for (;;) (void)co_await receive(self);
}

Routine look_for_itself(Self& self, std::string name, std::shared_ptr<bool> found) {
  *found = self.runtime().whereis(name) == self.pid();
  co_return;
}

TEST(Insight, AProcessHasItsNameBeforeItRuns) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const auto found = std::make_shared<bool>(false);
    const Pid pid = w.there().spawn_with({.name = "db"}, look_for_itself, "db", found);
    EXPECT_EQ(w.there().whereis("db"), pid);
    w.run();
    EXPECT_TRUE(*found);
    EXPECT_EQ(w.there().whereis("db"), Pid());
  });
}

TEST(Insight, ATakenOrInvalidNameSpawnsNothing) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid first = w.here().spawn_with({.name = "db"}, wait_for_ever);
    const Pid a = w.puppet(w.here());
    w.tell(a, [](Self& self) {
      Runtime& runtime = self.runtime();
      const Spawned second = runtime.spawn_from(self, {.name = "db", .link = true, .monitor = true}, wait_for_ever);
      EXPECT_EQ(second.pid, Pid());
      EXPECT_EQ(runtime.spawn_with({.name = std::string(256, 'x')}, wait_for_ever), Pid());
    });
    w.run();
    EXPECT_EQ(w.here().whereis("db"), first);
    EXPECT_EQ(w.process_count(), 2u);
    EXPECT_THAT(w.seen(a), IsEmpty());
    w.here().exit(first, Kind::kKill);
    w.run();
    EXPECT_TRUE(w.here().spawn_with({.name = "db"}, wait_for_ever));
  });
}

TEST(Insight, LabelsAndParentsCanBeReadByAnyone) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid a = w.puppet(w.here());
    Pid child;
    w.tell(a, [&](Self& self) {
      child = self.runtime().spawn_from(self, {.label = "worker 1"}, wait_for_ever).pid;
      self.set_label("chief");
    });
    w.run();
    const Pid adopted = w.here().spawn_with({.parent = child}, wait_for_ever);
    EXPECT_EQ(w.here().info(a)->label, "chief");
    EXPECT_EQ(w.here().info(a)->parent, Pid());
    EXPECT_EQ(w.here().info(child)->label, "worker 1");
    EXPECT_EQ(w.here().info(child)->parent, a);
    EXPECT_EQ(w.here().info(adopted)->label, "");
    EXPECT_EQ(w.here().info(adopted)->parent, child);
  });
}

TEST(Insight, TheLastExitsAreKeptUnlessTheyWereNormal) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid first = w.puppet(w.here());
    const Pid second = w.puppet(w.here());
    const Pid third = w.puppet(w.here());
    w.tell(first, [](Self& self) { self.set_label("first"); });
    w.tell_end(first, ExitReason::crashed("exception", "broken", "frame"));
    w.run();
    w.clock().advance_to(w.clock().now() + kSecond);
    w.tell_end(second, Kind::kNormal);
    w.tell_end(third, Kind::kShutdown);
    w.run();
    const std::vector<PastExit> exits = w.here().last_exits();
    ASSERT_THAT(exits, SizeIs(2));
    EXPECT_EQ(exits[0].pid, third);
    EXPECT_EQ(exits[0].reason, Kind::kShutdown);
    EXPECT_EQ(exits[0].at, w.clock().now());
    EXPECT_EQ(exits[1].pid, first);
    EXPECT_EQ(exits[1].label, "first");
    EXPECT_EQ(exits[1].reason.backtrace(), "frame");
    EXPECT_EQ(exits[1].at, w.clock().now() - kSecond);
  });
}

TEST(Insight, OfManyExitsTheLastAreKept) {
  for_seeds(
      On::kOneNode,
      [](World& w) {
        for (std::size_t i = 0; i < 2 * ExitLog::kKept; ++i) {
          w.tell_end(w.puppet(w.here()), ExitReason::other(std::to_string(i)));
          w.run();
        }
        const std::vector<PastExit> exits = w.here().last_exits();
        ASSERT_THAT(exits, SizeIs(ExitLog::kKept));
        for (std::size_t i = 0; i < exits.size(); ++i) {
          EXPECT_EQ(exits[i].reason.text(), std::to_string(2 * ExitLog::kKept - 1 - i));
        }
      },
      10);
}

// Threads that look on while processes with labels come and go.
TEST(Insight, CanBeReadWhileProcessesComeAndGo) {
  ThreadedNode node(2);
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    while (!stop.load()) {
      for (const Pid pid : node.runtime.processes()) {
        const auto info = node.runtime.info(pid);
        if (info && !info->label.empty()) EXPECT_EQ(info->label, "short-lived");
      }
      (void)node.runtime.last_exits();
    }
  });
  for (int i = 0; i < 20'000; ++i) {
    const Pid pid = node.runtime.spawn_with({.label = "short-lived"}, wait_for_ever);
    node.runtime.exit(pid, Kind::kKill);
  }
  EXPECT_TRUE(node.wait_until_empty());
  stop.store(true);
  reader.join();
  EXPECT_THAT(node.runtime.last_exits(), SizeIs(testing::Ge(ExitLog::kKept)));
  EXPECT_THAT(node.runtime.last_exits(), testing::Each(testing::Field(&PastExit::label, "short-lived")));
}

}  // namespace
}  // namespace rusm::otp::spec
