// Engine: the one WebAssembly engine of a node, sized for its machine, with its ticker and the count of its slots.
//
// Guests have slots of the pool while there are some: mapped beforehand, quick to start, with code that needs not check
// its accesses. What is more goes to the overflow, whose guests cost no mappings, so that memory alone bounds their
// number.
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
#include "wasm/overflow_maker.h"
#include "wasm/slots.h"
#include "wasm/ticker.h"

namespace rusm::wasm {

// All of it ends up in rusm.toml; zero means: derived from the machine.
struct EngineOptions {
  // Guests alive at once, in both tiers. Derived: what half of the RAM holds of idle ones.
  std::uint32_t guests_max = 0;
  // Of them, those with a slot of the pool; what is more goes to the overflow. Derived: what vm.max_map_count, the
  // address space and a quarter of the RAM allow, at most kPoolDefaultMax.
  std::uint32_t pool_max = 0;
  // What one slot stands for beside a memory; a guest that takes more of one kind takes several slots.
  std::uint32_t slot_core_instances = 5;
  std::uint32_t slot_tables = 3;
  // The largest table of a guest in the pool.
  std::uint32_t table_elements_max = 20'000;
  // Free slots that keep the image of a component that nobody runs at the moment.
  std::uint32_t warm_slots_max = 256;
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
  // Zeroes stacks between guests: no guest can read them, so this is defence in depth; costs 1.5 µs a spawn. The
  // overflow always does.
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
  std::uint64_t address_space_bytes = UINT64_MAX;  // RLIMIT_AS
  bool guards_are_free = true;                     // the kernel guards a stack without mappings (Linux 6.13)

  static MachineLimits read();
  // Guests of the pool that the number of mappings allows.
  std::uint32_t pool_by_maps() const noexcept;
  // Guests of the overflow that it allows beside a pool of `pool`.
  std::uint32_t overflow_by_maps(std::uint32_t pool) const noexcept;
  // Idle guests that half of the RAM holds.
  std::uint32_t guests_by_ram() const noexcept;
};

// Threads: any thread. Outlives all components, bodies and the runtime whose workers drive them.
class Engine {
 public:
  static constexpr std::uint32_t kPoolDefaultMax = 4000;
  static constexpr std::uint32_t kGuestsMax = 1'000'000;

  // The sizes that open() derives, where the options name none. Errors: kInvalid when they ask for more than the
  // machine allows; the text says what does and what to do.
  static Result<EngineOptions> sized(EngineOptions options, const MachineLimits& machine);
  // Errors: as sized(); kUnavailable when the system refuses.
  static Result<std::unique_ptr<Engine>> open(EngineOptions options, Log* log = nullptr,
                                              MachineLimits machine = MachineLimits::read());
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const rusm_engine* raw() const noexcept { return raw_; }
  // Null when there is no such tier.
  const rusm_engine* raw(Tier tier) const noexcept { return tier == Tier::kPool ? raw_ : rusm_engine_overflow(raw_); }
  const EngineOptions& options() const noexcept { return options_; }
  // Null when there are to be none.
  CoreDumps* core_dumps() const noexcept { return core_dumps_.get(); }
  // For those who meet a limit.
  LimitCounts& limits() noexcept { return limits_; }
  // How often each limit was met by any guest.
  LimitsHit limits_hit() const noexcept;
  GuestSlots& slots() noexcept { return slots_; }
  Ticker& ticker() noexcept { return *ticker_; }
  // Differs between engines that cannot share compiled code.
  std::array<std::byte, 32> compat_hash(Tier tier = Tier::kPool) const noexcept;
  rusm_pool_usage pool_usage() const noexcept;
  // How many slots an instance of such a component takes in each tier.
  SlotNeeds slots_needed(const rusm_component_info& info) const noexcept;
  // Has the program's code for the overflow made, soon, on a thread of the engine.
  bool make_overflow_of(std::shared_ptr<Program> program) noexcept { return overflow_maker_->add(std::move(program)); }
  // Prepares the calling thread for driving guests, once; cheap when it already is.
  void enter_thread() const noexcept;

 private:
  Engine(rusm_engine* raw, EngineOptions options, std::unique_ptr<CoreDumps> core_dumps);

  rusm_engine* const raw_;
  const EngineOptions options_;
  const std::uint64_t serial_;  // unlike the address, never used again
  LimitCounts limits_;
  const std::unique_ptr<CoreDumps> core_dumps_;
  GuestSlots slots_;
  std::unique_ptr<Ticker> ticker_;
  std::unique_ptr<OverflowMaker> overflow_maker_;  // first to go: it uses the rest
};

}  // namespace rusm::wasm
