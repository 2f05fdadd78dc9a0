// Reactor: where a worker sleeps, and where news from outside comes from. The scheduler knows nothing more of it;
// net's implementation is on epoll.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>

#include "base/clock.h"

namespace rusm::otp {

class Runtime;

class Reactor {
 public:
  virtual ~Reactor() = default;
  // Collects what is ready, without blocking, and wakes its processes. Returns how many wakes it gave.
  // Threads: any worker, also for a worker that is stuck.
  virtual int poll() noexcept = 0;
  // Sleeps until something is ready, wake() is called or `timeout` nanoseconds (kNever: no limit) have passed; then
  // as poll(). A wake() before the call ends the next park at once. Threads: the owning worker.
  virtual void park(Nanoseconds timeout) noexcept = 0;
  // Threads: any thread.
  virtual void wake() noexcept = 0;
};

// Makes the reactors of a runtime. Outlives it.
class ReactorFactory {
 public:
  virtual ~ReactorFactory() = default;
  // Called once for each worker before any of them runs.
  virtual std::unique_ptr<Reactor> make(Runtime& runtime, unsigned worker) = 0;
};

// A reactor without any outside: for programs that only compute, and for the deterministic mode.
class QuietReactor final : public Reactor {
 public:
  int poll() noexcept override { return 0; }
  void park(Nanoseconds timeout) noexcept override;
  void wake() noexcept override;

 private:
  std::mutex mutex_;
  std::condition_variable condition_;
  bool woken_ = false;
};

// Makes a QuietReactor for each worker.
class QuietReactorFactory final : public ReactorFactory {
 public:
  std::unique_ptr<Reactor> make(Runtime&, unsigned) override { return std::make_unique<QuietReactor>(); }
};

}  // namespace rusm::otp
