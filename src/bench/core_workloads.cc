#include "bench/core_workloads.h"

#include <atomic>
#include <memory>

#include "base/histogram.h"
#include "bench/gate.h"
#include "otp/routine.h"

namespace rusm::bench {
namespace {

using namespace rusm::otp;  // NOLINT(google-build-using-namespace): this file is about nothing else

// A runtime with the product's defaults and no outside.
struct Node {
  explicit Node(const Options& options) : runtime({.workers = options.workers}, {clock, entropy, reactors}) {}
  SystemClock clock;
  SystemEntropy entropy;
  QuietReactorFactory reactors;
  Runtime runtime;
};

Routine empty(Self&) {
  co_return;
}

constexpr int kSpawnsBetweenYields = 128;

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

double exchange(Node& node, unsigned pairs, Nanoseconds span, bool timed, Exchanged* exchanged) {
  const auto gate = std::make_shared<Gate>(pairs);
  const Nanoseconds start = node.clock.now();
  for (unsigned i = 0; i < pairs; ++i) node.runtime.spawn(ping, start + span, timed, exchanged, gate);
  gate->wait();
  return static_cast<double>(exchanged->messages.load()) * 1e9 / static_cast<double>(node.clock.now() - start);
}

}  // namespace

Result<Measurement> spawn(const Options& options) {
  Node node(options);
  std::atomic<std::uint64_t> spawned{0};
  const auto gate = std::make_shared<Gate>(node.runtime.workers());
  const Nanoseconds start = node.clock.now();
  for (unsigned i = 0; i < node.runtime.workers(); ++i) {
    node.runtime.spawn(spawner, start + options.span(), &spawned, gate);
  }
  gate->wait();
  node.runtime.wait_until_empty(kNever);
  const auto span = static_cast<double>(node.clock.now() - start);
  return Measurement{.value = static_cast<double>(spawned.load()) * 1e9 / span,
                     .unit = "processes/s",
                     .workers = node.runtime.workers()};
}

Result<Measurement> pingpong(const Options& options) {
  Node node(options);
  Exchanged exchanged;
  const double rate = exchange(node, 1, options.span(), false, &exchanged);
  Exchanged timed;
  exchange(node, 1, options.span() / 4, true, &timed);
  return Measurement{.value = rate,
                     .unit = "messages/s",
                     .p50_ns = timed.round_trips.percentile(0.5),
                     .p99_ns = timed.round_trips.percentile(0.99),
                     .workers = node.runtime.workers()};
}

Result<Measurement> pingpong_many(const Options& options) {
  Node node(options);
  Exchanged exchanged;
  const double rate = exchange(node, 2 * node.runtime.workers(), options.span(), false, &exchanged);
  return Measurement{.value = rate, .unit = "messages/s", .workers = node.runtime.workers()};
}

}  // namespace rusm::bench
