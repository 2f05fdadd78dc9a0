// LineBuffer: bytes in, lines out.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

namespace chat {

class LineBuffer {
 public:
  explicit LineBuffer(std::size_t line_bytes_max) : line_bytes_max_(line_bytes_max) {}

  void add(std::span<const std::byte> bytes);
  // The next whole line without its end; control characters in it have become '?'.
  std::optional<std::string> next();
  // There is a line that is longer than allowed, or will be.
  bool is_too_long() const { return too_long_; }

 private:
  const std::size_t line_bytes_max_;
  std::string bytes_;
  std::size_t begin_ = 0;
  bool too_long_ = false;
};

}  // namespace chat
