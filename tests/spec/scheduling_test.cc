// P: scheduling.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <semaphore>

#include "otp/run_queue.h"
#include "spec/fixture.h"

namespace rusm::otp::spec {
namespace {

#ifdef RUSM_SANITIZED
constexpr int kLive = 100'000;
constexpr int kRounds = 300;
#else
constexpr int kLive = 1'000'000;
constexpr int kRounds = 3'000;
#endif

// ── 1. Nobody starves ────────────────────────────────────────────────────────────────────────────────────────────────

Routine talk_to_itself(Self& self) {
  for (;;) {
    self.send(self.pid(), Message::of_text("always ready"));
    (void)co_await receive(self);
  }
}

Routine yield_for_ever(Self& self) {
  for (;;) co_await yield(self);
}

Routine wait_for_zero(Self& self) {
  for (;;) (void)co_await receive_for(self, 0);
}

Routine count_ten(Self& self, int* count) {
  for (int i = 0; i < 10; ++i) {
    ++*count;
    co_await yield(self);
  }
}

Routine count_after_sleep(Self& self, int* count) {
  co_await sleep(self, kMillisecond);
  *count += 100;
}

TEST(P, Case1_EndlessAlwaysReadyAwaitsDoNotKeepOthersFromRunning) {
  for_seeds(On::kOneNode, [](World& w) {
    for (const auto greedy : {talk_to_itself, yield_for_ever, wait_for_zero}) w.here().spawn(greedy);
    int count = 0;
    w.here().spawn(count_ten, &count);
    for (int i = 0; i < 2000 && count < 10; ++i) ASSERT_TRUE(w.step());
    EXPECT_EQ(count, 10);
    // Timers and what comes from outside get their turn too.
    w.here().spawn(count_after_sleep, &count);
    for (int i = 0; i < 200; ++i) ASSERT_TRUE(w.step());
    w.clock().advance(2 * kMillisecond);
    for (int i = 0; i < 2000 && count < 110; ++i) ASSERT_TRUE(w.step());
    EXPECT_EQ(count, 110);
  });
}

Routine drink(Self& self) {
  for (;;) (void)co_await receive(self);
}

struct Stream {
  std::atomic<std::int64_t> under_way{0};
};

Routine flood(Self& self, Pid to, Stream* stream) {
  constexpr std::int64_t kUnderWayMax = 100'000;
  for (;;) {
    if (stream->under_way.load() < kUnderWayMax) {
      for (int i = 0; i < 64; ++i) self.send(to, Message::of_text("flood"));
      stream->under_way.fetch_add(64);
    }
    (void)co_await receive_for(self, 0);
  }
}

Routine drink_flood(Self& self, Stream* stream) {
  for (;;) {
    (void)co_await receive(self);
    stream->under_way.fetch_sub(1);
  }
}

Routine arrive_after(Self& self, int yields, Gate* gate) {
  for (int i = 0; i < yields; ++i) co_await yield(self);
  co_await sleep(self, kMillisecond);
  gate->arrive();
}

TEST(P, Case1_OneWorkerServesAllBesideGreedyProcesses) {
  Stream streams[3];
  Gate gate(50);
  ThreadedNode node(1);
  for (Stream& stream : streams) {
    node.runtime.spawn(talk_to_itself);
    node.runtime.spawn(flood, node.runtime.spawn(drink_flood, &stream), &stream);
  }
  for (int i = 0; i < 50; ++i) node.runtime.spawn(arrive_after, 20, &gate);
  gate.wait();
  EXPECT_TRUE(gate.open());
}

Routine count_turns(Self& self, std::uint64_t* turns, std::uint64_t* all, std::uint64_t last) {
  while (*all < last) {
    ++*turns;
    ++*all;
    co_await yield(self);
  }
}

// All in one step: none has a start over the others.
Routine spawn_counters(Self& self, std::vector<std::uint64_t>* turns, std::uint64_t* all, std::uint64_t last) {
  for (std::uint64_t& mine : *turns) self.runtime().spawn(count_turns, &mine, all, last);
  co_return;
}

TEST(P, Case1_MoreRunnableThanARunQueueHoldsGetTheirTurnsAlike) {
  constexpr std::uint64_t kTurns = RunQueue::kCapacity < 100 ? 2'000 : 100;
  constexpr std::size_t kProcesses = 3 * RunQueue::kCapacity;
  std::vector<std::uint64_t> turns(kProcesses);
  std::uint64_t all = 0;  // one worker: nothing here is shared between threads at a time
  {
    ThreadedNode node(1);
    node.runtime.spawn(spawn_counters, &turns, &all, kTurns * kProcesses);
    ASSERT_TRUE(node.wait_until_empty());
  }
  const auto [least, most] = std::ranges::minmax(turns);
  EXPECT_GT(least, kTurns / 4) << "while another had " << most;
}

Routine block_natively(Self&, std::atomic<bool>* release, std::atomic<bool>* running) {
  running->store(true);
  running->notify_all();
  release->wait(false);
  co_return;
}

Routine release_when_told(Self& self, std::atomic<bool>* release) {
  (void)co_await receive(self);
  co_await sleep(self, 10 * kMicrosecond);
  release->store(true);
  release->notify_all();
}

// Whatever the blocked worker holds (its queue, its chat slot, its timers), the others bring it on.
TEST(P, Case1_ANativeStepThatNeverAwaitsFreezesOnlyItself) {
  for (int round = 0; round < kRounds / 30; ++round) {
    std::atomic<bool> release{false};
    std::atomic<bool> running{false};
    ThreadedNode node(2);
    const Pid releaser = node.runtime.spawn(release_when_told, &release);
    node.runtime.spawn(block_natively, &release, &running);
    running.wait(false);
    node.runtime.send(releaser, Message::of_text("go"));
    ASSERT_TRUE(node.wait_until_empty());
  }
}

Routine send_then_block(Self& self, Pid to, std::atomic<bool>* release) {
  self.send(to, Message::of_text("go"));  // into the chat slot of the worker that is about to block
  release->wait(false);
  co_return;
}

TEST(P, Case1_WhoWasSentAMessageByABlockedStepRunsAllTheSame) {
  for (int round = 0; round < kRounds / 30; ++round) {
    std::atomic<bool> release{false};
    ThreadedNode node(2);
    const Pid releaser = node.runtime.spawn(release_when_told, &release);
    node.runtime.spawn(send_then_block, releaser, &release);
    ASSERT_TRUE(node.wait_until_empty());
  }
}

class LongSteps final : public EventHook {
 public:
  void on_long_step(Pid pid, Nanoseconds) noexcept override {
    pid_.store(pid.raw());
    reported_.store(true);
    reported_.notify_all();
  }
  Pid wait() {
    reported_.wait(false);
    return Pid::from_raw(pid_.load());
  }

 private:
  std::atomic<std::uint64_t> pid_{0};
  std::atomic<bool> reported_{false};
};

TEST(P, Case1_ALongNativeStepIsReported) {
  LongSteps hook;
  std::atomic<bool> release{false};
  std::atomic<bool> running{false};
  SystemClock clock;
  SystemEntropy entropy;
  QuietReactorFactory reactors;
  Runtime runtime({.workers = 2, .long_step = kMillisecond},
                  {.clock = clock, .entropy = entropy, .reactors = reactors, .hook = &hook});
  const Pid blocked = runtime.spawn(block_natively, &release, &running);
  EXPECT_EQ(hook.wait(), blocked);
  EXPECT_GE(runtime.counters().long_steps, 1u);
  release.store(true);
  release.notify_all();
}

// ── 2. No wake-up is lost ────────────────────────────────────────────────────────────────────────────────────────────

struct Ball {
  int left;
};

Routine pass_on(Self& self, Pid next, Gate* gate) {
  for (;;) {
    Message message = co_await receive(self);
    if (const Pid* closing = message.get_if<Pid>()) next = *closing;
    if (const Ball* ball = message.get_if<Ball>()) {
      if (ball->left == 0) {
        gate->arrive();
      } else {
        self.send(next, Message::of(Ball{ball->left - 1}));
      }
    }
  }
}

TEST(P, Case2_NoWakeUpIsLostOrDoubledBetweenWorkers) {
  constexpr int kBalls = 32;
  Gate gate(kBalls);
  ThreadedNode node(4);
  std::vector<Pid> ring = {node.runtime.spawn(pass_on, Pid(), &gate)};
  for (int i = 0; i < 99; ++i) ring.push_back(node.runtime.spawn(pass_on, ring.back(), &gate));
  node.runtime.send(ring.front(), Message::of(ring.back()));
  for (int i = 0; i < kBalls; ++i) {
    node.runtime.send(ring[static_cast<std::size_t>(3 * i)], Message::of(Ball{kRounds}));
  }
  gate.wait();
  EXPECT_EQ(node.runtime.process_count(), 100u);
}

// Wakes carry no message: what is lost would hang.
Routine follow(Self& self, const std::atomic<int>* value, std::atomic<int>* followed, int last) {
  int seen = 0;
  while (seen < last) {
    const int now = value->load();
    if (now == seen) {
      co_await news(self);
      continue;
    }
    seen = now;
    followed->store(seen);
    followed->notify_all();
  }
}

TEST(P, Case2_AWakeBesideAParkingProcessIsSeen) {
  std::atomic<int> value{0};
  std::atomic<int> followed{0};
  ThreadedNode node(2);
  const Pid pid = node.runtime.spawn(follow, &value, &followed, kRounds);
  for (int i = 1; i <= kRounds; ++i) {
    value.store(i);
    node.runtime.wake(pid);
    followed.wait(i - 1);
  }
  EXPECT_TRUE(node.wait_until_empty());
}

TEST(P, Case2_AWakeAtAnyPointOfAStepIsSeen) {
  for_seeds(On::kOneNode, [](World& w) {
    std::atomic<int> value{0};
    std::atomic<int> followed{0};
    const Pid pid = w.here().spawn(follow, &value, &followed, 20);
    for (int i = 1; i <= 20; ++i) {
      for (std::uint64_t n = w.random().below(3); n > 0; --n) w.step();
      value.store(i);
      for (std::uint64_t n = 1 + w.random().below(2); n > 0; --n) w.here().wake(pid);
    }
    w.run();
    EXPECT_EQ(followed.load(), 20);
    EXPECT_EQ(w.process_count(), 0u);
  });
}

// ── 3. One worker at a time ──────────────────────────────────────────────────────────────────────────────────────────

Routine alone(Self& self, std::atomic<bool>* inside, std::uint64_t* plain, int steps) {
  for (int i = 0; i < steps; ++i) {
    EXPECT_FALSE(inside->exchange(true)) << "two workers ran one process";
    ++*plain;  // not atomic: under ThreadSanitizer this shows that steps are ordered
    inside->store(false);
    if (i % 2 == 0) {
      co_await yield(self);
    } else {
      (void)co_await receive_for(self, i % 3 == 0 ? 0 : 20 * kMicrosecond);
    }
  }
}

Routine pester(Self& self, std::vector<Pid> pids, int steps) {
  for (int i = 0; i < steps; ++i) {
    for (const Pid pid : pids) {
      if (i % 2 == 0) {
        self.runtime().wake(pid);
      } else {
        self.send(pid, Message::of_text("come"));
      }
    }
    co_await yield(self);
  }
}

TEST(P, Case3_AProcessIsNeverRunByTwoWorkersAndItsStepsAreOrdered) {
  constexpr std::size_t kProcesses = 8;
  std::atomic<bool> inside[kProcesses] = {};
  std::uint64_t plain[kProcesses] = {};
  {
    ThreadedNode node(4);
    std::vector<Pid> pids;
    for (std::size_t i = 0; i < kProcesses; ++i) {
      pids.push_back(node.runtime.spawn(alone, &inside[i], &plain[i], kRounds));
    }
    for (int i = 0; i < 3; ++i) node.runtime.spawn(pester, pids, kRounds);
    EXPECT_TRUE(node.wait_until_empty());
  }
  for (const std::uint64_t steps : plain) EXPECT_EQ(steps, static_cast<std::uint64_t>(kRounds));
}

// ── 4. An idle node sleeps ───────────────────────────────────────────────────────────────────────────────────────────

// Knows how many workers sleep without a limit.
class Beds {
 public:
  void lie_down() { change(+1); }
  void get_up() { change(-1); }
  bool wait_until(int sleeping) {
    std::unique_lock lock(mutex_);
    return condition_.wait_for(lock, std::chrono::seconds(60), [&] { return sleeping_ == sleeping; });
  }

 private:
  void change(int by) {
    const std::scoped_lock lock(mutex_);
    sleeping_ += by;
    condition_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable condition_;
  int sleeping_ = 0;
};

class CountingReactor final : public Reactor {
 public:
  CountingReactor(Beds& beds, unsigned workers) : beds_(beds), quiet_(workers) {}
  void poll() noexcept override {}
  void park(unsigned worker, Nanoseconds timeout) noexcept override {
    if (timeout == kNever) beds_.lie_down();
    quiet_.park(worker, timeout);
    if (timeout == kNever) beds_.get_up();
  }
  void wake(unsigned worker) noexcept override { quiet_.wake(worker); }

 private:
  Beds& beds_;
  QuietReactor quiet_;
};

class CountingFactory final : public ReactorFactory {
 public:
  explicit CountingFactory(Beds& beds) : beds_(beds) {}
  std::unique_ptr<Reactor> make(Runtime&, unsigned workers) override {
    return std::make_unique<CountingReactor>(beds_, workers);
  }

 private:
  Beds& beds_;
};

TEST(P, Case4_AllWorkersOfAnIdleNodeSleepWithoutALimit) {
  Beds beds;
  SystemClock clock;
  SystemEntropy entropy;
  CountingFactory reactors(beds);
  Runtime runtime({.workers = 3}, {.clock = clock, .entropy = entropy, .reactors = reactors});
  EXPECT_TRUE(beds.wait_until(3)) << "before anything was done";
  for (int round = 0; round < 20; ++round) {
    Gate gate(50);
    for (int i = 0; i < 50; ++i) runtime.spawn(arrive_after, 3, &gate);
    const Pid waiting = runtime.spawn(drink);
    gate.wait();
    EXPECT_TRUE(beds.wait_until(3)) << "with a process that waits";
    runtime.exit(waiting, ExitReason::Kind::kKill);
  }
}

// A native step that is stuck, however the worker that runs it had been got up.
Routine blocks_until(Self& self, std::binary_semaphore* begun, std::binary_semaphore* go_on) {
  co_await receive(self);
  begun->release();
  go_on->acquire();
}

Routine releases(Self& self, std::binary_semaphore* go_on) {
  co_await receive(self);
  go_on->release();
}

TEST(P, Case4_WhoGetsUpForAStepThatBlocksLeavesAnotherToDoTheRest) {
  Beds beds;
  SystemClock clock;
  SystemEntropy entropy;
  CountingFactory reactors(beds);
  for (int start = 0; start < 8; ++start) {
    Runtime runtime({.workers = 2}, {.clock = clock, .entropy = entropy, .reactors = reactors});
    for (int round = 0; round < 8; ++round) {
      std::binary_semaphore begun(0);
      std::binary_semaphore go_on(0);
      const Pid blocked = runtime.spawn(blocks_until, &begun, &go_on);
      const Pid other = runtime.spawn(releases, &go_on);
      ASSERT_TRUE(beds.wait_until(2));
      runtime.send(blocked, Message::of(1));
      ASSERT_TRUE(begun.try_acquire_for(std::chrono::seconds(60)));
      runtime.send(other, Message::of(1));
      const bool done = beds.wait_until(2);
      if (!done) go_on.release();
      ASSERT_TRUE(done) << "start " << start << ", round " << round;
    }
  }
}

// ── 5. Shutdown ──────────────────────────────────────────────────────────────────────────────────────────────────────

Routine spawn_live(Self& self, int count) {
  for (int i = 0; i < count; ++i) {
    self.runtime().spawn(drink);
    if (i % 256 == 0) co_await yield(self);
  }
}

TEST(P, Case5_ShutdownWithAMillionLiveProcessesCompletesAndASecondStartWorks) {
  {
    ThreadedNode node(2);
    Gate gate(1);
    node.runtime.spawn_with({.on_exit = [&gate](Pid, const ExitReason&) { gate.arrive(); }}, spawn_live, kLive);
    gate.wait();
    EXPECT_GE(node.runtime.process_count(), static_cast<std::size_t>(kLive));
  }
  ThreadedNode again(2);
  Gate gate(10);
  for (int i = 0; i < 10; ++i) again.runtime.spawn(arrive_after, 1, &gate);
  gate.wait();
  EXPECT_TRUE(again.wait_until_empty());
}

Routine spawn_forever(Self& self) {
  for (;;) {
    self.runtime().spawn(drink);
    co_await yield(self);
  }
}

TEST(P, Case5_ShutdownWinsAgainstProcessesThatSpawn) {
  for (int round = 0; round < 20; ++round) {
    ThreadedNode node(3);
    for (int i = 0; i < 3; ++i) node.runtime.spawn(spawn_forever);
  }
}

}  // namespace
}  // namespace rusm::otp::spec
