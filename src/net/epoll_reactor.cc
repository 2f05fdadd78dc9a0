#include "net/epoll_reactor.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "base/assert.h"
#include "otp/runtime.h"

namespace rusm::net {

EpollReactor::EpollReactor(otp::Runtime& runtime, unsigned workers, ReadinessTable& table)
    : runtime_(runtime),
      table_(table),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      places_(workers) {
  // At the start of the node there is nobody yet who could go on without a reactor.
  RUSM_ASSERT(epoll_ >= 0 && event_ >= 0, "no file descriptors for a reactor");
  epoll_event event{};
  event.events = EPOLLIN;  // level-triggered: a look by another must not use up what is meant for the poller
  event.data.u64 = kWakeKey;
  RUSM_ASSERT(epoll_ctl(epoll_, EPOLL_CTL_ADD, event_, &event) == 0, "an eventfd can be watched");
}

EpollReactor::~EpollReactor() {
  close(event_);
  close(epoll_);
}

int EpollReactor::watch(int fd, const Readiness& slot) noexcept {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.u64 = slot.key();
  return epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : errno;
}

int EpollReactor::wait(epoll_event* events, Nanoseconds timeout) noexcept {
  timespec span{};
  if (timeout != kNever) {
    span.tv_sec = timeout / kSecond;
    span.tv_nsec = timeout % kSecond;
  }
  static std::atomic<bool> has_nanoseconds{true};  // Linux ≥ 5.11
  if (has_nanoseconds.load(std::memory_order_relaxed)) {
    const int count = epoll_pwait2(epoll_, events, kEventsMax, timeout == kNever ? nullptr : &span, nullptr);
    if (count >= 0 || errno != ENOSYS) return count;
    has_nanoseconds.store(false, std::memory_order_relaxed);
  }
  int milliseconds = -1;
  if (timeout != kNever) {
    milliseconds = static_cast<int>(std::min<Nanoseconds>((timeout + kMillisecond - 1) / kMillisecond, 1 << 30));
  }
  return epoll_wait(epoll_, events, kEventsMax, milliseconds);
}

void EpollReactor::deliver(const epoll_event* events, int count) noexcept {
  for (int i = 0; i < count; ++i) {
    const std::uint64_t key = events[i].data.u64;
    if (key == kWakeKey) continue;
    Readiness* slot = table_.at(static_cast<std::uint32_t>(key));
    if (slot == nullptr) continue;
    const std::uint32_t flags = events[i].events;
    std::uint32_t bits = 0;
    if ((flags & EPOLLIN) != 0) bits |= kReadable;
    if ((flags & EPOLLOUT) != 0) bits |= kWritable;
    if ((flags & EPOLLRDHUP) != 0) bits |= kReadable | kPeerFinished;
    if ((flags & (EPOLLHUP | EPOLLERR)) != 0) bits |= kReadable | kWritable | kHangup;
    if (slot->raise(static_cast<std::uint32_t>(key >> 32), bits)) runtime_.wake(slot->owner());
  }
}

void EpollReactor::poll() noexcept {
  epoll_event events[kShareMax];
  deliver(events, epoll_wait(epoll_, events, kShareMax, 0));
}

void EpollReactor::park(unsigned worker, Nanoseconds timeout) noexcept {
  Place& place = places_[worker];
  timeout = std::max<Nanoseconds>(timeout, 0);
  if (has_poller_.exchange(true, std::memory_order_acquire)) {  // partner: poll_as
    place.bed.sleep(timeout);
  } else {
    poll_as(place, timeout);
  }
}

// The wake is in the bed. The poller says that it polls and then looks there; wake() puts it there and then looks
// whether it is the poller: so one of the two sees the other. A count that is left in event_, as the poller was up
// already, gets the next one up without cause.
void EpollReactor::poll_as(Place& place, Nanoseconds timeout) noexcept {
  place.polls.store(true);
  if (place.bed.take_wake()) timeout = 0;
  epoll_event events[kEventsMax];
  const int count = wait(events, timeout);
  place.polls.store(false);
  place.bed.take_wake();
  const auto is_wake = [](const epoll_event& event) { return event.data.u64 == kWakeKey; };
  if (std::any_of(events, events + std::max(count, 0), is_wake)) {
    std::uint64_t wakes;
    (void)!read(event_, &wakes, sizeof(wakes));  // while it is the poller: after that it could be the next one's
  }
  has_poller_.store(false, std::memory_order_release);  // partner: park
  deliver(events, count);
}

void EpollReactor::wake(unsigned worker) noexcept {
  Place& place = places_[worker];
  if (!place.bed.wake() || !place.polls.load()) return;
  const std::uint64_t one = 1;
  (void)!write(event_, &one, sizeof(one));
}

std::unique_ptr<otp::Reactor> IoDriver::make(otp::Runtime& runtime, unsigned workers) {
  runtime_ = &runtime;
  auto reactor = std::make_unique<EpollReactor>(runtime, workers, table_);
  reactor_ = reactor.get();
  return reactor;
}

Result<Readiness*> IoDriver::watch(int fd) noexcept {
  if (reactor_ == nullptr) {
    return fail(ErrorCode::kInvalid, "net::IoDriver",
                "belongs to no runtime: hand it to the Runtime whose processes use it, as RuntimeParts::reactors");
  }
  Readiness* slot = table_.acquire();
  if (slot == nullptr) return fail(ErrorCode::kLimit, "", "too many open connections");
  if (const int error = reactor_->watch(fd, *slot); error != 0) {
    table_.release(slot);
    return fail(error == ENOSPC ? ErrorCode::kLimit : ErrorCode::kIo, "epoll_ctl", errno_text(error));
  }
  return slot;
}

}  // namespace rusm::net
