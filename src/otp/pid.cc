#include "otp/pid.h"

#include <fmt/format.h>

#include <charconv>

namespace rusm::otp {

std::string Pid::to_string() const {
  return fmt::format("<{}.{}.{}>", node(), index(), generation());
}

std::optional<Pid> Pid::parse(std::string_view text) {
  if (text.size() < 7 || text.front() != '<' || text.back() != '>') return std::nullopt;
  const char* at = text.data() + 1;
  const char* const end = text.data() + text.size() - 1;
  const std::uint32_t limits[3] = {kNodeMax, kIndexMax, (1u << 29) - 1};
  std::uint32_t parts[3] = {};
  for (int i = 0; i < 3; ++i) {
    const auto [next, error] = std::from_chars(at, end, parts[i]);
    if (error != std::errc() || parts[i] > limits[i]) return std::nullopt;
    at = next;
    if (i < 2 && (at == end || *at++ != '.')) return std::nullopt;
  }
  if (at != end) return std::nullopt;
  return Pid(parts[0], parts[1], parts[2]);
}

}  // namespace rusm::otp
