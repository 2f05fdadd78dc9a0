#include "app/listen_address.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <charconv>

namespace rusm::app {
namespace {

std::unexpected<Error> wrong(std::string_view text) {
  return fail(ErrorCode::kInvalid, {},
              fmt::format("\"{}\" is not an address to listen on: expected ADDRESS:PORT such as 127.0.0.1:8080, "
                          "[::1]:8080 or 0.0.0.0:80, with a port up to 65535",
                          text));
}

bool is_address(int family, const std::string& host) {
  unsigned char bytes[sizeof(in6_addr)];
  return inet_pton(family, host.c_str(), bytes) == 1;
}

}  // namespace

std::string ListenAddress::to_string() const {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
}

Result<ListenAddress> parse_listen_address(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return wrong(text);
  ListenAddress address;
  const std::string_view port = text.substr(colon + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (error != std::errc() || end != port.data() + port.size()) return wrong(text);

  std::string_view host = text.substr(0, colon);
  int family = AF_INET;
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
    family = AF_INET6;
  } else if (host.empty()) {
    host = "0.0.0.0";
  } else if (host == "localhost") {
    host = "127.0.0.1";
  }
  address.host = host;
  if (address.host.find('\0') != std::string::npos || !is_address(family, address.host)) return wrong(text);
  return address;
}

}  // namespace rusm::app
