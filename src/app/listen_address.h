// Where a listener listens, as people write it in rusm.toml and on the command line.
#pragma once

#include <string_view>

#include "base/error.h"
#include "net/address.h"

namespace rusm::app {

// "127.0.0.1:8080", "[::1]:8080", "localhost:8080" (127.0.0.1) or ":8080" (every IPv4 address). Port 0: any free one.
// Errors: kInvalid; `where` is empty.
Result<net::Address> parse_listen_address(std::string_view text);

}  // namespace rusm::app
