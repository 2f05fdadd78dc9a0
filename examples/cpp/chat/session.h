// A session: the process of one connection. It lives of two things, lines from its connection and lines from rooms.
#pragma once

#include <rusm/net/listener.h>

#include <cstdint>

namespace chat {

struct Limits {
  std::size_t line_bytes_max = 512;
  std::size_t name_bytes_max = 32;  // of rooms too
  std::uint32_t lines_per_second = 20;
  std::uint32_t lines_at_once = 40;           // saved up while nothing was said
  std::uint32_t mailbox_messages_max = 4096;  // lines that wait for a reader that is too slow for its room
  rusm::Nanoseconds idle = 10 * 60 * rusm::kSecond;
  rusm::Nanoseconds write = 30 * rusm::kSecond;  // how long a reader may take nothing at all
};

// Sessions are in this group, and so is nobody else.
inline constexpr const char* kSessions = "chat sessions";

// To be given to a listener.
rusm::net::StartConnection sessions(Limits limits);

}  // namespace chat
