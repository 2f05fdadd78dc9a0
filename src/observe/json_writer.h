// JsonWriter: JSON on one line, piece by piece. Whoever writes sees to it that brackets match.
#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "observe/text.h"

namespace rusm::observe {

// Threads: one owner.
class JsonWriter {
 public:
  // How much of one text that comes from a process is taken.
  static constexpr std::size_t kTextBytesMax = 1024;

  JsonWriter& open(char bracket) {
    separate();
    out_ += bracket;
    fresh_ = true;
    return *this;
  }
  JsonWriter& close(char bracket) {
    out_ += bracket;
    fresh_ = false;
    return *this;
  }
  JsonWriter& key(std::string_view name) {
    separate();
    out_ += json_text(name);
    out_ += ':';
    fresh_ = true;
    return *this;
  }
  JsonWriter& value(std::string_view text) { return raw(json_text(text, kTextBytesMax)); }
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(std::integral auto number) { return raw(std::to_string(number)); }
  JsonWriter& value(bool yes) { return raw(yes ? "true" : "false"); }
  // Three digits after the point.
  JsonWriter& value(double number);
  JsonWriter& null() { return raw("null"); }
  JsonWriter& field(std::string_view name, const auto& v) { return key(name).value(v); }

  std::string take() && { return std::move(out_); }

 private:
  void separate() {
    if (!fresh_) out_ += ',';
    fresh_ = false;
  }
  JsonWriter& raw(std::string_view text) {
    separate();
    out_ += text;
    return *this;
  }

  std::string out_;
  bool fresh_ = true;  // nothing stands before the next value that a comma would divide it from
};

inline JsonWriter& JsonWriter::value(double number) {
  if (!std::isfinite(number) || std::abs(number) > 1e15) return null();
  const auto thousandths = static_cast<std::int64_t>(std::llround(number * 1000));
  std::string digits = std::to_string(std::abs(thousandths));
  if (digits.size() < 4) digits.insert(0, 4 - digits.size(), '0');
  digits.insert(digits.size() - 3, ".");
  return raw((thousandths < 0 ? "-" : "") + digits);
}

}  // namespace rusm::observe
