#include "serve/server_core.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "serve/http1_writer.h"

namespace rusm::serve {
namespace {

constexpr std::array<std::string_view, kCounts> kCountNames{
    "connections",    "requests",     "answered",         "refused",          "not_routed",      "line_full",
    "client_share",   "line_timeout", "no_room",          "deadline",         "handler_crashed", "handler_silent",
    "handler_failed", "bad_response", "body_cut",         "body_too_long",    "client_gone",     "client_stalled",
    "header_timeout", "idle_timeout", "connections_full", "accept_exhausted",
};

}  // namespace

std::string_view name_of(Count what) noexcept {
  return kCountNames[static_cast<std::size_t>(what)];
}

Lease::Lease(Ref<ServerCore> core) : core_(std::move(core)) {
  const std::scoped_lock lock(core_->mutex_);
  core_->live_.push_back(*this);
  core_->connections_.fetch_add(1, std::memory_order_acq_rel);
}

Lease::~Lease() {
  ServerCore& core = *core_;
  {
    const std::scoped_lock lock(core.mutex_);
    core.live_.erase(core.live_.iterator_to(*this));
    core.connections_.fetch_sub(1, std::memory_order_acq_rel);
    core.ended_.notify_all();
  }
  if (core.starved_.load()) core.runtime_.wake(otp::Pid::from_raw(core.acceptor_.load(std::memory_order_acquire)));
}

void Lease::set_process(otp::Pid pid) {
  const std::scoped_lock lock(core_->mutex_);
  pid_ = pid;
}

ServerCore::ServerCore(otp::Runtime& runtime, ServeOptions options, Router router, std::vector<Handler> handlers)
    : runtime_(runtime),
      options_(std::move(options)),
      router_(std::move(router)),
      handlers_(std::move(handlers)),
      id_seed_(runtime.entropy().next_u64()),
      admission_(runtime, options_.admission),
      locals_(runtime.workers() + 1) {
  for (const auto& [name, value] : options_.headers) extra_headers_ += fmt::format("{}: {}\r\n", name, value);
}

std::span<std::byte> ServerCore::scratch() noexcept {
  Local& mine = local();
  if (!mine.scratch) mine.scratch = std::make_unique_for_overwrite<std::byte[]>(kScratchBytes);
  return {mine.scratch.get(), kScratchBytes};
}

std::string_view ServerCore::date() noexcept {
  Local& mine = local();
  const Nanoseconds wall = runtime_.clock().wall();
  if (wall / kSecond != mine.date_second) {
    mine.date_second = wall / kSecond;
    mine.date = http_date(wall);
  }
  return mine.date;
}

std::string ServerCore::make_request_id() {
  // An odd multiplier visits every value once: ids of one boot never repeat, and those of two hardly ever meet.
  const std::uint64_t n = ids_.fetch_add(1, std::memory_order_relaxed);
  return fmt::format("{:016x}", (n + id_seed_) * 0x9e3779b97f4a7c15);
}

void ServerCore::count(Count what) noexcept {
  local().counts[static_cast<std::size_t>(what)].fetch_add(1, std::memory_order_relaxed);
}

ServeCounters ServerCore::counters() const noexcept {
  ServeCounters sum;
  for (const Local& one : locals_) {
    for (std::size_t i = 0; i < kCounts; ++i) sum.values[i] += one.counts[i].load(std::memory_order_relaxed);
  }
  return sum;
}

void ServerCore::begin_drain() {
  draining_.store(true, std::memory_order_release);
  runtime_.wake(otp::Pid::from_raw(acceptor_.load(std::memory_order_acquire)));
  const std::scoped_lock lock(mutex_);
  for (const Lease& lease : live_) runtime_.wake(lease.pid_);
}

void ServerCore::kill_connections() {
  const std::scoped_lock lock(mutex_);
  for (const Lease& lease : live_) runtime_.exit(lease.pid_, otp::ExitReason::Kind::kKill);
}

bool ServerCore::wait_until_empty(Nanoseconds timeout) {
  std::unique_lock lock(mutex_);
  return ended_.wait_for(lock, std::chrono::nanoseconds(std::min(timeout, 24 * 3600 * kSecond)),
                         [this] { return live_.empty(); });
}

}  // namespace rusm::serve
