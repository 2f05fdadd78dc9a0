// SignalWatch: SIGINT and SIGTERM as something to wait for, instead of something that interrupts.
#pragma once

#include <csignal>
#include <optional>

#include "base/clock.h"
#include "base/error.h"

namespace rusm::app {

// From construction to destruction the two signals no longer end the program: they wait until wait() takes them. Made
// before any other thread, which inherits that. SIGPIPE and SIGXFSZ are ignored from then on: a write that they would
// end says EPIPE or EFBIG instead.
// Threads: the main thread.
class SignalWatch {
 public:
  // Errors: kUnavailable.
  static Result<SignalWatch> open();
  ~SignalWatch();
  SignalWatch(SignalWatch&& other) noexcept;
  SignalWatch& operator=(SignalWatch&&) = delete;

  // The signal that came, or nothing when `timeout` ns have passed first.
  std::optional<int> wait(Nanoseconds timeout) noexcept;

 private:
  SignalWatch(int fd, const sigset_t& before) : fd_(fd), before_(before) {}

  int fd_;
  sigset_t before_;  // the mask to go back to
};

}  // namespace rusm::app
