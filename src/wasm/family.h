// Family: how many processes live that one guest started, and those started, and so on. A fork bomb fills its family
// and nothing else.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "base/refcount.h"

namespace rusm::wasm {

// Threads: any thread.
class Family final : public RefCounted {
 public:
  explicit Family(std::uint32_t processes_max) : processes_max_(processes_max) {}

  // Takes the place of one process; false when all are taken.
  bool enter() noexcept {
    std::uint32_t alive = alive_.load(std::memory_order_relaxed);
    // Relaxed: a count that guards no other memory.
    while (alive < processes_max_) {
      if (alive_.compare_exchange_weak(alive, alive + 1, std::memory_order_relaxed)) return true;
    }
    return false;
  }
  void leave() noexcept { alive_.fetch_sub(1, std::memory_order_relaxed); }
  std::uint32_t alive() const noexcept { return alive_.load(std::memory_order_relaxed); }
  std::uint32_t processes_max() const noexcept { return processes_max_; }

 private:
  const std::uint32_t processes_max_;
  std::atomic<std::uint32_t> alive_{0};
};

// A place in a family, given back with its owner. Threads: one owner.
class FamilyPlace {
 public:
  FamilyPlace() = default;
  // Empty when the family is full.
  static FamilyPlace take(Ref<Family> family) noexcept {
    FamilyPlace place;
    if (family->enter()) place.family_ = std::move(family);
    return place;
  }
  FamilyPlace(FamilyPlace&&) noexcept = default;
  FamilyPlace& operator=(FamilyPlace&& other) noexcept {
    std::swap(family_, other.family_);
    return *this;
  }
  ~FamilyPlace() {
    if (family_) family_->leave();
  }

  explicit operator bool() const noexcept { return static_cast<bool>(family_); }
  const Ref<Family>& family() const noexcept { return family_; }

 private:
  Ref<Family> family_;
};

}  // namespace rusm::wasm
