// ServerCore: what all connections of one server share. Internal to serve.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/connections.h"
#include "otp/runtime.h"
#include "serve/admission.h"
#include "serve/counters.h"
#include "serve/options.h"
#include "serve/router.h"

namespace rusm::serve {

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

  // The live connections.
  const Ref<net::Connections>& connections() const noexcept { return connections_; }
  // True once the server shuts down: no new requests are taken.
  bool draining() const noexcept { return draining_.load(std::memory_order_acquire); }
  void begin_drain();

 private:
  // One for each worker.
  struct alignas(64) Local {
    std::array<std::atomic<std::uint64_t>, kCounts> counts{};
    std::unique_ptr<std::byte[]> scratch;
    Nanoseconds date_second = -1;
    std::string date;
  };

  Local& local() noexcept { return locals_[runtime_.current_worker()]; }

  // Constant after construction.
  otp::Runtime& runtime_;
  const ServeOptions options_;
  const Router router_;
  const std::vector<Handler> handlers_;
  std::string extra_headers_;
  const std::uint64_t id_seed_;
  const Ref<net::Connections> connections_;

  Admission admission_;
  std::vector<Local> locals_;  // the last is for callers that are no worker
  std::atomic<std::uint64_t> ids_{0};
  std::atomic<bool> draining_{false};
};

}  // namespace rusm::serve
