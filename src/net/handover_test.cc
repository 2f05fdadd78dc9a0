// Connections that change hands: no wake is lost, and whoever holds one last is told to end.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "net/listener.h"
#include "net/test_world.h"

namespace rusm::net {
namespace {

using otp::Routine;
using otp::Self;

constexpr auto kPatience = std::chrono::seconds(60);

// What the processes of a test have come to.
struct Tally {
  std::atomic<int> rounds_left{0};
  std::promise<void> done;
  void one_round() {
    if (rounds_left.fetch_sub(1) == 1) done.set_value();
  }
};

// One of two that hand a connection to each other: reads one byte, and gives it away at once.
Routine catch_and_throw(Self& self, otp::Pid first_other, Tally* tally) {
  otp::Pid other = first_other;
  for (;;) {
    otp::Message message = co_await otp::receive(self);
    if (const auto* pid = message.get_if<otp::Pid>()) {
      other = *pid;
      continue;
    }
    Connection connection = std::move(*message.get_if<Connection>());
    std::byte one[1];
    if (!co_await connection.read_exactly(self, one)) co_return;
    tally->one_round();
    self.send(other, otp::Message::local(std::move(connection)));
  }
}

// Writes one byte after the other, so that they arrive while the connection is on its way.
Routine drip(Self& self, Connection connection, int bytes) {
  for (int i = 0; i < bytes; ++i) {
    const std::byte one[] = {std::byte{1}};
    if (!co_await connection.write(self, one)) co_return;
    co_await otp::yield(self);
  }
  co_await otp::receive(self);
}

TEST(HandOver, WhatArrivesOnTheWayIsNotMissed) {
#ifdef RUSM_SANITIZED
  constexpr int kBytes = 200;
#else
  constexpr int kBytes = 2000;
#endif
  constexpr int kConnections = 16;
  Tally tally;
  TcpNode node(4);
  tally.rounds_left = kBytes * kConnections;
  auto done = tally.done.get_future();
  const auto serve = [&](otp::Runtime& runtime, Connection connection) {
    const otp::Pid first = runtime.spawn(catch_and_throw, otp::Pid(), &tally);
    const otp::Pid second = runtime.spawn(catch_and_throw, first, &tally);
    runtime.send(first, otp::Message::local(otp::Pid(second)));
    runtime.send(first, otp::Message::local(std::move(connection)));
    return true;
  };
  Address address;
  listen_on(node.runtime, node.transport, serve, &address);
  const auto come = [](Self& self, TcpTransport* transport, Address to, int bytes) -> Routine {
    Result<Connection> connection = co_await connect(self, *transport, to, kNever);
    if (connection) self.runtime().spawn(drip, std::move(*connection), bytes);
  };
  for (int i = 0; i < kConnections; ++i) node.runtime.spawn(come, &node.transport, address, kBytes);
  EXPECT_EQ(done.wait_for(kPatience), std::future_status::ready) << tally.rounds_left << " bytes were not seen";
  node.runtime.kill_all();
}

// Connects again and again; a lost wake would let it wait for ever.
Routine connect_often(Self& self, TcpTransport* transport, Address there, int times, Tally* tally) {
  for (int i = 0; i < times; ++i) {
    Result<Connection> connection = co_await connect(self, *transport, there, kNever);
    if (connection) connection->reset();
    tally->one_round();
  }
}

TEST(HandOver, EveryConnectIsAnswered) {
#ifdef RUSM_SANITIZED
  constexpr int kTimes = 100;
#else
  constexpr int kTimes = 500;
#endif
  constexpr int kProcesses = 8;
  Tally tally;
  TcpNode node(4);
  tally.rounds_left = kTimes * kProcesses;
  auto done = tally.done.get_future();
  Address address;
  listen_on(node.runtime, node.transport, [](otp::Runtime&, Connection) { return true; }, &address);
  for (int i = 0; i < kProcesses; ++i) node.runtime.spawn(connect_often, &node.transport, address, kTimes, &tally);
  EXPECT_EQ(done.wait_for(kPatience), std::future_status::ready) << tally.rounds_left << " were not answered";
  node.runtime.kill_all();
}

// Notes how many connections there are when it is closed.
class Closing final : public SilentStream {
 public:
  Closing(Connections& connections, std::vector<std::size_t>& out) : connections_(connections), out_(out) {}
  ~Closing() override { out_.push_back(connections_.count()); }

 private:
  Connections& connections_;
  std::vector<std::size_t>& out_;
};

TEST(HandOver, TheDescriptorIsFreeBeforeThePlaceIs) {
  World world;
  const auto connections = make_ref<Connections>(world.runtime);
  std::vector<std::size_t> at_close;
  const auto make = [&] {
    return Connection(std::make_unique<Closing>(*connections, at_close), std::make_unique<Lease>(connections));
  };
  {
    const Connection connection = make();
  }
  EXPECT_EQ(at_close, std::vector<std::size_t>{1});
  Connection connection = make();
  connection.close();
  EXPECT_EQ(at_close, (std::vector<std::size_t>{1, 1}));
  EXPECT_EQ(connections->count(), 0u) << "closed, it takes no place";
  connection = make();
  connection.reset();
  EXPECT_EQ(at_close, (std::vector<std::size_t>{1, 1, 1}));
  EXPECT_EQ(connections->count(), 0u);
  connection = make();
  connection = Connection();
  EXPECT_EQ(at_close, (std::vector<std::size_t>{1, 1, 1, 1}));
  EXPECT_EQ(connections->count(), 0u);
}

// Takes a connection from its mailbox when it is told to, and reads.
Routine take_late(Self& self, std::vector<std::string>* out) {
  (void)co_await otp::receive_if(self, [](const otp::Message& message) { return message.text() == "now"; });
  otp::Message message = co_await otp::receive(self);
  Connection connection = std::move(*message.get_if<Connection>());
  const NetResult<Chunk> got = co_await connection.read(self);
  out->emplace_back(got ? "data" : got.error().to_string());
  (void)co_await otp::receive(self);
}

TEST(HandOver, AConnectionThatIsTakenOverLateEndsWithItsListener) {
  for (const Nanoseconds kill_after : {Nanoseconds{0}, 3600 * kSecond}) {
    World world;
    std::vector<std::string> lines;
    const otp::Pid late = world.runtime.spawn(take_late, &lines);
    const auto pass_on = [](Self& self, Connection connection, otp::Pid to) -> Routine {
      (void)co_await connection.read(self);
      self.send(to, otp::Message::local(std::move(connection)));
      (void)co_await otp::receive(self);
    };
    const otp::Pid listener =
        world.runtime.spawn(listen, &world.network, ListenOptions{.address = kHere, .kill_after = kill_after},
                            each_connection(pass_on, late));
    world.run();
    auto client = std::move(*world.network.connect(kHere));
    write_text(*client, "x");
    world.run();
    world.runtime.exit(listener, otp::ExitReason::Kind::kShutdown);
    world.run();
    world.advance(kSecond);
    EXPECT_TRUE(world.runtime.is_alive(listener)) << "the connection is still there";
    world.runtime.send(late, otp::Message::of_text("now"));
    world.run();
    EXPECT_EQ(lines, std::vector<std::string>{"0.0.0.0:0: the connection broke"});
    EXPECT_EQ(client->peer_state(), PeerState::kFinished);
    EXPECT_FALSE(world.runtime.is_alive(listener));
    EXPECT_TRUE(world.runtime.is_alive(late)) << "whom it told nothing else";
  }
}

}  // namespace
}  // namespace rusm::net
