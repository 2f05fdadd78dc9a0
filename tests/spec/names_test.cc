// N. Names and groups.
#include <thread>

#include "otp/registry.h"
#include "spec/fixture.h"

namespace rusm::otp::spec {
namespace {

using Kind = ExitReason::Kind;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

std::vector<Pid> members(Runtime& node, std::string_view group) {
  const auto picture = node.members(group);
  return picture ? *picture : std::vector<Pid>();
}

TEST(N, Case1_ATakenNameIsAnErrorAndAProcessMayHaveSeveral) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.here());
    EXPECT_TRUE(w.here().register_name("database", a));
    EXPECT_TRUE(w.here().register_name("cache", a));
    const auto taken = w.here().register_name("database", b);
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().code, ErrorCode::kExists);
    EXPECT_EQ(w.here().whereis("database"), a);
    EXPECT_EQ(w.here().whereis("cache"), a);
    EXPECT_EQ(w.here().whereis("nothing"), Pid());
    w.run();
  });
}

TEST(N, Case1_AProcessThatIsGoneGetsNoName) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid a = w.puppet(w.here());
    w.tell_end(a, Kind::kNormal);
    w.run();
    const auto gone = w.here().register_name("late", a);
    ASSERT_FALSE(gone);
    EXPECT_EQ(gone.error().code, ErrorCode::kNotFound);
    EXPECT_EQ(w.here().whereis("late"), Pid());
  });
}

TEST(N, Case1_NamesThatCannotBeAreRefused) {
  World w(1, false);
  const Pid a = w.puppet(w.here());
  for (const std::string& name : {std::string(), std::string(256, 'x')}) {
    EXPECT_EQ(w.here().register_name(name, a).error().code, ErrorCode::kInvalid);
    EXPECT_EQ(w.here().join(name, a).error().code, ErrorCode::kInvalid);
    EXPECT_EQ(w.here().whereis(name), Pid());
    EXPECT_FALSE(w.here().unregister_name(name));
  }
  const std::string longest(255, 'x');
  EXPECT_TRUE(w.here().register_name(longest, a));
  EXPECT_EQ(w.here().whereis(longest), a);
  EXPECT_EQ(w.here().whereis(std::string(254, 'x')), Pid());
}

TEST(N, Case1_AnEndBesideARegistrationLeavesNoName) {
  for_seeds(
      On::kOneNode,
      [](World& w) {
        // The process has been told to end, and may or may not have done so when it gets its name.
        const Pid a = w.puppet(w.here());
        w.tell_end(a, Kind::kNormal);
        for (int i = static_cast<int>(w.random().below(4)); i > 0; --i) w.step();
        (void)w.here().register_name("fleeting", a);
        (void)w.here().join("group", a);
        w.run();
        EXPECT_EQ(w.here().whereis("fleeting"), Pid());
        EXPECT_THAT(members(w.here(), "group"), IsEmpty());
      },
      kManySeeds);
}

TEST(N, Case2_ANameIsFreeWhenTheEndIsObserved) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid a = w.puppet(w.here());
    Pid found = a;
    bool in_group = true;
    // X6: name and groups go before any DOWN or EXIT arrives.
    const Pid watcher = w.here().spawn(
        [](Self& self, Pid watched, Pid* found_then, bool* member_then) -> Routine {
          self.trap_exit(true);
          self.link(watched);
          self.monitor(watched);
          co_await receive(self);
          *found_then = self.runtime().whereis("name");
          *member_then = self.runtime().members("group") != nullptr;
        },
        a, &found, &in_group);
    ASSERT_TRUE(watcher);
    ASSERT_TRUE(w.here().register_name("name", a));
    ASSERT_TRUE(w.here().join("group", a));
    w.run();
    ASSERT_EQ(found, a) << "the watcher must not have run on yet";
    w.tell_end(a, ExitReason::other("done"));
    w.run();
    EXPECT_EQ(found, Pid());
    EXPECT_FALSE(in_group);
  });
}

TEST(N, Case2_ANameGoesFromOneToTheNext) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.here());
    ASSERT_TRUE(w.here().register_name("name", a));
    EXPECT_TRUE(w.here().unregister_name("name"));
    EXPECT_FALSE(w.here().unregister_name("name"));
    ASSERT_TRUE(w.here().register_name("name", b));
    w.tell_end(a, Kind::kNormal);
    w.run();
    EXPECT_EQ(w.here().whereis("name"), b) << "the end of its former owner does not take it away";
    // Given back and taken again by the same: still given up at the end.
    EXPECT_TRUE(w.here().unregister_name("name"));
    ASSERT_TRUE(w.here().register_name("name", b));
    w.tell_end(b, Kind::kNormal);
    w.run();
    EXPECT_EQ(w.here().whereis("name"), Pid());
  });
}

TEST(S, Case4_SendingToAnUnregisteredNameIsAnError) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid a = w.puppet(w.here());
    EXPECT_FALSE(w.here().send("name", Message::of_text("lost")));
    ASSERT_TRUE(w.here().register_name("name", a));
    EXPECT_TRUE(w.here().send("name", Message::of_text("found")));
    w.run();
    EXPECT_THAT(w.seen(a), ElementsAre("found"));
  });
}

TEST(M, Case2_AMonitorByNameReportsTheName) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid target = w.puppet(w.here());
    std::vector<std::string> downs;
    w.here().spawn(
        [](Self& self, std::vector<std::string>* lines) -> Routine {
          self.monitor("name");
          self.monitor("nobody");
          const Reference removed = self.monitor("name");
          self.demonitor(removed);
          for (int i = 0; i < 2; ++i) {
            const Message down = co_await receive(self);
            lines->push_back(std::string(down.name()) + " " + down.reason().to_string());
          }
        },
        &downs);
    ASSERT_TRUE(w.here().register_name("name", target));
    w.run();
    w.tell_end(target, ExitReason::other("over"));
    w.run();
    EXPECT_THAT(downs, ElementsAre("nobody noproc", "name over"));
    EXPECT_EQ(w.process_count(), 0u);
  });
}

TEST(N, Case3_AGroupHasEachMemberOnceAndOnlyTheLiving) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.here());
    EXPECT_TRUE(w.here().join("workers", a));
    EXPECT_TRUE(w.here().join("workers", b));
    EXPECT_EQ(w.here().join("workers", a).error().code, ErrorCode::kExists);
    EXPECT_TRUE(w.here().join("others", a));
    EXPECT_THAT(members(w.here(), "workers"), UnorderedElementsAre(a, b));
    EXPECT_TRUE(w.here().leave("workers", b));
    EXPECT_FALSE(w.here().leave("workers", b));
    EXPECT_THAT(members(w.here(), "workers"), ElementsAre(a));
    w.tell_end(a, Kind::kNormal);
    w.run();
    EXPECT_THAT(members(w.here(), "workers"), IsEmpty());
    EXPECT_THAT(w.here().groups(), IsEmpty());
    w.tell_end(b, Kind::kNormal);
    w.run();
  });
}

TEST(N, Case3_ABroadcastReachesEachMemberInOrder) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.here());
    ASSERT_TRUE(w.here().join("room", a));
    ASSERT_TRUE(w.here().join("room", b));
    const Pid speaker = w.puppet(w.here());
    std::size_t reached = 0;
    w.tell(speaker, [&](Self& self) {
      for (const char* word : {"one", "two", "three"}) {
        reached += self.runtime().broadcast("room", std::as_bytes(std::span(std::string_view(word))));
      }
    });
    w.run();
    EXPECT_EQ(reached, 6u);
    EXPECT_THAT(w.seen(a), ElementsAre("one", "two", "three"));
    EXPECT_THAT(w.seen(b), ElementsAre("one", "two", "three"));
    EXPECT_EQ(w.here().broadcast("empty", {}), 0u);
    EXPECT_EQ(w.here().exit_group("room", Kind::kKill), 2u);
    w.run();
    EXPECT_FALSE(w.alive(a));
    EXPECT_FALSE(w.alive(b));
  });
}

TEST(N, Case3_AWatcherHearsOfEveryChange) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.here());
    ASSERT_TRUE(w.here().join("room", a));
    std::vector<Pid> at_first;
    std::vector<std::pair<Pid, bool>> changes;
    const Pid watcher = w.here().spawn(
        [](Self& self, std::vector<Pid>* first, std::vector<std::pair<Pid, bool>>* seen) -> Routine {
          *first = *self.runtime().watch_group("room", self.pid());
          for (;;) {
            const Message message = co_await receive(self);
            if (const auto* change = message.get_if<GroupChange>()) seen->emplace_back(change->pid, change->joined);
          }
        },
        &at_first, &changes);
    w.run();
    ASSERT_TRUE(w.here().join("room", b));
    EXPECT_TRUE(w.here().leave("room", a));
    w.tell_end(b, Kind::kNormal);
    w.run();
    EXPECT_THAT(at_first, ElementsAre(a));
    EXPECT_THAT(changes, ElementsAre(std::pair(b, true), std::pair(a, false), std::pair(b, false)));
    w.here().exit(watcher, Kind::kKill);
    w.run();
    EXPECT_TRUE(w.here().join("room", a));
    w.run();
    EXPECT_EQ(changes.size(), 3u);
  });
}

// Readers take no lock: whatever writers do, a name that stands is found, and what is found was put there.
TEST(N, LookUpsBesideChangesFindWhatIsThere) {
#ifdef RUSM_SANITIZED
  constexpr int kRounds = 300;
#else
  constexpr int kRounds = 3000;
#endif
  constexpr int kNames = 64;
  Registry registry;
  const Pid standing(0, 1, 1);
  ASSERT_TRUE(registry.insert("standing", standing));
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  const auto name_of = [](int i) {
    return std::string(static_cast<std::size_t>(i % 7 == 0 ? 100 : 3), 'n') + std::to_string(i);
  };
  std::vector<std::thread> readers;
  for (int r = 0; r < 2; ++r) {
    readers.emplace_back([&] {
      for (int i = 0; !stop.load(); ++i) {
        if (registry.find("standing") != standing) ++wrong;
        const Pid found = registry.find(name_of(i % kNames));
        if (found && found.index() != static_cast<std::uint32_t>(100 + i % kNames)) ++wrong;
      }
    });
  }
  for (int round = 0; round < kRounds; ++round) {
    for (int i = 0; i < kNames; ++i) {
      if (!registry.insert(name_of(i), Pid(0, static_cast<std::uint32_t>(100 + i), 1))) ++wrong;
    }
    for (int i = 0; i < kNames; ++i) {
      if (!registry.erase(name_of(i))) ++wrong;
    }
  }
  stop.store(true);
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_THAT(registry.list(), ElementsAre(std::pair(std::string("standing"), standing)));
}

}  // namespace
}  // namespace rusm::otp::spec
