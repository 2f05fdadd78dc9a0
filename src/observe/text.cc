#include "observe/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

namespace rusm::observe {
namespace {

struct CodePoint {
  char32_t value;
  std::size_t bytes;
  bool valid;
};

// The code point at the front; REQUIRES: not empty. As the Unicode Standard says, table 3-7: no overlong forms, no
// surrogates.
CodePoint decode(std::string_view text) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {first, 1, true};
  const std::size_t length = first >= 0xc2 && first <= 0xdf ? 2 : first >= 0xe0 && first <= 0xef ? 3 : 4;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return {first, 1, false};
  char32_t value = first & (0x7f >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {first, 1, false};
    value = (value << 6) | (byte(i) & 0x3f);
  }
  constexpr std::array<char32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  if (value < kLeast[length] || surrogate || value > 0x10ffff) return {first, 1, false};
  return {value, length, true};
}

struct Range {
  char32_t first;
  char32_t last;
};

bool is_in(std::span<const Range> ranges, char32_t value) noexcept {
  return std::ranges::any_of(ranges, [&](Range r) { return value >= r.first && value <= r.last; });
}

// What a terminal obeys, what turns the direction of writing, and what cannot be seen.
bool is_unprintable(char32_t value) noexcept {
  static constexpr std::array<Range, 11> kRanges = {{{0x00, 0x1f},
                                                     {0x7f, 0x9f},
                                                     {0xad, 0xad},
                                                     {0x61c, 0x61c},
                                                     {0x180e, 0x180e},
                                                     {0x200b, 0x200f},
                                                     {0x2028, 0x202e},
                                                     {0x2060, 0x206f},
                                                     {0xfeff, 0xfeff},
                                                     {0xfff0, 0xfffb},
                                                     {0xe0000, 0x10ffff}}};
  return is_in(kRanges, value);
}

// Two columns on most terminals: the blocks that UAX #11 calls wide, roughly.
bool is_wide(char32_t value) noexcept {
  static constexpr std::array<Range, 10> kRanges = {{{0x1100, 0x115f},
                                                     {0x2e80, 0x303e},
                                                     {0x3041, 0xa4cf},
                                                     {0xac00, 0xd7a3},
                                                     {0xf900, 0xfaff},
                                                     {0xfe30, 0xfe6f},
                                                     {0xff00, 0xff60},
                                                     {0xffe0, 0xffe6},
                                                     {0x1f300, 0x1faff},
                                                     {0x20000, 0x3fffd}}};
  return value >= 0x1100 && is_in(kRanges, value);
}

std::string escaped(CodePoint point) {
  if (!point.valid) return fmt::format("\\x{:02x}", static_cast<unsigned>(point.value));
  if (point.value == '\n') return "\\n";
  if (point.value == '\t') return "\\t";
  if (point.value == '\r') return "\\r";
  if (point.value < 0x80) return fmt::format("\\x{:02x}", static_cast<unsigned>(point.value));
  return fmt::format("\\u{{{:x}}}", static_cast<unsigned>(point.value));
}

std::string scaled(double value, std::string_view unit) {
  return value < 9.95 ? fmt::format("{:.1f}{}", value, unit) : fmt::format("{:.0f}{}", value, unit);
}

}  // namespace

std::string printable(std::string_view text, std::size_t width_max) {
  std::string out;
  std::size_t width = 0;
  std::size_t cut_at = 0;  // where "…" still has room
  while (!text.empty()) {
    const CodePoint point = decode(text);
    const bool plain = point.valid && !is_unprintable(point.value);
    const std::string piece = plain ? std::string(text.substr(0, point.bytes)) : escaped(point);
    const std::size_t piece_width = plain ? (is_wide(point.value) ? 2 : 1) : piece.size();
    if (piece_width > width_max - width) {
      out.resize(cut_at);
      return width_max == 0 ? std::string() : out + "…";
    }
    out += piece;
    width += piece_width;
    if (width < width_max) cut_at = out.size();
    text.remove_prefix(point.bytes);
  }
  return out;
}

std::size_t width_of(std::string_view text) noexcept {
  std::size_t width = 0;
  while (!text.empty()) {
    const CodePoint point = decode(text);
    width += is_wide(point.value) ? 2 : 1;
    text.remove_prefix(point.bytes);
  }
  return width;
}

std::string padded(std::string text, std::size_t width, Align align) {
  const std::size_t taken = width_of(text);
  if (taken >= width) return text;
  if (align == Align::kLeft) return text.append(width - taken, ' ');
  return std::string(width - taken, ' ') + text;
}

std::string count_text(std::uint64_t count) {
  if (count >= 10'000'000) {
    double value = static_cast<double>(count) / 1e6;
    std::string_view unit = "M";
    for (const std::string_view next : {"G", "T", "P", "E"}) {
      if (value < 999.5) break;
      value /= 1000;
      unit = next;
    }
    return value < 99.95 ? fmt::format("{:.1f}{}", value, unit) : fmt::format("{:.0f}{}", value, unit);
  }
  std::string text = std::to_string(count);
  for (std::size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, ",");
  return text;
}

std::string rate_text(double per_second) {
  if (!(per_second > 0)) return "0";
  if (per_second < 9.95) return fmt::format("{:.1f}", per_second);
  return count_text(per_second < 1e18 ? static_cast<std::uint64_t>(per_second + 0.5) : std::uint64_t{1'000'000} << 40);
}

std::string size_text(std::uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  std::string_view unit = " KiB";
  for (const std::string_view next : {" MiB", " GiB", " TiB", " PiB", " EiB"}) {
    if (value < 1023.5) break;
    value /= 1024;
    unit = next;
  }
  return scaled(value, unit);
}

std::string span_text(Nanoseconds span) {
  span = std::max<Nanoseconds>(span, 0);
  const std::int64_t seconds = span / kSecond;
  if (seconds < 60) return fmt::format("{}.{}s", seconds, span % kSecond / (100 * kMillisecond));
  if (seconds < 3600) return fmt::format("{}m {}s", seconds / 60, seconds % 60);
  if (seconds < 86'400) return fmt::format("{}h {}m", seconds / 3600, seconds % 3600 / 60);
  return fmt::format("{}d {}h", seconds / 86'400, seconds % 86'400 / 3600);
}

std::string json_text(std::string_view text, std::size_t bytes_max) {
  std::string out = "\"";
  std::size_t taken = 0;
  while (!text.empty()) {
    const CodePoint point = decode(text);
    taken += point.bytes;
    if (taken > bytes_max) break;
    if (!point.valid) {
      out += "\uFFFD";
    } else if (point.value == '"' || point.value == '\\') {
      out += '\\';
      out += static_cast<char>(point.value);
    } else if (!is_unprintable(point.value)) {
      out += text.substr(0, point.bytes);
    } else if (point.value < 0x10000) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(point.value));
    } else {
      const unsigned rest = static_cast<unsigned>(point.value) - 0x10000;
      out += fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + (rest >> 10), 0xdc00 + (rest & 0x3ff));
    }
    text.remove_prefix(point.bytes);
  }
  return out + '"';
}

}  // namespace rusm::observe
