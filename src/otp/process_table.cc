#include "otp/process_table.h"

#include <new>

#include "otp/runtime.h"

namespace rusm::otp {

ProcessTable::ProcessTable(Runtime& runtime, std::uint32_t processes_max, std::uint64_t first_generation)
    : runtime_(runtime),
      chunks_max_((processes_max + kChunkSlots - 1) / kChunkSlots),
      first_generation_(1 + static_cast<std::uint32_t>(first_generation % (Pid::kGenerationMax / 2))),
      chunks_(std::make_unique<std::atomic<Process*>[]>(chunks_max_)) {}

ProcessTable::~ProcessTable() {
  for (std::uint32_t i = 0; i < chunks_used_; ++i) {
    Process* slots = chunks_[i].load(std::memory_order_relaxed);
    std::destroy_n(slots, kChunkSlots);
    ::operator delete(slots, std::align_val_t(alignof(Process)));
  }
}

bool ProcessTable::grow() {
  if (chunks_used_ == chunks_max_) return false;
  auto* slots = static_cast<Process*>(
      ::operator new(sizeof(Process) * kChunkSlots, std::align_val_t(alignof(Process)), std::nothrow));
  if (slots == nullptr) return false;
  for (std::uint32_t i = kChunkSlots; i-- > 0;) {
    auto* slot = new (slots + i) Process;
    slot->runtime_ = &runtime_;
    slot->pid_.store(Pid(runtime_.node(), chunks_used_ * kChunkSlots + i, first_generation_).raw(),
                     std::memory_order_relaxed);
    free_.push_back(slot);
  }
  chunks_[chunks_used_++].store(slots, std::memory_order_release);
  return true;
}

bool ProcessTable::refill(SlotList* list) {
  const std::scoped_lock lock(mutex_);
  if (free_.empty() && !grow()) return false;
  for (std::uint32_t i = 0; i < kBatch && !free_.empty(); ++i) {
    list->push(free_.back());
    free_.pop_back();
  }
  return true;
}

void ProcessTable::give_back(SlotList* list) {
  const std::scoped_lock lock(mutex_);
  for (std::uint32_t i = 0; i < kBatch; ++i) free_.push_back(list->pop());
}

}  // namespace rusm::otp
