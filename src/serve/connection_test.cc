#include "serve/connection.h"

#include <gmock/gmock.h>

#include "serve/test_world.h"

namespace rusm::serve {
namespace {

using http::Exchange;
using otp::Routine;
using otp::Self;
using testing::HasSubstr;
using testing::Not;

class Connections : public ServeWorld {};

// ── Handlers ───────────────────────────────────────────────────────────────────────────────────────────────────────

Routine hello(Self& self, Ref<Exchange> exchange) {
  co_await respond(self, exchange, 200, "hello");
}

// Answers with trailers, all at once.
Routine summed(Self&, Ref<Exchange> exchange) {
  http::HeaderList trailers;
  trailers.add("x-sum", "5");
  exchange->set_trailers(std::move(trailers));
  exchange->response_body.write(std::as_bytes(std::span("hello", 5)));
  exchange->response_body.finish();
  exchange->respond({});
  co_return;
}

// Answers with what it sees of the request.
Routine describe(Self& self, Ref<Exchange> exchange) {
  const http::RequestHead& head = exchange->request;
  std::string text = head.method + " " + head.target + " " + head.authority;
  for (std::size_t i = 0; i < head.params.size(); ++i) {
    text += " " + std::string(head.params[i].name) + "=" + std::string(head.params[i].value);
  }
  text += head.content_length ? " " + std::to_string(*head.content_length) : " chunked";
  co_await respond(self, exchange, 200, text);
}

// Streams the body of the request back.
Routine echo(Self& self, Ref<Exchange> exchange) {
  exchange->respond({});
  for (;;) {
    bool intact = true;
    std::string piece = co_await read_body(self, exchange, &intact);
    if (!intact) co_return;
    if (piece.empty()) break;
    if (!co_await write_body(self, exchange, piece)) co_return;
  }
  exchange->response_body.finish();
}

// Reads everything, then says how much it was.
Routine measure(Self& self, Ref<Exchange> exchange) {
  std::size_t bytes = 0;
  for (;;) {
    const std::string piece = co_await read_body(self, exchange);
    if (piece.empty()) break;
    bytes += piece.size();
  }
  co_await respond(self, exchange, 200, std::to_string(bytes));
}

Routine never_answers(Self& self, Ref<Exchange> exchange) {
  while (exchange) co_await otp::receive(self);
}

// Sends without end.
Routine floods(Self& self, Ref<Exchange> exchange) {
  exchange->respond({});
  while (co_await write_body(self, exchange, std::string(10'000, 'x'))) {
  }
}

// ── Ordinary requests ──────────────────────────────────────────────────────────────────────────────────────────────

TEST_F(Connections, AnswersAndGoesOn) {
  serve(hello);
  TestClient client = connect();
  for (int i = 0; i < 3; ++i) {
    const std::string response = client.ask(get("/"));
    EXPECT_EQ(status_of(response), 200);
    EXPECT_THAT(response, HasSubstr("content-length: 5\r\n"));
    EXPECT_THAT(response, Not(HasSubstr("connection:")));
    EXPECT_EQ(body_of(response), "hello");
  }
  EXPECT_EQ(counted(Count::kConnections), 1u);
  EXPECT_EQ(counted(Count::kRequests), 3u);
  EXPECT_EQ(counted(Count::kAnswered), 3u);
  EXPECT_EQ(processes(), 1u) << "each request's process is gone";
  EXPECT_EQ(server_->requests_in_flight(), 0u);
}

TEST_F(Connections, TheHandlerSeesTheRequest) {
  serve(describe, {.routes = {{"/users/:id", "handler"}, {"/*", "handler"}}});
  TestClient client = connect();
  EXPECT_EQ(body_of(client.ask(get("/users/a%20b?full=1"))), "GET /users/a%20b?full=1 a id=a b 0");
  EXPECT_EQ(body_of(client.ask(post("/x", "abc"))), "POST /x a *=x 3");
}

TEST_F(Connections, PipelinedRequestsAreAnsweredInOrder) {
  serve(describe);
  TestClient client = connect();
  const std::string all = client.ask(get("/1") + post("/2", "body") + get("/3"));
  EXPECT_EQ(count_of(all, "HTTP/1.1 200 OK"), 3);
  EXPECT_LT(all.find("GET /1"), all.find("POST /2"));
  EXPECT_LT(all.find("POST /2"), all.find("GET /3"));
}

TEST_F(Connections, ClosesWhenAsked) {
  serve(hello);
  TestClient client = connect();
  EXPECT_THAT(client.ask(get("/", "Connection: close\r\n")), HasSubstr("connection: close\r\n"));
  EXPECT_TRUE(client.finished());
  EXPECT_EQ(processes(), 0u);
}

TEST_F(Connections, Http10) {
  serve(hello);
  TestClient client = connect();
  EXPECT_THAT(client.ask("GET / HTTP/1.0\r\n\r\n"), HasSubstr("connection: close\r\n"));
  EXPECT_TRUE(client.finished());
  TestClient keeps = connect();
  EXPECT_THAT(keeps.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), HasSubstr("connection: keep-alive\r\n"));
  EXPECT_FALSE(keeps.finished());
}

TEST_F(Connections, Http10GetsAStreamThatEndsWithTheConnection) {
  serve(echo);
  TestClient client = connect();
  std::string response = client.ask("POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\n");
  response += client.ask("body");
  EXPECT_THAT(response, Not(HasSubstr("chunked")));
  EXPECT_TRUE(client.finished());
  EXPECT_EQ(body_of(response), "body");
}

TEST_F(Connections, Http10LosesTrailersAndKeepsTheLength) {
  serve(summed);
  TestClient client = connect();
  const std::string response = client.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_THAT(response, HasSubstr("content-length: 5\r\n"));
  EXPECT_THAT(response, Not(HasSubstr("x-sum")));
  EXPECT_EQ(body_of(response), "hello");
  EXPECT_FALSE(client.finished());
}

TEST_F(Connections, HeadHasNoBody) {
  serve(hello);
  TestClient client = connect();
  const std::string response = client.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + get("/"));
  EXPECT_EQ(count_of(response, "HTTP/1.1 200 OK"), 2);
  EXPECT_EQ(count_of(response, "content-length: 5"), 2);
  EXPECT_EQ(count_of(response, "hello"), 1);
}

TEST_F(Connections, RoutingFailuresKeepTheConnection) {
  serve(hello, {.routes = {{"GET /", "handler"}, {"PUT /", "handler"}}});
  TestClient client = connect();
  EXPECT_EQ(status_of(client.ask(get("/nowhere"))), 404);
  const std::string refused = client.ask(post("/", "a body that nobody reads"));
  EXPECT_EQ(status_of(refused), 405);
  EXPECT_THAT(refused, HasSubstr("allow: GET, HEAD, PUT\r\n"));
  EXPECT_EQ(status_of(client.ask(get("/../etc"))), 400);
  EXPECT_EQ(status_of(client.ask(get("/"))), 200);
}

TEST_F(Connections, AddsTheConfiguredHeaders) {
  serve(hello, {.headers = {{"x-frame-options", "DENY"}}});
  TestClient client = connect();
  EXPECT_THAT(client.ask(get("/")), HasSubstr("x-frame-options: DENY\r\n"));
}

// ── Bodies ─────────────────────────────────────────────────────────────────────────────────────────────────────────

TEST_F(Connections, StreamsBothWaysAtTheSameTime) {
  serve(echo);
  TestClient client = connect();
  EXPECT_THAT(client.ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
              HasSubstr("transfer-encoding: chunked\r\n"))
      << "the head is not held back until there is a body";
  EXPECT_EQ(client.ask("3\r\nabc\r\n"), "3\r\nabc\r\n");
  EXPECT_EQ(client.ask("2;x=y\r\nde\r\n"), "2\r\nde\r\n");
  EXPECT_EQ(client.ask("0\r\nTrailer: t\r\n\r\n"), "0\r\n\r\n");
  EXPECT_EQ(status_of(client.ask(post("/", "again"))), 200);
}

std::string dechunk(std::string_view text) {
  std::string body;
  for (;;) {
    const std::size_t line = text.find("\r\n");
    if (line == std::string_view::npos) return body + "<cut>";
    const std::size_t bytes = std::stoul(std::string(text.substr(0, line)), nullptr, 16);
    if (bytes == 0) return body;
    body += text.substr(line + 2, bytes);
    text.remove_prefix(line + 2 + bytes + 2);
  }
}

TEST_F(Connections, LargeBodiesSurviveAnyPieces) {
  std::string body(300'000, ' ');
  for (std::size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>('a' + i * 7 % 26);
  serve(echo, {}, {.seed = 11, .buffer_bytes = 3000, .piece_bytes_max = 1000});
  TestClient client = connect();
  // The echo comes while we send, so both have to be done in turns.
  std::string received;
  const std::string request = post("/", body);
  for (std::size_t at = 0; at < request.size(); at += 1500) {
    client.send(std::string_view(request).substr(at, 1500));
    received += client.read();
  }
  EXPECT_EQ(dechunk(body_of(received)), body);
  EXPECT_FALSE(client.finished());
}

TEST_F(Connections, BackPressureReachesTheClient) {
  serve(never_answers, {}, {.seed = 1, .buffer_bytes = 10'000});
  TestClient client = connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n");
  std::size_t taken = 0;
  const std::string piece(1000, 'x');
  auto stream = network_->connect(net::Address::ipv4(0x7f000001, kPort));
  runtime_.run_until_idle();
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n";
  const std::span<const std::byte> head_pieces[] = {std::as_bytes(std::span(head))};
  (void)(*stream)->try_write(head_pieces);
  for (;;) {
    runtime_.run_until_idle();
    const std::span<const std::byte> pieces[] = {std::as_bytes(std::span(piece))};
    const net::IoResult put = (*stream)->try_write(pieces);
    if (put.status != net::Io::kDone) break;
    taken += put.bytes;
    ASSERT_LT(taken, 1'000'000u) << "somebody holds it all";
  }
  EXPECT_LE(taken, Exchange::kPipeBytes + 10'000 + ServerCore::kScratchBytes);
}

TEST_F(Connections, SendsContinueOnlyWhenTheHandlerReads) {
  serve(measure);
  TestClient client = connect();
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
  EXPECT_EQ(client.ask(head), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_EQ(body_of(client.ask("body")), "4");
  EXPECT_EQ(status_of(client.ask(get("/"))), 200);
}

TEST_F(Connections, NoContinueWhenTheHandlerDoesNotWantTheBody) {
  serve(hello);
  TestClient client = connect();
  const std::string response =
      client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(status_of(response), 200);
  EXPECT_THAT(response, HasSubstr("connection: close\r\n"));
  EXPECT_TRUE(client.finished());
}

TEST_F(Connections, AClientThatDoesNotWaitForContinueIsServed) {
  serve(measure);
  TestClient client = connect();
  EXPECT_EQ(body_of(client.ask(post("/", "body", "Expect: 100-continue\r\n"))), "4");
}

TEST_F(Connections, AnUnreadBodyIsDroppedAndTheConnectionGoesOn) {
  serve(hello);
  TestClient client = connect();
  const std::string all = client.ask(post("/", std::string(200'000, 'x')) + get("/"));
  EXPECT_EQ(count_of(all, "HTTP/1.1 200 OK"), 2);
  const std::string chunked =
      client.ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n" + get("/"));
  EXPECT_EQ(count_of(chunked, "HTTP/1.1 200 OK"), 2);
}

TEST_F(Connections, AnUnreadBodyThatIsTooLongEndsTheConnection) {
  serve(hello, {.unread_body_bytes_max = 1000});
  TestClient client = connect();
  const std::string all = client.ask(post("/", std::string(200'000, 'x')) + get("/"));
  EXPECT_EQ(count_of(all, "HTTP/1.1 200 OK"), 1);
  EXPECT_TRUE(client.finished());
  EXPECT_FALSE(client.broken()) << "the client can read the answer";
}

TEST_F(Connections, LimitsTheBody) {
  serve(measure, {.body_bytes_max = 10});
  TestClient announced = connect();
  EXPECT_EQ(body_of(announced.ask(post("/", "0123456789"))), "10");
  EXPECT_EQ(status_of(announced.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n")), 413);
  EXPECT_TRUE(announced.finished());
  TestClient chunked = connect();
  EXPECT_EQ(status_of(chunked.ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                                  "b\r\n0123456789a\r\n0\r\n\r\n")),
            413);
  EXPECT_TRUE(chunked.finished());
}

// ── Bad requests ───────────────────────────────────────────────────────────────────────────────────────────────────

struct Bad {
  const char* name;
  std::string text;
  int status;
};
void PrintTo(const Bad& bad, std::ostream* out) {
  *out << bad.name;
}

class BadInput : public ServeWorld, public testing::WithParamInterface<Bad> {};

// The answer is the last thing on the connection: what follows the bad request is never taken for another.
TEST_P(BadInput, IsAnsweredAndNothingAfterItIsParsed) {
  serve(hello);
  TestClient client = connect();
  const std::string response = client.ask(GetParam().text + get("/smuggled") + get("/smuggled"));
  EXPECT_EQ(status_of(response), GetParam().status) << response;
  EXPECT_EQ(count_of(response, "HTTP/1.1 "), 1) << response;
  EXPECT_THAT(response, HasSubstr("connection: close\r\n"));
  EXPECT_TRUE(client.finished());
  EXPECT_EQ(counted(Count::kRequests), 0u);
  EXPECT_EQ(client.ask(get("/smuggled")), "");
  client.close();
  EXPECT_EQ(processes(), 0u);
}

INSTANTIATE_TEST_SUITE_P(
    Requests, BadInput,
    testing::Values(
        Bad{"TwoContentLengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
        Bad{"TwoEqualLengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 400},
        Bad{"LengthThenCoding",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        Bad{"CodingThenLength",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400},
        Bad{"Xchunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501},
        Bad{"Identity", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", 501},
        Bad{"ChunkedIdentity", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
            400},
        Bad{"CodingInHttp10", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        Bad{"NoHost", "GET / HTTP/1.1\r\n\r\n", 400},
        Bad{"TwoHosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
        Bad{"ObsFold", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400},
        Bad{"BareLf", "GET / HTTP/1.1\nHost: a\n\n", 400},
        Bad{"BareCr", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400},
        Bad{"Nul", "GET / HTTP/1.1\r\nHost: a\r\nX: a" + std::string(1, '\0') + "\r\n\r\n", 400},
        Bad{"LongRequestLine", "GET /" + std::string(9000, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
        Bad{"LongHeaderLine", "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(9000, 'a') + "\r\n\r\n", 431},
        Bad{"ManyHeaders",
            [] {
              std::string text = "GET / HTTP/1.1\r\nHost: a\r\n";
              for (int i = 0; i < 100; ++i) text += "X: a\r\n";
              return text + "\r\n";
            }(),
            431},
        Bad{"LargeBlock",
            [] {
              std::string text = "GET / HTTP/1.1\r\nHost: a\r\n";
              for (int i = 0; i < 8; ++i) text += "X: " + std::string(5000, 'a') + "\r\n";
              return text + "\r\n";
            }(),
            431}),
    [](const auto& param) { return param.param.name; });

TEST_F(Connections, AMalformedChunkIsRefusedAndNothingAfterItIsParsed) {
  serve(measure);
  TestClient client = connect();
  const std::string response = client.ask(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n" + get("/smuggled"));
  EXPECT_EQ(status_of(response), 400);
  EXPECT_EQ(count_of(response, "HTTP/1.1 "), 1);
  EXPECT_TRUE(client.finished());
  client.close();
  EXPECT_EQ(processes(), 0u) << "the handler is killed";
}

TEST_F(Connections, AMalformedChunkAfterTheHeadOfTheResponseResets) {
  serve(echo);
  TestClient client = connect();
  client.ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  client.ask("xyz\r\n");
  EXPECT_TRUE(client.broken());
  EXPECT_EQ(processes(), 0u);
}

// ── Slow and vanishing clients ─────────────────────────────────────────────────────────────────────────────────────

TEST_F(Connections, AClientThatSendsAByteASecondIsCutWhenItsHeadTakesTooLong) {
  serve(hello);
  TestClient client = connect();
  const std::string request = get("/", "X: " + std::string(100, 'a') + "\r\n");
  std::size_t sent = 0;
  std::string response;
  while (response.empty() && sent < request.size()) {
    client.send(std::string_view(request).substr(sent++, 1));
    advance(kSecond);
    response = client.read();
  }
  EXPECT_EQ(sent, 10u) << "the header timeout is ten seconds";
  EXPECT_EQ(status_of(response), 408);
  EXPECT_EQ(counted(Count::kHeaderTimeout), 1u);
  advance(2 * kSecond);
  EXPECT_TRUE(client.finished());
  EXPECT_EQ(processes(), 0u);
}

TEST_F(Connections, AClientThatSendsItsBodyAByteASecondIsCutAtTheDeadline) {
  serve(measure);
  TestClient client = connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
  std::string response;
  int seconds = 0;
  for (; response.empty() && seconds < 100; ++seconds) {
    client.send("x");
    advance(kSecond);
    response = client.read();
  }
  EXPECT_EQ(seconds, 30) << "the request timeout is thirty seconds";
  EXPECT_EQ(status_of(response), 408);
  EXPECT_EQ(counted(Count::kClientStalled), 1u);
  client.close();
  EXPECT_EQ(processes(), 0u);
}

TEST_F(Connections, AClientThatSendsNothingIsClosed) {
  serve(hello);
  TestClient fresh = connect();
  TestClient idle = connect();
  idle.ask(get("/"));
  advance(10 * kSecond);
  EXPECT_EQ(fresh.read(), "");
  EXPECT_TRUE(fresh.finished());
  EXPECT_FALSE(idle.finished());
  advance(50 * kSecond);
  EXPECT_EQ(idle.read(), "");
  EXPECT_TRUE(idle.finished());
  EXPECT_EQ(counted(Count::kIdleTimeout), 2u);
  advance(2 * kSecond);
  EXPECT_EQ(processes(), 0u);
}

TEST_F(Connections, AClientThatTakesNothingIsReset) {
  serve(floods, {}, {.seed = 1, .buffer_bytes = 1000});
  TestClient client = connect();
  client.send(get("/"));
  advance(29 * kSecond);
  EXPECT_EQ(processes(), 2u);
  advance(kSecond);
  EXPECT_EQ(counted(Count::kClientStalled), 1u);
  EXPECT_EQ(processes(), 0u);
}

TEST_F(Connections, AClientThatVanishesInItsBodyTakesTheHandlerAlong) {
  serve(measure);
  for (const bool by_reset : {false, true}) {
    TestClient client = connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf");
    EXPECT_EQ(processes(), 2u);
    by_reset ? client.reset() : client.close();
    EXPECT_EQ(processes(), 0u);
  }
  EXPECT_EQ(counted(Count::kClientGone), 2u);
}

TEST_F(Connections, AClientThatVanishesInAChunkedBodyTakesTheHandlerAlong) {
  serve(measure);
  TestClient client = connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nha");
  EXPECT_EQ(processes(), 2u);
  client.close();
  EXPECT_EQ(processes(), 0u);
}

TEST_F(Connections, AClientThatVanishesInTheResponseTakesTheHandlerAlong) {
  serve(floods, {}, {.seed = 1, .buffer_bytes = 1000});
  TestClient client = connect();
  client.send(get("/"));
  EXPECT_EQ(processes(), 2u);
  client.reset();
  EXPECT_EQ(processes(), 0u);
  EXPECT_EQ(counted(Count::kClientGone), 1u);
}

TEST_F(Connections, AClientThatVanishesBeforeTheAnswerTakesTheHandlerAlong) {
  serve(never_answers);
  TestClient resets = connect();
  resets.send(get("/"));
  resets.reset();
  EXPECT_EQ(processes(), 0u);
  TestClient closes = connect();
  closes.send(get("/"));
  closes.close();
  EXPECT_EQ(processes(), 2u) << "it may only have closed its side, and gets a moment";
  advance(kSecond);
  EXPECT_EQ(processes(), 0u);
  EXPECT_EQ(counted(Count::kClientGone), 2u);
}

Routine answers_after(Self& self, Ref<Exchange> exchange, Nanoseconds span) {
  co_await otp::sleep(self, span);
  co_await respond(self, exchange, 200, "late");
}

TEST_F(Connections, AClientThatOnlyClosedItsSideIsAnswered) {
  serve([](Self& self, Ref<Exchange> exchange) { return answers_after(self, exchange, kSecond / 2); });
  TestClient client = connect();
  client.send(get("/"));
  client.shutdown_write();
  advance(kSecond / 2);
  EXPECT_EQ(body_of(client.read()), "late");
  EXPECT_TRUE(client.finished());
}

}  // namespace
}  // namespace rusm::serve
