// What becomes of a request when its handler does not do what it should.
#include <gmock/gmock.h>

#include "serve/test_world.h"

namespace rusm::serve {
namespace {

using http::Exchange;
using otp::Routine;
using otp::Self;
using testing::HasSubstr;
using testing::Not;

class Handlers : public ServeWorld {};

Routine never_answers(Self& self, Ref<Exchange> exchange) {
  while (exchange) co_await otp::receive(self);
}

Routine ends_silently(Self&, Ref<Exchange>) {
  co_return;
}

Routine crashes(Self&, Ref<Exchange>) {
  throw std::runtime_error("boom");
  co_return;
}

Routine crashes_in_the_middle(Self& self, Ref<Exchange> exchange) {
  exchange->respond({});
  co_await write_body(self, exchange, "part");
  throw std::runtime_error("boom");
}

Routine runs_out(Self& self, Ref<Exchange>, std::string which) {
  co_await otp::end(self, otp::ExitReason::limit(which, "used up"));
}

Routine fails(Self&, Ref<Exchange> exchange) {
  exchange->fail("upstream is down");
  co_return;
}

Routine answers_twice(Self& self, Ref<Exchange> exchange) {
  http::ResponseHead second;
  second.status = 500;
  exchange->respond({});
  EXPECT_FALSE(exchange->respond(std::move(second)));
  EXPECT_FALSE(exchange->fail("changed my mind"));
  if (co_await write_body(self, exchange, "first")) exchange->response_body.finish();
}

Routine breaks_its_body(Self& self, Ref<Exchange> exchange) {
  exchange->respond({});
  co_await write_body(self, exchange, "part");
  co_await otp::sleep(self, kSecond);
  exchange->response_body.abort();
  co_await otp::sleep(self, kSecond);
}

Routine injects(Self& self, Ref<Exchange> exchange) {
  http::ResponseHead head;
  head.headers.add("x", "a\r\nset-cookie: stolen");
  exchange->respond(std::move(head));
  if (co_await write_body(self, exchange, "body")) exchange->response_body.finish();
}

Routine announces(Self& self, Ref<Exchange> exchange, std::string length, std::string body) {
  http::ResponseHead head;
  head.headers.add("content-length", length);
  exchange->respond(std::move(head));
  co_await otp::sleep(self, kMillisecond);
  if (co_await write_body(self, exchange, body)) exchange->response_body.finish();
}

// Writes "tick" every second.
Routine ticks(Self& self, Ref<Exchange> exchange) {
  exchange->respond({});
  for (;;) {
    if (!co_await write_body(self, exchange, "tick")) co_return;
    co_await otp::sleep(self, kSecond);
  }
}

// The id of an answer of the server's, which has to be in the log with these words.
void expect_logged(std::string_view response, std::string_view log, std::initializer_list<std::string_view> words) {
  const std::size_t at = response.find("x-request-id: ");
  ASSERT_NE(at, std::string_view::npos) << response;
  const std::string id(response.substr(at + 14, 16));
  EXPECT_THAT(body_of(response), HasSubstr(id));
  const std::size_t line_at = log.find(id);
  ASSERT_NE(line_at, std::string_view::npos) << log;
  const std::size_t begin = log.rfind('\n', line_at) + 1;
  const std::string line(log.substr(begin, log.find('\n', line_at) - begin));
  for (const std::string_view word : words) EXPECT_THAT(line, HasSubstr(word));
}

TEST_F(Handlers, ACrashIs500WithAnIdThatIsInTheLog) {
  serve(crashes);
  TestClient client = connect();
  const std::string response = client.ask(get("/x"));
  EXPECT_EQ(status_of(response), 500);
  expect_logged(response, log_.text(), {"status=500", "boom", "pid=", "/x"});
  EXPECT_EQ(counted(Count::kHandlerCrashed), 1u);
  EXPECT_EQ(status_of(client.ask(get("/"))), 500) << "the connection goes on";
}

TEST_F(Handlers, NoAnswerIs500) {
  serve(ends_silently);
  TestClient client = connect();
  EXPECT_EQ(status_of(client.ask(get("/"))), 500);
  EXPECT_EQ(counted(Count::kHandlerSilent), 1u);
}

TEST_F(Handlers, ALimitIs500UnlessThereWasNoRoomForTheHandler) {
  std::string which = "memory";
  serve([&](Self& self, Ref<Exchange> exchange) { return runs_out(self, exchange, which); });
  TestClient client = connect();
  EXPECT_EQ(status_of(client.ask(get("/"))), 500);
  which = "instances";
  const std::string response = client.ask(get("/"));
  EXPECT_EQ(status_of(response), 503);
  EXPECT_THAT(response, HasSubstr("retry-after: 1\r\n"));
  EXPECT_EQ(counted(Count::kNoRoom), 1u);
}

TEST_F(Handlers, AFailureThatTheHandlerReportsIs502) {
  serve(fails);
  TestClient client = connect();
  const std::string response = client.ask(get("/"));
  EXPECT_EQ(status_of(response), 502);
  expect_logged(response, log_.text(), {"upstream is down"});
}

TEST_F(Handlers, NeverAnsweringIs504AndTheHandlerIsKilled) {
  serve(never_answers);
  TestClient client = connect();
  client.send(get("/"));
  advance(29 * kSecond);
  EXPECT_EQ(client.read(), "");
  EXPECT_EQ(processes(), 2u);
  advance(kSecond);
  const std::string response = client.read();
  EXPECT_EQ(status_of(response), 504);
  expect_logged(response, log_.text(), {"status=504"});
  EXPECT_EQ(processes(), 1u);
  EXPECT_EQ(server_->requests_in_flight(), 0u);
}

TEST_F(Handlers, OnlyTheFirstAnswerCounts) {
  serve(answers_twice);
  TestClient client = connect();
  const std::string response = client.ask(get("/"));
  EXPECT_EQ(status_of(response), 200);
  EXPECT_EQ(body_of(response), "first");
}

TEST_F(Handlers, ACrashAfterTheHeadResets) {
  serve(crashes_in_the_middle);
  TestClient client = connect();
  EXPECT_THAT(client.ask(get("/")), Not(HasSubstr("0\r\n\r\n")));
  EXPECT_TRUE(client.broken());
  EXPECT_EQ(counted(Count::kBodyCut), 1u);
  EXPECT_THAT(log_.text(), HasSubstr("response cut"));
}

TEST_F(Handlers, ABodyThatBreaksOffResets) {
  serve(breaks_its_body);
  TestClient client = connect();
  EXPECT_THAT(client.ask(get("/")), HasSubstr("4\r\npart\r\n"));
  advance(kSecond);
  client.read();
  EXPECT_TRUE(client.broken());
  EXPECT_EQ(processes(), 0u);
}

TEST_F(Handlers, LineBreaksInAHeaderNeverGetOut) {
  serve(injects);
  TestClient client = connect();
  const std::string response = client.ask(get("/"));
  EXPECT_EQ(status_of(response), 502);
  EXPECT_THAT(response, Not(HasSubstr("stolen")));
  EXPECT_EQ(counted(Count::kBadResponse), 1u);
}

TEST_F(Handlers, ABodyShorterThanAnnouncedResets) {
  serve([](Self& self, Ref<Exchange> exchange) { return announces(self, exchange, "10", "short"); });
  TestClient client = connect();
  EXPECT_THAT(client.ask(get("/")), HasSubstr("content-length: 10\r\n"));
  advance(kMillisecond);
  client.read();
  EXPECT_TRUE(client.broken());
  EXPECT_EQ(counted(Count::kBodyCut), 1u);
}

TEST_F(Handlers, ABodyLongerThanAnnouncedIsCutAndTheConnectionCloses) {
  serve([](Self& self, Ref<Exchange> exchange) { return announces(self, exchange, "3", "too long"); });
  TestClient client = connect();
  client.send(get("/"));
  advance(kMillisecond);
  EXPECT_EQ(body_of(client.read()), "too");
  EXPECT_TRUE(client.finished());
  EXPECT_EQ(counted(Count::kBodyTooLong), 1u);
  EXPECT_THAT(log_.text(), HasSubstr("more than its Content-Length"));
}

TEST_F(Handlers, AStreamGoesOnAsLongAsSomethingComes) {
  serve(ticks);
  TestClient client = connect();
  client.send(get("/"));
  for (int i = 0; i < 100; ++i) advance(kSecond);
  EXPECT_EQ(count_of(client.read(), "4\r\ntick\r\n"), 101);
  client.reset();
  EXPECT_EQ(processes(), 0u);
}

Routine stops_in_the_middle(Self& self, Ref<Exchange> exchange) {
  exchange->respond({});
  co_await write_body(self, exchange, "part");
  while (exchange) co_await otp::receive(self);
}

TEST_F(Handlers, AHandlerThatStopsInTheMiddleIsKilled) {
  serve(stops_in_the_middle);
  TestClient client = connect();
  client.ask(get("/"));
  advance(30 * kSecond);
  client.read();
  EXPECT_TRUE(client.broken());
  EXPECT_EQ(counted(Count::kDeadline), 1u);
  EXPECT_EQ(processes(), 0u);
}

Routine works_on(Self& self, Ref<Exchange> exchange, Nanoseconds span) {
  co_await respond(self, exchange, 200, "done");
  exchange.reset();
  co_await otp::sleep(self, span);
}

TEST_F(Handlers, AHandlerMayWorkOnAfterItsResponse) {
  serve([](Self& self, Ref<Exchange> exchange) { return works_on(self, exchange, 5 * kSecond); });
  TestClient client = connect();
  EXPECT_EQ(body_of(client.ask(get("/"))), "done");
  EXPECT_EQ(body_of(client.ask(get("/"))), "done") << "the next request does not wait for it";
  EXPECT_EQ(server_->requests_in_flight(), 2u) << "it still counts";
  EXPECT_EQ(processes(), 3u);
  advance(5 * kSecond);
  EXPECT_EQ(processes(), 1u);
  EXPECT_EQ(server_->requests_in_flight(), 0u);
}

TEST_F(Handlers, WorkAfterTheResponseIsLimitedInTimeAndNumber) {
  serve([](Self& self, Ref<Exchange> exchange) { return works_on(self, exchange, kNever); });
  TestClient client = connect();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(body_of(client.ask(get("/"))), "done");
  EXPECT_LE(processes(), 6u);
  client.close();
  advance(30 * kSecond);
  EXPECT_EQ(processes(), 0u);
}

}  // namespace
}  // namespace rusm::serve
