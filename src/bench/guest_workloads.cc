#include "bench/guest_workloads.h"

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "bench/gate.h"
#include "bench/guest_node.h"
#include "otp/routine.h"

namespace rusm::bench {
namespace {

constexpr std::string_view kModule = R"((module (memory (export "memory") 17) (data (i32.const 1024) "hello")
  (func (export "run") (i32.store (i32.const 4096) (i32.const 7)))))";
constexpr std::string_view kComponent = R"((component
  (core module $m (memory (export "memory") 17) (data (i32.const 1024) "hello")
    (func (export "run") (i32.store (i32.const 4096) (i32.const 7))))
  (core instance $i (instantiate $m))
  (func (export "run") (canon lift (core func $i "run")))))";

constexpr int kSpawnsBetweenYields = 32;

// Counts ends: a guest that did not run to its end must not inflate the rate.
class Ends final : public otp::EventHook {
 public:
  void on_exit(otp::Pid, const otp::ExitReason& reason, std::string_view) noexcept override {
    if (!reason.is_normal()) failures.fetch_add(1, std::memory_order_relaxed);
  }
  std::atomic<std::uint64_t> failures{0};
};

otp::Routine spawner(otp::Self& self, Nanoseconds until, wasm::GuestMaker* maker, std::atomic<std::uint64_t>* spawned,
                     std::shared_ptr<Gate> gate) {
  std::uint64_t count = 0;
  while (self.runtime().clock().now() < until) {
    for (int i = 0; i < kSpawnsBetweenYields; ++i) {
      Result<otp::BodyPtr> body = maker->make({});
      if (!body) break;  // all slots are taken: let some end
      self.runtime().spawn_body(std::move(*body));
      ++count;
    }
    co_await otp::yield(self);
  }
  spawned->fetch_add(count);
  gate->arrive();
}

}  // namespace

Result<Measurement> spawn_guests(const Options& options, std::string_view wasm, wasm::EngineOptions engine) {
  Ends ends;
  auto node = GuestNode::open(options, {{.wasm = wasm}}, &ends, std::move(engine));
  if (!node) return std::unexpected(std::move(node.error()));
  otp::Runtime& runtime = (*node)->runtime();
  const Clock& clock = (*node)->clock();
  const unsigned workers = runtime.workers();

  std::atomic<std::uint64_t> spawned{0};
  const auto gate = std::make_shared<Gate>(workers);
  const Nanoseconds start = clock.now();
  for (unsigned i = 0; i < workers; ++i) {
    runtime.spawn(spawner, start + options.span(), &(*node)->maker(), &spawned, gate);
  }
  gate->wait();
  runtime.wait_until_empty(kNever);
  const auto span = static_cast<double>(clock.now() - start);
  if (const std::uint64_t failures = ends.failures.load(); failures != 0) {
    return fail(ErrorCode::kInternal, "bench guest", std::to_string(failures) + " guests did not run to their end");
  }
  return Measurement{.value = static_cast<double>(spawned.load()) * 1e9 / span, .unit = "spawns/s", .workers = workers};
}

Result<Measurement> component_spawn(const Options& options) {
  return spawn_guests(options, kComponent);
}

Result<Measurement> module_spawn(const Options& options) {
  return spawn_guests(options, kModule);
}

Result<Measurement> module_spawn_zeroed(const Options& options) {
  return spawn_guests(options, kModule, {.zero_stacks = true});
}

Result<Measurement> module_spawn_overflow(const Options& options) {
  return spawn_guests(options, kModule, {.guests_max = 4000, .pool_max = 1});
}

}  // namespace rusm::bench
