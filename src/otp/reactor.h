// Reactor: where workers sleep, and where news from outside comes from. The scheduler knows nothing more of it; net's
// implementation is on epoll.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "base/clock.h"

namespace rusm::otp {

class Runtime;

// One for each runtime.
class Reactor {
 public:
  virtual ~Reactor() = default;
  // Collects what is ready, without blocking, and wakes its processes. Threads: any worker.
  virtual void poll() noexcept = 0;
  // Sleeps until something is ready, wake(worker) is called or `timeout` nanoseconds (kNever: no limit) have passed.
  // What is ready gets one sleeper up, who then does as poll(), unless one is up whom it got up before. A wake before
  // the call ends the next park at once; others are possible without cause. Threads: the worker of that index, one call
  // at a time for each.
  virtual void park(unsigned worker, Nanoseconds timeout) noexcept = 0;
  // Threads: any thread.
  virtual void wake(unsigned worker) noexcept = 0;
};

// Makes the reactor of a runtime. Outlives it.
class ReactorFactory {
 public:
  virtual ~ReactorFactory() = default;
  // Called once, before any of the `workers` runs.
  virtual std::unique_ptr<Reactor> make(Runtime& runtime, unsigned workers) = 0;
};

// A bed for one thread. Threads: wake by any, the rest by its owner.
class Bed {
 public:
  // Until wake(), also one before the call, or for `timeout` nanoseconds (kNever: no limit).
  void sleep(Nanoseconds timeout) noexcept;
  // False if it was woken before and has not seen it yet.
  bool wake() noexcept;
  // Whether there was a wake, which is used up.
  bool take_wake() noexcept;

 private:
  std::mutex mutex_;
  std::condition_variable condition_;
  bool woken_ = false;  // guarded by mutex_
};

// A reactor without any outside: for programs that only compute, and for the deterministic mode.
class QuietReactor final : public Reactor {
 public:
  explicit QuietReactor(unsigned workers) : beds_(workers) {}

  void poll() noexcept override {}
  void park(unsigned worker, Nanoseconds timeout) noexcept override { beds_[worker].sleep(timeout); }
  void wake(unsigned worker) noexcept override { beds_[worker].wake(); }

 private:
  std::vector<Bed> beds_;
};

class QuietReactorFactory final : public ReactorFactory {
 public:
  std::unique_ptr<Reactor> make(Runtime&, unsigned workers) override { return std::make_unique<QuietReactor>(workers); }
};

}  // namespace rusm::otp
