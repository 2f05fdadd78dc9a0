#include "app/signals.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

namespace rusm::app {

Result<SignalWatch> SignalWatch::open() {
  sigset_t watched;
  sigemptyset(&watched);
  sigaddset(&watched, SIGINT);
  sigaddset(&watched, SIGTERM);
  const int fd = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0) return fail(ErrorCode::kUnavailable, "signals", "signalfd: " + errno_text(errno));
  sigset_t before;
  pthread_sigmask(SIG_BLOCK, &watched, &before);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  return SignalWatch(fd, before);
}

SignalWatch::SignalWatch(SignalWatch&& other) noexcept : fd_(std::exchange(other.fd_, -1)), before_(other.before_) {}

SignalWatch::~SignalWatch() {
  if (fd_ < 0) return;
  close(fd_);
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

std::optional<int> SignalWatch::wait(Nanoseconds timeout) noexcept {
  pollfd waiting = {.fd = fd_, .events = POLLIN, .revents = 0};
  // Rounded up, so that a short wait is never a busy loop.
  const Nanoseconds timeout_ms =
      timeout >= kNever - kMillisecond ? INT_MAX : (timeout + kMillisecond - 1) / kMillisecond;
  do {
    const int ready =
        poll(&waiting, 1, timeout == kNever ? -1 : static_cast<int>(std::min<Nanoseconds>(timeout_ms, INT_MAX)));
    signalfd_siginfo info;
    if (ready > 0 && read(fd_, &info, sizeof(info)) == sizeof(info)) return static_cast<int>(info.ssi_signo);
    if (ready == 0) return std::nullopt;
  } while (errno == EINTR || errno == EAGAIN);
  return std::nullopt;
}

}  // namespace rusm::app
