#include "net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>
#include <optional>

#include "net/host_port.h"

namespace rusm::net {

Address Address::ipv4(std::uint32_t ip, std::uint16_t port) noexcept {
  Address address;
  for (int i = 0; i < 4; ++i)
    address.ip_[12 + static_cast<unsigned>(i)] = static_cast<std::uint8_t>(ip >> (24 - 8 * i));
  address.port_ = port;
  return address;
}

Result<Address> Address::parse(std::string_view text) {
  const auto wrong = [&] {
    return fail(ErrorCode::kInvalid, std::string(text), "expected an address such as 127.0.0.1:8080 or [::1]:8080");
  };
  const std::optional<HostPort> split = split_host_port(text);
  if (!split) return wrong();
  Address address;
  address.port_ = split->port;
  address.ipv6_ = split->in_brackets;
  const std::string host(split->host);
  const bool fine = address.ipv6_ ? inet_pton(AF_INET6, host.c_str(), address.ip_.data()) == 1
                                  : inet_pton(AF_INET, host.c_str(), address.ip_.data() + 12) == 1;
  if (!fine) return wrong();
  return address;
}

Address Address::from_system(const sockaddr_storage& system) noexcept {
  Address address;
  if (system.ss_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, &system, sizeof(in));
    std::memcpy(address.ip_.data() + 12, &in.sin_addr, 4);
    address.port_ = ntohs(in.sin_port);
  } else if (system.ss_family == AF_INET6) {
    sockaddr_in6 in{};
    std::memcpy(&in, &system, sizeof(in));
    std::memcpy(address.ip_.data(), &in.sin6_addr, 16);
    address.port_ = ntohs(in.sin6_port);
    address.ipv6_ = true;
  }
  return address;
}

socklen_t Address::to_system(sockaddr_storage* system) const noexcept {
  std::memset(system, 0, sizeof(*system));
  if (ipv6_) {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(port_);
    std::memcpy(&in.sin6_addr, ip_.data(), 16);
    std::memcpy(system, &in, sizeof(in));
    return sizeof(in);
  }
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(port_);
  std::memcpy(&in.sin_addr, ip_.data() + 12, 4);
  std::memcpy(system, &in, sizeof(in));
  return sizeof(in);
}

std::string Address::to_string() const {
  char text[INET6_ADDRSTRLEN] = "";
  if (ipv6_) {
    inet_ntop(AF_INET6, ip_.data(), text, sizeof(text));
    return "[" + std::string(text) + "]:" + std::to_string(port_);
  }
  inet_ntop(AF_INET, ip_.data() + 12, text, sizeof(text));
  return std::string(text) + ":" + std::to_string(port_);
}

}  // namespace rusm::net
