// Gate: lets a waiting thread go on once a number of processes have arrived.
#pragma once

#include <atomic>
#include <cstdint>

namespace rusm::bench {

// Threads: any thread.
class Gate {
 public:
  explicit Gate(std::uint64_t count) : left_(count) {}
  void arrive() {
    if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) left_.notify_all();
  }
  void wait() {
    for (std::uint64_t left = left_.load(); left != 0; left = left_.load()) left_.wait(left);
  }

 private:
  std::atomic<std::uint64_t> left_;
};

}  // namespace rusm::bench
