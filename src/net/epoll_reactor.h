// IoDriver: the reactor of one runtime, on one epoll instance, and the descriptors in it.
//
// One instance for all workers: whoever has nothing to do waits in it, so that no socket waits long for one worker that
// is busy or off its core while another is free. Of those that sleep one does, the poller; the others sleep in beds,
// where it costs least to wake them. One that goes to sleep while there is no poller becomes it. A poller that gets up
// leaves the role to whoever sleeps next; the scheduler sees to it that somebody looks while all others are busy
// (otp/worker.h, "Sleep").
#pragma once

#include <sys/epoll.h>

#include <atomic>
#include <memory>
#include <vector>

#include "base/error.h"
#include "net/readiness.h"
#include "otp/reactor.h"

namespace rusm::net {

class EpollReactor final : public otp::Reactor {
 public:
  // `table` outlives the reactor.
  EpollReactor(otp::Runtime& runtime, unsigned workers, ReadinessTable& table);
  ~EpollReactor() override;
  EpollReactor(const EpollReactor&) = delete;
  EpollReactor& operator=(const EpollReactor&) = delete;

  void poll() noexcept override;
  void park(unsigned worker, Nanoseconds timeout) noexcept override;
  void wake(unsigned worker) noexcept override;

  // Watches `fd` until it is closed. 0, or an errno value. Threads: any thread.
  int watch(int fd, const Readiness& slot) noexcept;

 private:
  // Of one look; what is left comes with the next.
  static constexpr int kEventsMax = 128;
  static constexpr int kShareMax = 16;  // for one that has other work to do
  static constexpr std::uint64_t kWakeKey = UINT64_MAX;

  // Where one worker sleeps.
  struct Place {
    otp::Bed bed;
    std::atomic<bool> polls{false};  // as the poller
  };

  void poll_as(Place& place, Nanoseconds timeout) noexcept;
  int wait(epoll_event* events, Nanoseconds timeout) noexcept;
  void deliver(const epoll_event* events, int count) noexcept;

  otp::Runtime& runtime_;
  ReadinessTable& table_;
  int epoll_ = -1;
  int event_ = -1;  // gets the poller up
  std::vector<Place> places_;
  std::atomic<bool> has_poller_{false};
};

// Threads: any thread. Outlives the runtime whose reactor it makes; one runtime for each driver.
class IoDriver final : public otp::ReactorFactory {
 public:
  std::unique_ptr<otp::Reactor> make(otp::Runtime& runtime, unsigned workers) override;

  // Watches `fd` for reading and writing. On success the slot is the caller's until
  // it calls forget(), after it has closed the descriptor.
  // Errors: kLimit when the table or the kernel's limit on watches is full; kIo.
  Result<Readiness*> watch(int fd) noexcept;
  void forget(Readiness* slot) noexcept { table_.release(slot); }
  otp::Runtime& runtime() noexcept { return *runtime_; }

 private:
  ReadinessTable table_;
  otp::Runtime* runtime_ = nullptr;  // constant once the runtime runs
  EpollReactor* reactor_ = nullptr;  // the same
};

}  // namespace rusm::net
