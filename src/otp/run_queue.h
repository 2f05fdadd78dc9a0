// RunQueue: a worker's own queue of runnable processes. The owner pushes at the back; the owner and thieves take from
// the front by compare-and-swap, thieves half of what is there. A fixed ring: what does not fit goes to the injection
// queue.
//
// Source of the idea: the run queues of Go and Tokio.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "otp/process.h"

// Tests build with tiny rings, so that the interesting cases are reached.
#ifndef RUSM_RUN_QUEUE_CAPACITY
#define RUSM_RUN_QUEUE_CAPACITY 4096
#endif

namespace rusm::otp {

class RunQueue {
 public:
  static constexpr std::uint32_t kCapacity = RUSM_RUN_QUEUE_CAPACITY;
  static_assert((kCapacity & (kCapacity - 1)) == 0);
  static constexpr std::uint32_t kAhead = 4;

  // Owner. False when full.
  bool push(Process* process) noexcept {
    const std::uint32_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_.load(std::memory_order_acquire) >= kCapacity) return false;  // partner: the swaps of head_
    slots_[tail % kCapacity].store(process, std::memory_order_relaxed);
    tail_.store(tail + 1, std::memory_order_release);  // partner: steal
    return true;
  }

  // Owner.
  Process* pop() noexcept {
    std::uint32_t head = head_.load(std::memory_order_relaxed);
    for (;;) {
      if (head == tail_.load(std::memory_order_relaxed)) return nullptr;
      Process* process = slots_[head % kCapacity].load(std::memory_order_relaxed);
      if (head_.compare_exchange_weak(head, head + 1, std::memory_order_acq_rel, std::memory_order_relaxed)) {
        return process;
      }
    }
  }

  // Owner. Brings the memory of one that comes soon near.
  void look_ahead() const noexcept {
    // A place behind the end may hold one that has left: no harm is done.
    const std::uint32_t at = head_.load(std::memory_order_relaxed) + kAhead;
    if (const Process* process = slots_[at % kCapacity].load(std::memory_order_relaxed)) process->bring_slot_near();
  }

  // Another worker. Moves up to half into *to, whose owner calls; returns one of them to run, or null.
  Process* steal(RunQueue* to) noexcept {
    std::array<Process*, kCapacity> taken;
    std::uint32_t head = head_.load(std::memory_order_acquire);
    for (;;) {
      const std::uint32_t tail = tail_.load(std::memory_order_acquire);
      const std::uint32_t there = tail - head;
      if (there == 0 || there > kCapacity) {
        if (there == 0) return nullptr;
        head = head_.load(std::memory_order_acquire);  // head moved on between the two loads
        continue;
      }
      std::uint32_t count = there - there / 2;
      const std::uint32_t room = kCapacity - to->size();
      if (count > room + 1) count = room + 1;
      for (std::uint32_t i = 0; i < count; ++i) {
        taken[i] = slots_[(head + i) % kCapacity].load(std::memory_order_relaxed);
      }
      // Until the swap succeeds the owner cannot overwrite these slots: it sees no room there.
      if (head_.compare_exchange_weak(head, head + count, std::memory_order_acq_rel, std::memory_order_acquire)) {
        for (std::uint32_t i = 1; i < count; ++i) to->push(taken[i]);
        return taken[0];
      }
    }
  }

  // Exact for the owner, a guess for others.
  std::uint32_t size() const noexcept {
    return tail_.load(std::memory_order_relaxed) - head_.load(std::memory_order_relaxed);
  }
  bool empty() const noexcept { return size() == 0; }

 private:
  alignas(64) std::atomic<std::uint32_t> head_{0};
  alignas(64) std::atomic<std::uint32_t> tail_{0};
  std::array<std::atomic<Process*>, kCapacity> slots_{};
};

}  // namespace rusm::otp
