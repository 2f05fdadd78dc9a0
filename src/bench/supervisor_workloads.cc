#include "bench/supervisor_workloads.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "bench/bench_node.h"
#include "bench/gate.h"
#include "otp/supervisor.h"

namespace rusm::bench {
namespace {

using namespace rusm::otp;  // NOLINT(google-build-using-namespace): this file is about nothing else

constexpr std::uint32_t kAnyNumber = UINT32_MAX;  // of restarts within the window, which is therefore kept count of

// ── One child ──

constexpr std::uint64_t kRestartsBetweenClocks = 256;

struct Restarts {
  Nanoseconds until = 0;
  std::uint64_t count = 0;  // of the child's starts; one child lives at a time
  std::shared_ptr<Gate> gate;
};

Routine fails(Self& self, Restarts* restarts) {
  if (++restarts->count % kRestartsBetweenClocks == 0 && self.runtime().clock().now() >= restarts->until) {
    restarts->gate->arrive();
    co_await receive(self);
  }
  co_await end(self, ExitReason::other("boom"));
}

// ── Many ──

constexpr std::uint32_t kChildren = 20'000;

struct Crowd {
  std::vector<Pid> pids = std::vector<Pid>(kChildren);  // each child writes its own
  std::atomic<std::uint32_t> to_start{kChildren};
  Pid killer;
};

struct AllStarted {};

Routine waits(Self& self, Crowd* crowd, std::uint32_t index) {
  crowd->pids[index] = self.pid();
  // Partner: the killer's store before it kills; the last one to start tells it, so that it sees every pid.
  if (crowd->to_start.fetch_sub(1, std::memory_order_acq_rel) == 1) self.send(crowd->killer, AllStarted());
  for (;;) co_await receive(self);
}

// What the killer measured.
struct Bursts {
  std::uint64_t restarts = 0;
  Nanoseconds spent = 0;
};

Routine kills(Self& self, Crowd* crowd, Nanoseconds span, Bursts* bursts, std::shared_ptr<Gate> gate) {
  const Clock& clock = self.runtime().clock();
  crowd->killer = self.pid();
  SupervisorSpec spec{.restarts_max = kAnyNumber, .window = kSecond};
  for (std::uint32_t i = 0; i < kChildren; ++i) {
    spec.children.push_back(child("child " + std::to_string(i), waits, crowd, i));
  }
  self.runtime().spawn(supervise, std::move(spec));
  co_await receive(self);
  while (bursts->spent < span) {
    crowd->to_start.store(kChildren, std::memory_order_release);  // partner: waits()
    const std::vector<Pid> victims = crowd->pids;
    const Nanoseconds start = clock.now();
    for (const Pid pid : victims) self.exit(pid, ExitReason::Kind::kKill);
    co_await receive(self);
    bursts->spent += clock.now() - start;
    bursts->restarts += kChildren;
  }
  gate->arrive();
}

}  // namespace

Result<Measurement> fault_recovery_supervisor(const Options& options) {
  Restarts restarts;  // outlives the node, which ends its processes
  BenchNode node(options);
  const Nanoseconds start = node.clock.now();
  restarts.until = start + options.span();
  restarts.gate = std::make_shared<Gate>(1);
  node.runtime.spawn(
      supervise,
      SupervisorSpec{.restarts_max = kAnyNumber, .window = kSecond, .children = {child("child", fails, &restarts)}});
  restarts.gate->wait();
  return node.measured(static_cast<double>(restarts.count), "restarts/s", start);
}

Result<Measurement> fault_recovery_burst(const Options& options) {
  Crowd crowd;  // outlives the node, which ends its processes
  Bursts bursts;
  BenchNode node(options);
  const auto gate = std::make_shared<Gate>(1);
  node.runtime.spawn(kills, &crowd, options.span(), &bursts, gate);
  gate->wait();
  return Measurement{.value = static_cast<double>(bursts.restarts) * 1e9 / static_cast<double>(bursts.spent),
                     .unit = "restarts/s",
                     .workers = node.runtime.workers()};
}

}  // namespace rusm::bench
