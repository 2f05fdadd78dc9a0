#include "otp/blocking.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "otp/runtime.h"

namespace rusm::otp {

BodyPtr BlockingJob::abandon(BodyPtr body) noexcept {
  State queued = State::kQueued;
  if (state_.compare_exchange_strong(queued, State::kCancelled, std::memory_order_acq_rel)) return body;
  const std::scoped_lock lock(mutex_);
  if (state_.load(std::memory_order_acquire) == State::kRunning) orphan_ = std::move(body);
  return body;
}

void BlockingJob::run(Runtime& runtime, Pid pid) noexcept {
  State queued = State::kQueued;
  if (!state_.compare_exchange_strong(queued, State::kRunning, std::memory_order_acq_rel)) return;
  call();
  BodyPtr orphan;
  {
    const std::scoped_lock lock(mutex_);
    state_.store(State::kDone, std::memory_order_release);  // partner: is_done
    orphan = std::move(orphan_);
  }
  runtime.wake(pid);
}

BlockingPool::BlockingPool(Runtime& runtime, unsigned threads_max)
    : runtime_(runtime), threads_max_(std::max(threads_max, 1u)) {}

BlockingPool::~BlockingPool() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void BlockingPool::submit(Ref<BlockingJob> job, Pid pid) {
  {
    std::unique_lock lock(mutex_);
    if (queue_.size() + 1 > idle_ && threads_.size() < threads_max_) {
      try {
        threads_.emplace_back([this] { work(); });
      } catch (const std::system_error&) {
        // The system gives no more threads now. Those that there are will do; without any it runs here.
        if (threads_.empty()) {
          lock.unlock();
          return run_here(*job, runtime_, pid);
        }
      }
    }
    queue_.push_back({std::move(job), pid});
  }
  changed_.notify_one();
}

void BlockingPool::work() noexcept {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    --idle_;
    if (queue_.empty()) return;
    Entry entry = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    entry.job->run(runtime_, entry.pid);
    entry.job.reset();
    lock.lock();
  }
}

}  // namespace rusm::otp
