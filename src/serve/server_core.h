// ServerCore: what all connections of one server share. Internal to serve.
#pragma once

#include <array>
#include <atomic>
#include <boost/intrusive/list.hpp>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "otp/runtime.h"
#include "serve/admission.h"
#include "serve/counters.h"
#include "serve/options.h"
#include "serve/router.h"

namespace rusm::serve {

class ServerCore;

// One live connection, from accept to the end of its process. Threads: its process, except for what says otherwise.
class Lease {
 public:
  explicit Lease(Ref<ServerCore> core);
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  ServerCore& core() const noexcept { return *core_; }
  // Says who serves it, so that it can be woken and killed.
  void set_process(otp::Pid pid);

 private:
  friend class ServerCore;
  using Hook = boost::intrusive::list_member_hook<>;
  const Ref<ServerCore> core_;
  otp::Pid pid_;  // guarded by the core's mutex
  Hook hook_;     // guarded by the core's mutex
};

// Threads: any thread.
class ServerCore final : public RefCounted {
 public:
  static constexpr std::size_t kScratchBytes = 64 << 10;

  struct Handler {
    std::string name;
    std::shared_ptr<otp::BodyMaker> maker;
  };

  ServerCore(otp::Runtime& runtime, ServeOptions options, Router router, std::vector<Handler> handlers);

  otp::Runtime& runtime() const noexcept { return runtime_; }
  const ServeOptions& options() const noexcept { return options_; }
  const Router& router() const noexcept { return router_; }
  const Handler& handler(std::uint32_t target) const noexcept { return handlers_[target]; }
  Admission& admission() noexcept { return admission_; }
  // Header lines that every response carries.
  std::string_view extra_headers() const noexcept { return extra_headers_; }

  // Memory to read into, the calling worker's own until its process suspends. REQUIRES: called on a worker.
  std::span<std::byte> scratch() noexcept;
  // The present value of a Date header; valid until the process suspends. REQUIRES: called on a worker.
  std::string_view date() noexcept;
  // A name for a request whose outcome has to be found in the log.
  std::string make_request_id();

  void count(Count what) noexcept;
  ServeCounters counters() const noexcept;

  std::size_t connections() const noexcept { return connections_.load(std::memory_order_acquire); }
  // True once the server shuts down: no new requests are taken.
  bool draining() const noexcept { return draining_.load(std::memory_order_acquire); }
  void set_acceptor(otp::Pid pid) noexcept { acceptor_.store(pid.raw(), std::memory_order_release); }
  // The acceptor wants to be woken when a connection ends.
  void set_starved(bool on) noexcept { starved_.store(on); }

  void begin_drain();
  void kill_connections();
  // False when connections are left after `timeout` ns. Blocks: not for workers.
  bool wait_until_empty(Nanoseconds timeout);

 private:
  friend class Lease;

  // One for each worker.
  struct alignas(64) Local {
    std::array<std::atomic<std::uint64_t>, kCounts> counts{};
    std::unique_ptr<std::byte[]> scratch;
    Nanoseconds date_second = -1;
    std::string date;
  };
  using Live = boost::intrusive::list<Lease, boost::intrusive::member_hook<Lease, Lease::Hook, &Lease::hook_>>;

  Local& local() noexcept { return locals_[runtime_.current_worker()]; }

  // Constant after construction.
  otp::Runtime& runtime_;
  const ServeOptions options_;
  const Router router_;
  const std::vector<Handler> handlers_;
  std::string extra_headers_;
  const std::uint64_t id_seed_;

  Admission admission_;
  std::vector<Local> locals_;  // the last is for callers that are no worker
  std::atomic<std::uint64_t> ids_{0};
  std::atomic<std::uint64_t> acceptor_{0};
  std::atomic<std::size_t> connections_{0};
  std::atomic<bool> draining_{false};
  std::atomic<bool> starved_{false};

  std::mutex mutex_;
  std::condition_variable ended_;
  Live live_;  // guarded by mutex_
};

}  // namespace rusm::serve
