#include "serve/admission.h"

#include <utility>

namespace rusm::serve {

void Place::leave() noexcept {
  switch (state_.load(std::memory_order_acquire)) {
    case State::kNone:
      return;
    case State::kWaits:
      admission_->leave_line(*this);
      return;
    case State::kInFlight:
      detach()->release();
      return;
  }
}

Admission* Place::detach() noexcept {
  state_.store(State::kNone, std::memory_order_relaxed);
  return std::exchange(admission_, nullptr);
}

bool Admission::take_one() noexcept {
  std::uint32_t there = in_flight_.load();
  do {
    if (there >= limits_.in_flight_max) return false;
  } while (!in_flight_.compare_exchange_weak(there, there + 1));
  return true;
}

Admitted Admission::enter(Place& place, otp::Pid owner, const ClientKey& client) {
  place.admission_ = this;
  if (waiting_.load(std::memory_order_relaxed) == 0 && take_one()) {
    place.state_.store(Place::State::kInFlight, std::memory_order_relaxed);
    return Admitted::kYes;
  }
  const std::scoped_lock lock(mutex_);
  waiting_.fetch_add(1);  // first say so, then look: partner is release()
  if (line_.empty() && take_one()) {
    waiting_.fetch_sub(1);
    place.state_.store(Place::State::kInFlight, std::memory_order_relaxed);
    return Admitted::kYes;
  }
  const auto refuse = [&](Admitted why) {
    waiting_.fetch_sub(1);
    place.admission_ = nullptr;
    return why;
  };
  if (line_.size() >= limits_.waiting_max) return refuse(Admitted::kLineFull);
  std::uint32_t& of_client = clients_[client];
  if (of_client >= limits_.waiting_per_client_max) {
    if (of_client == 0) clients_.erase(client);
    return refuse(Admitted::kClientShare);
  }
  ++of_client;
  place.owner_ = owner;
  place.client_ = client;
  place.state_.store(Place::State::kWaits, std::memory_order_relaxed);
  line_.push_back(place);
  return Admitted::kWaits;
}

void Admission::forget_client(const ClientKey& client) noexcept {
  const auto there = clients_.find(client);
  if (--there->second == 0) clients_.erase(there);
}

void Admission::leave_line(Place& place) noexcept {
  {
    const std::scoped_lock lock(mutex_);
    if (place.state_.load(std::memory_order_relaxed) == Place::State::kWaits) {
      line_.erase(line_.iterator_to(place));
      waiting_.fetch_sub(1);
      forget_client(place.client_);
      place.state_.store(Place::State::kNone, std::memory_order_relaxed);
      place.admission_ = nullptr;
      return;
    }
  }
  place.detach()->release();  // it got its place in the meantime
}

void Admission::release() noexcept {
  in_flight_.fetch_sub(1);
  if (waiting_.load() == 0) return;  // partner: enter()
  otp::Pid woken;
  {
    const std::scoped_lock lock(mutex_);
    if (line_.empty() || !take_one()) return;
    Place& first = line_.front();
    line_.pop_front();
    waiting_.fetch_sub(1);
    forget_client(first.client_);
    woken = first.owner_;
    first.state_.store(Place::State::kInFlight, std::memory_order_release);  // from here on it may go away
  }
  runtime_.wake(woken);
}

}  // namespace rusm::serve
