#include "serve/http1_writer.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <ctime>
#include <utility>

namespace rusm::serve {
namespace {

constexpr std::array<std::pair<std::uint16_t, std::string_view>, 41> kPhrases{{
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {418, "I'm a teapot"},
    {422, "Unprocessable Content"},
    {426, "Upgrade Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
}};

// Fields that belong to the connection, which is ours to speak of.
bool is_connection_field(std::string_view name) noexcept {
  switch (name.size()) {
    case 7:
      return http::equal_names(name, "upgrade");
    case 10:
      return http::equal_names(name, "connection") || http::equal_names(name, "keep-alive");
    case 16:
      return http::equal_names(name, "proxy-connection");
    case 17:
      return http::equal_names(name, "transfer-encoding");
    default:
      return false;
  }
}

bool asks_to_close(std::string_view value) noexcept {
  return http::equal_names(value, "close");
}

void append_number(std::uint64_t number, std::string* out) {
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof(digits), number).ptr;
  out->append(digits, end);
}

void append_line(std::string_view name, std::string_view value, std::string* out) {
  out->append(name).append(": ").append(value).append("\r\n");
}

void append_status_line(std::uint16_t status, std::string* out) {
  out->append("HTTP/1.1 ");
  append_number(status, out);
  out->push_back(' ');
  out->append(reason_phrase(status)).append("\r\n");
}

void append_connection(const ResponseContext& context, bool keep_alive, std::string* out) {
  if (!keep_alive) {
    out->append("connection: close\r\n");
  } else if (context.http_1_0) {
    out->append("connection: keep-alive\r\n");
  }
}

}  // namespace

std::string_view reason_phrase(std::uint16_t status) noexcept {
  for (const auto& [number, phrase] : kPhrases) {
    if (number == status) return phrase;
  }
  return {};
}

std::string http_date(Nanoseconds wall) {
  const std::time_t seconds = wall / kSecond;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", kDays[parts.tm_wday], parts.tm_mday,
                     kMonths[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::expected<ResponsePlan, std::string_view> plan_response(const http::ResponseHead& head,
                                                            const ResponseContext& context,
                                                            std::optional<std::uint64_t> whole_body_bytes) noexcept {
  if (head.status < 200 || head.status > 599) return std::unexpected("the status is none of a final response");
  ResponsePlan plan;
  plan.keep_alive = context.keep_alive;
  std::optional<std::uint64_t> announced;
  for (std::size_t i = 0; i < head.headers.size(); ++i) {
    const auto [name, value] = head.headers[i];
    if (!http::is_valid_name(name) || !http::is_valid_value(value)) return std::unexpected("a header is malformed");
    if (name.size() == 10 && http::equal_names(name, "connection")) {
      plan.keep_alive = plan.keep_alive && !asks_to_close(value);
    } else if (name.size() == 14 && http::equal_names(name, "content-length")) {
      if (announced) return std::unexpected("there are two Content-Length headers");
      std::uint64_t length = 0;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), length);
      if (error != std::errc() || end != value.data() + value.size() || length > INT64_MAX) {
        return std::unexpected("the Content-Length header is malformed");
      }
      announced = length;
    }
  }
  const bool no_content = head.status == 204;
  if (no_content || head.status == 304 || context.is_head) {
    if (!no_content && !announced && context.is_head) announced = whole_body_bytes;
    plan.announce_length = !no_content && announced.has_value();
    plan.length = announced.value_or(0);
    return plan;
  }
  if (head.status == 205) announced = 0;
  if (!announced) announced = whole_body_bytes;
  if (announced) {
    plan.framing = ResponseFraming::kLength;
    plan.announce_length = true;
    plan.length = *announced;
  } else if (context.http_1_0) {
    plan.framing = ResponseFraming::kUntilClose;
    plan.keep_alive = false;
  } else {
    plan.framing = ResponseFraming::kChunked;
  }
  return plan;
}

void append_head(const http::ResponseHead& head, const ResponsePlan& plan, const ResponseContext& context,
                 std::string_view date, std::string_view extra, std::string* out) {
  out->reserve(out->size() + 160 + head.headers.bytes() + 4 * head.headers.size() + extra.size());
  append_status_line(head.status, out);
  bool has_date = false;
  for (std::size_t i = 0; i < head.headers.size(); ++i) {
    const auto [name, value] = head.headers[i];
    if (is_connection_field(name)) continue;
    if (name.size() == 14 && http::equal_names(name, "content-length")) continue;
    if (name.size() == 4 && http::equal_names(name, "date")) has_date = true;
    append_line(name, value, out);
  }
  if (plan.announce_length) {
    out->append("content-length: ");
    append_number(plan.length, out);
    out->append("\r\n");
  } else if (plan.framing == ResponseFraming::kChunked) {
    out->append("transfer-encoding: chunked\r\n");
  }
  if (!has_date) append_line("date", date, out);
  append_connection(context, plan.keep_alive, out);
  out->append(extra).append("\r\n");
}

void append_trailers(const http::HeaderList& trailers, std::string* out) {
  for (std::size_t i = 0; i < trailers.size(); ++i) {
    const auto [name, value] = trailers[i];
    const bool is_framing = is_connection_field(name) || http::equal_names(name, "content-length") ||
                            http::equal_names(name, "trailer") || http::equal_names(name, "host");
    if (!is_framing && http::is_valid_name(name) && http::is_valid_value(value)) append_line(name, value, out);
  }
}

void append_answer(const OwnAnswer& answer, const ResponseContext& context, std::string_view date,
                   std::string_view extra, std::string* out) {
  std::string body = fmt::format("{} {}\n", answer.status, reason_phrase(answer.status));
  if (!answer.id.empty()) body += fmt::format("request id: {}\n", answer.id);
  append_status_line(answer.status, out);
  append_line("content-type", "text/plain; charset=utf-8", out);
  out->append("content-length: ");
  append_number(body.size(), out);
  out->append("\r\n");
  append_line("date", date, out);
  if (!answer.id.empty()) append_line("x-request-id", answer.id, out);
  if (!answer.allow.empty()) append_line("allow", answer.allow, out);
  if (answer.retry_after_s > 0) append_line("retry-after", std::to_string(answer.retry_after_s), out);
  append_connection(context, context.keep_alive, out);
  out->append(extra).append("\r\n");
  if (!context.is_head) out->append(body);
}

}  // namespace rusm::serve
