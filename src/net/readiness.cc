#include "net/readiness.h"

#include <new>

namespace rusm::net {

bool Readiness::raise(std::uint32_t generation, std::uint32_t bits) noexcept {
  std::uint64_t word = word_.load();
  do {
    if (word >> 32 != generation) return false;
  } while (!word_.compare_exchange_weak(word, word | bits));
  return true;
}

ReadinessTable::~ReadinessTable() {
  for (auto& chunk : chunks_) delete[] chunk.load(std::memory_order_relaxed);
}

Readiness* ReadinessTable::acquire() noexcept {
  const std::scoped_lock lock(mutex_);
  if (free_ == nullptr) {
    if (chunks_used_ == kChunksMax) return nullptr;
    auto* chunk = new (std::nothrow) Readiness[kChunk];
    if (chunk == nullptr) return nullptr;
    for (std::uint32_t i = kChunk; i-- > 0;) {
      chunk[i].index_ = chunks_used_ * kChunk + i;
      chunk[i].next_free_ = free_;
      free_ = &chunk[i];
    }
    chunks_[chunks_used_++].store(chunk, std::memory_order_release);
  }
  Readiness* slot = free_;
  free_ = slot->next_free_;
  return slot;
}

void ReadinessTable::release(Readiness* slot) noexcept {
  const std::scoped_lock lock(mutex_);
  const std::uint64_t generation = (slot->word_.load(std::memory_order_relaxed) >> 32) + 1;
  slot->word_.store(generation << 32, std::memory_order_release);  // wraps after 2^32 tenants of one slot
  slot->owner_.store(0, std::memory_order_release);
  slot->next_free_ = free_;
  free_ = slot;
}

Readiness* ReadinessTable::at(std::uint32_t index) const noexcept {
  if (index / kChunk >= kChunksMax) return nullptr;
  Readiness* chunk = chunks_[index / kChunk].load(std::memory_order_acquire);
  return chunk == nullptr ? nullptr : chunk + index % kChunk;
}

}  // namespace rusm::net
