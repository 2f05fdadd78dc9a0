#include "bench/life_workloads.h"

#include <unistd.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/histogram.h"
#include "bench/bench_node.h"
#include "bench/gate.h"
#include "bench/resident.h"
#include "otp/routine.h"

namespace rusm::bench {
namespace {

using namespace rusm::otp;  // NOLINT(google-build-using-namespace): this file is about nothing else

// ── Failures ──

Routine fails(Self& self) {
  co_await end(self, ExitReason::other("boom"));
}

Routine throws(Self&) {
  throw std::runtime_error("boom");
  co_return;
}

constexpr int kRestartsBetweenClocks = 256;

Routine parent(Self& self, Routine (*child)(Self&), Nanoseconds until, std::uint64_t* restarts,
               std::shared_ptr<Gate> gate) {
  self.trap_exit(true);
  do {
    for (int i = 0; i < kRestartsBetweenClocks; ++i) {
      self.runtime().spawn_from(self, SpawnOptions{.link = true}, child);
      co_await receive(self);
    }
    *restarts += kRestartsBetweenClocks;
  } while (self.runtime().clock().now() < until);
  gate->arrive();
}

Result<Measurement> measure_restarts(const Options& options, Routine (*child)(Self&)) {
  BenchNode node(options);
  std::uint64_t restarts = 0;
  const auto gate = std::make_shared<Gate>(1);
  const Nanoseconds start = node.clock.now();
  node.runtime.spawn(parent, child, start + options.span(), &restarts, gate);
  gate->wait();
  return node.measured(static_cast<double>(restarts), "restarts/s", start);
}

// ── Memory ──

constexpr int kIdle = 1'000'000;

Routine waits(Self& self, std::atomic<int>* waiting) {
  waiting->fetch_add(1, std::memory_order_relaxed);
  co_await receive(self);
}

// ── Timers ──

constexpr int kTimers = 1'000'000;
constexpr int kTimersInARow = 1000;

struct Fired {
  std::atomic<int> left{0};
  std::shared_ptr<Gate> gate;
};

Routine timed(Self& self, int count, std::uint64_t seed, Fired* fired) {
  Random random(seed);
  for (int i = 0; i < count; ++i) {
    self.send_after(kMillisecond + static_cast<Nanoseconds>(random.below(99 * kMillisecond)), self.pid(),
                    Message::of(i));
    if (i % kTimersInARow == 0) co_await yield(self);
  }
  for (int i = 0; i < count; ++i) co_await receive(self);
  if (fired->left.fetch_sub(1) == 1) fired->gate->arrive();
}

Routine cancels(Self& self, Nanoseconds until, std::atomic<std::uint64_t>* cancelled, std::shared_ptr<Gate> gate) {
  std::vector<TimerId> ids(kTimersInARow);
  std::uint64_t count = 0;
  while (self.runtime().clock().now() < until) {
    for (TimerId& id : ids) id = self.send_after(60 * kSecond, self.pid(), Message::of(1));
    for (const TimerId id : ids) count += self.cancel(id) ? 1 : 0;
    co_await yield(self);
  }
  cancelled->fetch_add(count);
  gate->arrive();
}

// ── Names ──

constexpr int kNames = 1000;

Routine looks_up(Self& self, const std::vector<std::string>* names, Nanoseconds until,
                 std::atomic<std::uint64_t>* found, std::shared_ptr<Gate> gate) {
  std::uint64_t count = 0;
  while (self.runtime().clock().now() < until) {
    for (const std::string& name : *names) count += self.runtime().whereis(name) ? 1 : 0;
    co_await yield(self);
  }
  found->fetch_add(count);
  gate->arrive();
}

// ── Fairness ──

Routine greedy(Self& self) {
  for (;;) {
    self.send(self.pid(), Message::of(1));
    co_await receive(self);
  }
}

Routine echoes(Self& self) {
  for (;;) {
    const Message message = co_await receive(self);
    if (const Pid* from = message.get_if<Pid>()) self.send(*from, Message::of(self.pid()));
  }
}

Routine measures(Self& self, Pid partner, Nanoseconds until, Histogram* round_trips, std::uint64_t* rounds,
                 std::shared_ptr<Gate> gate) {
  const Clock& clock = self.runtime().clock();
  for (Nanoseconds now = clock.now(); now < until; ++*rounds) {
    self.send(partner, Message::of(self.pid()));
    co_await receive(self);
    const Nanoseconds after = clock.now();
    round_trips->record(static_cast<std::uint64_t>(after - now));
    now = after;
  }
  gate->arrive();
}

}  // namespace

Result<Measurement> fault_recovery(const Options& options) {
  return measure_restarts(options, fails);
}

Result<Measurement> fault_recovery_throw(const Options& options) {
  return measure_restarts(options, throws);
}

Result<Measurement> idle_memory(const Options& options) {
  BenchNode node(options);
  std::atomic<int> waiting{0};
  const std::uint64_t before = resident_bytes();
  for (int i = 0; i < kIdle; ++i) {
    if (!node.runtime.spawn(waits, &waiting)) return fail(ErrorCode::kLimit, "idle-memory", "no more processes");
  }
  while (waiting.load(std::memory_order_relaxed) < kIdle) usleep(1000);
  const std::uint64_t after = resident_bytes();
  return Measurement{
      .value = static_cast<double>(after - before) / kIdle, .unit = "bytes/process", .workers = node.runtime.workers()};
}

// Each round in a runtime of its own, so that none finds the memory of the one before.
Result<Measurement> timers(const Options& options) {
  double fired_in_all = 0;
  Nanoseconds spent = 0;
  unsigned workers = 0;
  while (spent < options.span()) {
    BenchNode node(options);
    workers = node.runtime.workers();
    Fired fired{.left = static_cast<int>(workers), .gate = std::make_shared<Gate>(1)};
    const Nanoseconds start = node.clock.now();
    for (unsigned i = 0; i < workers; ++i) {
      node.runtime.spawn(timed, kTimers / static_cast<int>(workers), std::uint64_t{i} + 1, &fired);
    }
    fired.gate->wait();
    spent += node.clock.now() - start;
    fired_in_all += kTimers;
  }
  return Measurement{.value = fired_in_all * 1e9 / static_cast<double>(spent), .unit = "timers/s", .workers = workers};
}

Result<Measurement> timers_cancel(const Options& options) {
  BenchNode node(options);
  std::atomic<std::uint64_t> cancelled{0};
  const auto gate = std::make_shared<Gate>(node.runtime.workers());
  const Nanoseconds start = node.clock.now();
  for (unsigned i = 0; i < node.runtime.workers(); ++i) {
    node.runtime.spawn(cancels, start + options.span(), &cancelled, gate);
  }
  gate->wait();
  return node.measured(static_cast<double>(cancelled.load()), "timers/s", start);
}

Result<Measurement> whereis(const Options& options) {
  BenchNode node(options);
  std::atomic<int> waiting{0};
  const Pid pid = node.runtime.spawn(waits, &waiting);
  std::vector<std::string> names;
  for (int i = 0; i < kNames; ++i) {
    names.push_back("name " + std::to_string(i));
    if (auto registered = node.runtime.register_name(names.back(), pid); !registered) {
      return std::unexpected(registered.error());
    }
  }
  std::atomic<std::uint64_t> found{0};
  const auto gate = std::make_shared<Gate>(2);
  const Nanoseconds start = node.clock.now();
  for (int i = 0; i < 2; ++i) node.runtime.spawn(looks_up, &names, start + options.span(), &found, gate);
  gate->wait();
  return node.measured(static_cast<double>(found.load()), "look-ups/s", start);
}

Result<Measurement> fairness(const Options& options) {
  BenchNode node(options);
  for (int i = 0; i < 4; ++i) node.runtime.spawn(greedy);
  Histogram round_trips;
  std::uint64_t rounds = 0;
  const auto gate = std::make_shared<Gate>(1);
  const Nanoseconds start = node.clock.now();
  const Pid partner = node.runtime.spawn(echoes);
  node.runtime.spawn(measures, partner, start + options.span(), &round_trips, &rounds, gate);
  gate->wait();
  return node.measured(static_cast<double>(rounds), "round trips/s", start, &round_trips);
}

}  // namespace rusm::bench
