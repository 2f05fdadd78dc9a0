// RemoteLink: how messages and signals reach processes of other nodes. otp defines it; the cluster implements it.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <utility>

#include "otp/message.h"
#include "otp/pid.h"

namespace rusm::otp {

class Runtime;

// Threads: any thread.
class RemoteLink {
 public:
  virtual ~RemoteLink() = default;
  // Hands `envelope`, whose value if it has one is an EncodedValue, over for `to`, a pid of another node. The order of
  // one sender's envelopes to one receiver is kept. Returns the envelope when that node cannot be reached; the runtime
  // then answers noconnection where an answer is owed.
  virtual EnvelopePtr deliver(Pid to, EnvelopePtr envelope) noexcept = 0;
};

// Joins two runtimes of one program: what one posts for the other's node number arrives there, at once or when told to.
// For tests and for simulated clusters. One for each direction.
// Threads: any thread.
class MemoryLink final : public RemoteLink {
 public:
  enum class Delivery : std::uint8_t {
    kAtOnce,
    kOnDemand,  // deliver_one(): whoever calls it decides how long things take
  };

  explicit MemoryLink(Runtime& peer, Delivery delivery = Delivery::kAtOnce) : peer_(peer), delivery_(delivery) {}
  EnvelopePtr deliver(Pid to, EnvelopePtr envelope) noexcept override;
  // Hands over what has waited longest; false when nothing waits.
  bool deliver_one() noexcept;
  // What deliver_one() hands over next, and to whom; null when nothing waits. For whoever delivers.
  std::pair<Pid, const Envelope*> next() const noexcept;
  // Loses what is on its way, and from then on touches the peer no more; not while another thread is in deliver().
  // Tell the runtimes: Runtime::node_down.
  void cut() noexcept;

 private:
  struct Waiting {
    Pid to;
    EnvelopePtr envelope;
  };

  Runtime& peer_;
  const Delivery delivery_;
  std::atomic<bool> connected_{true};
  mutable std::mutex mutex_;
  std::deque<Waiting> queue_;  // guarded by mutex_
};

}  // namespace rusm::otp
