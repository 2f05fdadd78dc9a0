#include "serve/server.h"

#include <gmock/gmock.h>

#include "net/test_world.h"
#include "serve/connection.h"
#include "serve/test_world.h"

namespace rusm::serve {
namespace {

using http::Exchange;
using otp::Routine;
using otp::Self;
using testing::HasSubstr;

class Servers : public ServeWorld {};

Routine hello(Self& self, Ref<Exchange> exchange) {
  co_await respond(self, exchange, 200, "hello");
}

// Answers once the gate is open.
Routine waits(Self& self, Ref<Exchange> exchange, const bool* open) {
  while (!*open) co_await otp::sleep(self, 100 * kMillisecond);
  co_await respond(self, exchange, 200, "at last");
}

class Gated : public ServeWorld {
 protected:
  void serve_gated(AdmissionLimits limits) {
    serve([this](Self& self, Ref<Exchange> exchange) { return waits(self, exchange, &open_); }, {.admission = limits});
  }
  void open() {
    open_ = true;
    advance(100 * kMillisecond);
  }
  bool open_ = false;
};

// ── Admission ──────────────────────────────────────────────────────────────────────────────────────────────────────

TEST_F(Gated, OverloadIs503WithRetryAfterAndAnId) {
  serve_gated({.in_flight_max = 1, .waiting_max = 1});
  TestClient first = connect();
  TestClient second = connect();
  TestClient third = connect();
  EXPECT_EQ(first.ask(get("/")), "");
  EXPECT_EQ(second.ask(get("/")), "");
  const std::string refused = third.ask(get("/"));
  EXPECT_EQ(status_of(refused), 503);
  EXPECT_THAT(refused, HasSubstr("retry-after: 1\r\n"));
  EXPECT_THAT(refused, HasSubstr("x-request-id: "));
  EXPECT_EQ(counted(Count::kLineFull), 1u);
  EXPECT_FALSE(third.finished()) << "it may try again on the same connection";
  open();
  EXPECT_EQ(body_of(first.read()), "at last");
  EXPECT_EQ(body_of(second.read()), "at last") << "who waited is served";
  EXPECT_EQ(body_of(third.ask(get("/"))), "at last");
  EXPECT_EQ(server_->requests_in_flight(), 0u);
}

TEST_F(Gated, WaitingTooLongIs503) {
  serve_gated({.in_flight_max = 1, .waiting_max = 10});
  TestClient first = connect();
  TestClient second = connect();
  first.ask(get("/"));
  second.ask(get("/"));
  advance(kSecond);
  EXPECT_EQ(status_of(second.read()), 503);
  EXPECT_EQ(counted(Count::kLineTimeout), 1u);
}

TEST_F(Gated, OneClientCannotTakeTheWholeLine) {
  serve_gated({.in_flight_max = 1, .waiting_max = 10, .waiting_per_client_max = 1});
  TestClient first = connect();
  TestClient second = connect();
  TestClient third = connect();
  first.ask(get("/"));
  second.ask(get("/"));
  EXPECT_EQ(status_of(third.ask(get("/"))), 503);
  EXPECT_EQ(counted(Count::kClientShare), 1u);
}

TEST_F(Gated, AClientThatVanishesInLineLeavesIt) {
  serve_gated({.in_flight_max = 1, .waiting_max = 1});
  TestClient first = connect();
  first.ask(get("/"));
  {
    TestClient second = connect();
    second.send(get("/"));
    second.reset();
  }
  TestClient third = connect();
  EXPECT_EQ(third.ask(get("/")), "") << "there is room in the line";
  open();
  EXPECT_EQ(body_of(third.read()), "at last");
}

TEST_F(Gated, AKilledConnectionGivesUpItsPlace) {
  serve_gated({.in_flight_max = 1, .waiting_max = 1});
  TestClient first = connect();
  TestClient second = connect();
  first.ask(get("/"));
  second.ask(get("/"));
  server_->kill();
  runtime_.run_until_idle();
  EXPECT_EQ(server_->requests_in_flight(), 0u);
  EXPECT_EQ(server_->connections(), 0u);
  EXPECT_EQ(processes(), 0u) << "handlers go with their connections";
}

class NoRoom final : public otp::BodyFactory, public otp::BodyMaker {
 public:
  std::shared_ptr<otp::BodyMaker> find(std::string_view) const noexcept override { return std::make_shared<NoRoom>(); }
  Result<otp::BodyPtr> make(otp::StartArgument) noexcept override {
    return fail(ErrorCode::kLimit, "", "every instance is in use");
  }
};

TEST_F(Servers, NoInstanceIs503) {
  network_ = std::make_unique<net::SimulatedTransport>(runtime_);
  ServeOptions options;
  options.listen = net::Address::ipv4(0x7f000001, kPort);
  options.routes = {{"/*", "anything"}};
  auto server = Server::start(runtime_, *network_, NoRoom(), options);
  ASSERT_TRUE(server);
  server_ = std::move(*server);
  runtime_.run_until_idle();
  TestClient client = connect();
  const std::string response = client.ask(get("/"));
  EXPECT_EQ(status_of(response), 503);
  EXPECT_THAT(response, HasSubstr("retry-after: 1\r\n"));
  EXPECT_EQ(counted(Count::kNoRoom), 1u);
  EXPECT_EQ(server_->requests_in_flight(), 0u);
}

// ── Accepting ──────────────────────────────────────────────────────────────────────────────────────────────────────

TEST_F(Servers, AcceptingPausesAtTheLimitAndGoesOnWhenOneEnds) {
  serve(hello, {.connections_max = 2});
  TestClient first = connect();
  TestClient second = connect();
  TestClient third = connect();
  EXPECT_EQ(status_of(first.ask(get("/"))), 200);
  EXPECT_EQ(third.ask(get("/")), "");
  EXPECT_EQ(server_->connections(), 2u);
  EXPECT_EQ(counted(Count::kConnectionsFull), 1u);
  first.close();
  EXPECT_EQ(status_of(third.read()), 200);
}

TEST_F(Servers, AcceptingGoesOnWhenThereAreDescriptorsAgain) {
  serve(hello);
  network_->exhaust(3);
  const std::uint64_t before = network_->accept_calls();
  TestClient client = connect();
  EXPECT_EQ(client.ask(get("/")), "");
  EXPECT_LE(network_->accept_calls() - before, 2u) << "it must not spin";
  EXPECT_EQ(counted(Count::kAcceptExhausted), 1u);
  EXPECT_THAT(log_.text(), HasSubstr("out of file descriptors"));
  for (int i = 0; i < 4; ++i) advance(100 * kMillisecond);
  EXPECT_EQ(status_of(client.read()), 200);
}

// A connection made by hand: it gives `input` and then nothing, takes all, and needs two flushes after the end.
class HandMade final : public net::SilentStream {
 public:
  struct State {
    std::string input;
    Nanoseconds break_at = kNever;  // it says when it has to be looked at, and then it is broken
    bool finishing = false;
    int flushes_left = 2;
    otp::Pid owner;
    bool closed = false;
  };
  HandMade(State& state, const Clock& clock) : state_(state), clock_(clock) {}
  ~HandMade() override { state_.closed = true; }
  void set_owner(otp::Pid pid) noexcept override { state_.owner = pid; }
  net::IoResult try_read(std::span<std::byte> room) noexcept override {
    if (clock_.now() >= state_.break_at) return {net::Io::kBroken};
    const std::size_t count = std::min(room.size(), state_.input.size());
    if (count == 0) return {net::Io::kWouldBlock};
    std::ranges::copy(std::as_bytes(std::span(state_.input)).first(count), room.begin());
    state_.input.erase(0, count);
    return {net::Io::kDone, count};
  }
  net::IoResult try_write(std::span<const std::span<const std::byte>> pieces) noexcept override {
    std::size_t count = 0;
    for (const auto& piece : pieces) count += piece.size();
    return {net::Io::kDone, count};
  }
  void shutdown_write() noexcept override { state_.finishing = true; }
  net::Io flush() noexcept override {
    if (!state_.finishing || state_.flushes_left == 0) return net::Io::kDone;
    return --state_.flushes_left == 0 ? net::Io::kDone : net::Io::kWouldBlock;
  }
  Nanoseconds look_again_at() noexcept override { return state_.break_at; }

 private:
  State& state_;
  const Clock& clock_;
};

TEST_F(Servers, AStreamIsLookedAtWhenItWantsToBeAndFlushedAtTheEnd) {
  ServeOptions options{.header_timeout = 3600 * kSecond, .linger_timeout = 3600 * kSecond};
  auto core = make_ref<ServerCore>(runtime_, std::move(options), Router(), std::vector<ServerCore::Handler>());
  HandMade::State early;
  early.break_at = clock_.now() + 10 * kSecond;
  HandMade::State wrong;
  wrong.input = "no request\r\n\r\n";
  for (HandMade::State* state : {&early, &wrong}) {
    auto lease = std::make_unique<net::Lease>(core->connections());
    std::unique_ptr<net::Stream> stream = std::make_unique<HandMade>(*state, clock_);
    runtime_.spawn(serve_connection, core, std::move(lease), std::move(stream));
  }
  runtime_.run_until_idle();
  EXPECT_TRUE(wrong.finishing) << "it was answered with an error";
  EXPECT_EQ(wrong.flushes_left, 1);
  runtime_.wake(wrong.owner);
  runtime_.run_until_idle();
  EXPECT_EQ(wrong.flushes_left, 0);
  EXPECT_FALSE(early.closed);
  advance(10 * kSecond);
  EXPECT_TRUE(early.closed);
  EXPECT_FALSE(wrong.closed);
  runtime_.kill_all();
  runtime_.run_until_idle();
}

// ── Draining ───────────────────────────────────────────────────────────────────────────────────────────────────────

TEST_F(Gated, DrainFinishesWhatIsInFlightAndClosesWhatIsIdle) {
  serve_gated({});
  TestClient busy = connect();
  TestClient idle = connect();
  busy.ask(get("/"));
  server_->begin_drain();
  runtime_.run_until_idle();
  EXPECT_EQ(idle.read(), "");
  EXPECT_TRUE(idle.finished()) << "at once";
  EXPECT_FALSE(network_->connect(net::Address::ipv4(0x7f000001, kPort))) << "nobody listens any more";
  open();
  const std::string response = busy.read();
  EXPECT_EQ(body_of(response), "at last");
  EXPECT_THAT(response, HasSubstr("connection: close\r\n"));
  EXPECT_TRUE(busy.finished());
  busy.close();
  idle.close();
  EXPECT_EQ(server_->connections(), 0u);
  EXPECT_EQ(runtime_.process_count(), 0u);
}

TEST_F(Gated, DestroyingTheServerEndsEverything) {
  serve_gated({});
  TestClient client = connect();
  client.ask(get("/"));
  EXPECT_EQ(runtime_.process_count(), 3u);
  server_.reset();
  runtime_.run_until_idle();
  EXPECT_EQ(runtime_.process_count(), 0u);
  client.read();
  EXPECT_TRUE(client.finished() || client.broken());
}

// ── Starting ───────────────────────────────────────────────────────────────────────────────────────────────────────

TEST_F(Servers, NamesWhatIsWrongAtTheStart) {
  serve(hello);
  const auto error_of = [&](ServeOptions options) {
    auto server = Server::start(runtime_, *network_, handlers_, std::move(options));
    return server ? Error{ErrorCode::kInternal, "", "it started"} : server.error();
  };
  const net::Address free = net::Address::ipv4(0x7f000001, 81);
  EXPECT_EQ(error_of({.listen = net::Address::ipv4(0x7f000001, kPort), .routes = {}}).code, ErrorCode::kExists);
  EXPECT_EQ(error_of({.listen = free, .routes = {{"/", "nobody"}}}).code, ErrorCode::kNotFound);
  EXPECT_EQ(error_of({.listen = free, .routes = {{"GET", "handler"}}}).code, ErrorCode::kInvalid);
  EXPECT_EQ(error_of({.listen = free, .routes = {{"/", "handler"}, {"/", "handler"}}}).code, ErrorCode::kExists);
  EXPECT_EQ(error_of({.listen = free, .routes = {}, .headers = {{"x", "a\r\nb"}}}).code, ErrorCode::kInvalid);
}

TEST(Counts, EachHasAName) {
  for (std::size_t i = 0; i < kCounts; ++i) EXPECT_FALSE(name_of(static_cast<Count>(i)).empty()) << i;
}

}  // namespace
}  // namespace rusm::serve
