// Address: where a connection or a datagram comes from or goes to.
#pragma once

#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace rusm::net {

// An IPv4 or IPv6 address with a port. Threads: a value.
class Address {
 public:
  Address() = default;                                                 // 0.0.0.0:0
  static Address ipv4(std::uint32_t ip, std::uint16_t port) noexcept;  // 0x7f000001 is 127.0.0.1
  // "127.0.0.1:8080", "[::1]:8080". No names. Errors: kInvalid.
  static Result<Address> parse(std::string_view text);
  static Address from_system(const sockaddr_storage& system) noexcept;

  // Fills `system`; returns how many bytes of it are used.
  socklen_t to_system(sockaddr_storage* system) const noexcept;
  std::uint16_t port() const noexcept { return port_; }
  Address with_port(std::uint16_t port) const noexcept {
    Address address = *this;
    address.port_ = port;
    return address;
  }
  bool is_ipv6() const noexcept { return ipv6_; }
  // The bytes of an IPv6 address, or of an IPv4 one mapped into IPv6.
  const std::array<std::uint8_t, 16>& ip() const noexcept { return ip_; }
  // "127.0.0.1:8080", "[::1]:8080".
  std::string to_string() const;
  auto operator<=>(const Address&) const = default;

 private:
  std::array<std::uint8_t, 16> ip_{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0};
  std::uint16_t port_ = 0;
  bool ipv6_ = false;
};

}  // namespace rusm::net
