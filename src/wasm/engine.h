// Engine: the one WebAssembly engine of a node, sized for its machine, with its ticker and the count of its slots.
#pragma once

#include <rusm_bridge.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "wasm/core_dumps.h"
#include "wasm/limit_counts.h"
#include "wasm/slots.h"
#include "wasm/ticker.h"

namespace rusm::wasm {

// All of it ends up in rusm.toml; zero means: derived from the machine.
struct EngineOptions {
  // Guests alive at once. Derived: what vm.max_map_count and a quarter of the RAM allow, at most kGuestsDefaultMax.
  std::uint32_t guests_max = 0;
  // The largest linear memory that any guest may have.
  std::uint64_t memory_bytes_max = std::uint64_t{1} << 30;
  // The stack of a guest; as much again is there for the host functions that it calls.
  std::uint64_t stack_bytes = 512 << 10;
  // Memory of a free slot that stays mapped and is zeroed by hand: faster than giving it back to the system.
  std::uint64_t keep_resident_bytes = 64 << 10;
  // How long a guest runs before others get their turn.
  Nanoseconds slice = kMillisecond;
  // Threads for file access of guests.
  std::uint32_t blocking_threads = 4;
  // Threads that drive guests: the workers of the runtime.
  unsigned workers = 0;
  // Zeroes stacks between guests: no guest can read them, so this is defence in depth; costs a microsecond a spawn.
  bool zero_stacks = false;
  // Threads for compiling, at low priority; 0: one for each core.
  std::uint32_t compile_threads = 0;
  // What is compiled at most: a file that would keep the compiler busy for too long is an error.
  Nanoseconds compile_time_max = 120 * kSecond;
  std::uint64_t compile_functions_max = 500'000;
  std::uint64_t compile_function_bytes_max = 4 << 20;
  // Where crashed guests' core dumps go, and how many bytes all of them may have; empty: there are none.
  std::filesystem::path core_dumps_folder = {};
  std::uint64_t core_dumps_bytes_max = 256 << 20;
  // Between two dumps of one component, at least.
  Nanoseconds core_dumps_interval = 10 * kSecond;
};

// What the machine allows. Threads: a value.
struct MachineLimits {
  std::uint64_t ram_bytes = 0;
  std::uint64_t map_count_max = 0;  // vm.max_map_count
  unsigned cores = 1;

  static MachineLimits read();
  // Live guests that the number of mappings allows.
  std::uint32_t guests_by_maps() const noexcept;
};

// Threads: any thread. Outlives all components, bodies and the runtime whose workers drive them.
class Engine {
 public:
  static constexpr std::uint32_t kGuestsDefaultMax = 4000;

  // Errors: kInvalid when guests_max is more than the machine allows; kUnavailable when the system refuses.
  static Result<std::unique_ptr<Engine>> open(EngineOptions options, Log* log = nullptr,
                                              MachineLimits machine = MachineLimits::read());
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const rusm_engine* raw() const noexcept { return raw_; }
  const EngineOptions& options() const noexcept { return options_; }
  // Null when there are to be none.
  CoreDumps* core_dumps() const noexcept { return core_dumps_.get(); }
  // For those who meet a limit.
  LimitCounts& limits() noexcept { return limits_; }
  // How often each limit was met by any guest.
  LimitsHit limits_hit() const noexcept;
  Slots& slots() noexcept { return *slots_; }
  Ticker& ticker() noexcept { return *ticker_; }
  // Differs between engines that cannot share compiled code.
  std::array<std::byte, 32> compat_hash() const noexcept;
  rusm_pool_usage pool_usage() const noexcept;
  // How many slots an instance of such a component takes; 0 when the pool could never hold one.
  std::uint32_t slots_needed(const rusm_component_info& info) const noexcept;
  // Prepares the calling thread for driving guests, once; cheap when it already is.
  void enter_thread() const noexcept;

 private:
  // What one slot stands for; a guest that takes more of one kind takes several slots.
  static constexpr std::uint32_t kCoreInstancesPerSlot = 5;
  static constexpr std::uint32_t kTablesPerSlot = 3;

  Engine(rusm_engine* raw, EngineOptions options, std::unique_ptr<CoreDumps> core_dumps);

  rusm_engine* const raw_;
  const EngineOptions options_;
  const std::uint64_t serial_;  // unlike the address, never used again
  LimitCounts limits_;
  const std::unique_ptr<CoreDumps> core_dumps_;
  std::unique_ptr<Slots> slots_;
  std::unique_ptr<Ticker> ticker_;
};

}  // namespace rusm::wasm
