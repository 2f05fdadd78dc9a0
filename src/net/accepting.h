// Accepting: what a process that accepts connections does in each turn, whoever it accepts them for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "net/connections.h"
#include "net/transport.h"

namespace rusm::net {

// Threads: its process.
class Accepting {
 public:
  static constexpr int kInARow = 64;  // then others run
  static constexpr Nanoseconds kBackOffMin = 10 * kMillisecond;
  static constexpr Nanoseconds kBackOffMax = kSecond;

  enum class Outcome : std::uint8_t {
    kBusy,       // yield, and go on
    kBlocked,    // nobody there now
    kFull,       // as many connections as are allowed: go on when one ends
    kExhausted,  // out of descriptors, memory or processes: go on when one ends, or at wait_until
    kClosed,     // the socket is closed
  };
  struct Turn {
    Outcome outcome;
    Nanoseconds wait_until;
    bool first;          // kFull, kExhausted: it was not so in the turn before
    std::string reason;  // first and kExhausted: what there was none of
  };

  // False when no process is to be had: the connection is closed.
  using Start = std::function<bool(std::unique_ptr<Stream>, std::unique_ptr<Lease>)>;

  // Takes the acceptor over for the process that calls.
  Accepting(otp::Self& self, std::unique_ptr<Acceptor> acceptor, Ref<Connections> connections,
            std::size_t connections_max);

  // Accepts what is there.
  Turn turn(const Start& start);
  const Address& local() const noexcept { return acceptor_->local(); }

 private:
  Outcome accept_some(const Start& start);
  std::string why_exhausted() const;

  const Clock& clock_;
  const std::unique_ptr<Acceptor> acceptor_;
  const Ref<Connections> connections_;
  const std::size_t connections_max_;
  Outcome last_ = Outcome::kBlocked;
  Nanoseconds back_off_ = 0;
  bool no_process_ = false;  // which is why it is exhausted
};

}  // namespace rusm::net
