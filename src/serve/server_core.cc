#include "serve/server_core.h"

#include <fmt/format.h>

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

ServerCore::ServerCore(otp::Runtime& runtime, ServeOptions options, Router router, std::vector<Handler> handlers)
    : runtime_(runtime),
      options_(std::move(options)),
      router_(std::move(router)),
      handlers_(std::move(handlers)),
      id_seed_(runtime.entropy().next_u64()),
      connections_(make_ref<net::Connections>(runtime)),
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
  draining_.store(true, std::memory_order_release);  // partner: draining
  connections_->wake_listener();
  connections_->wake_all();
}

}  // namespace rusm::serve
