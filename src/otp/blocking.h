// BlockingPool: threads for what blocks, so that no worker has to. See blocking() in routine.h.
//
// A process that is killed while its call runs is dead to all others at once; its body, to which the call may refer,
// goes when the call returns.
//
// Invariants
// 1. A job is in one state: queued, running, done or cancelled. Only the step from queued to cancelled is made by the
//    process, all others by the thread that runs it.
// 2. A body is handed to a job only while that is running; whoever takes the job out of "running" destroys it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "base/refcount.h"
#include "otp/body.h"
#include "otp/pid.h"

namespace rusm::otp {

class Runtime;

// One call of a process. Threads: run() by a thread of the pool; the rest by the process.
class BlockingJob : public RefCounted {
 public:
  bool is_done() const noexcept { return state_.load(std::memory_order_acquire) == State::kDone; }
  // The process ends. Takes the body over when the call is running; else gives it back, to be destroyed at once.
  BodyPtr abandon(BodyPtr body) noexcept;

 protected:
  virtual void call() noexcept = 0;

 private:
  friend class BlockingPool;
  enum class State : std::uint8_t { kQueued, kRunning, kDone, kCancelled };

  void run(Runtime& runtime, Pid pid) noexcept;

  std::atomic<State> state_{State::kQueued};
  std::mutex mutex_;
  BodyPtr orphan_;  // guarded by mutex_
};

// Threads: any thread.
class BlockingPool {
 public:
  // Threads are started when they are needed, at most `threads_max` (at least 1); what comes beyond waits its turn.
  BlockingPool(Runtime& runtime, unsigned threads_max);
  // Waits for the calls that run.
  ~BlockingPool();
  BlockingPool(const BlockingPool&) = delete;
  BlockingPool& operator=(const BlockingPool&) = delete;

  // Runs the job, then wakes the process.
  void submit(Ref<BlockingJob> job, Pid pid);
  // The same on the calling thread.
  static void run_here(BlockingJob& job, Runtime& runtime, Pid pid) noexcept { job.run(runtime, pid); }

 private:
  struct Entry {
    Ref<BlockingJob> job;
    Pid pid;
  };
  void work() noexcept;

  Runtime& runtime_;
  const unsigned threads_max_;
  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  std::deque<Entry> queue_;
  std::vector<std::thread> threads_;
  unsigned idle_ = 0;
  bool stopping_ = false;
};

}  // namespace rusm::otp
