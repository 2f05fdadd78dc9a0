// Admission: how many requests are handled at once, and who waits for a place.
//
// Requests in flight are limited; those beyond wait in a bounded line, first come first served, of which one client
// may take only a share. Who is at the head of the line gets a place as soon as one is free, and is woken by pid.
//
// A request that leaves sees who waits, or one that comes sees the place that is free: both write first and then look,
// sequentially consistent.
#pragma once

#include <array>
#include <atomic>
#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <map>
#include <mutex>

#include "otp/runtime.h"

namespace rusm::serve {

struct AdmissionLimits {
  std::uint32_t in_flight_max = 1024;
  std::uint32_t waiting_max = 1024;
  std::uint32_t waiting_per_client_max = 512;
};

enum class Admitted : std::uint8_t {
  kYes,
  kWaits,        // the owner is woken when it has a place
  kLineFull,     // refused
  kClientShare,  // refused: this client waits too often already
};

class Admission;

// What a client is told apart by: the bytes of its address.
using ClientKey = std::array<std::uint8_t, 16>;

// A request's place: none, in the line, or in flight. Gives it up when destroyed.
// Threads: its owner; granted() tells what others did.
class Place {
 public:
  Place() = default;
  ~Place() { leave(); }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  // True once it is in flight.
  bool granted() const noexcept { return state_.load(std::memory_order_acquire) == State::kInFlight; }
  // Leaves the line or the flight; harmless when it has no place.
  void leave() noexcept;
  // Makes this place, which must be in flight, the caller's to give up by Admission::release. Afterwards it is none.
  Admission* detach() noexcept;

 private:
  friend class Admission;
  enum class State : std::uint8_t { kNone, kWaits, kInFlight };
  using Hook = boost::intrusive::list_member_hook<>;

  std::atomic<State> state_{State::kNone};
  Admission* admission_ = nullptr;
  otp::Pid owner_;
  ClientKey client_{};
  Hook hook_;
};

// Threads: any thread. Outlives its places.
class Admission {
 public:
  Admission(otp::Runtime& runtime, const AdmissionLimits& limits) : runtime_(runtime), limits_(limits) {}
  Admission(const Admission&) = delete;
  Admission& operator=(const Admission&) = delete;

  // REQUIRES: `place` is none.
  Admitted enter(Place& place, otp::Pid owner, const ClientKey& client);
  // Gives up a place that was detached.
  void release() noexcept;

  std::uint32_t in_flight() const noexcept { return in_flight_.load(std::memory_order_relaxed); }
  std::uint32_t waiting() const noexcept { return waiting_.load(std::memory_order_relaxed); }

 private:
  friend class Place;
  using Line = boost::intrusive::list<Place, boost::intrusive::member_hook<Place, Place::Hook, &Place::hook_>>;

  bool take_one() noexcept;
  void leave_line(Place& place) noexcept;
  void forget_client(const ClientKey& client) noexcept;  // REQUIRES: mutex_ is held

  otp::Runtime& runtime_;
  const AdmissionLimits limits_;
  alignas(64) std::atomic<std::uint32_t> in_flight_{0};
  std::atomic<std::uint32_t> waiting_{0};

  std::mutex mutex_;
  Line line_;                                   // guarded by mutex_
  std::map<ClientKey, std::uint32_t> clients_;  // in the line; guarded by mutex_
};

}  // namespace rusm::serve
