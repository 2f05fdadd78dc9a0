#include "wasm/engine.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
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

// Mappings of one live guest of the pool: two of its stack, three of its memory. One of the overflow has none, but
// where the kernel guards stacks by mappings. Some are left to the rest of the program, and malloc needs them, too: at
// the limit it fails.
constexpr std::uint64_t kMapsPerGuest = 5;
constexpr std::uint64_t kMapsPerGuard = 2;
constexpr std::uint64_t kMapsReserved = 5000;
// What an idle guest costs at least, page tables included: one of the pool with what its slot keeps, and any other.
constexpr std::uint64_t kBytesPerSlot = 256 << 10;
constexpr std::uint64_t kBytesPerGuest = 64 << 10;

// Address space of one memory. From 4 GiB and a guard of 32 MiB on, 32-bit memories need no bounds checks.
// 47 bits of addresses hold kWideGuestsMax such memories; beyond that each gets less, and its code checks its bounds.
constexpr std::uint64_t kWideReservationBytes = std::uint64_t{4} << 30;
constexpr std::uint64_t kNarrowReservationBytes = std::uint64_t{1} << 30;
constexpr std::uint32_t kWideGuestsMax = 24'000;
constexpr std::uint64_t kMemoryGuardBytes = 32 << 20;
// Where addresses are rationed: a pool is worth it from so many slots on.
constexpr std::uint32_t kScarceGuestsMin = 16;
constexpr std::uint64_t kScarceGuardBytes = 64 << 10;
// Of the overflow: its stacks, and the memories of each size.
constexpr std::uint64_t kRegionBytesMax = std::uint64_t{8} << 40;

constexpr std::uint32_t kPerComponentMax = 32;

bool is_scarce(const MachineLimits& machine) {
  return machine.address_space_bytes / 2 / kScarceGuestsMin < kWideReservationBytes;
}

// Address space of each memory of the pool, and the guard behind it.
struct Reservation {
  std::uint64_t bytes;
  std::uint64_t guard_bytes;
};

Reservation reservation_of(const EngineOptions& options, const MachineLimits& machine) {
  if (is_scarce(machine))
    return {std::bit_ceil(std::max<std::uint64_t>(options.memory_bytes_max, 1)), kScarceGuardBytes};
  return {options.pool_max <= kWideGuestsMax ? kWideReservationBytes : kNarrowReservationBytes, kMemoryGuardBytes};
}

// Slots of the pool for which half of the address space suffices.
std::uint64_t pool_by_addresses(const EngineOptions& options, const MachineLimits& machine) {
  if (machine.address_space_bytes == UINT64_MAX) return Engine::kGuestsMax;
  const Reservation each = reservation_of(options, machine);
  return machine.address_space_bytes / 2 / (each.bytes + each.guard_bytes + 2 * options.stack_bytes);
}

std::uint64_t region_bytes_max(const MachineLimits& machine) {
  return std::min(kRegionBytesMax, machine.address_space_bytes / 16);
}

std::atomic<std::uint64_t> next_serial{1};

// Leaves the engine's runtime when the thread ends. Its constructor must run after rusm_thread_enter, so that its
// destructor runs before the thread locals of that runtime are gone.
struct ThreadGuard {
  std::uint64_t serial = 0;
  ~ThreadGuard() { rusm_thread_leave(); }
};
constinit thread_local std::uint64_t entered_serial = 0;

rusm_engine_config make_config(const EngineOptions& options, const MachineLimits& machine) {
  const Reservation reservation = reservation_of(options, machine);
  return {
      .pooling = true,
      .component_instances_max = options.pool_max,
      .core_instances_max = options.pool_max * options.slot_core_instances,
      .memories_max = options.pool_max,
      .tables_max = options.pool_max * options.slot_tables,
      .stacks_max = options.pool_max,
      .unused_warm_slots_max = std::min(options.pool_max, options.warm_slots_max),
      .core_instances_per_component_max = kPerComponentMax,
      .memories_per_component_max = kPerComponentMax,
      .tables_per_component_max = kPerComponentMax,
      .memory_bytes_max = options.memory_bytes_max,
      .table_elements_max = options.table_elements_max,
      .memory_reservation_bytes = reservation.bytes,
      .memory_guard_bytes = reservation.guard_bytes,
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
      .overflow_guests_max = options.guests_max - options.pool_max,
      .overflow_region_bytes_max = region_bytes_max(machine),
  };
}

std::unexpected<Error> too_many(std::string text) {
  return fail(ErrorCode::kInvalid, "engine", std::move(text));
}

}  // namespace

MachineLimits MachineLimits::read() {
  MachineLimits limits;
  limits.ram_bytes = static_cast<std::uint64_t>(std::max(sysconf(_SC_PHYS_PAGES), 0L)) *
                     static_cast<std::uint64_t>(std::max(sysconf(_SC_PAGESIZE), 0L));
  limits.cores = std::max(std::thread::hardware_concurrency(), 1u);
  std::ifstream file("/proc/sys/vm/max_map_count");
  if (!(file >> limits.map_count_max)) limits.map_count_max = 65'530;  // the kernel's default
  rlimit addresses{};
  if (getrlimit(RLIMIT_AS, &addresses) == 0 && addresses.rlim_cur != RLIM_INFINITY) {
    limits.address_space_bytes = addresses.rlim_cur;
  }
  limits.guards_are_free = rusm_guards_are_free();
  return limits;
}

std::uint32_t MachineLimits::pool_by_maps() const noexcept {
  if (map_count_max <= kMapsReserved + kMapsPerGuest) return 1;
  const std::uint64_t guests = (map_count_max - kMapsReserved) / kMapsPerGuest;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(guests, Engine::kGuestsMax));
}

std::uint32_t MachineLimits::overflow_by_maps(std::uint32_t pool) const noexcept {
  if (guards_are_free) return Engine::kGuestsMax;
  const std::uint64_t taken = kMapsReserved + pool * kMapsPerGuest;
  const std::uint64_t guests = (map_count_max - std::min(map_count_max, taken)) / kMapsPerGuard;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(guests, Engine::kGuestsMax));
}

std::uint32_t MachineLimits::guests_by_ram() const noexcept {
  const std::uint64_t guests = std::max<std::uint64_t>(ram_bytes / 2 / kBytesPerGuest, 16);
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(guests, Engine::kGuestsMax));
}

Result<EngineOptions> Engine::sized(EngineOptions options, const MachineLimits& machine) {
  const std::uint32_t by_maps = machine.pool_by_maps();
  const std::uint64_t by_addresses = pool_by_addresses(options, machine);
  if (by_addresses == 0) {
    return too_many(
        fmt::format("{} MiB of address space (ulimit -v) hold no guest with {} MiB of memory: lower "
                    "max-memory-mb, or raise the limit",
                    machine.address_space_bytes >> 20, options.memory_bytes_max >> 20));
  }
  if (options.pool_max > by_maps) {
    return too_many(fmt::format(
        "{} pooled guests need {} memory mappings, but vm.max_map_count is {}: at most {} guests, or raise it with "
        "`sysctl vm.max_map_count=1048576`",
        options.pool_max, options.pool_max * kMapsPerGuest + kMapsReserved, machine.map_count_max, by_maps));
  }
  if (options.pool_max == 0) {
    const std::uint64_t by_ram = std::max<std::uint64_t>(machine.ram_bytes / 4 / kBytesPerSlot, 16);
    options.pool_max = static_cast<std::uint32_t>(
        std::min<std::uint64_t>({by_maps, by_ram, by_addresses, std::uint64_t{kPoolDefaultMax}}));
    if (options.guests_max != 0) options.pool_max = std::min(options.pool_max, options.guests_max);
  }
  const std::uint64_t overflow_by_addresses =
      region_bytes_max(machine) / (std::max<std::uint64_t>(2 * options.stack_bytes, 1) + 4096);
  const auto overflow = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(machine.overflow_by_maps(options.pool_max), overflow_by_addresses));
  if (options.guests_max == 0) {
    options.guests_max = options.pool_max + std::min(overflow, machine.guests_by_ram());
  }
  options.guests_max = std::max(options.guests_max, options.pool_max);
  if (options.guests_max - options.pool_max > overflow) {
    return too_many(
        fmt::format("{} guests beside {} pooled ones: vm.max_map_count ({}) and the address space allow at most {} "
                    "more; raise them",
                    options.guests_max - options.pool_max, options.pool_max, machine.map_count_max, overflow));
  }
  return options;
}

Result<std::unique_ptr<Engine>> Engine::open(EngineOptions options, Log* log, MachineLimits machine) {
  Result<EngineOptions> sized_options = sized(std::move(options), machine);
  if (!sized_options) return std::unexpected(std::move(sized_options.error()));
  options = std::move(*sized_options);
  if (options.workers == 0) options.workers = machine.cores;
  if (options.compile_threads == 0) options.compile_threads = machine.cores;
  std::unique_ptr<CoreDumps> core_dumps;
  if (!options.core_dumps_folder.empty()) {
    auto opened =
        CoreDumps::open(options.core_dumps_folder, options.core_dumps_bytes_max, options.core_dumps_interval, log);
    if (!opened) return std::unexpected(std::move(opened.error()));
    core_dumps = std::move(*opened);
  }
  options.memory_bytes_max = std::min(options.memory_bytes_max, reservation_of(options, machine).bytes);
  const rusm_engine_config config = make_config(options, machine);
  const rusm_host host = GuestBody::host();
  rusm_engine* raw = nullptr;
  Buffer error;
  const rusm_status status = rusm_engine_new(&config, &host, &raw, error.out());
  if (status != RUSM_STATUS_OK) return bridge_error(status, "engine", error);
  if (log != nullptr) {
    log->info("engine", "ready",
              {{"guests_max", std::to_string(options.guests_max)},
               {"pool_max", std::to_string(options.pool_max)},
               {"pool_by_max_map_count", std::to_string(machine.pool_by_maps())},
               {"guests_by_ram", std::to_string(machine.guests_by_ram())},
               {"memory_mib_max", std::to_string(options.memory_bytes_max >> 20)}});
    if (options.guests_max > machine.guests_by_ram() + options.pool_max) {
      log->warn("engine", "max_instances is more than half of the memory holds",
                {{"guests_max", std::to_string(options.guests_max)},
                 {"guests_by_ram", std::to_string(machine.guests_by_ram())}});
    }
  }
  return std::unique_ptr<Engine>(new Engine(raw, std::move(options), std::move(core_dumps)));
}

Engine::Engine(rusm_engine* raw, EngineOptions options, std::unique_ptr<CoreDumps> core_dumps)
    : raw_(raw),
      options_(std::move(options)),
      serial_(next_serial.fetch_add(1, std::memory_order_relaxed)),
      core_dumps_(std::move(core_dumps)),
      slots_(options_.pool_max, options_.guests_max - options_.pool_max, options_.workers + 1),
      ticker_(std::make_unique<Ticker>(options_.slice, options_.workers, [raw] { rusm_engine_increment_epoch(raw); })),
      overflow_maker_(std::make_unique<OverflowMaker>()) {}

Engine::~Engine() {
  overflow_maker_.reset();
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

std::array<std::byte, 32> Engine::compat_hash(Tier tier) const noexcept {
  std::array<std::byte, 32> hash{};
  if (raw(tier) != nullptr) rusm_engine_compat_hash(raw(tier), reinterpret_cast<std::uint8_t*>(hash.data()));
  return hash;
}

rusm_pool_usage Engine::pool_usage() const noexcept {
  rusm_pool_usage usage;
  rusm_engine_pool_usage(raw_, &usage);
  return usage;
}

SlotNeeds Engine::slots_needed(const rusm_component_info& info) const noexcept {
  const auto slots = [](std::uint32_t count, std::uint32_t per_slot) { return (count + per_slot - 1) / per_slot; };
  const std::uint32_t needed = std::max({1u, slots(info.core_instances, options_.slot_core_instances), info.memories,
                                         slots(info.tables, options_.slot_tables)});
  const bool is_pooled = std::max({info.core_instances, info.memories, info.tables}) <= kPerComponentMax;
  return {.pool = is_pooled && needed <= slots_.pool().total() ? needed : 0,
          .overflow = needed <= slots_.overflow().total() ? needed : 0};
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
