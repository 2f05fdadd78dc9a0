// Waiting for what other threads do. For tests only.
#pragma once

#include <chrono>
#include <thread>

namespace rusm {

// Until the condition holds; false when it does not within the time.
template <class Condition>
bool eventually(Condition condition, std::chrono::seconds at_most = std::chrono::seconds(30)) {
  const auto deadline = std::chrono::steady_clock::now() + at_most;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace rusm
