#include "net/host_port.h"

#include <charconv>

namespace rusm::net {

std::optional<HostPort> split_host_port(std::string_view text) noexcept {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  HostPort split{.host = text.substr(0, colon)};
  const std::string_view digits = text.substr(colon + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), split.port);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  split.in_brackets = split.host.starts_with('[') && split.host.ends_with(']');
  if (split.in_brackets) split.host = split.host.substr(1, split.host.size() - 2);
  if (split.host.empty() || (!split.in_brackets && split.host.contains(':'))) return std::nullopt;
  return split;
}

}  // namespace rusm::net
