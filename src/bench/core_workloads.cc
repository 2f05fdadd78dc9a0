#include "bench/core_workloads.h"

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "base/histogram.h"
#include "bench/bench_node.h"
#include "bench/gate.h"
#include "otp/routine.h"

namespace rusm::bench {
namespace {

using namespace rusm::otp;  // NOLINT(google-build-using-namespace): this file is about nothing else

Routine empty(Self&) {
  co_return;
}

constexpr int kSpawnsBetweenYields = 2000;  // as many as a slice has reductions

Routine spawner(Self& self, Nanoseconds until, std::atomic<std::uint64_t>* spawned, std::shared_ptr<Gate> gate) {
  std::uint64_t count = 0;
  while (self.runtime().clock().now() < until) {
    for (int i = 0; i < kSpawnsBetweenYields; ++i) self.runtime().spawn(empty);
    count += kSpawnsBetweenYields;
    co_await yield(self);
  }
  spawned->fetch_add(count);
  gate->arrive();
}

Routine pong(Self& self) {
  for (;;) {
    Message message = co_await receive(self);
    const Pid* from = message.get_if<Pid>();
    if (from == nullptr) co_return;
    self.send(*from, Message::of(self.pid()));
  }
}

struct Exchanged {
  std::atomic<std::uint64_t> messages{0};
  Histogram round_trips;
};

constexpr int kRoundsBetweenClocks = 1024;

Routine ping(Self& self, Nanoseconds until, bool timed, Exchanged* exchanged, std::shared_ptr<Gate> gate) {
  const Clock& clock = self.runtime().clock();
  const Pid partner = self.runtime().spawn(pong);
  std::uint64_t rounds = 0;
  while (clock.now() < until) {
    for (int i = 0; i < kRoundsBetweenClocks; ++i) {
      const Nanoseconds start = timed ? clock.now() : 0;
      self.send(partner, Message::of(self.pid()));
      const Message reply = co_await receive(self);
      if (timed) exchanged->round_trips.record(static_cast<std::uint64_t>(clock.now() - start));
    }
    rounds += kRoundsBetweenClocks;
  }
  self.send(partner, Message::of_text("stop"));
  exchanged->messages.fetch_add(2 * rounds);
  gate->arrive();
}

Measurement exchange(BenchNode& node, unsigned pairs, Nanoseconds span, bool timed, Exchanged* exchanged) {
  const auto gate = std::make_shared<Gate>(pairs);
  const Nanoseconds start = node.clock.now();
  for (unsigned i = 0; i < pairs; ++i) node.runtime.spawn(ping, start + span, timed, exchanged, gate);
  gate->wait();
  return node.measured(static_cast<double>(exchanged->messages.load()), "messages/s", start);
}

// ── fanin ──

constexpr unsigned kProducers = 8;
constexpr int kMessagesEach = 250'000;
constexpr int kSendsBetweenYields = 1024;

Routine producer(Self& self, Pid consumer) {
  for (int i = 0; i < kMessagesEach; ++i) {
    self.send(consumer, Message::of(i));
    if (i % kSendsBetweenYields == 0) co_await yield(self);
  }
}

Routine consumer(Self& self, std::shared_ptr<Gate> gate) {
  for (unsigned i = 0; i < kProducers * kMessagesEach; ++i) co_await receive(self);
  gate->arrive();
}

// ── ring ──

constexpr int kRing = 1000;

struct Token {
  std::uint64_t hops;
};

Routine ring_member(Self& self, Pid next) {
  for (;;) {
    Message message = co_await receive(self);
    if (auto* token = message.get_if<Token>()) ++token->hops;
    self.send(next, std::move(message));
  }
}

// Closes the ring and ends it at a lap's end.
Routine ring_head(Self& self, Nanoseconds until, std::uint64_t* hops, std::shared_ptr<Gate> gate) {
  Pid next = self.pid();
  std::vector<Pid> members;
  for (int i = 1; i < kRing; ++i) members.push_back(next = self.runtime().spawn(ring_member, next));
  self.send(next, Message::of(Token{0}));
  for (;;) {
    Message message = co_await receive(self);
    auto* token = message.get_if<Token>();
    ++token->hops;
    if (self.runtime().clock().now() >= until) {
      *hops = token->hops;
      break;
    }
    self.send(next, std::move(message));
  }
  for (const Pid member : members) self.exit(member, ExitReason::Kind::kKill);
  gate->arrive();
}

// ── call ──

Routine answering(Self& self) {
  for (;;) {
    const Message message = co_await receive(self);
    if (message.is_request()) self.reply(message.reply_to(), Message::of(1));
  }
}

Routine calling(Self& self, int backlog, Nanoseconds span, Exchanged* exchanged, std::shared_ptr<Gate> gate) {
  const Clock& clock = self.runtime().clock();
  const Pid server = self.runtime().spawn(answering);
  for (int i = 0; i < backlog; ++i) self.send(self.pid(), Message::of(i));
  co_await yield(self);
  const Nanoseconds until = clock.now() + span;
  std::uint64_t calls = 0;
  for (Nanoseconds now = clock.now(); now < until;) {
    const auto answer = co_await call(self, server, Message::of(0));
    if (!answer) break;
    const Nanoseconds after = clock.now();
    exchanged->round_trips.record(static_cast<std::uint64_t>(after - now));
    now = after;
    ++calls;
  }
  exchanged->messages.fetch_add(calls);
  self.exit(server, ExitReason::Kind::kKill);
  gate->arrive();
}

Result<Measurement> measure_calls(const Options& options, int backlog) {
  BenchNode node(options);
  Exchanged exchanged;
  const auto gate = std::make_shared<Gate>(1);
  const Nanoseconds start = node.clock.now();
  node.runtime.spawn(calling, backlog, options.span(), &exchanged, gate);
  gate->wait();
  return node.measured(static_cast<double>(exchanged.messages.load()), "calls/s", start, &exchanged.round_trips);
}

}  // namespace

Result<Measurement> spawn(const Options& options) {
  BenchNode node(options);
  std::atomic<std::uint64_t> spawned{0};
  const auto gate = std::make_shared<Gate>(node.runtime.workers());
  const Nanoseconds start = node.clock.now();
  for (unsigned i = 0; i < node.runtime.workers(); ++i) {
    node.runtime.spawn(spawner, start + options.span(), &spawned, gate);
  }
  gate->wait();
  node.runtime.wait_until_empty(kNever);
  return node.measured(static_cast<double>(spawned.load()), "processes/s", start);
}

Result<Measurement> pingpong(const Options& options) {
  BenchNode node(options);
  Exchanged exchanged;
  Measurement measured = exchange(node, 1, options.span(), false, &exchanged);
  Exchanged timed;
  exchange(node, 1, options.span() / 4, true, &timed);
  measured.p50_ns = timed.round_trips.percentile(0.5);
  measured.p99_ns = timed.round_trips.percentile(0.99);
  return measured;
}

Result<Measurement> pingpong_many(const Options& options) {
  BenchNode node(options);
  Exchanged exchanged;
  return exchange(node, 2 * node.runtime.workers(), options.span(), false, &exchanged);
}

namespace {

Result<Measurement> four_pairs(const Options& options) {
  BenchNode node(options);
  Exchanged exchanged;
  return exchange(node, 4, options.span(), false, &exchanged);
}

// In turns, so that a machine that drifts does not decide; 100: as fast as one worker.
Result<Measurement> measure_scaling(const Options& options, Result<Measurement> (*workload)(const Options&)) {
  constexpr int kTurns = 4;
  Options one = options;
  Options all = options;
  one.seconds = all.seconds = options.seconds / (2 * kTurns);
  one.workers = 1;
  double with_one = 0;
  double with_all = 0;
  unsigned workers = 0;
  for (int turn = 0; turn < kTurns; ++turn) {
    const Result<Measurement> single = workload(one);
    const Result<Measurement> many = workload(all);
    if (!single || !many) return single ? many : single;
    with_one += single->value;
    with_all += many->value;
    workers = many->workers;
  }
  return Measurement{.value = 100 * with_all / with_one, .unit = "percent of one worker", .workers = workers};
}

}  // namespace

Result<Measurement> scaling_spawn(const Options& options) {
  return measure_scaling(options, spawn);
}

Result<Measurement> scaling_pairs(const Options& options) {
  return measure_scaling(options, four_pairs);
}

Result<Measurement> fanin(const Options& options) {
  BenchNode node(options);
  double messages = 0;
  const Nanoseconds start = node.clock.now();
  do {
    const auto gate = std::make_shared<Gate>(1);
    const Pid to = node.runtime.spawn(consumer, gate);
    for (unsigned i = 0; i < kProducers; ++i) node.runtime.spawn(producer, to);
    gate->wait();
    messages += kProducers * kMessagesEach;
  } while (node.clock.now() - start < options.span());
  return node.measured(messages, "messages/s", start);
}

Result<Measurement> ring(const Options& options) {
  BenchNode node(options);
  std::uint64_t hops = 0;
  const auto gate = std::make_shared<Gate>(1);
  const Nanoseconds start = node.clock.now();
  node.runtime.spawn(ring_head, start + options.span(), &hops, gate);
  gate->wait();
  return node.measured(static_cast<double>(hops), "hops/s", start);
}

Result<Measurement> call_empty(const Options& options) {
  return measure_calls(options, 0);
}

Result<Measurement> call_backlog(const Options& options) {
  return measure_calls(options, 10'000);
}

}  // namespace rusm::bench
