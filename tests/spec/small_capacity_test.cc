// S5 in a build with generations of 4 bits and run queues of 4: slots are used up and retired.
#include <algorithm>
#include <atomic>
#include <map>
#include <thread>

#include "spec/fixture.h"

namespace rusm::otp::spec {
namespace {

static_assert(Pid::kGenerationBits == 4, "this file is for the build with small limits");

#ifdef RUSM_SANITIZED
constexpr std::size_t kSpawns = 100'000;
#else
constexpr std::size_t kSpawns = 1'000'000;
#endif

Routine empty(Self&) {
  co_return;
}

Routine spawn_many(Self& self, std::vector<Pid>* pids) {
  while (pids->size() < kSpawns) {
    for (int i = 0; i < 100; ++i) pids->push_back(self.runtime().spawn(empty));
    co_await yield(self);
  }
}

Routine count_received(Self& self, std::atomic<int>* received) {
  for (;;) {
    (void)co_await receive(self);
    received->fetch_add(1);
  }
}

Routine ask_after(Self& self, const std::vector<Pid>* pids, std::atomic<int>* noprocs) {
  constexpr std::size_t kEvery = 97;
  self.trap_exit(true);
  for (std::size_t i = 0; i < pids->size(); i += kEvery) {
    const Pid pid = (*pids)[i];
    self.link(pid);
    self.monitor(pid);
    for (int answers = 0; answers < 2; ++answers) {
      const Message message = co_await receive(self);
      if (message.from() == pid && message.reason() == ExitReason::Kind::kNoProc) noprocs->fetch_add(1);
    }
  }
}

TEST(S, Case5_AMillionSpawnsNeverMakeAnOldPidValid) {
  std::vector<Pid> pids;
  std::atomic<int> received{0};
  std::atomic<int> noprocs{0};
  ThreadedNode node(1);
  node.runtime.spawn(spawn_many, &pids);
  ASSERT_TRUE(node.wait_until_empty());
  ASSERT_FALSE(std::ranges::count(pids, Pid()));
  for (int i = 0; i < 1000; ++i) node.runtime.spawn(count_received, &received);
  for (const Pid pid : pids) {
    ASSERT_FALSE(node.runtime.is_alive(pid)) << pid.to_string();
    node.runtime.send(pid, Message::of_text("to nobody"));
    node.runtime.exit(pid, ExitReason::Kind::kKill);
  }
  const Pid asker = node.runtime.spawn(ask_after, &pids, &noprocs);
  // An end is counted a little after it can be seen.
  while (node.runtime.is_alive(asker) || node.runtime.process_count() > 1000) std::this_thread::yield();
  EXPECT_EQ(noprocs.load(), static_cast<int>(2 * ((pids.size() + 96) / 97)));
  EXPECT_EQ(node.runtime.process_count(), 1000u) << "nobody was hit";
  EXPECT_EQ(received.load(), 0);
  std::ranges::sort(pids);
  EXPECT_EQ(std::ranges::adjacent_find(pids), pids.end()) << "a pid was given out twice";
  EXPECT_LE(std::ranges::max(pids, {}, &Pid::generation).generation(), Pid::kGenerationMax);
}

Routine spawn_until_nothing_is_left(Self& self, std::vector<Pid>* pids) {
  for (;;) {
    const Pid pid = self.runtime().spawn(empty);
    if (!pid) co_return;
    pids->push_back(pid);
    co_await yield(self);
    co_await yield(self);  // by now it has ended, and its slot is free again or retired
  }
}

TEST(S, Case5_SlotsThatUsedUpTheirGenerationsAreRetired) {
  SystemClock clock;
  SystemEntropy entropy;
  QuietReactorFactory reactors;
  Runtime runtime({.workers = 1, .processes_max = 1024}, {.clock = clock, .entropy = entropy, .reactors = reactors});
  std::vector<Pid> pids;
  runtime.spawn(spawn_until_nothing_is_left, &pids);
  ASSERT_TRUE(runtime.wait_until_empty(60 * kSecond));
  std::map<std::uint32_t, std::vector<std::uint32_t>> generations;
  for (const Pid pid : pids) {
    generations[pid.index()].push_back(pid.generation());
    EXPECT_FALSE(runtime.is_alive(pid));
  }
  EXPECT_GE(generations.size(), 1024u - 128) << "all slots but those set aside for spawns from outside";
  for (const auto& [index, used] : generations) {
    ASSERT_EQ(used.back(), Pid::kGenerationMax) << "slot " << index << " was not used up";
    for (std::size_t i = 1; i < used.size(); ++i) ASSERT_EQ(used[i], used[i - 1] + 1);
    ASSERT_EQ(used.size(), generations.begin()->second.size());
  }
}

}  // namespace
}  // namespace rusm::otp::spec
