#include "net/accepting.h"

#include <algorithm>
#include <utility>

namespace rusm::net {

Accepting::Accepting(otp::Self& self, std::unique_ptr<Acceptor> acceptor, Ref<Connections> connections,
                     std::size_t connections_max)
    : clock_(self.runtime().clock()),
      acceptor_(std::move(acceptor)),
      connections_(std::move(connections)),
      connections_max_(connections_max) {
  connections_->set_listener(self.pid());
  acceptor_->set_owner(self.pid());
}

Accepting::Outcome Accepting::accept_some(const Start& start) {
  for (int i = 0; i < kInARow; ++i) {
    if (connections_->count() >= connections_max_) {
      connections_->set_starved(true);
      // One may have ended before that, and woken nobody.
      if (connections_->count() >= connections_max_) return Outcome::kFull;
    }
    auto stream = acceptor_->try_accept();
    if (!stream) {
      switch (stream.error()) {
        case AcceptFailure::kWouldBlock:
          return Outcome::kBlocked;
        case AcceptFailure::kClosed:
          return Outcome::kClosed;
        case AcceptFailure::kExhausted:
          connections_->set_starved(true);
          no_process_ = false;
          return Outcome::kExhausted;
      }
    }
    // The place of one that cannot be started must not wake us to try the next.
    if (no_process_) connections_->set_starved(false);
    if (!start(std::move(*stream), std::make_unique<Lease>(connections_))) {
      connections_->set_starved(true);
      no_process_ = true;
      return Outcome::kExhausted;
    }
    no_process_ = false;
    last_ = Outcome::kBusy;
  }
  return Outcome::kBusy;
}

std::string Accepting::why_exhausted() const {
  if (no_process_) return "there are too many processes";
  const int error = acceptor_->last_error();
  return error == 0 ? "out of file descriptors or memory" : errno_text(error);
}

Accepting::Turn Accepting::turn(const Start& start) {
  const Outcome outcome = accept_some(start);
  const bool first = outcome != std::exchange(last_, outcome);
  if (outcome == Outcome::kExhausted) {
    back_off_ = std::clamp(2 * back_off_, kBackOffMin, kBackOffMax);
    return {outcome, deadline_after(clock_.now(), back_off_), first, first ? why_exhausted() : std::string()};
  }
  back_off_ = 0;
  if (outcome != Outcome::kFull) connections_->set_starved(false);
  return {outcome, kNever, first, {}};
}

}  // namespace rusm::net
