#include "serve/http1_parser.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

namespace rusm::serve {
namespace {

constexpr std::size_t kMethodBytesMax = 32;

constexpr bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}

// What may stand in a request target: visible ASCII without what no client sends unencoded and others read differently.
constexpr std::array<bool, 256> kTargetCharacters = [] {
  std::array<bool, 256> table{};
  for (unsigned c = 0x21; c <= 0x7e; ++c) table[c] = true;
  for (const char c : std::string_view("#\\\"<>")) table[static_cast<unsigned char>(c)] = false;
  return table;
}();

constexpr std::array<bool, 256> kHostCharacters = [] {
  std::array<bool, 256> table{};
  for (unsigned c = '0'; c <= '9'; ++c) table[c] = true;
  for (unsigned c = 'a'; c <= 'z'; ++c) table[c] = table[c - 32] = true;
  for (const char c : std::string_view("-._~%!$&'()*+;=")) table[static_cast<unsigned char>(c)] = true;
  return table;
}();

bool all_of(std::string_view text, const std::array<bool, 256>& table) noexcept {
  return std::all_of(text.begin(), text.end(), [&](char c) { return table[static_cast<unsigned char>(c)]; });
}

// host [":" port], RFC 3986 §3.2, without user information.
bool is_valid_authority(std::string_view text) noexcept {
  if (text.empty()) return false;
  std::size_t host_end = 0;
  if (text.front() == '[') {
    host_end = text.find(']');
    if (host_end == std::string_view::npos || host_end == 1) return false;
    const auto inside = text.substr(1, host_end - 1);
    const auto fits = [](char c) {
      return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':' || c == '.';
    };
    if (!std::all_of(inside.begin(), inside.end(), fits)) return false;
    ++host_end;
  } else {
    host_end = std::min(text.find(':'), text.size());
    if (host_end == 0 || !all_of(text.substr(0, host_end), kHostCharacters)) return false;
  }
  if (host_end == text.size()) return true;
  const std::string_view port = text.substr(host_end + 1);
  return text[host_end] == ':' && port.size() <= 5 && std::all_of(port.begin(), port.end(), is_digit);
}

std::string_view trim(std::string_view text) noexcept {
  const auto is_space = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

bool has_prefix(std::string_view text, std::string_view prefix) noexcept {
  return http::equal_names(text.substr(0, prefix.size()), prefix);
}

// True when the comma-separated list has that member.
bool list_has(std::string_view list, std::string_view member) noexcept {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    if (http::equal_names(trim(list.substr(0, comma)), member)) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

}  // namespace

std::optional<FieldLine> parse_field_line(std::string_view line) noexcept {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  // A name has no white space: this refuses folded lines and space before the colon too.
  const FieldLine field{line.substr(0, colon), trim(line.substr(colon + 1))};
  if (!http::is_valid_name(field.name) || !http::is_valid_value(field.value)) return std::nullopt;
  return field;
}

void RequestParser::reset() noexcept {
  head_.method.clear();
  head_.target.clear();
  head_.authority.clear();
  head_.headers.clear();
  head_.params.clear();
  head_.content_length.reset();
  refusal_ = {};
  line_at_ = scan_at_ = 0;
  state_ = State::kStart;
  framing_ = BodyFraming::kNone;
  keep_alive_ = true;
  begun_ = http_1_0_ = close_asked_ = keep_alive_asked_ = expects_continue_ = false;
  host_seen_ = coding_seen_ = authority_in_target_ = false;
}

RequestParser::Progress RequestParser::refuse(std::uint16_t status, std::string_view reason) noexcept {
  refusal_ = {status, reason};
  return Progress::kRefused;
}

bool RequestParser::within_limits(std::size_t line_bytes) noexcept {
  if (line_bytes > std::min(limits_->line_bytes_max, limits_->head_bytes_max)) {
    if (state_ == State::kFields) {
      refuse(431, "a header line is too long");
    } else {
      refuse(414, "the request line is too long");
    }
    return false;
  }
  if (line_at_ + line_bytes > limits_->head_bytes_max) {
    refuse(431, "the header block is too long");
    return false;
  }
  return true;
}

RequestParser::Progress RequestParser::parse(std::string_view input) {
  for (;;) {
    const void* found =
        scan_at_ == input.size() ? nullptr : std::memchr(input.data() + scan_at_, '\n', input.size() - scan_at_);
    if (found == nullptr) {
      scan_at_ = input.size();
      const std::size_t partial = input.size() - line_at_;
      // A lone CR may still become the empty line before a request.
      if (partial > 1 || (partial == 1 && input[line_at_] != '\r')) begun_ = true;
      return within_limits(partial) ? Progress::kMore : Progress::kRefused;
    }
    const auto end = static_cast<std::size_t>(static_cast<const char*>(found) - input.data());
    if (!within_limits(end + 1 - line_at_)) return Progress::kRefused;
    if (end == line_at_ || input[end - 1] != '\r') return refuse(400, "a line does not end with CR LF");
    const std::string_view line = input.substr(line_at_, end - 1 - line_at_);
    line_at_ = scan_at_ = end + 1;
    if (state_ != State::kFields) {
      if (line.empty() && state_ == State::kStart) {
        state_ = State::kAfterEmptyLine;  // RFC 9112 §2.2: one is ignored
        continue;
      }
      begun_ = true;
      if (!request_line(line)) return Progress::kRefused;
      state_ = State::kFields;
      head_.headers.reserve_bytes(input.size() - line_at_);
    } else if (line.empty()) {
      return finish() ? Progress::kDone : Progress::kRefused;
    } else {
      if (head_.headers.size() >= limits_->headers_max) return refuse(431, "too many header lines");
      const std::optional<FieldLine> parsed = parse_field_line(line);
      if (!parsed) return refuse(400, "a header line is malformed");
      if (!field(*parsed)) return Progress::kRefused;
    }
  }
}

bool RequestParser::request_line(std::string_view line) {
  const std::size_t first = line.find(' ');
  const std::size_t second = first == std::string_view::npos ? first : line.find(' ', first + 1);
  if (second == std::string_view::npos || line.find(' ', second + 1) != std::string_view::npos) {
    refuse(400, "the request line is malformed");
    return false;
  }
  const std::string_view method = line.substr(0, first);
  if (!http::is_valid_name(method)) {
    refuse(400, "the method is malformed");
    return false;
  }
  if (!set_version(line.substr(second + 1))) return false;
  if (method.size() > kMethodBytesMax || method == "CONNECT") {
    refuse(501, "the method is not supported");
    return false;
  }
  head_.method = method;
  head_.scheme = "http";
  return set_target(line.substr(first + 1, second - first - 1));
}

bool RequestParser::set_version(std::string_view version) noexcept {
  if (version == "HTTP/1.1") return true;
  if (version == "HTTP/1.0") {
    http_1_0_ = true;
    return true;
  }
  const bool well_formed = version.size() == 8 && version.starts_with("HTTP/") && is_digit(version[5]) &&
                           version[6] == '.' && is_digit(version[7]);
  if (well_formed) {
    refuse(505, "the version of HTTP is not supported");
  } else {
    refuse(400, "the version is malformed");
  }
  return false;
}

bool RequestParser::set_target(std::string_view target) {
  const auto malformed = [this] {
    refuse(400, "the request target is malformed");
    return false;
  };
  if (target.empty() || !all_of(target, kTargetCharacters)) return malformed();
  if (target.front() == '/') {
    head_.target = target;
    return true;
  }
  if (target == "*") {
    head_.target = target;
    return head_.method == "OPTIONS" || malformed();
  }
  std::size_t prefix = 0;
  if (has_prefix(target, "http://")) prefix = 7;
  if (has_prefix(target, "https://")) prefix = 8;
  if (prefix == 0) return malformed();
  target.remove_prefix(prefix);
  const std::size_t path_at = std::min(target.find_first_of("/?"), target.size());
  const std::string_view authority = target.substr(0, path_at);
  if (!is_valid_authority(authority)) return malformed();
  head_.authority = authority;
  authority_in_target_ = true;
  head_.target.clear();
  if (path_at == target.size() || target[path_at] == '?') head_.target = "/";
  head_.target.append(target.substr(path_at));
  return true;
}

bool RequestParser::field(const FieldLine& field) {
  switch (field.name.size()) {
    case 4:
    case 6:
    case 10:
    case 14:
    case 17:
      if (!known_field(field)) return false;
      break;
    default:
      break;
  }
  head_.headers.add(field.name, field.value);
  return true;
}

// The fields that frame the message or steer the connection.
bool RequestParser::known_field(const FieldLine& field) {
  const auto [name, value] = field;
  const auto bad = [this](std::uint16_t status, std::string_view reason) {
    refuse(status, reason);
    return false;
  };
  if (http::equal_names(name, "host")) {
    if (host_seen_) return bad(400, "there are two Host headers");
    host_seen_ = true;
    if (!is_valid_authority(value)) return bad(400, "the Host header is malformed");
    if (!authority_in_target_) head_.authority = value;
  } else if (http::equal_names(name, "content-length")) {
    if (head_.content_length) return bad(400, "there are two Content-Length headers");
    std::uint64_t length = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), length);
    if (value.empty() || !is_digit(value.front()) || error != std::errc() || end != value.data() + value.size() ||
        length > INT64_MAX) {
      return bad(400, "the Content-Length header is malformed");
    }
    head_.content_length = length;
    if (coding_seen_) return bad(400, "Content-Length stands beside Transfer-Encoding");
  } else if (http::equal_names(name, "transfer-encoding")) {
    if (coding_seen_) return bad(400, "there are two Transfer-Encoding headers");
    coding_seen_ = true;
    if (head_.content_length) return bad(400, "Content-Length stands beside Transfer-Encoding");
    if (http_1_0_) return bad(400, "HTTP/1.0 has no Transfer-Encoding");
    if (!http::equal_names(value, "chunked")) {
      if (value.empty() || list_has(value, "chunked")) return bad(400, "the Transfer-Encoding is malformed");
      return bad(501, "the Transfer-Encoding is not supported");
    }
    framing_ = BodyFraming::kChunked;
  } else if (http::equal_names(name, "connection")) {
    close_asked_ |= list_has(value, "close");
    keep_alive_asked_ |= list_has(value, "keep-alive");
  } else if (http::equal_names(name, "expect")) {
    if (!http::equal_names(value, "100-continue")) return bad(417, "the expectation is not known");
    expects_continue_ = !http_1_0_;
  }
  return true;
}

bool RequestParser::finish() {
  if (!host_seen_ && !http_1_0_) {
    refuse(400, "there is no Host header");
    return false;
  }
  if (framing_ == BodyFraming::kNone && head_.content_length) {
    if (*head_.content_length > 0) framing_ = BodyFraming::kLength;
  }
  if (framing_ == BodyFraming::kNone) {
    expects_continue_ = false;
    head_.content_length = 0;
  }
  keep_alive_ = !close_asked_ && (!http_1_0_ || keep_alive_asked_);
  return true;
}

}  // namespace rusm::serve
