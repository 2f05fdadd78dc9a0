// Slots: how many guests may live at once, counted without one word that all workers fight over.
//
// The supply is kept in shards, one for each worker; a shard that runs dry takes a batch from the common rest, and only
// when that is empty, too, looks into the other shards. So the count is exact: a take fails only when all that is left,
// wherever it lies, is too little (or another thread took it meanwhile).
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

namespace rusm::wasm {

// Threads: any thread.
class Slots {
 public:
  // `shards`: at least 1; a caller's hint is taken modulo it.
  Slots(std::uint32_t total, unsigned shards);
  Slots(const Slots&) = delete;
  Slots& operator=(const Slots&) = delete;

  // Takes `count`; false when there are not so many. `shard`: the caller's worker.
  bool take(std::uint32_t count, unsigned shard) noexcept;
  // Gives back what was taken, on any shard.
  void give(std::uint32_t count, unsigned shard) noexcept;

  std::uint32_t total() const noexcept { return total_; }
  // Taken at the moment: exact when nobody takes or gives meanwhile.
  std::uint32_t used() const noexcept;

 private:
  struct alignas(64) Shard {
    std::atomic<std::uint32_t> free{0};
  };

  static constexpr std::uint32_t kBatch = 16;

  static std::uint32_t take_up_to(std::atomic<std::uint32_t>& from, std::uint32_t count) noexcept;
  bool take_slow(std::uint32_t count, Shard& shard) noexcept;

  const std::uint32_t total_;
  const unsigned shard_count_;
  const std::unique_ptr<Shard[]> shards_;
  alignas(64) std::atomic<std::uint32_t> rest_;
};

// Where an instance gets its memory from: a slot of the pool, or of the overflow, which has more of them, but takes
// longer to start an instance and has it check its every access.
enum class Tier : std::uint8_t { kPool, kOverflow };

// How many slots of each tier an instance takes; 0: it never fits there.
struct SlotNeeds {
  std::uint32_t pool = 0;
  std::uint32_t overflow = 0;

  std::uint32_t in(Tier tier) const noexcept { return tier == Tier::kPool ? pool : overflow; }
  // What is counted where the tier is not known yet.
  std::uint32_t most() const noexcept { return std::max(pool, overflow); }
};

// The slots of both tiers. Threads: any thread.
class GuestSlots {
 public:
  GuestSlots(std::uint32_t pool, std::uint32_t overflow, unsigned shards)
      : pool_(pool, shards), overflow_(overflow, shards) {}

  // Of the pool while it has room, else of the overflow; nothing when neither has.
  std::optional<Tier> take(const SlotNeeds& needs, unsigned shard) noexcept {
    if (needs.pool != 0 && pool_.take(needs.pool, shard)) return Tier::kPool;
    if (needs.overflow != 0 && overflow_.take(needs.overflow, shard)) return Tier::kOverflow;
    return std::nullopt;
  }
  void give(const SlotNeeds& needs, Tier tier, unsigned shard) noexcept {
    (tier == Tier::kPool ? pool_ : overflow_).give(needs.in(tier), shard);
  }

  std::uint32_t total() const noexcept { return pool_.total() + overflow_.total(); }
  // Taken at the moment: exact when nobody takes or gives meanwhile.
  std::uint32_t used() const noexcept { return pool_.used() + overflow_.used(); }
  const Slots& pool() const noexcept { return pool_; }
  const Slots& overflow() const noexcept { return overflow_; }

 private:
  Slots pool_;
  Slots overflow_;
};

}  // namespace rusm::wasm
