// Connections: the live connections of one listener, so that they can be counted, limited, told to end and waited for.
// Lease: the place of one of them there.
#pragma once

#include <atomic>
#include <boost/intrusive/list.hpp>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>

#include "base/clock.h"
#include "base/refcount.h"
#include "otp/exit_reason.h"
#include "otp/pid.h"
#include "otp/runtime.h"

namespace rusm::net {

class Connections;

// Lives as long as its connection. Threads: the connection's process, except for what says otherwise.
class Lease {
 public:
  explicit Lease(Ref<Connections> connections);
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  // Says who serves the connection, so that it can be woken and told to end. False when all were told to end: whoever
  // comes so late closes the connection.
  [[nodiscard]] bool set_process(otp::Pid pid) noexcept;

 private:
  friend class Connections;
  using Hook = boost::intrusive::list_member_hook<>;
  const Ref<Connections> connections_;
  otp::Pid pid_;  // guarded by the mutex of connections_
  Hook hook_;     // guarded by the mutex of connections_
};

// Threads: any thread.
class Connections final : public RefCounted {
 public:
  explicit Connections(otp::Runtime& runtime) : runtime_(runtime) {}

  std::size_t count() const noexcept { return count_.load(); }
  // The process that accepts.
  void set_listener(otp::Pid pid) noexcept { listener_.store(pid.raw(), std::memory_order_release); }
  void wake_listener() const noexcept {
    runtime_.wake(otp::Pid::from_raw(listener_.load(std::memory_order_acquire)));  // partner: set_listener
  }
  // The listener wants to be woken when a connection ends. Afterwards it looks at count() once more.
  void set_starved(bool on) noexcept { starved_.store(on); }

  // Each process that serves one of them looks again at what it waits for.
  void wake_all() noexcept;
  // Sends an exit signal to each process that serves one of them. From here on nobody takes one over.
  void exit_all(const otp::ExitReason& reason) noexcept;
  // False when connections are left after `timeout` ns. Blocks: not for workers.
  bool wait_until_empty(Nanoseconds timeout);

 private:
  friend class Lease;
  using Live = boost::intrusive::list<Lease, boost::intrusive::member_hook<Lease, Lease::Hook, &Lease::hook_>>;

  otp::Runtime& runtime_;
  std::atomic<std::uint64_t> listener_{0};
  std::atomic<std::size_t> count_{0};
  std::atomic<bool> starved_{false};

  std::mutex mutex_;
  std::condition_variable ended_;
  Live live_;            // guarded by mutex_
  bool ending_ = false;  // guarded by mutex_
};

}  // namespace rusm::net
