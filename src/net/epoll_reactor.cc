#include "net/epoll_reactor.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "base/assert.h"
#include "otp/runtime.h"

namespace rusm::net {

EpollReactor::EpollReactor(otp::Runtime& runtime, ReadinessTable& table)
    : runtime_(runtime),
      table_(table),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  // At the start of the node there is nobody yet who could go on without a reactor.
  RUSM_ASSERT(epoll_ >= 0 && event_ >= 0, "no file descriptors for a reactor");
  epoll_event event{};
  event.events = EPOLLIN;  // level-triggered: a look by another worker must not use up the owner's wake
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

int EpollReactor::deliver(const epoll_event* events, int count, bool* woken) noexcept {
  int wakes = 0;
  for (int i = 0; i < count; ++i) {
    const std::uint64_t key = events[i].data.u64;
    if (key == kWakeKey) {
      *woken = true;
      continue;
    }
    Readiness* slot = table_.at(static_cast<std::uint32_t>(key));
    if (slot == nullptr) continue;
    const std::uint32_t flags = events[i].events;
    std::uint32_t bits = 0;
    if ((flags & EPOLLIN) != 0) bits |= kReadable;
    if ((flags & EPOLLOUT) != 0) bits |= kWritable;
    if ((flags & EPOLLRDHUP) != 0) bits |= kReadable | kPeerFinished;
    if ((flags & (EPOLLHUP | EPOLLERR)) != 0) bits |= kReadable | kWritable | kHangup;
    if (!slot->raise(static_cast<std::uint32_t>(key >> 32), bits)) continue;
    runtime_.wake(slot->owner());
    ++wakes;
  }
  return wakes;
}

int EpollReactor::poll() noexcept {
  epoll_event events[kEventsMax];
  bool woken = false;
  return deliver(events, epoll_wait(epoll_, events, kEventsMax, 0), &woken);
}

void EpollReactor::park(Nanoseconds timeout) noexcept {
  epoll_event events[kEventsMax];
  if (wake_pending_.load(std::memory_order_acquire)) timeout = 0;
  bool woken = false;
  deliver(events, wait(events, std::max<Nanoseconds>(timeout, 0)), &woken);
  if (woken) {
    std::uint64_t count;
    // Read first: a wake() that comes between the two is not written, and the caller, who is awake, sees its reason.
    (void)!read(event_, &count, sizeof(count));
    wake_pending_.exchange(false, std::memory_order_acq_rel);  // partner: wake
  }
}

void EpollReactor::wake() noexcept {
  if (wake_pending_.exchange(true, std::memory_order_acq_rel)) return;
  const std::uint64_t one = 1;
  (void)!write(event_, &one, sizeof(one));
}

std::unique_ptr<otp::Reactor> IoDriver::make(otp::Runtime& runtime, unsigned) {
  runtime_ = &runtime;
  auto reactor = std::make_unique<EpollReactor>(runtime, table_);
  reactors_.push_back(reactor.get());
  return reactor;
}

Result<Readiness*> IoDriver::watch(int fd) noexcept {
  if (reactors_.empty()) {
    return fail(ErrorCode::kInvalid, "net::IoDriver",
                "belongs to no runtime: hand it to the Runtime whose processes use it, as RuntimeParts::reactors");
  }
  Readiness* slot = table_.acquire();
  if (slot == nullptr) return fail(ErrorCode::kLimit, "", "too many open connections");
  // The worker on which the caller runs is as good as any, but then one that accepts would get them all.
  EpollReactor& reactor = *reactors_[next_.fetch_add(1, std::memory_order_relaxed) % reactors_.size()];
  if (const int error = reactor.watch(fd, *slot); error != 0) {
    table_.release(slot);
    return fail(error == ENOSPC ? ErrorCode::kLimit : ErrorCode::kIo, "epoll_ctl", errno_text(error));
  }
  return slot;
}

}  // namespace rusm::net
