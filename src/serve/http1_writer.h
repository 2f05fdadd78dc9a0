// Writing HTTP/1.1 responses: the head, how the body is framed, and the answers that the server gives by itself.
// Nothing from a handler reaches the client unchecked: a header that could end a line never gets out.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "http/exchange.h"

namespace rusm::serve {

// What of the request decides how its response is written.
struct ResponseContext {
  bool is_head = false;
  bool http_1_0 = false;
  bool keep_alive = true;
};

enum class ResponseFraming : std::uint8_t {
  kNoBody,      // by the method or the status; what the handler writes is dropped
  kLength,      // exactly `length` bytes
  kChunked,     //
  kUntilClose,  // for HTTP/1.0
};

struct ResponsePlan {
  ResponseFraming framing = ResponseFraming::kNoBody;
  std::uint64_t length = 0;
  bool keep_alive = true;
  bool announce_length = false;  // write a Content-Length of `length`
};

// How to send `head`. `whole_body_bytes` is set when the body is complete already.
// The error says what is wrong with the head; nothing of it may be sent then.
std::expected<ResponsePlan, std::string_view> plan_response(const http::ResponseHead& head,
                                                            const ResponseContext& context,
                                                            std::optional<std::uint64_t> whole_body_bytes) noexcept;

// The value of a Date header for a point in time: "Sun, 06 Nov 1994 08:49:37 GMT".
std::string http_date(Nanoseconds wall);

// "Not Found"; empty for a status without a customary phrase.
std::string_view reason_phrase(std::uint16_t status) noexcept;

// Appends status line and headers as planned. `extra` are whole lines that are added to every response.
void append_head(const http::ResponseHead& head, const ResponsePlan& plan, const ResponseContext& context,
                 std::string_view date, std::string_view extra, std::string* out);

// Appends the lines that may follow a chunked body: none that is malformed or has to do with framing.
void append_trailers(const http::HeaderList& trailers, std::string* out);

// An answer of the server's own.
struct OwnAnswer {
  std::uint16_t status = 500;
  std::string_view id = {};     // empty: none; else it stands in x-request-id and in the body
  std::string_view allow = {};  // for 405
  int retry_after_s = 0;        // 0: none
};
void append_answer(const OwnAnswer& answer, const ResponseContext& context, std::string_view date,
                   std::string_view extra, std::string* out);

}  // namespace rusm::serve
