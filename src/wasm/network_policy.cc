#include "wasm/network_policy.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace rusm::wasm {
namespace {

constexpr std::size_t kHostBytesMax = 253;
constexpr std::size_t kLabelBytesMax = 63;

std::unexpected<Error> wrong(std::string_view rule, std::string_view text) {
  return fail(ErrorCode::kInvalid, fmt::format("\"{}\"", rule), std::string(text));
}

template <class T>
std::optional<T> number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool all_digits(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// "443", "8000-8999", "*".
bool read_ports(std::string_view text, NetworkRule* rule) {
  if (text == "*") return true;
  const std::size_t dash = std::min(text.find('-'), text.size());
  const auto first = number<std::uint16_t>(text.substr(0, dash));
  const auto last = dash == text.size() ? first : number<std::uint16_t>(text.substr(dash + 1));
  if (!first || !last || *first == 0 || *first > *last) return false;
  rule->port_first = *first;
  rule->port_last = *last;
  return true;
}

// Whether bits beyond the prefix are set.
bool has_host_bits(const std::array<std::uint8_t, 16>& address, unsigned prefix_bits) {
  for (unsigned bit = prefix_bits; bit < 128; ++bit) {
    if ((address[bit / 8] >> (7 - bit % 8) & 1) != 0) return true;
  }
  return false;
}

bool read_ipv4(std::string_view text, std::array<std::uint8_t, 16>* out) {
  in_addr address{};
  if (inet_pton(AF_INET, std::string(text).c_str(), &address) != 1) return false;
  *out = {};
  (*out)[10] = (*out)[11] = 0xff;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&address.s_addr);
  std::copy(bytes, bytes + 4, out->begin() + 12);
  return true;
}

bool read_ipv6(std::string_view text, std::array<std::uint8_t, 16>* out) {
  return inet_pton(AF_INET6, std::string(text).c_str(), out->data()) == 1;
}

// Empty when it is one.
std::string_view why_no_host(std::string_view host) {
  if (host.empty()) return "the host is missing";
  if (host.size() > kHostBytesMax) return "the name of the host is too long";
  std::string_view label;
  for (std::string_view rest = host;;) {
    const std::size_t end = std::min(rest.find('.'), rest.size());
    label = rest.substr(0, end);
    if (label.empty() || label.size() > kLabelBytesMax) return "the name of the host has an empty or too long part";
    for (const char c : label) {
      const bool good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
      if (static_cast<unsigned char>(c) >= 0x80) return "write a name with other letters in its form xn--…";
      if (!good) return "a name has letters, digits, - and dots; expected HOST, *.HOST, ADDRESS or NETWORK/BITS";
    }
    if (end == rest.size()) break;
    rest.remove_prefix(end + 1);
  }
  if (all_digits(label) || label.starts_with("0x")) return "neither a name nor an address of four numbers";
  return {};
}

// The part before the ports, taken apart.
struct Parts {
  std::string_view who;
  std::string_view bits;   // after the slash
  std::string_view ports;  // after the colon
  bool has_bits = false;
  bool has_ports = false;
};

std::optional<Parts> split(std::string_view text) {
  Parts parts;
  std::string_view rest = text;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    parts.who = text.substr(1, end - 1);
    rest = text.substr(end + 1);
    if (const std::size_t slash = parts.who.find('/'); slash != std::string_view::npos) {
      parts.bits = parts.who.substr(slash + 1);
      parts.who = parts.who.substr(0, slash);
      parts.has_bits = true;
    }
  } else {
    // Two colons make an address of IPv6, which has its ports only in brackets.
    const bool is_ipv6 = std::ranges::count(text, ':') > 1;
    const std::size_t end = std::min(text.find_first_of(is_ipv6 ? "/" : "/:"), text.size());
    parts.who = text.substr(0, end);
    rest = text.substr(end);
  }
  if (rest.starts_with('/') && !parts.has_bits) {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    parts.bits = rest.substr(1, end - 1);
    parts.has_bits = true;
    rest.remove_prefix(end);
  }
  if (rest.starts_with(':')) {
    parts.ports = rest.substr(1);
    parts.has_ports = true;
    rest = {};
  }
  if (!rest.empty()) return std::nullopt;
  return parts;
}

Result<> read_network(std::string_view text, const Parts& parts, bool is_ipv4, NetworkRule* rule) {
  const unsigned bits_max = is_ipv4 ? 32 : 128;
  unsigned bits = bits_max;
  if (parts.has_bits) {
    const auto given = number<unsigned>(parts.bits);
    if (!given || *given > bits_max) {
      return wrong(text, fmt::format("after the slash stands how many bits count: 0 to {}", bits_max));
    }
    bits = *given;
  }
  rule->kind = NetworkRule::Kind::kNetwork;
  rule->prefix_bits = static_cast<std::uint8_t>(bits + 128 - bits_max);
  if (has_host_bits(rule->address, rule->prefix_bits)) {
    return wrong(text,
                 fmt::format("the address goes on beyond its {} bits: clear the rest, or leave /{} away", bits, bits));
  }
  return {};
}

}  // namespace

Result<NetworkRule> NetworkRule::parse(std::string_view text) {
  const std::optional<Parts> parts = split(text);
  if (!parts) return wrong(text, "expected HOST:PORT, *.HOST, ADDRESS, NETWORK/BITS or *; of IPv6 [ADDRESS]:PORT");
  NetworkRule rule;
  if (parts->has_ports && !read_ports(parts->ports, &rule)) {
    return wrong(text, "after the colon stands a port from 1 to 65535, two of them as 8000-8999, or *");
  }
  const bool is_ipv4 = !text.starts_with('[') && read_ipv4(parts->who, &rule.address);
  if (is_ipv4 || read_ipv6(parts->who, &rule.address)) {
    if (Result<> read = read_network(text, *parts, is_ipv4, &rule); !read) return std::unexpected(read.error());
    return rule;
  }
  if (text.starts_with('[') || parts->has_bits) return wrong(text, "this is no address");
  if (parts->who == "*") return rule;
  rule.kind = parts->who.starts_with("*.") ? Kind::kSubdomains : Kind::kHost;
  std::string_view host = parts->who.substr(rule.kind == Kind::kSubdomains ? 2 : 0);
  if (host.ends_with('.')) host.remove_suffix(1);
  rule.host = host;
  for (char& c : rule.host) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (const std::string_view why = why_no_host(rule.host); !why.empty()) return wrong(text, why);
  return rule;
}

Result<NetworkRule> NetworkRule::parse_listen(std::string_view text) {
  Result<NetworkRule> rule = parse(text);
  if (rule && (rule->kind == Kind::kHost || rule->kind == Kind::kSubdomains)) {
    return wrong(text, "a guest listens on an address of this machine: 127.0.0.1:8080, [::1]:8080, 0.0.0.0:8080 or *");
  }
  return rule;
}

}  // namespace rusm::wasm
