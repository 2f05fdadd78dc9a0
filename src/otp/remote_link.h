// RemoteLink: how messages and signals reach processes of other nodes. otp defines it; the cluster implements it.
#pragma once

#include <atomic>

#include "otp/message.h"
#include "otp/pid.h"

namespace rusm::otp {

class Runtime;

// Threads: any thread.
class RemoteLink {
 public:
  virtual ~RemoteLink() = default;
  // Hands `envelope` over for `to`, a pid of another node. The order of one sender's envelopes to one receiver is kept.
  // Returns the envelope when that node cannot be reached; the runtime then answers noconnection where an answer is
  // owed.
  virtual EnvelopePtr deliver(Pid to, EnvelopePtr envelope) noexcept = 0;
};

// Joins two runtimes of one program: what one posts for the other's node number is posted there. For tests and for
// simulated clusters. Disconnecting makes both sides unreachable for each other.
class DirectLink final : public RemoteLink {
 public:
  explicit DirectLink(Runtime& peer) : peer_(peer) {}
  EnvelopePtr deliver(Pid to, EnvelopePtr envelope) noexcept override;
  void set_connected(bool connected) noexcept { connected_.store(connected, std::memory_order_release); }

 private:
  Runtime& peer_;
  std::atomic<bool> connected_{true};
};

}  // namespace rusm::otp
