#include "wasm/engine.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include "wasm/bridge.h"
#include "wasm/guest_body.h"

#ifdef RUSM_SANITIZED
// Guests run on stacks of their own, of which AddressSanitizer's fake frames know nothing, and their traps are signals
// that are not its to report. What it keeps of freed memory stays below what the tests take for a leak.
extern "C" const char* __asan_default_options() {  // NOLINT(bugprone-reserved-identifier): the sanitizer's name
  return "detect_stack_use_after_return=0:handle_segv=0:use_sigaltstack=0:quarantine_size_mb=16";
}
#endif

namespace rusm::wasm {
namespace {

// Under a sanitizer guests check their bounds instead of faulting.
#ifdef RUSM_SANITIZED
constexpr bool kSignalTraps = false;
#else
constexpr bool kSignalTraps = true;
#endif

// Mappings of one live guest: two of its stack, three of its memory. Some are left to the rest of the program, and
// malloc needs them, too: at the limit it fails.
constexpr std::uint64_t kMapsPerGuest = 5;
constexpr std::uint64_t kMapsReserved = 5000;
// What an idle guest costs at least, page tables included.
constexpr std::uint64_t kBytesPerGuest = 256 << 10;

// Address space of one memory. From 4 GiB and a guard of 32 MiB on, 32-bit memories need no bounds checks.
// 47 bits of addresses hold kWideGuestsMax such memories; beyond that each gets less, and its code checks its bounds.
constexpr std::uint64_t kWideReservationBytes = std::uint64_t{4} << 30;
constexpr std::uint64_t kNarrowReservationBytes = std::uint64_t{1} << 30;
constexpr std::uint32_t kWideGuestsMax = 24'000;
constexpr std::uint64_t kMemoryGuardBytes = 32 << 20;

std::uint64_t reservation_bytes(std::uint32_t guests_max) {
  return guests_max <= kWideGuestsMax ? kWideReservationBytes : kNarrowReservationBytes;
}

constexpr std::uint64_t kTableElementsMax = 20'000;
constexpr std::uint32_t kWarmSlotsMax = 256;
constexpr std::uint32_t kPerComponentMax = 32;

std::atomic<std::uint64_t> next_serial{1};

// Leaves the engine's runtime when the thread ends. Its constructor must run after rusm_thread_enter, so that its
// destructor runs before the thread locals of that runtime are gone.
struct ThreadGuard {
  std::uint64_t serial = 0;
  ~ThreadGuard() { rusm_thread_leave(); }
};
constinit thread_local std::uint64_t entered_serial = 0;

rusm_engine_config make_config(const EngineOptions& options, std::uint32_t core_instances, std::uint32_t tables) {
  return {
      .pooling = true,
      .component_instances_max = options.guests_max,
      .core_instances_max = core_instances,
      .memories_max = options.guests_max,
      .tables_max = tables,
      .stacks_max = options.guests_max,
      .unused_warm_slots_max = std::min(options.guests_max, kWarmSlotsMax),
      .core_instances_per_component_max = kPerComponentMax,
      .memories_per_component_max = kPerComponentMax,
      .tables_per_component_max = kPerComponentMax,
      .memory_bytes_max = options.memory_bytes_max,
      .table_elements_max = kTableElementsMax,
      .memory_reservation_bytes = reservation_bytes(options.guests_max),
      .memory_guard_bytes = kMemoryGuardBytes,
      .memory_keep_resident_bytes = options.keep_resident_bytes,
      .table_keep_resident_bytes = options.keep_resident_bytes,
      .stack_keep_resident_bytes = options.keep_resident_bytes,
      .stack_bytes = 2 * options.stack_bytes,
      .wasm_stack_bytes_max = options.stack_bytes,
      .stack_zeroing = options.zero_stacks,
      .pagemap_scan = true,
      .signals_based_traps = kSignalTraps,
      .blocking_threads_max = options.blocking_threads,
      .compile_threads_max = options.compile_threads,
      .core_dumps = !options.core_dumps_folder.empty(),
  };
}

}  // namespace

MachineLimits MachineLimits::read() {
  MachineLimits limits;
  limits.ram_bytes = static_cast<std::uint64_t>(std::max(sysconf(_SC_PHYS_PAGES), 0L)) *
                     static_cast<std::uint64_t>(std::max(sysconf(_SC_PAGESIZE), 0L));
  limits.cores = std::max(std::thread::hardware_concurrency(), 1u);
  std::ifstream file("/proc/sys/vm/max_map_count");
  if (!(file >> limits.map_count_max)) limits.map_count_max = 65'530;  // the kernel's default
  return limits;
}

std::uint32_t MachineLimits::guests_by_maps() const noexcept {
  if (map_count_max <= kMapsReserved + kMapsPerGuest) return 1;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>((map_count_max - kMapsReserved) / kMapsPerGuest, 1u << 20));
}

Result<std::unique_ptr<Engine>> Engine::open(EngineOptions options, Log* log, MachineLimits machine) {
  const std::uint32_t by_maps = machine.guests_by_maps();
  if (options.guests_max == 0) {
    const std::uint64_t by_ram = std::max<std::uint64_t>(machine.ram_bytes / 4 / kBytesPerGuest, 16);
    options.guests_max = static_cast<std::uint32_t>(std::min<std::uint64_t>({by_maps, by_ram, kGuestsDefaultMax}));
  } else if (options.guests_max > by_maps) {
    return fail(
        ErrorCode::kInvalid, "engine",
        fmt::format(
            "{} guests need {} memory mappings, but vm.max_map_count is {}: at most {} guests, or raise it with "
            "`sysctl vm.max_map_count=1048576`",
            options.guests_max, options.guests_max * kMapsPerGuest + kMapsReserved, machine.map_count_max, by_maps));
  }
  if (options.workers == 0) options.workers = machine.cores;
  if (options.compile_threads == 0) options.compile_threads = machine.cores;
  std::unique_ptr<CoreDumps> core_dumps;
  if (!options.core_dumps_folder.empty()) {
    auto opened =
        CoreDumps::open(options.core_dumps_folder, options.core_dumps_bytes_max, options.core_dumps_interval, log);
    if (!opened) return std::unexpected(std::move(opened.error()));
    core_dumps = std::move(*opened);
  }
  options.memory_bytes_max = std::min(options.memory_bytes_max, reservation_bytes(options.guests_max));
  const std::uint32_t core_instances = options.guests_max * kCoreInstancesPerSlot;
  const std::uint32_t tables = options.guests_max * kTablesPerSlot;
  const rusm_engine_config config = make_config(options, core_instances, tables);
  const rusm_host host = GuestBody::host();
  rusm_engine* raw = nullptr;
  Buffer error;
  const rusm_status status = rusm_engine_new(&config, &host, &raw, error.out());
  if (status != RUSM_STATUS_OK) return bridge_error(status, "engine", error);
  if (log != nullptr) {
    log->info("engine", "ready",
              {{"guests_max", std::to_string(options.guests_max)},
               {"guests_by_max_map_count", std::to_string(by_maps)},
               {"memory_mib_max", std::to_string(options.memory_bytes_max >> 20)}});
  }
  return std::unique_ptr<Engine>(new Engine(raw, std::move(options), std::move(core_dumps)));
}

Engine::Engine(rusm_engine* raw, EngineOptions options, std::unique_ptr<CoreDumps> core_dumps)
    : raw_(raw),
      options_(std::move(options)),
      serial_(next_serial.fetch_add(1, std::memory_order_relaxed)),
      core_dumps_(std::move(core_dumps)),
      slots_(std::make_unique<Slots>(options_.guests_max, options_.workers + 1)),
      ticker_(std::make_unique<Ticker>(options_.slice, options_.workers, [raw] { rusm_engine_increment_epoch(raw); })) {
}

Engine::~Engine() {
  ticker_.reset();
  if (entered_serial == serial_) {
    rusm_thread_leave();
    entered_serial = 0;
  }
  rusm_engine_free(raw_);
}

LimitsHit Engine::limits_hit() const noexcept {
  LimitsHit hit = limits_.get();
  rusm_refusals refusals;
  rusm_engine_refusals(raw_, &refusals);
  hit[Limit::kAddress] += refusals.addresses;
  hit[Limit::kName] += refusals.names;
  hit[Limit::kHttpRequests] += refusals.http_requests;
  return hit;
}

std::array<std::byte, 32> Engine::compat_hash() const noexcept {
  std::array<std::byte, 32> hash;
  rusm_engine_compat_hash(raw_, reinterpret_cast<std::uint8_t*>(hash.data()));
  return hash;
}

rusm_pool_usage Engine::pool_usage() const noexcept {
  rusm_pool_usage usage;
  rusm_engine_pool_usage(raw_, &usage);
  return usage;
}

std::uint32_t Engine::slots_needed(const rusm_component_info& info) const noexcept {
  if (std::max({info.core_instances, info.memories, info.tables}) > kPerComponentMax) return 0;
  const auto slots = [](std::uint32_t count, std::uint32_t per_slot) { return (count + per_slot - 1) / per_slot; };
  const std::uint32_t needed = std::max(
      {1u, slots(info.core_instances, kCoreInstancesPerSlot), info.memories, slots(info.tables, kTablesPerSlot)});
  return needed <= options_.guests_max ? needed : 0;
}

void Engine::enter_thread() const noexcept {
  if (entered_serial == serial_) [[likely]]
    return;
  rusm_thread_enter(raw_);
  entered_serial = serial_;
  static thread_local ThreadGuard guard;
  guard.serial = serial_;
}

}  // namespace rusm::wasm
