// HTTP guests against an Exchange, with a native process in the place of the server.

#include <gtest/gtest.h>

#include "otp/routine.h"
#include "wasm/test_node.h"

namespace rusm::wasm {
namespace {

using Kind = otp::ExitReason::Kind;

struct Answer {
  std::uint16_t status = 0;
  std::string header;
  std::string body;
  std::string failure;
  otp::Pipe::State end = otp::Pipe::State::kOpen;
  otp::ExitReason reason;
};

class GuestHttpTest : public testing::Test {
 protected:
  Ref<http::Exchange> exchange(std::string target, http::HeaderList headers = {}) {
    http::RequestHead head;
    head.method = "POST";
    head.target = std::move(target);
    head.authority = "example.test";
    head.scheme = "http";
    head.headers = std::move(headers);
    return make_ref<http::Exchange>(node_.runtime, std::move(head), kNever);
  }

  // Sends the request body from here and collects what comes back. This thread has no pid: it looks again and again.
  Answer ask(const Ref<http::Exchange>& exchange, std::string_view request_body = {}) {
    Answer answer;
    const otp::Pid pid = node_.start(*maker_, exchange);
    std::size_t sent = 0;
    const bool ended = eventually([&] {
      if (sent < request_body.size()) {
        sent += exchange->request_body.write(bytes_of(request_body.substr(sent)));
      } else if (exchange->request_body.state() == otp::Pipe::State::kOpen) {
        exchange->request_body.finish();
      }
      const std::span<const std::byte> there = exchange->response_body.readable();
      answer.body.append(reinterpret_cast<const char*>(there.data()), there.size());
      exchange->response_body.consume(there.size());
      answer.end = exchange->response_body.state();
      return exchange->response_body.ended() || answer.end == otp::Pipe::State::kBroken;
    });
    EXPECT_TRUE(ended);
    answer.reason = node_.wait(pid);
    if (const http::ResponseHead* head = exchange->response()) {
      answer.status = head->status;
      answer.header = head->headers.find("x-who").value_or("");
    }
    if (const std::string* failure = exchange->failure()) answer.failure = *failure;
    return answer;
  }

  Answer get(std::string target) { return ask(exchange(std::move(target))); }

  TestNode node_;
  std::shared_ptr<GuestMaker> maker_ = node_.maker(http_guest(), Entry::kHttp);
};

TEST_F(GuestHttpTest, Answers) {
  const Answer answer = get("/hello");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header, "guest");
  EXPECT_EQ(answer.body, "hello\n");
  EXPECT_EQ(answer.end, otp::Pipe::State::kFinished);
  EXPECT_TRUE(answer.reason.is_normal());
  EXPECT_TRUE(node_.settles());
}

TEST_F(GuestHttpTest, StreamsBothBodies) {
  std::string body;
  for (int i = 0; body.size() < 3'000'000; ++i) body += std::to_string(i) + ' ';
  const Answer answer = ask(exchange("/echo"), body);
  EXPECT_EQ(answer.status, 200);
  EXPECT_TRUE(answer.body == body) << answer.body.size();
  EXPECT_TRUE(answer.reason.is_normal());
}

TEST_F(GuestHttpTest, EndsOfAllKinds) {
  Answer answer = get("/trap");
  EXPECT_EQ(answer.failure, "") << "its exit reason says what happened";
  EXPECT_EQ(answer.reason.crash_kind(), "trap");
  answer = get("/after");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.end, otp::Pipe::State::kBroken);
  EXPECT_EQ(answer.reason.crash_kind(), "trap");
  answer = get("/unanswered");
  EXPECT_EQ(answer.failure, "") << "its exit reason says what happened";
  EXPECT_TRUE(answer.reason.is_normal());
  answer = get("/x");
  EXPECT_EQ(answer.failure, "the handler answered with an error: ErrorCode::InternalError(None)");
  answer = get("/less");
  EXPECT_EQ(answer.end, otp::Pipe::State::kBroken);
  answer = get("/more");
  EXPECT_EQ(answer.end, otp::Pipe::State::kBroken);
  answer = get("/grow");
  EXPECT_EQ(answer.reason.crash_kind(), "memory");
  EXPECT_TRUE(node_.settles());
}

TEST_F(GuestHttpTest, AServerThatGivesUpFreesTheGuest) {
  const Ref<http::Exchange> given_up = exchange("/big");
  const otp::Pid pid = node_.start(*maker_, given_up);
  ASSERT_TRUE(eventually([&] { return !given_up->response_body.readable().empty(); }));
  given_up->response_body.abort();
  EXPECT_TRUE(node_.wait(pid).is_normal());
  EXPECT_TRUE(node_.settles());
}

TEST_F(GuestHttpTest, AKilledGuestBreaksItsBodiesOff) {
  for (const char* target : {"/echo", "/big", "/spin"}) {
    const Ref<http::Exchange> half = exchange(target);
    const otp::Pid pid = node_.start(*maker_, half);
    if (std::string_view(target) != "/spin") {
      ASSERT_TRUE(eventually([&] { return half->response() != nullptr; })) << target;
    }
    node_.runtime.exit(pid, Kind::kKill);
    EXPECT_EQ(node_.wait(pid).kind(), Kind::kKilled);
    EXPECT_TRUE(eventually([&] { return half->response_body.state() == otp::Pipe::State::kBroken; })) << target;
    EXPECT_EQ(half->request_body.state(), otp::Pipe::State::kBroken) << target;
    EXPECT_TRUE(node_.settles());
  }
}

}  // namespace
}  // namespace rusm::wasm
