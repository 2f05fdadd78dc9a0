#include "net/listener.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>

#include <algorithm>
#include <atomic>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "net/test_world.h"
#include "otp/match.h"

namespace rusm::net {
namespace {

using otp::Routine;
using otp::Self;

constexpr auto kPatience = std::chrono::seconds(60);

Routine echo(Self& self, Connection connection) {
  for (;;) {
    const NetResult<Chunk> got = co_await connection.read(self);
    if (!got || !co_await connection.write(self, *got)) co_return;
  }
}

// Traps exits: told to end, it says so to its peer first.
Routine polite(Self& self, Connection connection) {
  self.trap_exit(true);
  for (;;) {
    const Arrival arrival = co_await connection.readable_or_message(self);
    if (arrival.message) {
      (void)co_await otp::receive(self);
      (void)co_await connection.write(self, "bye");
      co_return;
    }
    if (!co_await connection.read(self)) co_return;
  }
}

// Traps exits and hears nothing.
Routine deaf(Self& self, Connection connection) {
  self.trap_exit(true);
  for (;;) {
    if (!co_await connection.read(self)) co_return;
  }
}

Routine throws_on(Self& self, Connection connection, std::string word) {
  const NetResult<Chunk> got = co_await connection.read(self);
  if (got && got->text() == word) throw std::runtime_error(word);
  (void)co_await connection.write(self, "fine");
}

Routine ask_status(Self& self, otp::Pid listener, ListenerStatus* out) {
  if (Result<ListenerStatus> status = co_await listener_status(self, listener)) *out = std::move(*status);
}

struct ListenWorld : World {
  using World::World;
  otp::Pid start(StartConnection body, ListenOptions options = {}) {
    options.address = kHere;
    listener = runtime.spawn(listen, &network, std::move(options), std::move(body));
    run();
    return listener;
  }
  std::unique_ptr<Stream> connect_one() {
    auto stream = network.connect(kHere);
    if (!stream) return nullptr;
    run();
    return std::move(*stream);
  }
  std::string ask(Stream& stream, std::string_view text) {
    write_text(stream, text);
    run();
    return read_text(stream);
  }
  ListenerStatus status() {
    ListenerStatus status;
    runtime.spawn(ask_status, listener, &status);
    run();
    return status;
  }
  otp::Pid listener;
};

TEST(Listener, EachConnectionIsAProcess) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    ListenWorld world(seed);
    world.start(each_connection(echo));
    auto a = world.connect_one();
    auto b = world.connect_one();
    EXPECT_EQ(world.runtime.process_count(), 3u);
    EXPECT_EQ(world.ask(*a, "one"), "one");
    EXPECT_EQ(world.ask(*b, "two"), "two");
    a.reset();
    world.run();
    EXPECT_EQ(world.runtime.process_count(), 2u);
    const ListenerStatus status = world.status();
    EXPECT_EQ(status.address, "127.0.0.1:80");
    EXPECT_EQ(status.connections, 1u);
    EXPECT_EQ(status.accepted, 2u);
  }
}

TEST(Listener, AConnectionThatCrashesTouchesNobodyElse) {
  ListenWorld world;
  world.start(each_connection(throws_on, std::string("bang")));
  auto a = world.connect_one();
  auto b = world.connect_one();
  EXPECT_EQ(world.ask(*a, "bang"), "");
  EXPECT_EQ(a->peer_state(), PeerState::kFinished);
  EXPECT_EQ(world.ask(*b, "hello"), "fine");
  EXPECT_TRUE(world.runtime.is_alive(world.listener));
}

TEST(Listener, AtTheLimitItPausesAndGoesOnWhenOneEnds) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    ListenWorld world(seed);
    world.start(each_connection(echo), {.connections_max = 2});
    std::vector<std::unique_ptr<Stream>> streams;
    for (int i = 0; i < 4; ++i) streams.push_back(world.connect_one());
    EXPECT_EQ(world.ask(*streams[1], "in"), "in");
    EXPECT_EQ(world.ask(*streams[2], "waits"), "");
    EXPECT_EQ(world.status().connections, 2u);
    EXPECT_EQ(world.status().full, 1u);
    streams[0].reset();
    world.run();
    EXPECT_EQ(read_text(*streams[2]), "waits") << "without any time passing";
    streams.clear();
    world.run();
    EXPECT_EQ(world.status().connections, 0u);
    EXPECT_EQ(world.status().accepted, 4u);
  }
}

TEST(Listener, OutOfDescriptorsItLivesOn) {
  ListenWorld world;
  world.start(each_connection(echo));
  auto first = world.connect_one();
  world.network.exhaust(3);
  auto second = world.connect_one();
  EXPECT_EQ(world.ask(*second, "still there"), "");
  EXPECT_EQ(world.status().exhausted, 1u) << "counted once, however often it was tried";
  const std::uint64_t calls = world.network.accept_calls();
  world.run();
  EXPECT_EQ(world.network.accept_calls(), calls) << "and not in a loop";
  world.advance(kSecond);
  world.advance(kSecond);
  EXPECT_EQ(read_text(*second), "still there");
  EXPECT_EQ(world.ask(*first, "me too"), "me too");
}

// What is logged.
struct Logged {
  std::string text() {
    log.flush();
    return lines;  // no more is written, as the tests run in one thread
  }
  SimulatedClock clock;
  std::string lines;
  Log log{{}, clock, [this](std::string_view more) { lines += more; }};
};

TEST(Listener, OutOfProcessesItPausesAndComplains) {
  Logged logged;
  ListenWorld world(1, SimulatedNetworkOptions{}, &logged.log);
  bool room = false;
  const StartConnection body = each_connection(echo);
  world.start(
      [&](otp::Runtime& runtime, Connection connection) { return room && body(runtime, std::move(connection)); });
  std::vector<std::unique_ptr<Stream>> streams;
  for (int i = 0; i < 20; ++i) streams.push_back(std::move(*world.network.connect(kHere)));
  world.run();
  EXPECT_EQ(world.status().refused, 1u) << "the others wait until there is room";
  world.advance(20 * kMillisecond);
  world.advance(40 * kMillisecond);
  const ListenerStatus status = world.status();
  EXPECT_GE(status.refused, 2u);
  EXPECT_LE(status.refused, 6u);
  EXPECT_EQ(status.exhausted, 1u);
  EXPECT_NE(logged.text().find("there are too many processes: accepting pauses"), std::string::npos) << logged.text();
  room = true;
  world.advance(kSecond);
  EXPECT_EQ(world.ask(*streams.back(), "hello"), "hello");
}

// Accepting fails there in a way that nobody knows.
class Strange final : public Transport {
 public:
  struct Failing final : Acceptor {
    void set_owner(otp::Pid) noexcept override {}
    std::expected<std::unique_ptr<Stream>, AcceptFailure> try_accept() noexcept override {
      return std::unexpected(AcceptFailure::kExhausted);
    }
    const Address& local() const noexcept override { return kHere; }
    int last_error() const noexcept override { return EPROTO; }
  };
  Result<std::unique_ptr<Acceptor>> listen(const Address&) override { return std::make_unique<Failing>(); }
  Result<std::unique_ptr<Stream>> connect(const Address& address) override {
    return fail(ErrorCode::kUnavailable, address.to_string(), "nobody");
  }
};

TEST(Listener, WhyAcceptingFailsIsLogged) {
  Logged logged;
  World world(1, {}, &logged.log);
  Strange strange;
  world.runtime.spawn(listen, &strange, ListenOptions{.address = kHere}, each_connection(echo));
  world.run();
  EXPECT_NE(logged.text().find("Protocol error: accepting pauses"), std::string::npos) << logged.text();
}

TEST(Listener, ToldToEndItClosesItsSocketAndEndsItsConnections) {
  ListenWorld world;
  world.start(each_connection(polite));
  auto stream = world.connect_one();
  world.runtime.exit(world.listener, otp::ExitReason::Kind::kShutdown);
  world.run();
  EXPECT_EQ(read_text(*stream), "bye");
  EXPECT_FALSE(world.network.connect(kHere)) << "nobody listens";
  EXPECT_EQ(world.runtime.process_count(), 0u);
  EXPECT_EQ(world.runtime.last_exits().front().reason, otp::ExitReason(otp::ExitReason::Kind::kShutdown));
}

TEST(Listener, LetsConnectionsFinishAndKillsThoseThatDoNot) {
  ListenWorld world;
  world.start(each_connection(deaf), {.drain = 10 * kSecond, .kill_after = 5 * kSecond});
  auto quick = world.connect_one();
  auto stays = world.connect_one();
  world.runtime.exit(world.listener, otp::ExitReason::Kind::kShutdown);
  world.run();
  EXPECT_EQ(world.runtime.process_count(), 3u);
  quick.reset();
  world.run();
  EXPECT_EQ(world.status().connections, 1u) << "it answers meanwhile";
  world.advance(10 * kSecond);
  EXPECT_EQ(stays->peer_state(), PeerState::kThere) << "it was asked to end, and traps it";
  world.advance(5 * kSecond);
  EXPECT_EQ(stays->peer_state(), PeerState::kFinished);
  EXPECT_EQ(world.runtime.process_count(), 0u);
}

TEST(Listener, AsSoonAsTheLastHasFinishedItEnds) {
  ListenWorld world;
  world.start(each_connection(echo), {.drain = 3600 * kSecond});
  auto stream = world.connect_one();
  world.runtime.exit(world.listener, otp::ExitReason::Kind::kShutdown);
  world.run();
  EXPECT_EQ(world.ask(*stream, "going on"), "going on");
  stream.reset();
  world.run();
  EXPECT_EQ(world.runtime.process_count(), 0u);
}

TEST(Listener, KilledItTakesItsConnectionsAlong) {
  ListenWorld world;
  world.start(each_connection(deaf));
  auto stream = world.connect_one();
  world.runtime.exit(world.listener, otp::ExitReason::Kind::kKill);
  world.run();
  EXPECT_EQ(world.runtime.process_count(), 0u);
  EXPECT_EQ(stream->peer_state(), PeerState::kFinished);
  EXPECT_FALSE(world.network.connect(kHere));
}

Routine start_tree(Self& self, otp::SupervisorSpec spec, otp::Pid* out) {
  *out = self.runtime().spawn_from(self, {.parent = self.pid(), .link = true}, otp::supervise, std::move(spec)).pid;
  co_await otp::receive(self);
}

TEST(Listener, ASupervisorWaitsForItAndRestartsIt) {
  World world;
  std::vector<std::string> addresses;
  const ListenOptions options{.address = kHere,
                              .on_listening = [&](const Address& a) { addresses.push_back(a.to_string()); }};
  const otp::SupervisorSpec spec{.children = {listener_child("echo", &world.network, options, each_connection(echo))}};
  otp::Pid supervisor;
  const otp::Pid parent = world.runtime.spawn(start_tree, spec, &supervisor);
  world.run();
  EXPECT_EQ(addresses.size(), 1u);
  auto stream = std::move(*world.network.connect(kHere));
  world.run();
  for (const otp::Pid pid : world.runtime.processes()) {
    if (world.runtime.info(pid)->label == "listener") world.runtime.exit(pid, otp::ExitReason::Kind::kKill);
  }
  world.run();
  EXPECT_EQ(addresses.size(), 2u);
  EXPECT_EQ(stream->peer_state(), PeerState::kFinished);
  EXPECT_TRUE(world.network.connect(kHere));
  world.runtime.exit(parent, otp::ExitReason::Kind::kShutdown);
  world.run();
  EXPECT_FALSE(world.runtime.is_alive(supervisor));
  EXPECT_FALSE(world.network.connect(kHere));
}

TEST(Listener, AnAddressThatIsTakenEndsItWithTheReason) {
  World world;
  auto acceptor = world.network.listen(kHere);
  const otp::Pid pid =
      world.runtime.spawn(listen, &world.network, ListenOptions{.address = kHere}, each_connection(echo));
  world.run();
  EXPECT_FALSE(world.runtime.is_alive(pid));
  EXPECT_EQ(world.runtime.last_exits().front().reason.text(), "127.0.0.1:80: Address already in use");
}

// ── Over sockets ─────────────────────────────────────────────────────────────────────────────────────────────────────

struct Tally {
  std::atomic<int> good{0};
  std::atomic<int> bad{0};
  std::atomic<bool> leave{false};
};

// Returns once `reached` holds; false after a minute.
bool wait_for(const std::function<bool()>& reached) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (!reached()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::yield();
  }
  return true;
}

// Connects, says something, is answered, and stays until it is told to leave.
Routine visit(Self& self, TcpTransport* transport, Address there, Tally* tally) {
  bool good = false;
  Result<Connection> connection = co_await connect(self, *transport, there, 50 * kSecond);
  if (connection && co_await connection->write(self, "hello")) {
    std::string answer(5, '\0');
    const auto room = std::as_writable_bytes(std::span(answer));
    good = (co_await connection->read_exactly(self, room, 50 * kSecond)).has_value() && answer == "hello";
  }
  ++(good ? tally->good : tally->bad);
  co_await otp::receive(self);
}

// Ten thousand, with clients in a program of their own, are held by the chat of examples/cpp in `make soak`.
TEST(Listener, HoldsThousandsOfConnections) {
#ifdef RUSM_SANITIZED
  constexpr int kCount = 1000;
#else
  constexpr int kCount = 9'900;  // as many as fit into 20,000 descriptors
#endif
  // Both ends are here, and some descriptors are for others.
  constexpr rlim_t kDescriptors = 2 * kCount + 100;
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit wanted{kDescriptors, std::max(kDescriptors, limit.rlim_max)};  // more than the maximum needs privileges
  if (limit.rlim_cur < kDescriptors && setrlimit(RLIMIT_NOFILE, &wanted) != 0) {
    GTEST_SKIP() << "takes " << kDescriptors << " descriptors, and no more than " << limit.rlim_max << " are allowed";
  }
  // All at once would be more than the kernel lets wait.
  constexpr int kAtOnce = 2000;
  TcpNode node;
  Address there;
  const otp::Pid listener = listen_on(node.runtime, node.transport, each_connection(echo), &there);
  Tally tally;
  for (int i = 1; i <= kCount; ++i) {
    node.runtime.spawn(visit, &node.transport, there, &tally);
    if (i % kAtOnce == 0) ASSERT_TRUE(wait_for([&] { return tally.good + tally.bad == i; }));
  }
  ASSERT_TRUE(wait_for([&] { return tally.good + tally.bad == kCount; }));
  EXPECT_EQ(tally.good, kCount);
  EXPECT_EQ(node.runtime.process_count(), 2u * unsigned{kCount} + 1);
  node.runtime.exit(listener, otp::ExitReason::Kind::kShutdown);
  EXPECT_TRUE(node.runtime.wait_for(listener, 60 * kSecond).has_value());
  EXPECT_TRUE(node.runtime.shutdown(60 * kSecond).empty());
}

// Lowers the limit on descriptors to what is in use and `more`, until it goes out of scope.
class FewDescriptors {
 public:
  explicit FewDescriptors(int more) {
    getrlimit(RLIMIT_NOFILE, &before_);
    const int next = dup(0);
    close(next);
    const rlimit few{static_cast<rlim_t>(next + more), before_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
  }
  ~FewDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

Routine visit_and_leave(Self& self, TcpTransport* transport, Address there, Tally* tally) {
  while (!tally->leave.load()) {
    Result<Connection> connection = co_await connect(self, *transport, there, 50 * kSecond);
    if (!connection) {
      ++tally->bad;
      co_await otp::sleep(self, kMillisecond);
      continue;
    }
    // Not for long: what it holds the listener lacks.
    if (co_await connection->write(self, "hello") && co_await connection->read(self, 20 * kMillisecond)) ++tally->good;
  }
}

TEST(Listener, WithoutDescriptorsItWaitsAndThenGoesOn) {
  TcpNode node;
  Address there;
  const otp::Pid listener = listen_on(node.runtime, node.transport, each_connection(echo), &there);
  Tally tally;
  const auto exhausted = [&] {
    ListenerStatus status;
    node.runtime.wait_for(node.runtime.spawn(ask_status, listener, &status), 60 * kSecond);
    return status.exhausted;
  };
  {
    const FewDescriptors few(5);
    for (int i = 0; i < 8; ++i) node.runtime.spawn(visit_and_leave, &node.transport, there, &tally);
    EXPECT_TRUE(wait_for([&] { return tally.bad > 20 && exhausted() > 0; }));
  }
  const int before = tally.good;
  EXPECT_TRUE(wait_for([&] { return tally.good > before + 100; })) << "the listener lives";
  tally.leave = true;
  node.runtime.exit(listener, otp::ExitReason::Kind::kShutdown);
  EXPECT_TRUE(node.runtime.wait_until_empty(60 * kSecond));
}

}  // namespace
}  // namespace rusm::net
