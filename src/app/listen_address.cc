#include "app/listen_address.h"

#include <fmt/format.h>

#include <string>

namespace rusm::app {

Result<net::Address> parse_listen_address(std::string_view text) {
  constexpr std::string_view kLocalhost = "localhost:";
  std::string full(text);
  if (text.starts_with(kLocalhost)) full.replace(0, kLocalhost.size(), "127.0.0.1:");
  if (text.starts_with(':')) full.insert(0, "0.0.0.0");
  if (Result<net::Address> address = net::Address::parse(full)) return address;
  return fail(ErrorCode::kInvalid, {},
              fmt::format("\"{}\" is not an address to listen on: expected ADDRESS:PORT such as 127.0.0.1:8080, "
                          "[::1]:8080 or 0.0.0.0:80, with a port up to 65535",
                          text));
}

}  // namespace rusm::app
