// A guest that nobody wrote for RUSM, of the crate wstd. Those of other tools: ../e2e/test_stock.py.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "one_answer.h"
#include "wasm/test_node.h"

namespace rusm::wasm {
namespace {

using ::testing::HasSubstr;

std::string guest(const std::string& name) {
  std::ifstream file(RUSM_GUEST_DIR "/" + name + ".wasm", std::ios::binary);
  EXPECT_TRUE(file) << name;
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

struct Answer {
  std::uint16_t status = 0;
  std::string path;
  std::string id;
  std::string body;
  otp::ExitReason reason;
};

class WstdTest : public testing::Test {
 protected:
  Answer ask(std::string body, Capabilities may = {}, std::string fetch = {}) {
    const auto maker = node_.maker(guest("foreign-wstd"), Entry::kHttp, std::move(may));
    http::RequestHead head;
    head.method = "POST";
    head.target = "/users/7";
    head.authority = "example.test";
    head.scheme = "http";
    head.params.add("id", "7");
    if (!fetch.empty()) head.headers.add("x-fetch", fetch);
    head.headers.add("x-rusm-param-id", "forged");
    const auto exchange = make_ref<http::Exchange>(node_.runtime, std::move(head), kNever);
    const otp::Pid pid = node_.start(*maker, exchange);
    Answer answer;
    std::size_t sent = 0;
    EXPECT_TRUE(eventually([&] {
      if (sent < body.size()) {
        sent += exchange->request_body.write(bytes_of(std::string_view(body).substr(sent)));
      } else if (exchange->request_body.state() == otp::Pipe::State::kOpen) {
        exchange->request_body.finish();
      }
      const std::span<const std::byte> there = exchange->response_body.readable();
      answer.body.append(reinterpret_cast<const char*>(there.data()), there.size());
      exchange->response_body.consume(there.size());
      return exchange->response_body.ended() || exchange->response_body.state() == otp::Pipe::State::kBroken;
    }));
    answer.reason = node_.wait(pid);
    if (const http::ResponseHead* response = exchange->response()) {
      answer.status = response->status;
      answer.path = response->headers.find("x-path").value_or("");
      answer.id = response->headers.find("x-id").value_or("");
    }
    return answer;
  }

  static Capabilities reaching(const std::string& rule) {
    Capabilities may;
    Result<NetworkRule> parsed = NetworkRule::parse(rule);
    EXPECT_TRUE(parsed.has_value());
    may.network = {{.reach = {*parsed}, .listen = {}}};
    return may;
  }

  TestNode node_;
};

TEST_F(WstdTest, EchoesABodyAndFindsTheRoutesParameters) {
  const std::string body(300'000, 'x');
  const Answer answer = ask(body);
  EXPECT_EQ(answer.status, 200) << answer.reason.to_string();
  EXPECT_EQ(answer.path, "/users/7");
  EXPECT_EQ(answer.id, "7") << "not what the client says";
  EXPECT_EQ(answer.body.size(), body.size());
  EXPECT_TRUE(answer.reason.is_normal()) << answer.reason.to_string();
  EXPECT_TRUE(node_.settles());
}

TEST_F(WstdTest, FetchesWhatItMayReach) {
  OneAnswer server("HTTP/1.1 201 Created\r\ncontent-length: 6\r\n\r\nthere\n");
  const Answer answer = ask("hello", reaching("127.0.0.1:" + std::to_string(server.port())), server.url());
  EXPECT_EQ(answer.status, 201) << answer.body;
  EXPECT_EQ(answer.body, "there\n");
  const std::string request = server.received("hello");
  EXPECT_TRUE(request.starts_with("POST /there?now HTTP/1.1\r\n")) << request;
  EXPECT_THAT(request, HasSubstr("hello"));
  EXPECT_TRUE(node_.settles());
}

TEST_F(WstdTest, IsToldWhatItMayNotReach) {
  OneAnswer server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
  Answer answer = ask("", reaching("*"), server.url());
  EXPECT_EQ(answer.status, 502);
  EXPECT_THAT(answer.body, HasSubstr("DestinationIpProhibited"));
  answer = ask("", reaching("api.example.com"), "http://example.org/");
  EXPECT_THAT(answer.body, HasSubstr("HttpRequestDenied"));
  answer = ask("", {}, server.url());
  EXPECT_THAT(answer.body, HasSubstr("HttpRequestDenied"));
  const LimitsHit hit = node_.engine->limits_hit();
  EXPECT_EQ(hit[Limit::kAddress], 2u);
  EXPECT_EQ(hit[Limit::kName], 1u);
  EXPECT_TRUE(node_.settles());
}

}  // namespace
}  // namespace rusm::wasm
