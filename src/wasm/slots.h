// Slots: how many guests may live at once, counted without one word that all workers fight over.
//
// The supply is kept in shards, one for each worker; a shard that runs dry takes a batch from the common rest, and only
// when that is empty, too, looks into the other shards. So the count is exact: a take fails only when all that is left,
// wherever it lies, is too little (or another thread took it meanwhile).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

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

}  // namespace rusm::wasm
