// ChatSlot: room for one process, filled and emptied by its owner without a locked instruction, and still within reach
// of a thief: biased synchronisation by membarrier(2), which makes the thief pay for both.
//
// Owner: claimed = true; look at thief; if there is none, use the slot; claimed = false.
// Thief: thief = true; membarrier; if the owner has not claimed, use the slot; thief = false.
// The barrier orders the thief's store before its look and, on every running thread of the program, what that thread
// did before after. So of the two at least one sees the other; the owner then waits for the (short) thief, the thief
// gives up. Where the kernel refuses membarrier(2), nobody steals: the process waits until its worker finishes its
// step.
#pragma once

#include <atomic>
#include <mutex>

namespace rusm::otp {

class Process;

class ChatSlot {
 public:
  // Owner. Takes what is in the slot; null when it is empty.
  Process* take() noexcept {
    if (slot_.load(std::memory_order_relaxed) == nullptr) return nullptr;
    const Claim claim(*this);
    Process* process = slot_.load(std::memory_order_relaxed);
    slot_.store(nullptr, std::memory_order_relaxed);
    return process;
  }
  // Owner. Puts `process` there and returns the one that it displaces, or null.
  Process* put(Process* process) noexcept {
    Process* displaced = slot_.load(std::memory_order_relaxed);
    if (displaced == nullptr) {  // only the owner fills it: it stays empty
      slot_.store(process, std::memory_order_release);
      return nullptr;
    }
    const Claim claim(*this);
    displaced = slot_.load(std::memory_order_relaxed);
    slot_.store(process, std::memory_order_release);
    return displaced;
  }
  // Any other thread. Costs a system call when there is something: for an owner that has been stuck for long.
  Process* steal() noexcept;
  bool empty() const noexcept { return slot_.load(std::memory_order_relaxed) == nullptr; }

 private:
  class Claim {
   public:
    explicit Claim(ChatSlot& slot) noexcept : slot_(slot) {
      slot_.claimed_.store(true, std::memory_order_relaxed);
      std::atomic_signal_fence(std::memory_order_seq_cst);  // the other half is the thief's membarrier
      if (slot_.thief_.load(std::memory_order_relaxed)) [[unlikely]]
        slot_.wait_for_thief();
    }
    ~Claim() { slot_.claimed_.store(false, std::memory_order_release); }
    Claim(const Claim&) = delete;
    Claim& operator=(const Claim&) = delete;

   private:
    ChatSlot& slot_;
  };

  void wait_for_thief() noexcept;

  std::atomic<Process*> slot_{nullptr};
  std::atomic<bool> claimed_{false};
  std::atomic<bool> thief_{false};
  std::mutex thieves_;
};

}  // namespace rusm::otp
