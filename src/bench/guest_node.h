// GuestNode: a runtime and an engine with the product's defaults and some guests, for the workloads that run them.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/entropy.h"
#include "base/error.h"
#include "bench/workload.h"
#include "otp/reactor.h"
#include "otp/runtime.h"
#include "wasm/capabilities.h"
#include "wasm/engine.h"
#include "wasm/guest_factory.h"

namespace rusm::bench {

// Threads: one, and the runtime's own.
class GuestNode {
 public:
  // A component or core module whose export `run` is its life.
  struct Guest {
    std::string_view wasm;  // text or binary
    Nanoseconds cpu_max = wasm::Capabilities().cpu_max;
  };

  // `sizes`: of the engine, where the workload is about them.
  static Result<std::unique_ptr<GuestNode>> open(const Options& options, const std::vector<Guest>& guests,
                                                 otp::EventHook* hook = nullptr, wasm::EngineOptions sizes = {});
  // Ends all processes first.
  ~GuestNode();
  GuestNode(const GuestNode&) = delete;
  GuestNode& operator=(const GuestNode&) = delete;

  // Starts an instance of the guest with this number.
  Result<otp::Pid> spawn(std::size_t guest = 0);
  wasm::GuestMaker& maker(std::size_t guest = 0) { return *makers_[guest]; }
  const Clock& clock() const noexcept { return clock_; }
  otp::Runtime& runtime() const noexcept { return *runtime_; }
  wasm::Engine& engine() const noexcept { return *engine_; }

 private:
  GuestNode() = default;

  SystemClock clock_;
  SystemEntropy entropy_;
  otp::QuietReactorFactory reactors_;
  std::unique_ptr<wasm::Engine> engine_;
  std::unique_ptr<otp::Runtime> runtime_;
  std::vector<std::unique_ptr<wasm::GuestMaker>> makers_;
};

}  // namespace rusm::bench
