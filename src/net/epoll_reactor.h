// IoDriver: the reactors of one runtime, each on an epoll instance of its worker, and the descriptors in them.
#pragma once

#include <sys/epoll.h>

#include <atomic>
#include <memory>
#include <vector>

#include "base/error.h"
#include "net/readiness.h"
#include "otp/reactor.h"

namespace rusm::net {

// The reactor of one worker.
class EpollReactor final : public otp::Reactor {
 public:
  // `table` outlives the reactor.
  EpollReactor(otp::Runtime& runtime, ReadinessTable& table);
  ~EpollReactor() override;
  EpollReactor(const EpollReactor&) = delete;
  EpollReactor& operator=(const EpollReactor&) = delete;

  int poll() noexcept override;
  void park(Nanoseconds timeout) noexcept override;
  void wake() noexcept override;

  // Watches `fd` until it is closed. 0, or an errno value. Threads: any thread.
  int watch(int fd, const Readiness& slot) noexcept;

 private:
  static constexpr int kEventsMax = 128;  // of one look; what is left comes with the next
  static constexpr std::uint64_t kWakeKey = UINT64_MAX;

  int wait(epoll_event* events, Nanoseconds timeout) noexcept;
  int deliver(const epoll_event* events, int count, bool* woken) noexcept;

  otp::Runtime& runtime_;
  ReadinessTable& table_;
  int epoll_ = -1;
  int event_ = -1;
  std::atomic<bool> wake_pending_{false};  // there is, or soon will be, a count in event_
};

// Threads: any thread. Outlives the runtime whose reactors it makes; one runtime for each driver.
class IoDriver final : public otp::ReactorFactory {
 public:
  std::unique_ptr<otp::Reactor> make(otp::Runtime& runtime, unsigned worker) override;

  // Watches `fd` for reading and writing, in the reactor of some worker. On success the slot is the caller's until
  // it calls forget(), after it has closed the descriptor.
  // Errors: kLimit when the table or the kernel's limit on watches is full; kIo.
  Result<Readiness*> watch(int fd) noexcept;
  void forget(Readiness* slot) noexcept { table_.release(slot); }
  otp::Runtime& runtime() noexcept { return *runtime_; }

 private:
  ReadinessTable table_;
  otp::Runtime* runtime_ = nullptr;      // constant once the runtime runs
  std::vector<EpollReactor*> reactors_;  // constant once the runtime runs
  std::atomic<unsigned> next_{0};
};

}  // namespace rusm::net
