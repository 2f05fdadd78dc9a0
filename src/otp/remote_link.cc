#include "otp/remote_link.h"

#include "otp/runtime.h"

namespace rusm::otp {

EnvelopePtr DirectLink::deliver(Pid to, EnvelopePtr envelope) noexcept {
  if (to.node() != peer_.node() || !connected_.load(std::memory_order_acquire)) return envelope;
  peer_.post(to, std::move(envelope));
  return nullptr;
}

}  // namespace rusm::otp
