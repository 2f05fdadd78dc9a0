// Family: how much lives of what the instances of one program started, and those started, and so on. A fork bomb fills
// its family and nothing else.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "base/refcount.h"

namespace rusm::wasm {

// Threads: any thread.
class Family final : public RefCounted {
 public:
  // At most so many processes, which take at most so many of the engine's slots.
  Family(std::uint32_t processes_max, std::uint32_t slots_max) : processes_max_(processes_max), slots_max_(slots_max) {}

  // Takes the place of one process with so many slots; false when there is none.
  bool enter(std::uint32_t slots) noexcept {
    if (!take(processes_, 1, processes_max_)) return false;
    if (take(slots_, slots, slots_max_)) return true;
    processes_.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  void leave(std::uint32_t slots) noexcept {
    // Relaxed, as all of it: counts that guard no other memory.
    slots_.fetch_sub(slots, std::memory_order_relaxed);
    processes_.fetch_sub(1, std::memory_order_relaxed);
  }
  // Whether so many more have room, unless others are faster.
  bool has_room(std::uint64_t processes, std::uint64_t slots) const noexcept {
    return this->processes() + processes <= processes_max_ &&
           slots_.load(std::memory_order_relaxed) + slots <= slots_max_;
  }
  std::uint32_t processes() const noexcept { return processes_.load(std::memory_order_relaxed); }
  std::uint32_t processes_max() const noexcept { return processes_max_; }
  std::uint32_t slots_max() const noexcept { return slots_max_; }

 private:
  static bool take(std::atomic<std::uint32_t>& from, std::uint32_t count, std::uint32_t max) noexcept {
    std::uint32_t taken = from.load(std::memory_order_relaxed);
    while (taken <= max && max - taken >= count) {
      if (from.compare_exchange_weak(taken, taken + count, std::memory_order_relaxed)) return true;
    }
    return false;
  }

  const std::uint32_t processes_max_;
  const std::uint32_t slots_max_;
  std::atomic<std::uint32_t> processes_{0};
  std::atomic<std::uint32_t> slots_{0};
};

// A place in a family, given back with its owner. Threads: one owner.
class FamilyPlace {
 public:
  // Empty when the family is full.
  static FamilyPlace take(Ref<Family> family, std::uint32_t slots) noexcept {
    FamilyPlace place;
    if (family->enter(slots)) {
      place.family_ = std::move(family);
      place.slots_ = slots;
    }
    return place;
  }
  // Of those who start the family: they are not counted.
  static FamilyPlace founder(Ref<Family> family) noexcept {
    FamilyPlace place;
    place.family_ = std::move(family);
    place.is_founder_ = true;
    return place;
  }
  FamilyPlace(FamilyPlace&& other) noexcept
      : family_(std::move(other.family_)), slots_(other.slots_), is_founder_(other.is_founder_) {}
  FamilyPlace& operator=(FamilyPlace&&) = delete;
  ~FamilyPlace() {
    if (family_ && !is_founder_) family_->leave(slots_);
  }

  explicit operator bool() const noexcept { return static_cast<bool>(family_); }
  const Ref<Family>& family() const noexcept { return family_; }

 private:
  FamilyPlace() = default;

  Ref<Family> family_;
  std::uint32_t slots_ = 0;
  bool is_founder_ = false;
};

}  // namespace rusm::wasm
