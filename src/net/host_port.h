// How Address and Endpoint read "host:port". Internal to net.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace rusm::net {

struct HostPort {
  std::string_view host;  // not empty; without brackets
  std::uint16_t port = 0;
  bool in_brackets = false;  // as an IPv6 address has to be
};

// Nothing when it is not of that form.
std::optional<HostPort> split_host_port(std::string_view text) noexcept;

}  // namespace rusm::net
