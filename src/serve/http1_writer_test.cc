#include "serve/http1_writer.h"

#include <gtest/gtest.h>

namespace rusm::serve {
namespace {

constexpr std::string_view kDate = "Sun, 06 Nov 1994 08:49:37 GMT";

http::ResponseHead head_of(std::uint16_t status,
                           std::initializer_list<std::pair<std::string_view, std::string_view>> headers = {}) {
  http::ResponseHead head;
  head.status = status;
  for (const auto& [name, value] : headers) head.headers.add(name, value);
  return head;
}

std::string written(const http::ResponseHead& head, const ResponseContext& context,
                    std::optional<std::uint64_t> whole = std::nullopt, std::string_view extra = "") {
  const auto plan = plan_response(head, context, whole);
  if (!plan) return std::string(plan.error());
  std::string out;
  append_head(head, *plan, context, kDate, extra, &out);
  return out;
}

TEST(Writer, KnowsTheDate) {
  EXPECT_EQ(http_date(784111777 * kSecond), kDate);
}

TEST(Writer, ABodyThatIsCompleteHasALength) {
  EXPECT_EQ(written(head_of(200, {{"content-type", "text/plain"}}), {}, 5),
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n"
            "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n");
}

TEST(Writer, ABodyThatIsNotIsChunkedOrEndsWithTheConnection) {
  EXPECT_NE(written(head_of(200), {}).find("transfer-encoding: chunked\r\n"), std::string::npos);
  const std::string old = written(head_of(200), {.http_1_0 = true, .keep_alive = true});
  EXPECT_EQ(old.find("transfer-encoding"), std::string::npos);
  EXPECT_NE(old.find("connection: close\r\n"), std::string::npos);
}

TEST(Writer, ALengthOfTheHandlerStands) {
  const auto plan = plan_response(head_of(200, {{"Content-Length", "7"}}), {}, 5);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->length, 7u);
  EXPECT_EQ(plan->framing, ResponseFraming::kLength);
}

TEST(Writer, SomeResponsesHaveNoBody) {
  EXPECT_EQ(written(head_of(204, {{"content-length", "5"}}), {}, 5).find("content-length"), std::string::npos);
  EXPECT_EQ(plan_response(head_of(204), {}, 5)->framing, ResponseFraming::kNoBody);
  EXPECT_EQ(plan_response(head_of(304), {}, 5)->framing, ResponseFraming::kNoBody);
  EXPECT_EQ(written(head_of(304), {}, 5).find("content-length"), std::string::npos);
  EXPECT_NE(written(head_of(304, {{"content-length", "5"}}), {}).find("content-length: 5"), std::string::npos);
  const ResponseContext is_head{.is_head = true};
  EXPECT_EQ(plan_response(head_of(200), is_head, 5)->framing, ResponseFraming::kNoBody);
  EXPECT_NE(written(head_of(200), is_head, 5).find("content-length: 5"), std::string::npos);
  EXPECT_NE(written(head_of(205), {}, 5).find("content-length: 0"), std::string::npos);
}

TEST(Writer, NothingMalformedGetsOut) {
  for (const char* value : {"a\r\nset-cookie: b", "a\rb", "a\nb", "a\x01"}) {
    EXPECT_FALSE(plan_response(head_of(200, {{"x", value}}), {}, 0)) << value;
  }
  EXPECT_FALSE(plan_response(head_of(200, {{"x", std::string_view("a\0b", 3)}}), {}, 0));
  for (const char* name : {"", "a b", "a:", "a\r\n", "\xc3\xa4"}) {
    EXPECT_FALSE(plan_response(head_of(200, {{name, "v"}}), {}, 0)) << name;
  }
  for (const char* length : {"", "-1", "+1", "1 ", "0x1", "99999999999999999999"}) {
    EXPECT_FALSE(plan_response(head_of(200, {{"content-length", length}}), {}, 0)) << length;
  }
  EXPECT_FALSE(plan_response(head_of(200, {{"content-length", "1"}, {"Content-Length", "1"}}), {}, 0));
  for (const std::uint16_t status : {0, 99, 100, 101, 199, 600, 999}) {
    EXPECT_FALSE(plan_response(head_of(status), {}, 0)) << status;
  }
}

TEST(Writer, TheConnectionIsNotTheHandlersToSpeakOf) {
  const std::string text = written(head_of(200, {{"Connection", "close"},
                                                 {"Keep-Alive", "timeout=5"},
                                                 {"Upgrade", "h2c"},
                                                 {"Transfer-Encoding", "gzip"},
                                                 {"Proxy-Connection", "x"}}),
                                   {}, 0);
  EXPECT_EQ(text,
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nconnection: close\r\n\r\n");
}

TEST(Writer, AddsTheServersHeadersAndKeepsADateOfTheHandler) {
  const std::string text = written(head_of(299, {{"Date", "now"}}), {}, 0, "x-frame-options: DENY\r\n");
  EXPECT_EQ(text, "HTTP/1.1 299 \r\nDate: now\r\ncontent-length: 0\r\nx-frame-options: DENY\r\n\r\n");
}

TEST(Writer, TrailersThatCannotDoHarmAreWritten) {
  http::HeaderList trailers;
  for (const auto& [name, value] :
       std::initializer_list<std::pair<const char*, const char*>>{{"x-sum", "5"},
                                                                  {"Content-Length", "7"},
                                                                  {"transfer-encoding", "x"},
                                                                  {"bad name", "x"},
                                                                  {"x", "a\r\nb: c"}}) {
    trailers.add(name, value);
  }
  std::string out;
  append_trailers(trailers, &out);
  EXPECT_EQ(out, "x-sum: 5\r\n");
}

TEST(Writer, AnswersOfTheServerCarryTheirId) {
  std::string out;
  append_answer({.status = 503, .id = "ab12", .allow = {}, .retry_after_s = 1}, {}, kDate, "", &out);
  EXPECT_EQ(out,
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 41\r\n"
            "date: Sun, 06 Nov 1994 08:49:37 GMT\r\nx-request-id: ab12\r\nretry-after: 1\r\n\r\n"
            "503 Service Unavailable\nrequest id: ab12\n");
  out.clear();
  append_answer({.status = 405, .id = {}, .allow = "GET, HEAD"}, {.is_head = true, .keep_alive = false}, kDate, "",
                &out);
  EXPECT_NE(out.find("allow: GET, HEAD\r\n"), std::string::npos);
  EXPECT_NE(out.find("connection: close\r\n"), std::string::npos);
  EXPECT_TRUE(out.ends_with("\r\n\r\n")) << "HEAD has no body";
}

}  // namespace
}  // namespace rusm::serve
