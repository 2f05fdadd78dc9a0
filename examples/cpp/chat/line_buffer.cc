#include "line_buffer.h"

#include <utility>

namespace chat {

void LineBuffer::add(std::span<const std::byte> bytes) {
  bytes_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

std::optional<std::string> LineBuffer::next() {
  const std::size_t end = bytes_.find('\n', begin_);
  const bool whole = end != std::string::npos;
  if ((whole ? end : bytes_.size()) - begin_ > line_bytes_max_ + 1) too_long_ = true;  // one more for a \r
  if (too_long_) return std::nullopt;
  if (!whole) {  // what was read goes; an idle connection keeps no memory
    bytes_ = std::string(bytes_, std::exchange(begin_, 0));
    return std::nullopt;
  }
  std::string line = bytes_.substr(begin_, end - begin_);
  begin_ = end + 1;
  if (line.ends_with('\r')) line.pop_back();
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return line;
}

}  // namespace chat
