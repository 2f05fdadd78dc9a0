// ListenAddress: where a listener listens, as it is written in rusm.toml and on the command line.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace rusm::app {

// Threads: a value.
struct ListenAddress {
  std::string host;        // an IPv4 or IPv6 address, without brackets
  std::uint16_t port = 0;  // 0: any free one

  // "127.0.0.1:8080", "[::1]:8080".
  std::string to_string() const;
};

// "127.0.0.1:8080", "[::1]:8080", "localhost:8080" (127.0.0.1) or ":8080" (every address, as 0.0.0.0).
// Errors: kInvalid; `where` is empty.
Result<ListenAddress> parse_listen_address(std::string_view text);

}  // namespace rusm::app
