// The runtime as a whole: its workers, its counters, its modes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "otp/routine.h"
#include "otp/runtime.h"

namespace rusm::otp {
namespace {

using Kind = ExitReason::Kind;

struct Node {
  explicit Node(RuntimeOptions options, EventHook* hook = nullptr, Log* log = nullptr)
      : runtime(options, {.clock = clock, .entropy = entropy, .reactors = reactors, .log = log, .hook = hook}) {}
  bool wait_until_empty() { return runtime.wait_until_empty(60 * kSecond); }
  SystemClock clock;
  SeededEntropy entropy{1};
  QuietReactorFactory reactors;
  Runtime runtime;
};

Routine wait_for_end(Self& self) {
  for (;;) (void)co_await receive(self);
}

Routine empty(Self&) {
  co_return;
}

// ── Deterministic mode ───────────────────────────────────────────────────────────────────────────────────────────────

Routine note_steps(Self& self, char name, std::string* trace) {
  for (int i = 0; i < 10; ++i) {
    trace->push_back(name);
    co_await yield(self);
  }
}

std::string trace_of(std::uint64_t seed) {
  Node node({.deterministic_seed = seed});
  std::string trace;
  for (const char name : {'a', 'b', 'c', 'd'}) node.runtime.spawn(note_steps, name, &trace);
  node.runtime.run_until_idle();
  return trace;
}

TEST(Deterministic, ASeedReproducesAndSeedsDiffer) {
  std::set<std::string> traces;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const std::string trace = trace_of(seed);
    EXPECT_EQ(trace, trace_of(seed));
    EXPECT_EQ(trace.size(), 40u);
    traces.insert(trace);
  }
  EXPECT_EQ(traces.size(), 20u);
}

TEST(Deterministic, OneStepRunsOneProcess) {
  Node node({.deterministic_seed = 1});
  EXPECT_FALSE(node.runtime.step());
  std::string trace;
  node.runtime.spawn(note_steps, 'a', &trace);
  EXPECT_EQ(trace, "") << "spawning runs nothing";
  EXPECT_TRUE(node.runtime.step());
  EXPECT_EQ(trace.size(), 1u);
  EXPECT_EQ(node.runtime.workers(), 1u);
}

// ── Counters, hooks, names ───────────────────────────────────────────────────────────────────────────────────────────

class Recorder final : public EventHook {
 public:
  void on_spawn(Pid pid) noexcept override {
    const std::scoped_lock lock(mutex_);
    EXPECT_TRUE(spawned_.insert(pid).second) << "spawned twice";
  }
  void on_exit(Pid pid, const ExitReason& reason, std::string_view label) noexcept override {
    const std::scoped_lock lock(mutex_);
    EXPECT_TRUE(spawned_.contains(pid));
    EXPECT_TRUE(exited_.insert(pid).second) << "exited twice";
    lines_.push_back(std::string(label) + ": " + reason.to_string());
  }
  std::size_t spawned() const { return spawned_.size(); }
  std::size_t exited() const { return exited_.size(); }
  const std::vector<std::string>& lines() const { return lines_; }

 private:
  std::mutex mutex_;
  std::set<Pid> spawned_;
  std::set<Pid> exited_;
  std::vector<std::string> lines_;
};

Routine fail(Self& self) {
  co_await yield(self);
  throw 1;
}

TEST(Runtime, CountsAndTellsItsHook) {
  Recorder recorder;
  {
    Node node({.workers = 3}, &recorder);
    for (int i = 0; i < 500; ++i) node.runtime.spawn(empty);
    for (int i = 0; i < 5; ++i) node.runtime.spawn(fail);
    const Pid last = node.runtime.spawn_with({.label = "last"}, wait_for_end);
    node.runtime.exit(last, ExitReason::other("told"));
    EXPECT_TRUE(node.wait_until_empty());
    const Counters counters = node.runtime.counters();
    EXPECT_EQ(counters.spawns, 506u);
    EXPECT_EQ(counters.exits, 506u);
    EXPECT_EQ(counters.crashes, 5u);
    EXPECT_EQ(counters.sends, 1u);
    EXPECT_GE(counters.steps, 506u);
  }
  EXPECT_EQ(recorder.spawned(), 506u);
  EXPECT_EQ(recorder.exited(), 506u);
  EXPECT_THAT(recorder.lines(), testing::Contains("last: told"));
}

TEST(Runtime, LogsACrashWithPidLabelAndReason) {
  std::string written;
  Pid pid;
  {
    SystemClock clock;
    Log log({.level = LogLevel::kWarn}, clock, [&](std::string_view lines) { written.append(lines); });
    Node node({.workers = 1}, nullptr, &log);
    pid = node.runtime.spawn_with({.label = "doomed"}, fail);
    node.runtime.spawn_with({.label = "healthy"}, empty);
    EXPECT_TRUE(node.wait_until_empty());
  }
  EXPECT_THAT(written, testing::HasSubstr(pid.to_string()));
  EXPECT_THAT(written, testing::HasSubstr("doomed"));
  EXPECT_THAT(written, testing::HasSubstr("crashed (exception)"));
  EXPECT_THAT(written, testing::Not(testing::HasSubstr("healthy")));
}

Routine collect_references(Self& self, std::vector<Reference>* references) {
  for (int i = 0; i < 1000; ++i) {
    references->push_back(self.runtime().make_reference());
    if (i % 100 == 0) co_await yield(self);
  }
}

TEST(Runtime, ReferencesAreUniqueWhereverTheyAreMade) {
  std::vector<Reference> references[5];
  {
    Node node({.workers = 4});
    for (std::size_t i = 0; i < 4; ++i) node.runtime.spawn(collect_references, &references[i]);
    for (int i = 0; i < 1000; ++i) references[4].push_back(node.runtime.make_reference());
    EXPECT_TRUE(node.wait_until_empty());
  }
  std::set<Reference> all;
  for (const auto& some : references) all.insert(some.begin(), some.end());
  EXPECT_EQ(all.size(), 5000u);
  EXPECT_FALSE(all.contains(0)) << "0 is none";
}

Routine note_worker(Self& self, std::atomic<unsigned>* worker) {
  worker->store(self.runtime().current_worker());
  co_return;
}

TEST(Runtime, KnowsOnWhichOfItsWorkersTheCallerRuns) {
  Node node({.workers = 2});
  EXPECT_EQ(node.runtime.current_worker(), 2u) << "none";
  std::atomic<unsigned> worker{9};
  node.runtime.spawn(note_worker, &worker);
  EXPECT_TRUE(node.wait_until_empty());
  EXPECT_LT(worker.load(), 2u);
}

// ── Threads ──────────────────────────────────────────────────────────────────────────────────────────────────────────

Routine count_messages(Self& self, std::atomic<int>* left) {
  for (;;) {
    (void)co_await receive(self);
    if (left->fetch_sub(1) == 1) left->notify_all();
  }
}

TEST(Runtime, TakesMessagesAndSpawnsFromManyThreadsAtOnce) {
  constexpr int kThreads = 4;
  constexpr int kEach = 2000;
  std::atomic<int> left{kThreads * kEach};
  Node node({.workers = 2});
  std::vector<Pid> receivers;
  for (int i = 0; i < 8; ++i) receivers.push_back(node.runtime.spawn(count_messages, &left));
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) {
        node.runtime.send(receivers[static_cast<std::size_t>(i) % receivers.size()], Message::of_text("m"));
        node.runtime.spawn(empty);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int n = left.load(); n > 0; n = left.load()) left.wait(n);
  EXPECT_EQ(node.runtime.counters().spawns, static_cast<std::uint64_t>(kThreads * kEach + 8));
}

Routine fan_out(Self& self, int depth, std::atomic<int>* leaves) {
  if (depth == 0) {
    leaves->fetch_add(1);
    co_return;
  }
  for (int i = 0; i < 4; ++i) self.runtime().spawn(fan_out, depth - 1, leaves);
}

TEST(Runtime, MoreRunnableThanItsQueuesHoldAllRun) {
  std::atomic<int> leaves{0};
  Node node({.workers = 3});
  node.runtime.spawn(fan_out, 7, &leaves);
  EXPECT_TRUE(node.wait_until_empty());
  EXPECT_EQ(leaves.load(), 1 << 14);
}

TEST(Runtime, WhenProcessesMaxAreAliveSpawnSaysSoAndLaterThereIsRoomAgain) {
  for (const unsigned workers : {1u, 3u}) {
    Node node({.workers = workers, .processes_max = 2048});
    for (int round = 0; round < 3; ++round) {
      int spawned = 0;
      while (node.runtime.spawn(wait_for_end)) ASSERT_LE(++spawned, 2048);
      EXPECT_GE(spawned, 512) << "each worker may keep a few hundred for itself";
      EXPECT_EQ(node.runtime.process_count(), static_cast<std::size_t>(spawned));
      node.runtime.kill_all();
      ASSERT_TRUE(node.wait_until_empty());
    }
  }
}

TEST(Runtime, WaitingUntilEmptyGivesUpAtItsTimeout) {
  Node node({.workers = 1});
  const Pid pid = node.runtime.spawn(wait_for_end);
  EXPECT_FALSE(node.runtime.wait_until_empty(0));
  EXPECT_FALSE(node.runtime.wait_until_empty(kMicrosecond));
  node.runtime.exit(pid, Kind::kKill);
  EXPECT_TRUE(node.wait_until_empty());
  EXPECT_TRUE(node.runtime.wait_until_empty(0));
}

Routine bounce(Self& self, int rounds) {
  for (int i = 0; i < rounds; ++i) {
    const Message message = co_await receive(self);
    self.send(*message.get_if<Pid>(), Message::of(self.pid()));
  }
}

Routine serve(Self& self, Pid partner, int rounds) {
  for (int i = 0; i < rounds; ++i) {
    self.send(partner, Message::of(self.pid()));
    (void)co_await receive(self);
  }
}

TEST(Runtime, SeveralRuntimesLiveInOneProgram) {
  Node one({.workers = 2});
  Node two({.workers = 1});
  Node three({.deterministic_seed = 5});
  for (Node* node : {&one, &two, &three}) node->runtime.spawn(serve, node->runtime.spawn(bounce, 500), 500);
  three.runtime.run_until_idle();
  for (Node* node : {&one, &two, &three}) EXPECT_TRUE(node->wait_until_empty());
}

Routine spawn_in_other(Self& self, Runtime* other, std::atomic<int>* leaves) {
  other->spawn(fan_out, 2, leaves);
  co_await yield(self);
}

TEST(Runtime, AProcessMayUseAnotherRuntime) {
  std::atomic<int> leaves{0};
  Node one({.workers = 2});
  Node two({.workers = 2});
  for (int i = 0; i < 50; ++i) one.runtime.spawn(spawn_in_other, &two.runtime, &leaves);
  EXPECT_TRUE(one.wait_until_empty());
  EXPECT_TRUE(two.wait_until_empty());
  EXPECT_EQ(leaves.load(), 50 * 16);
}

Routine end_in_destructor(Self& self, Pid to) {
  struct Farewell {
    Self& self;
    Pid to;
    ~Farewell() { self.send(to, Message::of_text("farewell")); }
  };
  const Farewell farewell{self, to};
  (void)co_await receive(self);
}

TEST(Runtime, WhatADestructorSendsArrivesBeforeTheDown) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    Node node({.deterministic_seed = seed});
    std::vector<std::string> lines;
    node.runtime.spawn(
        +[](Self& self, std::vector<std::string>* got) -> Routine {
          const Spawned child = self.runtime().spawn_from(self, {.monitor = true}, end_in_destructor, self.pid());
          co_await yield(self);
          co_await yield(self);
          self.exit(child.pid, Kind::kKill);
          while (got->empty() || got->back() != "DOWN") {
            const Message message = co_await receive(self);
            got->push_back(message.is_down() ? "DOWN" : std::string(message.text()));
          }
        },
        &lines);
    node.runtime.run_until_idle();
    // Killed before its first step it has nothing to say.
    ASSERT_FALSE(lines.empty());
    EXPECT_EQ(lines.back(), "DOWN");
    EXPECT_LE(lines.size(), 2u);
    if (lines.size() == 2) EXPECT_EQ(lines.front(), "farewell");
  }
}

}  // namespace
}  // namespace rusm::otp
