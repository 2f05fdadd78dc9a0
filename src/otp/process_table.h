// ProcessTable: the slots of all processes, in chunks that are never unmapped, so that a lookup is two loads and a
// stale pid is detected, never dereferenced.
//
// A slot that has used up its generations is retired: no pid is ever given out twice in the life of a runtime.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "otp/process.h"

namespace rusm::otp {

// Free slots of one owner: a singly linked list through Process::next_. Threads: one owner.
class SlotList {
 public:
  Process* pop() noexcept {
    Process* slot = head_;
    if (slot != nullptr) {
      head_ = slot->next_;
      --size_;
    }
    return slot;
  }
  void push(Process* slot) noexcept {
    slot->next_ = head_;
    head_ = slot;
    ++size_;
  }
  std::uint32_t size() const noexcept { return size_; }

 private:
  Process* head_ = nullptr;
  std::uint32_t size_ = 0;
};

// Threads: any thread.
class ProcessTable {
 public:
  // `processes_max` at most Pid::kIndexMax + 1. `first_generation` seeds the generations: random at each boot, so that
  // pids of an earlier life address nothing.
  ProcessTable(Runtime& runtime, std::uint32_t processes_max, std::uint64_t first_generation);
  ~ProcessTable();

  // The live process, or null. It may end at any time after: only push() and wake() are safe on it.
  Process* find(Pid pid) const noexcept {
    const std::uint32_t chunk = pid.index() / kChunkSlots;
    if (chunk >= chunks_max_) return nullptr;
    Process* slots = chunks_[chunk].load(std::memory_order_acquire);  // partner: grow
    if (slots == nullptr) return nullptr;
    Process* slot = slots + pid.index() % kChunkSlots;
    return slot->pid_.load(std::memory_order_acquire) == pid.raw() ? slot : nullptr;
  }

  // Moves free slots into *list, a batch at a time; false when processes_max are alive.
  bool refill(SlotList* list);
  // Takes a batch back from a list that has grown long.
  void give_back(SlotList* list);

  // Calls visit(Process&) for every slot that ever was used.
  template <class Visit>
  void for_each(Visit visit) const {
    for (std::uint32_t chunk = 0; chunk < chunks_max_; ++chunk) {
      Process* slots = chunks_[chunk].load(std::memory_order_acquire);
      if (slots == nullptr) return;
      for (std::uint32_t i = 0; i < kChunkSlots; ++i) visit(slots[i]);
    }
  }

  static constexpr std::uint32_t kBatch = 128;

 private:
  static constexpr std::uint32_t kChunkSlots = 1024;

  bool grow();

  Runtime& runtime_;
  const std::uint32_t chunks_max_;
  const std::uint32_t first_generation_;
  std::unique_ptr<std::atomic<Process*>[]> chunks_;
  std::mutex mutex_;
  std::uint32_t chunks_used_ = 0;  // guarded by mutex_
  std::vector<Process*> free_;     // guarded by mutex_
};

}  // namespace rusm::otp
