// Readiness: what the kernel said about a file descriptor, and whom to tell.
//
// Edge-triggered: an event sets bits and wakes the owner's pid; the owner clears a bit when it has used it up. A slot
// belongs to one descriptor at a time and is never freed, so an event that comes late finds a newer generation and
// addresses nothing.
//
// Invariants
// 1. Bits and generation lie in one word and change together: an event for an earlier tenant changes nothing.
// 2. A bit is cleared before the system call that uses it, never after: an edge that comes during the call stays.
// 3. Either the reactor sees the new owner, or the new owner sees the bits: the reactor raises bits and then loads the
//    owner, the owner stores itself and then loads the bits, all four seq_cst.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include "otp/pid.h"

namespace rusm::net {

inline constexpr std::uint32_t kReadable = 1;
inline constexpr std::uint32_t kWritable = 2;
inline constexpr std::uint32_t kPeerFinished = 4;  // the peer sends no more
inline constexpr std::uint32_t kHangup = 8;        // both directions are over, or an error is pending

class alignas(64) Readiness {
 public:
  // Any thread. The new owner looks at bits() afterwards: what was raised before is not told again.
  void set_owner(otp::Pid pid) noexcept { owner_.store(pid.raw()); }
  // Whom to wake, after raise().
  otp::Pid owner() const noexcept { return otp::Pid::from_raw(owner_.load()); }
  // Any thread. Sets bits for this generation; false when the slot has another tenant.
  bool raise(std::uint32_t generation, std::uint32_t bits) noexcept;

  // The owner.
  std::uint32_t bits() const noexcept { return static_cast<std::uint32_t>(word_.load()); }
  // Partner of both: raise().
  void clear(std::uint32_t bits) noexcept { word_.fetch_and(~std::uint64_t{bits}, std::memory_order_acq_rel); }
  void set(std::uint32_t bits) noexcept { word_.fetch_or(bits, std::memory_order_acq_rel); }
  // What the kernel gives back with an event.
  std::uint64_t key() const noexcept {
    // Partner: release(), under whose mutex acquire() gave the slot to the caller.
    return (word_.load(std::memory_order_relaxed) & ~std::uint64_t{UINT32_MAX}) | index_;
  }

 private:
  friend class ReadinessTable;
  std::atomic<std::uint64_t> word_{0};  // generation << 32 | bits
  std::atomic<std::uint64_t> owner_{0};
  std::uint32_t index_ = 0;
  Readiness* next_free_ = nullptr;
};

// Threads: any thread; a mutex is held only by acquire and release.
class ReadinessTable {
 public:
  static constexpr std::uint32_t kChunk = 1024;
  static constexpr std::uint32_t kChunksMax = 4096;  // 4 million descriptors: beyond any process's limit

  ReadinessTable() = default;
  ~ReadinessTable();
  ReadinessTable(const ReadinessTable&) = delete;
  ReadinessTable& operator=(const ReadinessTable&) = delete;

  // Null when the table is full. Nothing is ready at first.
  Readiness* acquire() noexcept;
  // From here on its events address nothing.
  void release(Readiness* slot) noexcept;
  // The slot of that index; null when there never was one.
  Readiness* at(std::uint32_t index) const noexcept;

 private:
  std::array<std::atomic<Readiness*>, kChunksMax> chunks_{};
  std::mutex mutex_;
  Readiness* free_ = nullptr;      // guarded by mutex_
  std::uint32_t chunks_used_ = 0;  // guarded by mutex_
};

}  // namespace rusm::net
