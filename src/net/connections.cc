#include "net/connections.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace rusm::net {

Lease::Lease(Ref<Connections> connections) : connections_(std::move(connections)) {
  const std::scoped_lock lock(connections_->mutex_);
  connections_->live_.push_back(*this);
  connections_->count_.fetch_add(1);
}

Lease::~Lease() {
  Connections& connections = *connections_;
  {
    const std::scoped_lock lock(connections.mutex_);
    connections.live_.erase(connections.live_.iterator_to(*this));
    connections.count_.fetch_sub(1);
    if (connections.live_.empty()) connections.ended_.notify_all();
  }
  if (connections.starved_.load()) connections.wake_listener();
}

bool Lease::set_process(otp::Pid pid) noexcept {
  const std::scoped_lock lock(connections_->mutex_);
  pid_ = pid;
  return !connections_->ending_;
}

void Connections::wake_all() noexcept {
  const std::scoped_lock lock(mutex_);
  for (const Lease& lease : live_) runtime_.wake(lease.pid_);
}

void Connections::exit_all(const otp::ExitReason& reason) noexcept {
  const std::scoped_lock lock(mutex_);
  ending_ = true;
  for (const Lease& lease : live_) runtime_.exit(lease.pid_, reason);
}

bool Connections::wait_until_empty(Nanoseconds timeout) {
  std::unique_lock lock(mutex_);
  return ended_.wait_for(lock, std::chrono::nanoseconds(std::min(timeout, 24 * 3600 * kSecond)),
                         [this] { return live_.empty(); });
}

}  // namespace rusm::net
