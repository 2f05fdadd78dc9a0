// A guest that nobody wrote for RUSM, of the crate wstd. Those of other tools: ../e2e/test_stock.py.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
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

// A byte of a long body, by its place in it.
char at(std::size_t place) {
  return static_cast<char>('a' + place % 23);
}

std::string piece(std::size_t place, std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = at(place + i);
  return text;
}

// Takes a body of any length, then answers with one of `bytes` bytes. Threads: its maker, and one of its own.
class LongAnswer {
 public:
  explicit LongAnswer(std::size_t bytes) : listener_(listen_on_loopback(&port_)) {
    thread_ = std::thread([this, bytes] { serve(bytes); });
  }
  ~LongAnswer() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  std::uint16_t port() const { return port_; }
  // Of the body with its framing; once the answer has begun.
  std::size_t taken() const { return taken_; }

 private:
  void serve(std::size_t bytes) {
    const int client = accept(listener_, nullptr, nullptr);
    if (client < 0) return;
    char buffer[1 << 16];
    std::string tail;
    for (ssize_t n; !tail.ends_with("\r\n0\r\n\r\n") && (n = recv(client, buffer, sizeof buffer, 0)) > 0;) {
      taken_ += static_cast<std::size_t>(n);
      tail.append(buffer, static_cast<std::size_t>(n));
      if (tail.size() > 16) tail.erase(0, tail.size() - 16);
    }
    tell(client, "HTTP/1.1 200 OK\r\ncontent-length: " + std::to_string(bytes) + "\r\n\r\n");
    for (std::size_t sent = 0; sent < bytes; sent += sizeof buffer) {
      if (!tell(client, piece(sent, std::min(sizeof buffer, bytes - sent)))) break;
    }
    shutdown(client, SHUT_WR);
    while (recv(client, buffer, sizeof buffer, 0) > 0) continue;
    close(client);
  }
  static bool tell(int client, std::string_view text) {
    while (!text.empty()) {
      const ssize_t n = send(client, text.data(), text.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }

  std::uint16_t port_ = 0;
  const int listener_;
  std::atomic<std::size_t> taken_ = 0;
  std::thread thread_;
};

class WstdTest : public testing::Test {
 protected:
  Ref<http::Exchange> exchange(const std::string& fetch) {
    http::RequestHead head;
    head.method = "POST";
    head.target = "/users/7";
    head.authority = "example.test";
    head.scheme = "http";
    head.params.add("id", "7");
    if (!fetch.empty()) head.headers.add("x-fetch", fetch);
    head.headers.add("x-rusm-param-id", "forged");
    return make_ref<http::Exchange>(node_.runtime, std::move(head), kNever);
  }

  // Sends and reads long bodies piece by piece; how much came back as it was sent.
  std::size_t flow(std::size_t bytes, Capabilities may, const std::string& fetch) {
    const auto maker = node_.maker(guest("foreign-wstd"), Entry::kHttp, std::move(may));
    const auto exchange = this->exchange(fetch);
    const otp::Pid pid = node_.start(*maker, exchange);
    std::size_t sent = 0;
    std::size_t came = 0;
    std::size_t wrong = 0;
    EXPECT_TRUE(eventually([&] {
      for (bool moved = true; moved;) {
        moved = false;
        if (sent < bytes) {
          const std::size_t taken =
              exchange->request_body.write(bytes_of(piece(sent, std::min<std::size_t>(kPieceBytes, bytes - sent))));
          sent += taken;
          moved = taken > 0;
        } else if (exchange->request_body.state() == otp::Pipe::State::kOpen) {
          exchange->request_body.finish();
        }
        const std::span<const std::byte> there = exchange->response_body.readable();
        for (const std::byte byte : there) wrong += static_cast<char>(byte) != at(came++);
        exchange->response_body.consume(there.size());
        moved |= !there.empty();
      }
      return exchange->response_body.ended() || exchange->response_body.state() == otp::Pipe::State::kBroken;
    }));
    const otp::ExitReason reason = node_.wait(pid);
    EXPECT_TRUE(reason.is_normal()) << reason.to_string();
    EXPECT_EQ(wrong, 0u);
    return came;
  }

  Answer ask(std::string body, Capabilities may = {}, std::string fetch = {}) {
    const auto maker = node_.maker(guest("foreign-wstd"), Entry::kHttp, std::move(may));
    const auto exchange = this->exchange(fetch);
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

  static constexpr std::size_t kPieceBytes = 64 << 10;
  static constexpr std::size_t kLongBytes = 100'000'000;

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
  OneAnswer server("HTTP/1.1 201 Created\r\ncontent-length: 6\r\n\r\nthere\n", "hello");
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

// The guest has less memory than a tenth of what flows through it.
TEST_F(WstdTest, AHundredMegabytesFlowThrough) {
  Capabilities may;
  may.memory_bytes_max = 8 << 20;
  EXPECT_EQ(flow(kLongBytes, may, {}), kLongBytes);
  EXPECT_TRUE(node_.settles());
}

TEST_F(WstdTest, AHundredMegabytesGoOutAndOthersComeIn) {
  LongAnswer server(kLongBytes);
  Capabilities may = reaching("127.0.0.1:" + std::to_string(server.port()));
  may.memory_bytes_max = 8 << 20;
  EXPECT_EQ(flow(kLongBytes, may, "http://127.0.0.1:" + std::to_string(server.port()) + "/"), kLongBytes);
  EXPECT_GE(server.taken(), kLongBytes);
  EXPECT_TRUE(node_.settles());
}

}  // namespace
}  // namespace rusm::wasm
