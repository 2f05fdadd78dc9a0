// An open socket in its driver, and what goes wrong with sockets. Internal to net.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/error.h"
#include "net/address.h"
#include "net/epoll_reactor.h"

namespace rusm::net {

// An open socket and its place in the driver. Threads: one owner.
class Socket {
 public:
  // Takes `fd` over, also on failure.
  static Result<Socket> adopt(IoDriver& driver, int fd) noexcept {
    Result<Readiness*> slot = driver.watch(fd);
    if (!slot) {
      close(fd);
      return std::unexpected(std::move(slot.error()));
    }
    return Socket(driver, fd, *slot);
  }
  Socket(Socket&& other) noexcept
      : driver_(other.driver_), fd_(std::exchange(other.fd_, -1)), ready_(std::exchange(other.ready_, nullptr)) {}
  Socket& operator=(Socket&&) = delete;
  ~Socket() {
    if (fd_ < 0) return;
    close(fd_);
    driver_->forget(ready_);
  }

  int fd() const noexcept { return fd_; }
  Readiness& ready() const noexcept { return *ready_; }

 private:
  Socket(IoDriver& driver, int fd, Readiness* ready) : driver_(&driver), fd_(fd), ready_(ready) {}
  IoDriver* driver_;
  int fd_;
  Readiness* ready_;
};

inline void set_flag(int fd, int level, int name) noexcept {
  const int on = 1;
  (void)setsockopt(fd, level, name, &on, sizeof(on));
}

inline Error system_error(ErrorCode code, const Address& address, int error_number) {
  return Error{code, address.to_string(), errno_text(error_number)};
}

inline ErrorCode code_of(int error_number) noexcept {
  switch (error_number) {
    case EADDRINUSE:
      return ErrorCode::kExists;
    case EACCES:
    case EPERM:
      return ErrorCode::kDenied;
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
      return ErrorCode::kInvalid;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      return ErrorCode::kLimit;
    default:
      return ErrorCode::kIo;
  }
}

// A file descriptor until somebody takes it over.
class OpenFd {
 public:
  explicit OpenFd(int fd) : fd_(fd) {}
  OpenFd(const OpenFd&) = delete;
  OpenFd& operator=(const OpenFd&) = delete;
  ~OpenFd() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const noexcept { return fd_; }
  int release() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

}  // namespace rusm::net
