#include "otp/remote_link.h"

#include <utility>

#include "otp/runtime.h"

namespace rusm::otp {

EnvelopePtr MemoryLink::deliver(Pid to, EnvelopePtr envelope) noexcept {
  if (!connected_.load(std::memory_order_acquire) || to.node() != peer_.node()) return envelope;
  if (delivery_ == Delivery::kAtOnce) {
    peer_.post(to, std::move(envelope));
    return nullptr;
  }
  const std::scoped_lock lock(mutex_);
  queue_.push_back({to, std::move(envelope)});
  return nullptr;
}

bool MemoryLink::deliver_one() noexcept {
  Waiting first;
  {
    const std::scoped_lock lock(mutex_);
    if (queue_.empty()) return false;
    first = std::move(queue_.front());
    queue_.pop_front();
  }
  peer_.post(first.to, std::move(first.envelope));
  return true;
}

std::pair<Pid, const Envelope*> MemoryLink::next() const noexcept {
  const std::scoped_lock lock(mutex_);
  if (queue_.empty()) return {Pid(), nullptr};
  return {queue_.front().to, queue_.front().envelope.get()};
}

void MemoryLink::cut() noexcept {
  connected_.store(false, std::memory_order_release);
  const std::scoped_lock lock(mutex_);
  queue_.clear();
}

}  // namespace rusm::otp
