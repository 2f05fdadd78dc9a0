// HeaderList: the header lines of one message, in order, in one block of memory.
#pragma once

#include <boost/container/small_vector.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rusm::http {

// ASCII case does not matter.
bool equal_names(std::string_view a, std::string_view b) noexcept;
// A name of token characters (RFC 9110 §5.6.2), not empty.
bool is_valid_name(std::string_view name) noexcept;
// No control characters but tab (RFC 9110 §5.5): nothing that could end the line.
bool is_valid_value(std::string_view value) noexcept;

// Threads: a value.
class HeaderList {
 public:
  struct Header {
    std::string_view name;
    std::string_view value;
  };

  // Copies both. Names keep the case they came in.
  void add(std::string_view name, std::string_view value);
  // Makes room for names and values of that many bytes in all.
  void reserve_bytes(std::size_t bytes) { bytes_.reserve(bytes); }
  // The first value of that name.
  std::optional<std::string_view> find(std::string_view name) const noexcept;
  std::size_t size() const noexcept { return entries_.size(); }
  bool empty() const noexcept { return entries_.empty(); }
  // Views into the list: valid until it changes.
  Header operator[](std::size_t i) const noexcept;
  void clear() noexcept;
  // Sum of all names and values.
  std::size_t bytes() const noexcept { return bytes_.size(); }

 private:
  struct Entry {
    std::uint32_t at;
    std::uint32_t name_bytes;
    std::uint32_t value_bytes;
  };
  std::string bytes_;
  boost::container::small_vector<Entry, 8> entries_;
};

}  // namespace rusm::http
