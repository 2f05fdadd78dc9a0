// A strict parser for the head of an HTTP/1.1 request (RFC 9112), without any I/O.
//
// Whatever two implementations could read differently is refused, because that is how requests are smuggled: two
// lengths, a length beside a transfer coding, a coding that is not exactly "chunked", bare CR or LF, folded lines,
// space before the colon, control characters. After an error nothing of the connection may be parsed.
//
// Feeding it piece by piece gives the same result as feeding it at once, and looks at each byte once.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "http/exchange.h"

namespace rusm::serve {

struct HeadLimits {
  std::size_t line_bytes_max = 8 << 10;   // request line, or one header line; with its end
  std::size_t head_bytes_max = 32 << 10;  // the whole head
  std::size_t headers_max = 100;
};

// Why a request is refused. `reason` has static storage.
struct Refusal {
  std::uint16_t status = 0;  // 400, 413, 414, 417, 431, 501, 505
  std::string_view reason;
};

struct FieldLine {
  std::string_view name;
  std::string_view value;  // without the white space around it
};
// One header line without its CR LF; nothing when it is not well-formed.
std::optional<FieldLine> parse_field_line(std::string_view line) noexcept;

enum class BodyFraming : std::uint8_t { kNone, kLength, kChunked };

// Threads: one owner.
class RequestParser {
 public:
  enum class Progress : std::uint8_t { kMore, kDone, kRefused };

  explicit RequestParser(const HeadLimits& limits) noexcept : limits_(&limits) {}

  // `input` begins with the first byte of the request: what the last call had, and more. After kDone or kRefused only
  // reset() may follow.
  Progress parse(std::string_view input);
  // True once a request has begun: a byte beyond the one empty line that may stand before it.
  bool begun() const noexcept { return begun_; }
  const Refusal& refusal() const noexcept { return refusal_; }

  // After kDone:
  std::size_t head_bytes() const noexcept { return line_at_; }
  http::RequestHead& head() noexcept { return head_; }
  BodyFraming framing() const noexcept { return framing_; }
  bool is_http_1_0() const noexcept { return http_1_0_; }
  // The client wants the connection to go on.
  bool keep_alive() const noexcept { return keep_alive_; }
  bool expects_continue() const noexcept { return expects_continue_; }

  // Ready for the next request.
  void reset() noexcept;

 private:
  enum class State : std::uint8_t { kStart, kAfterEmptyLine, kFields };

  Progress refuse(std::uint16_t status, std::string_view reason) noexcept;
  bool within_limits(std::size_t line_bytes) noexcept;
  bool request_line(std::string_view line);
  bool set_target(std::string_view target);
  bool set_version(std::string_view version) noexcept;
  bool field(const FieldLine& field);
  bool known_field(const FieldLine& field);
  bool connection_options(std::string_view value) noexcept;
  bool finish();

  const HeadLimits* limits_;
  http::RequestHead head_;
  Refusal refusal_;
  std::size_t line_at_ = 0;  // where the present line begins
  std::size_t scan_at_ = 0;  // no line feed before it
  State state_ = State::kStart;
  BodyFraming framing_ = BodyFraming::kNone;
  bool begun_ = false;
  bool http_1_0_ = false;
  bool keep_alive_ = true;
  bool close_asked_ = false;
  bool keep_alive_asked_ = false;
  bool expects_continue_ = false;
  bool host_seen_ = false;
  bool coding_seen_ = false;
  bool authority_in_target_ = false;
};

}  // namespace rusm::serve
