// SpinLock: for what is held for some dozens of instructions at most and is seldom wanted by two at once.
#pragma once

#include <atomic>
#include <thread>

namespace rusm {

// Threads: any thread. For std::scoped_lock. A thread that waits long gives its core away, as the holder may need it.
class SpinLock {
 public:
  SpinLock() = default;
  SpinLock(const SpinLock&) = delete;
  SpinLock& operator=(const SpinLock&) = delete;

  void lock() noexcept {
    for (unsigned tries = 1; locked_.exchange(true, std::memory_order_acquire); ++tries) {  // partner: unlock
      if (tries % 32 == 0) std::this_thread::yield();
    }
  }
  void unlock() noexcept { locked_.store(false, std::memory_order_release); }  // partner: lock

 private:
  std::atomic<bool> locked_{false};
};

}  // namespace rusm
