// Text for people: what comes from processes is made harmless for terminals, cut to a width, and put into columns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace rusm::observe {

// No limit on a width.
inline constexpr std::size_t kAnyWidth = SIZE_MAX;

// `text` with nothing in it that a terminal obeys: control characters come out as \n, \x1b or \u{9b}, characters that
// turn the direction of writing or cannot be seen as \u{202e}, bytes that are not UTF-8 as \xff. At most `width_max`
// columns: what is longer is cut between two code points and ends in "…". Time: O(width_max).
std::string printable(std::string_view text, std::size_t width_max = kAnyWidth);
// The columns that a printable text takes on a terminal.
std::size_t width_of(std::string_view text) noexcept;

enum class Align : std::uint8_t { kLeft, kRight };
// Spaces around a printable text until it takes `width` columns.
std::string padded(std::string text, std::size_t width, Align align);

// "1,234,567"; from ten million on "12.3M", "4.5G".
std::string count_text(std::uint64_t count);
// A rate: as count_text, but "0.4" below ten.
std::string rate_text(double per_second);
// "812 B", "3.1 MiB".
std::string size_text(std::uint64_t bytes);
// "2.5s", "4m 10s", "3h 12m", "17d 4h".
std::string span_text(Nanoseconds span);

// A value in JSON: quoted; what is not UTF-8 becomes U+FFFD, and what printable() would not print is escaped. At most
// `bytes_max` bytes of the text are taken, whole code points.
std::string json_text(std::string_view text, std::size_t bytes_max = kAnyWidth);

}  // namespace rusm::observe
