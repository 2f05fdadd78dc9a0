// The most important cases once more under real races: kill, exit storms, crossing links, and a churn of processes in
// which every monitor fires exactly once and nothing is left.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "spec/fixture.h"

namespace rusm::otp::spec {
namespace {

using Kind = ExitReason::Kind;

#ifdef RUSM_SANITIZED
constexpr int kScale = 10;
#else
constexpr int kScale = 1;
#endif

class Threads : public testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Workers, Threads, testing::Values(1u, 2u, 4u),
                         [](const auto& workers) { return std::to_string(workers.param); });

// ── X5: killed in any state ──────────────────────────────────────────────────────────────────────────────────────────

struct InFrame {
  explicit InFrame(std::atomic<int>* alive) : alive_(alive) { alive_->fetch_add(1); }
  InFrame(const InFrame&) = delete;
  InFrame& operator=(const InFrame&) = delete;
  ~InFrame() { alive_->fetch_sub(1); }
  std::atomic<int>* alive_;
};

Task<> wander(Self& self, std::atomic<int>* alive, int state) {
  const InFrame frame(alive);
  switch (state % 6) {
    case 0:
      (void)co_await receive(self);
      break;
    case 1:
      (void)co_await receive_for(self, 30 * kMicrosecond);
      break;
    case 2:
      (void)co_await receive_if(self, [](const Message& m) { return m.text() == "never"; });
      break;
    case 3:
      co_await sleep(self, 30 * kMicrosecond);
      break;
    case 4:
      co_await yield(self);
      break;
    default:
      co_await news(self);
      break;
  }
}

Routine wanderer(Self& self, std::atomic<int>* alive, int state) {
  const InFrame frame(alive);
  if (state % 2 == 0) self.trap_exit(true);
  for (;; ++state) co_await wander(self, alive, state);
}

Routine killer(Self& self, Pid victim, int yields) {
  self.send(victim, Message::of_text("hello"));
  for (int i = 0; i < yields; ++i) co_await yield(self);
  self.exit(victim, Kind::kKill);
}

TEST_P(Threads, X5_AProcessInAnyStateCanBeKilled) {
  std::atomic<int> alive{0};
  ThreadedNode node(GetParam());
  std::vector<Pid> victims;
  for (int i = 0; i < 20'000 / kScale; ++i) {
    victims.push_back(node.runtime.spawn(wanderer, &alive, i));
    node.runtime.spawn(killer, victims.back(), i % 7);
    if (i % 5 == 0) node.runtime.exit(victims.back(), Kind::kKill);
  }
  EXPECT_TRUE(node.wait_until_empty());
  EXPECT_EQ(alive.load(), 0);
  EXPECT_TRUE(std::ranges::none_of(victims, [&](Pid pid) { return node.runtime.is_alive(pid); }));
}

// ── X7: one reason wins ──────────────────────────────────────────────────────────────────────────────────────────────

struct Verdict {
  std::atomic<int> reason{-1};
  std::atomic<int> observers{0};
  std::atomic<int> contradictions{0};
  void tell(const ExitReason& said) {
    const int number = said.kind() == Kind::kKilled ? 1000 : std::atoi(std::string(said.text()).c_str());
    int none = -1;
    if (!reason.compare_exchange_strong(none, number) && none != number) contradictions.fetch_add(1);
    observers.fetch_add(1);
  }
};

Routine sit(Self& self) {
  (void)co_await receive(self);
}

Routine observe(Self& self, Pid target, bool link, std::atomic<int>* ready, Verdict* verdict) {
  self.trap_exit(true);
  if (link) {
    self.link(target);
  } else {
    self.monitor(target);
  }
  ready->fetch_add(1);
  ready->notify_all();
  verdict->tell((co_await receive(self)).reason());
}

Routine end_it(Self& self, Pid target, int number) {
  self.exit(target, number == 3 ? ExitReason(Kind::kKill) : ExitReason::other(std::to_string(number)));
  co_return;
}

TEST_P(Threads, X7_OneReasonWinsInAnExitStorm) {
  for (int round = 0; round < 300 / kScale; ++round) {
    Verdict verdict;
    std::atomic<int> ready{0};
    ThreadedNode node(GetParam());
    const Pid target = node.runtime.spawn(sit);
    for (int i = 0; i < 6; ++i) node.runtime.spawn(observe, target, i % 2 == 0, &ready, &verdict);
    for (int n = ready.load(); n < 6; n = ready.load()) ready.wait(n);
    for (int i = 0; i < 6; ++i) node.runtime.spawn(end_it, target, i);
    ASSERT_TRUE(node.wait_until_empty());
    EXPECT_EQ(verdict.observers.load(), 6);
    EXPECT_EQ(verdict.contradictions.load(), 0);
  }
}

// ── L4: crossing ─────────────────────────────────────────────────────────────────────────────────────────────────────

struct Toggle {
  Pid peer;
  int count;
  bool link_last;
};

struct LinkTest {
  std::atomic<int> toggled{0};
  std::atomic<int> exits{0};
};

Routine toggler(Self& self, LinkTest* test) {
  self.trap_exit(true);
  for (;;) {
    Message message = co_await receive(self);
    if (const Toggle* toggle = message.get_if<Toggle>()) {
      for (int i = 0; i < toggle->count; ++i) {
        i % 2 == 0 ? self.link(toggle->peer) : self.unlink(toggle->peer);
        if (i % 5 == 0) co_await yield(self);
      }
      toggle->link_last ? self.link(toggle->peer) : self.unlink(toggle->peer);
      test->toggled.fetch_add(1);
      test->toggled.notify_all();
    } else if (message.is_exit()) {
      test->exits.fetch_add(1);
    } else {
      co_return;
    }
  }
}

void wait_for(const std::atomic<int>& value, int at_least) {
  for (int n = value.load(); n < at_least; n = value.load()) value.wait(n);
}

TEST_P(Threads, L4_CrossingLinksAndUnlinksLeaveBothSidesAgreeing) {
  ThreadedNode node(GetParam());
  for (int round = 0; round < 2'000 / kScale; ++round) {
    LinkTest test;
    Gate told(1);  // a's links have been told of its end
    const Pid a =
        node.runtime.spawn_with({.on_exit = [&told](Pid, const ExitReason&) { told.arrive(); }}, toggler, &test);
    const Pid b = node.runtime.spawn(toggler, &test);
    node.runtime.send(a, Message::of(Toggle{b, 3 + round % 8, round % 2 == 0}));
    node.runtime.send(b, Message::of(Toggle{a, 2 + round % 5, round % 3 == 0}));
    wait_for(test.toggled, 2);
    // Both are done, so this one is the last word, once what crossed has been acknowledged.
    const bool link = round % 4 < 2;
    node.runtime.send(a, Message::of(Toggle{b, 0, link}));
    wait_for(test.toggled, 3);
    node.runtime.send(a, Message::of_text("end"));
    told.wait();
    node.runtime.send(b, Message::of_text("end"));
    ASSERT_TRUE(node.wait_until_empty());
    EXPECT_EQ(test.exits.load(), link ? 1 : 0) << "round " << round;
  }
}

// ── Churn ────────────────────────────────────────────────────────────────────────────────────────────────────────────

struct Tally {
  std::atomic<std::int64_t> monitors{0};
  std::atomic<std::int64_t> downs{0};
  std::atomic<std::int64_t> exits{0};
  std::atomic<std::int64_t> links{0};
  std::atomic<std::int64_t> twice{0};
  std::atomic<std::int64_t> flushed{0};
};

Routine mayfly(Self& self, int kind) {
  if (kind % 3 == 0) co_await yield(self);
  if (kind % 4 == 1) co_await end(self, ExitReason::other("tired"));
  if (kind % 4 == 2) (void)co_await receive(self);  // until it is killed
  if (kind % 4 == 3) self.exit(self.pid(), Kind::kKill);
}

// Spawns in batches, monitors and links each in several ways, and counts what comes back.
Routine churn(Self& self, int batches, Tally* tally) {
  constexpr int kBatch = 50;
  self.trap_exit(true);
  for (int batch = 0; batch < batches; ++batch) {
    std::map<Reference, int> fired;
    std::map<Pid, int> exits;
    std::vector<Reference> dropped;
    for (int i = 0; i < kBatch; ++i) {
      const bool link = i % 2 == 0;
      const Spawned spawned = self.runtime().spawn_from(self, {.link = link, .monitor = true}, mayfly, i);
      fired[spawned.reference] = 0;
      if (link) exits[spawned.pid] = 0;
      const Reference second = self.monitor(spawned.pid);  // may find it dead
      if (i % 5 == 0) {
        self.demonitor(second);
        dropped.push_back(second);
      } else {
        fired[second] = 0;
      }
      if (i % 4 == 2) self.exit(spawned.pid, Kind::kKill);
    }
    std::size_t missing = fired.size() + exits.size();
    while (missing > 0) {
      const Message message = co_await receive(self);
      int* count = nullptr;
      if (message.is_down()) {
        const auto it = fired.find(message.reference());
        if (it == fired.end()) {
          tally->flushed.fetch_add(1);
          continue;
        }
        count = &it->second;
        tally->downs.fetch_add(1);
      } else {
        count = &exits[message.from()];
        tally->exits.fetch_add(1);
      }
      if (++*count != 1) tally->twice.fetch_add(1);
      --missing;
    }
    tally->monitors.fetch_add(static_cast<std::int64_t>(fired.size()));
    tally->links.fetch_add(static_cast<std::int64_t>(exits.size()));
  }
  while (const auto message = co_await receive_for(self, 0)) tally->twice.fetch_add(1);
}

TEST_P(Threads, ChurnFiresEveryMonitorExactlyOnceAndLeavesNothing) {
  constexpr int kProcesses = 1'000'000 / kScale;
  Tally tally;
  ThreadedNode node(GetParam());
  for (int i = 0; i < 8; ++i) node.runtime.spawn(churn, kProcesses / 50 / 8, &tally);
  ASSERT_TRUE(node.wait_until_empty());
  EXPECT_EQ(node.runtime.process_count(), 0u);
  EXPECT_GE(node.runtime.counters().spawns, static_cast<std::uint64_t>(kProcesses));
  EXPECT_EQ(tally.downs.load(), tally.monitors.load());
  EXPECT_EQ(tally.exits.load(), tally.links.load());
  EXPECT_EQ(tally.twice.load(), 0);
  EXPECT_EQ(tally.flushed.load(), 0) << "a DOWN came after its demonitor";
}

// ── L7: an exit storm through a web of links ─────────────────────────────────────────────────────────────────────────

Routine root_of_web(Self& self) {
  for (;;) (void)co_await receive(self);
}

Routine strand(Self& self, Pid previous, Pid far, std::atomic<int>* linked) {
  self.link(previous);
  self.link(far);
  linked->fetch_add(1);
  linked->notify_all();
  for (;;) (void)co_await receive(self);
}

TEST_P(Threads, L7_AnExitStormEndsAWholeWebOfLinks) {
  for (int round = 0; round < 10; ++round) {
    std::atomic<int> linked{0};
    ThreadedNode node(GetParam());
    const Pid root = node.runtime.spawn(root_of_web);
    std::vector<Pid> web = {root};
    for (int i = 0; i < 2'000 / kScale; ++i) {
      web.push_back(node.runtime.spawn(strand, web.back(), web[web.size() / 2], &linked));
    }
    wait_for(linked, static_cast<int>(web.size()) - 1);
    node.runtime.exit(web[web.size() / 3], ExitReason::other("storm"));
    node.runtime.exit(web.back(), Kind::kKill);
    EXPECT_TRUE(node.wait_until_empty());
  }
}

// ── S1, M3 over two threaded nodes ───────────────────────────────────────────────────────────────────────────────────

Routine count_up(Self& self, Pid to, int count) {
  for (int i = 0; i < count; ++i) {
    self.send(to, Message::of(i));
    if (i % 16 == 0) co_await yield(self);
  }
  co_await end(self, ExitReason::other("counted"));
}

struct Counted {
  std::atomic<int> next{0};
  std::atomic<int> wrong{0};
  std::atomic<int> downs{0};
};

Routine expect_count(Self& self, Runtime* other, int count, Counted* counted) {
  self.monitor(other->spawn(count_up, self.pid(), count));
  for (;;) {
    Message message = co_await receive(self);
    if (const int* number = message.get_if<int>()) {
      if (counted->next.fetch_add(1) != *number) counted->wrong.fetch_add(1);
      continue;
    }
    counted->downs.fetch_add(1);
    // A DOWN noproc means that it had ended before the monitor came: all messages are here all the same.
    if (!message.is_down() || counted->next.load() != count) counted->wrong.fetch_add(1);
    co_return;
  }
}

TEST_P(Threads, S1_OrderHoldsBetweenTwoNodesUpToTheDown) {
  constexpr int kCount = 20'000 / kScale;
  SystemClock clock;
  SystemEntropy entropy;
  QuietReactorFactory reactors;
  const RuntimeParts parts{.clock = clock, .entropy = entropy, .reactors = reactors};
  Runtime one({.workers = GetParam(), .node = 1}, parts);
  Runtime two({.workers = GetParam(), .node = 2}, parts);
  MemoryLink to_one(one);
  MemoryLink to_two(two);
  one.set_remote(&to_two);
  two.set_remote(&to_one);
  Counted counted[4];
  for (std::size_t i = 0; i < 4; ++i) {
    (i % 2 == 0 ? one : two).spawn(expect_count, i % 2 == 0 ? &two : &one, kCount, &counted[i]);
  }
  EXPECT_TRUE(one.wait_until_empty(60 * kSecond));
  EXPECT_TRUE(two.wait_until_empty(60 * kSecond));
  to_one.cut();
  to_two.cut();
  for (const Counted& c : counted) {
    EXPECT_EQ(c.next.load(), kCount);
    EXPECT_EQ(c.wrong.load(), 0);
    EXPECT_EQ(c.downs.load(), 1);
  }
}

// ── T1: a timer fires or is cancelled, never both and never neither ─────────────────────────────────────────────────

struct TimerTally {
  explicit TimerTally(int count) : state(new std::atomic<int>[static_cast<std::size_t>(count)]()) {}
  int next() { return started.fetch_add(1); }
  void note(int number) {
    if (state[static_cast<std::size_t>(number)].fetch_add(1) == 0) {
      done.fetch_add(1);
    } else {
      twice.fetch_add(1);
    }
  }
  std::unique_ptr<std::atomic<int>[]> state;
  std::atomic<int> started{0};
  std::atomic<int> done{0};
  std::atomic<int> twice{0};
};

struct LongNumber {
  int number;
  std::string text;
};

Routine timer_sink(Self& self, TimerTally* tally) {
  for (;;) {
    const Message message = co_await receive(self);
    if (const int* number = message.get_if<int>()) tally->note(*number);
    if (const auto* number = message.get_if<LongNumber>()) tally->note(number->number);
  }
}

Routine timer_user(Self& self, Pid sink, std::uint64_t seed, int rounds, TimerTally* tally) {
  Random random(seed);
  std::vector<std::pair<TimerId, int>> timers;
  for (int i = 0; i < rounds; ++i) {
    const auto span = static_cast<Nanoseconds>(random.below(300 * kMicrosecond));
    const int number = tally->next();
    timers.emplace_back(random.below(2) == 0 ? self.send_after(span, sink, Message::of(number))
                                             : self.runtime().send_after(
                                                   span, sink, Message::of(LongNumber{number, std::string(40, 'x')})),
                        number);
    if (random.below(2) == 0) {
      const auto& [id, cancelled] = timers[random.below(timers.size())];
      if (self.cancel(id)) tally->note(cancelled);
    }
    co_await yield(self);
  }
  co_await receive(self);  // stays, as its timers would end with it
}

Routine ends_later(Self& self) {
  co_await sleep(self, 5 * kMillisecond);
}

TEST_P(Threads, T1_ATimerFiresOrIsCancelledOnce) {
  const int all = 4 * (4000 / kScale) + 2 * (2000 / kScale);
  TimerTally tally(all);
  ThreadedNode node(GetParam());
  const Pid sink = node.runtime.spawn(timer_sink, &tally);
  std::vector<std::thread> outside;
  for (int i = 0; i < 4; ++i) node.runtime.spawn(timer_user, sink, 1 + i, 4000 / kScale, &tally);
  for (int t = 0; t < 2; ++t) {
    outside.emplace_back([&, t] {
      Random random(100 + static_cast<std::uint64_t>(t));
      for (int i = 0; i < 2000 / kScale; ++i) {
        const int number = tally.next();
        const TimerId id = node.runtime.send_after(static_cast<Nanoseconds>(random.below(200 * kMicrosecond)), sink,
                                                   Message::of(number));
        if (random.below(2) == 0) std::this_thread::yield();
        if (node.runtime.cancel(id)) tally.note(number);
      }
    });
  }
  for (std::thread& thread : outside) thread.join();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (tally.done < all && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_EQ(tally.done, all);
  // A second time would come now: longer than any span passes for this process.
  EXPECT_TRUE(node.runtime.wait_for(node.runtime.spawn(ends_later), kNever));
  EXPECT_EQ(tally.twice, 0);
  node.runtime.kill_all();
  EXPECT_TRUE(node.wait_until_empty());
}

// An interval that was cancelled ends, whatever it was doing, and its owner's end ends it.
TEST_P(Threads, T1_ACancelledIntervalEnds) {
  ThreadedNode node(GetParam());
  std::atomic<int> ticks{0};
  const Pid sink = node.runtime.spawn(
      [](Self& self, std::atomic<int>* count) -> Routine {
        for (;;) {
          co_await receive(self);
          count->fetch_add(1);
        }
      },
      &ticks);
  for (int i = 0; i < 40 / kScale + 10; ++i) {
    node.runtime.spawn(
        [](Self& self, Pid to, int number) -> Routine {
          for (int round = 0; round < 10; ++round) {
            const TimerId id = self.send_every(20 * kMicrosecond, to, round);
            co_await sleep(self, (number % 5) * 50 * kMicrosecond);
            if (round % 3 != 0) self.cancel(id);
          }
        },
        sink, i);
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (node.runtime.process_count() > 1 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_EQ(node.runtime.process_count(), 1u);
  EXPECT_TRUE(node.runtime.wait_for(node.runtime.spawn(ends_later), kNever));  // what was on its way
  const int after = ticks.load();
  EXPECT_TRUE(node.runtime.wait_for(node.runtime.spawn(ends_later), kNever));
  EXPECT_EQ(ticks.load(), after);
  node.runtime.kill_all();
  EXPECT_TRUE(node.wait_until_empty());
}

}  // namespace
}  // namespace rusm::otp::spec
