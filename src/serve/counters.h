// What a server counts, by cause.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace rusm::serve {

enum class Count : std::uint8_t {
  kConnections,      // accepted
  kRequests,         // heads read
  kAnswered,         // responses of handlers sent to their end
  kRefused,          // requests that were malformed or beyond a limit
  kNotRouted,        // 400, 404 and 405 by the router
  kLineFull,         // 503: the waiting line was full
  kClientShare,      // 503: the client had its share of the line
  kLineTimeout,      // 503: waited too long in line
  kNoRoom,           // 503: no instance or no process to be had
  kDeadline,         // 504: the handler did not answer in time, or stopped in the middle
  kHandlerCrashed,   // crashed or reached a limit before it answered
  kHandlerSilent,    // ended without an answer
  kHandlerFailed,    // said that it cannot answer
  kBadResponse,      // 502: a head that must not be sent
  kBodyCut,          // the body of a response ended early or broke: the connection was reset
  kBodyTooLong,      // a handler wrote more than it announced
  kClientGone,       // the client went away while its request was handled
  kClientStalled,    // the client took or sent nothing for too long in the middle of a body
  kHeaderTimeout,    // 408
  kIdleTimeout,      // closed between two requests
  kConnectionsFull,  // accepting paused at connections_max
  kAcceptExhausted,  // accepting paused: out of descriptors or memory
  kCount,
};
inline constexpr std::size_t kCounts = static_cast<std::size_t>(Count::kCount);

// "connections", "requests", … as they stand in metrics.
std::string_view name_of(Count what) noexcept;

struct ServeCounters {
  std::array<std::uint64_t, kCounts> values{};
  std::uint64_t operator[](Count what) const noexcept { return values[static_cast<std::size_t>(what)]; }
};

}  // namespace rusm::serve
