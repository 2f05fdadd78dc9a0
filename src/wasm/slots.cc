#include "wasm/slots.h"

#include <algorithm>

namespace rusm::wasm {

Slots::Slots(std::uint32_t total, unsigned shards)
    : total_(total), shard_count_(std::max(shards, 1u)), shards_(new Shard[shard_count_]), rest_(total) {}

std::uint32_t Slots::take_up_to(std::atomic<std::uint32_t>& from, std::uint32_t count) noexcept {
  std::uint32_t there = from.load(std::memory_order_relaxed);
  std::uint32_t taken;
  do {
    taken = std::min(there, count);
    if (taken == 0) return 0;
  } while (!from.compare_exchange_weak(there, there - taken, std::memory_order_acq_rel, std::memory_order_relaxed));
  return taken;
}

bool Slots::take(std::uint32_t count, unsigned shard) noexcept {
  Shard& own = shards_[shard % shard_count_];
  std::uint32_t there = own.free.load(std::memory_order_relaxed);
  while (there >= count) {
    if (own.free.compare_exchange_weak(there, there - count, std::memory_order_acq_rel, std::memory_order_relaxed)) {
      return true;
    }
  }
  return take_slow(count, own);
}

bool Slots::take_slow(std::uint32_t count, Shard& own) noexcept {
  std::uint32_t have = take_up_to(rest_, std::max(count, kBatch));
  for (unsigned i = 0; i < shard_count_ && have < count; ++i) have += take_up_to(shards_[i].free, count - have);
  if (have < count) {
    if (have > 0) rest_.fetch_add(have, std::memory_order_release);
    return false;
  }
  if (have > count) own.free.fetch_add(have - count, std::memory_order_release);
  return true;
}

void Slots::give(std::uint32_t count, unsigned shard) noexcept {
  Shard& own = shards_[shard % shard_count_];
  const std::uint32_t there = own.free.fetch_add(count, std::memory_order_acq_rel) + count;
  if (there > 2 * kBatch) {
    // Another worker may be short of what this one hoards.
    const std::uint32_t back = take_up_to(own.free, there - kBatch);
    if (back > 0) rest_.fetch_add(back, std::memory_order_release);
  }
}

std::uint32_t Slots::used() const noexcept {
  std::uint32_t free = rest_.load(std::memory_order_acquire);
  for (unsigned i = 0; i < shard_count_; ++i) free += shards_[i].free.load(std::memory_order_acquire);
  return total_ - std::min(free, total_);
}

}  // namespace rusm::wasm
