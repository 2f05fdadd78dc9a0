// OverflowMaker: the thread of an engine that makes programs' code for the overflow, one after the other.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

namespace rusm::wasm {

class Program;

// Threads: add() from any thread; its own begins with the first program. The destructor waits for the program under way
// and forgets the others.
class OverflowMaker {
 public:
  OverflowMaker() = default;
  OverflowMaker(const OverflowMaker&) = delete;
  OverflowMaker& operator=(const OverflowMaker&) = delete;
  ~OverflowMaker();

  // Each program at most once, so no more wait than there are programs. False when the system gives no thread or
  // memory.
  bool add(std::shared_ptr<Program> program) noexcept;

 private:
  void run();

  std::mutex mutex_;  // over what follows
  std::condition_variable changed_;
  bool stopping_ = false;
  std::deque<std::shared_ptr<Program>> waiting_;
  std::thread thread_;
};

}  // namespace rusm::wasm
