// NetworkPolicy: what a guest may reach over the network and where it may listen, as a value that is read from text.
// The engine decides by it, on the address that a connection really goes to: see docs/capabilities.md.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace rusm::wasm {

// One line of an allow-list: WHO or WHO:PORTS.
//
//   *                        every name and every public address
//   api.example.com          the addresses that a look-up of this name gives, if they are public
//   *.example.com            the same for every name below it
//   localhost                loopback, by its name
//   10.0.0.0/8, 192.0.2.7    addresses; those that are not public are allowed only by a network within their range
//   [fd00::]/8, [::1]        the same of IPv6
//   …:443, …:8000-8999, …:*  ports; all of them when none is named
// Threads: a value.
struct NetworkRule {
  enum class Kind : std::uint8_t { kPublic, kHost, kSubdomains, kNetwork };

  Kind kind = Kind::kPublic;
  std::string host;                        // in lower case; of kHost and kSubdomains
  std::array<std::uint8_t, 16> address{};  // of kNetwork; IPv4 as ::ffff:a.b.c.d
  std::uint8_t prefix_bits = 0;            // of the 128
  std::uint16_t port_first = 0;
  std::uint16_t port_last = 65'535;

  // Errors: kInvalid with what is wrong and what would be right.
  static Result<NetworkRule> parse(std::string_view text);
  // The same for a rule of NetworkPolicy::listen, which names no host.
  static Result<NetworkRule> parse_listen(std::string_view text);

  bool operator==(const NetworkRule&) const = default;
};

// Threads: a value.
struct NetworkPolicy {
  std::vector<NetworkRule> reach;   // to connect and to send to
  std::vector<NetworkRule> listen;  // on this machine

  bool empty() const noexcept { return reach.empty() && listen.empty(); }
  bool operator==(const NetworkPolicy&) const = default;
};

}  // namespace rusm::wasm
