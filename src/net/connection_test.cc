#include "net/connection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <string>
#include <vector>

#include "net/test_world.h"
#include "otp/match.h"

namespace rusm::net {
namespace {

using otp::Routine;
using otp::Self;

constexpr int kSeeds = 50;
using Lines = std::vector<std::string>;

// What a failed wait is called in the tests.
std::string name_of(const NetError& error) {
  constexpr const char* kNames[] = {"finished", "broken", "timeout", "limit"};
  return kNames[static_cast<int>(error.what)];
}

// Both ends of a connection on the simulated network: the client's end in the hands of the test.
struct Ends {
  explicit Ends(World& world) {
    auto acceptor = world.network.listen(kHere);
    client = std::move(*world.network.connect(kHere));
    server = Connection(std::move(*(*acceptor)->try_accept()));
  }
  std::unique_ptr<Stream> client;
  Connection server;
};

Routine read_all(Self& self, Connection connection, Nanoseconds timeout, Lines* out) {
  for (;;) {
    const NetResult<Chunk> got = co_await connection.read(self, timeout);
    if (!got) {
      out->push_back(name_of(got.error()));
      co_return;
    }
    out->emplace_back(got->text());
  }
}

std::string joined(const Lines& lines) {
  std::string all;
  for (const std::string& line : lines) all += line;
  return all;
}

TEST(Connection, ReadsWhatComesUntilThePeerFinishes) {
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    World world(seed, {.seed = seed, .piece_bytes_max = 3});
    Ends ends(world);
    Lines lines;
    world.runtime.spawn(read_all, std::move(ends.server), kNever, &lines);
    world.run();
    EXPECT_TRUE(lines.empty());
    for (std::string_view left = "one, two"; !left.empty();) left.remove_prefix(write_text(*ends.client, left).bytes);
    world.run();
    EXPECT_EQ(joined(lines), "one, two");
    ends.client->shutdown_write();
    world.run();
    EXPECT_EQ(lines.back(), "finished");
    EXPECT_EQ(world.runtime.process_count(), 0u);
  }
}

TEST(Connection, AResetIsNoOrdinaryEnd) {
  World world;
  Ends ends(world);
  Lines lines;
  world.runtime.spawn(read_all, std::move(ends.server), kNever, &lines);
  world.run();
  ends.client->reset_on_close();
  ends.client.reset();
  world.run();
  EXPECT_EQ(lines, Lines{"broken"});
}

TEST(Connection, ADeadlineCountsFromTheCallAndNotFromTheFirstByte) {
  World world;
  Ends ends(world);
  Lines lines;
  world.runtime.spawn(read_all, std::move(ends.server), 10 * kSecond, &lines);
  world.run();
  world.advance(9 * kSecond);
  EXPECT_TRUE(lines.empty());
  write_text(*ends.client, "late");
  world.run();
  EXPECT_EQ(lines, Lines{"late"});
  world.advance(9 * kSecond);
  EXPECT_EQ(lines, Lines{"late"});
  world.advance(kSecond);
  EXPECT_EQ(lines, (Lines{"late", "timeout"}));
}

Routine read_frames(Self& self, Connection connection, Lines* out) {
  for (;;) {
    NetResult<std::string> line = co_await connection.read_until(self, "\r\n", 8, 10 * kSecond);
    if (!line) {
      out->push_back(name_of(line.error()));
      break;
    }
    out->push_back("line " + *line);
    if (!line->starts_with("body")) continue;
    std::string body(5, '\0');
    const NetResult<> got = co_await connection.read_exactly(self, std::as_writable_bytes(std::span(body)), kSecond);
    out->push_back(got ? "bytes " + body : name_of(got.error()));
  }
  std::byte room[4];
  const NetResult<std::size_t> rest = co_await connection.read_some(self, room, 0);
  out->push_back(rest ? "rest " + std::string(reinterpret_cast<char*>(room), *rest) : name_of(rest.error()));
}

Lines frames_of(std::uint64_t seed, std::string_view text, bool finish) {
  World world(seed, {.seed = seed, .piece_bytes_max = 1 + seed % 7});
  Ends ends(world);
  Lines lines;
  world.runtime.spawn(read_frames, std::move(ends.server), &lines);
  while (!text.empty()) {
    const IoResult put = write_text(*ends.client, text);
    if (put.status == Io::kBroken) break;
    text.remove_prefix(put.bytes);
    if (seed % 2 == 0) world.run();
  }
  if (finish) ends.client->shutdown_write();
  world.run();
  world.advance(11 * kSecond);
  return lines;
}

TEST(Connection, ReadsLinesAndBodies) {
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    EXPECT_EQ(frames_of(seed, "a\r\n\r\nbody\r\n12345\r12345678", true)[3], "bytes 12345");
    EXPECT_EQ(frames_of(seed, "a\r\n\r\n12345678\r\n", true),
              (Lines{"line a", "line ", "line 12345678", "finished", "finished"}));
    EXPECT_EQ(frames_of(seed, "a\r\nxy", true), (Lines{"line a", "finished", "rest xy"})) << "what came stays";
    EXPECT_EQ(frames_of(seed, "a\r\nxy", false), (Lines{"line a", "timeout", "rest xy"}));
    EXPECT_EQ(frames_of(seed, "body\r\n1234", true), (Lines{"line body", "finished", "finished", "finished"}));
  }
}

TEST(Connection, ALineThatIsTooLongIsALimit) {
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const Lines lines = frames_of(seed, "12345678\r\n123456789\r\n", false);
    ASSERT_EQ(lines.size(), 3u);
    EXPECT_EQ(lines[0], "line 12345678");
    EXPECT_EQ(lines[1], "limit");
    EXPECT_TRUE(lines[2].starts_with("rest 12")) << lines[2];
    EXPECT_EQ(frames_of(seed, "12345678901", false)[0], "limit") << "without waiting for its end";
  }
}

// Counts lines until the peer finishes, and the most memory that was held for what was read ahead.
struct Reading {
  std::size_t lines = 0;
  std::size_t bytes = 0;
  std::size_t memory_max = 0;
  std::size_t memory_last = 0;
};

Routine count_lines(Self& self, Connection connection, std::size_t limit, Reading* out) {
  for (;;) {
    const NetResult<std::string> line = co_await connection.read_until(self, "\n", limit);
    if (!line) co_return;
    ++out->lines;
    out->bytes += line->size() + 1;
    out->memory_last = connection.ahead_memory();
    out->memory_max = std::max(out->memory_max, out->memory_last);
  }
}

// Sends `text` again and again, until at least `bytes` are sent, never ending a piece where a line ends.
void stream_lines(World& world, Stream& to, std::string_view line, std::size_t bytes) {
  std::size_t sent = 0;
  std::string pending;
  while (sent < bytes) {
    while (pending.size() < 5000) pending += line;
    pending += line;
    const std::string_view piece = std::string_view(pending).substr(0, pending.size() - line.size() / 2);
    const IoResult put = write_text(to, piece);
    pending.erase(0, put.bytes);
    sent += put.bytes;
    world.run();
  }
}

TEST(Connection, LinesThatNeverEndWithAPieceTakeBoundedMemory) {
  World world;
  Ends ends(world);
  Reading reading;
  world.runtime.spawn(count_lines, std::move(ends.server), 1000, &reading);
  world.run();
  constexpr std::size_t kBytes = 8 << 20;
  stream_lines(world, *ends.client, "a line of some length\n", kBytes);
  EXPECT_GT(reading.bytes, kBytes - (64 << 10));
  EXPECT_GT(reading.memory_last, 0u) << "part of a line is always there";
  EXPECT_LE(reading.memory_max, 64u << 10);
}

TEST(Connection, MemoryForOneLongLineIsGivenBack) {
  World world;
  Ends ends(world);
  Reading reading;
  world.runtime.spawn(count_lines, std::move(ends.server), 2 << 20, &reading);
  world.run();
  stream_lines(world, *ends.client, std::string(1 << 20, 'x'), 1 << 20);
  stream_lines(world, *ends.client, "\na line of some length\nan", 100 << 10);
  EXPECT_GT(reading.lines, 1000u);
  EXPECT_LE(reading.memory_last, 64u << 10);
}

Routine write_much(Self& self, Connection connection, std::size_t bytes, Nanoseconds timeout, Lines* out) {
  const std::string text(bytes, 'x');
  const NetResult<> put = co_await connection.write(self, text, timeout);
  out->push_back(put ? "written" : name_of(put.error()));
  const NetResult<> finished = co_await connection.finish(self);
  out->push_back(finished ? "finish" : name_of(finished.error()));
  const NetResult<Chunk> end = co_await connection.read(self);
  out->push_back(end ? "data" : name_of(end.error()));
}

TEST(Connection, ASlowReaderHoldsTheWriterBack) {
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    World world(seed, {.seed = seed, .buffer_bytes = 16, .piece_bytes_max = 5});
    Ends ends(world);
    Lines lines;
    world.runtime.spawn(write_much, std::move(ends.server), 1000, kNever, &lines);
    world.run();
    EXPECT_TRUE(lines.empty());
    std::string all;
    while (all.size() < 1000 - 16) {
      const std::string piece = read_text(*ends.client, 7);
      ASSERT_FALSE(piece.empty());
      all += piece;
      ASSERT_TRUE(lines.empty()) << "at most 16 bytes are on their way";
      world.run();
    }
    all += read_text(*ends.client);
    world.run();
    all += read_text(*ends.client);
    EXPECT_EQ(all.size(), 1000u);
    EXPECT_EQ(lines, (Lines{"written", "finish"}));
    EXPECT_EQ(ends.client->peer_state(), PeerState::kFinished);
    ends.client.reset();
    world.run();
    EXPECT_EQ(lines, (Lines{"written", "finish", "finished"}));
  }
}

Routine read_much(Self& self, Connection connection, std::size_t bytes, std::uint64_t* steps) {
  std::vector<std::byte> room(bytes);
  const std::uint64_t before = self.runtime().counters().steps;
  EXPECT_TRUE(co_await connection.read_exactly(self, room));
  *steps = self.runtime().counters().steps - before;
}

TEST(Connection, MuchAtOnceTakesManyTurns) {
  constexpr std::size_t kBytes = 4 << 20;
  World world(1, {.buffer_bytes = kBytes, .piece_bytes_max = 64 << 10});
  Ends ends(world);
  Lines lines;
  const std::uint64_t before = world.runtime.counters().steps;
  world.runtime.spawn(write_much, std::move(ends.server), kBytes, kNever, &lines);
  world.run();
  EXPECT_EQ(lines, (Lines{"written", "finish"}));
  EXPECT_GE(world.runtime.counters().steps - before, 12u) << "the network takes all: the writer lets others run";
  std::uint64_t steps = 0;
  world.runtime.spawn(read_much, Connection(std::move(ends.client)), kBytes, &steps);
  world.run();
  EXPECT_GE(steps, 12u);
}

TEST(Connection, AWriterWaitsNoLongerThanItsDeadline) {
  World world(1, {.buffer_bytes = 16});
  Ends ends(world);
  Lines lines;
  world.runtime.spawn(write_much, std::move(ends.server), 1000, kSecond, &lines);
  world.run();
  for (int i = 0; i < 4; ++i) {
    world.advance(200 * kMillisecond);
    EXPECT_EQ(read_text(*ends.client).size(), 16u) << "progress does not buy time";
    world.run();
    EXPECT_TRUE(lines.empty());
  }
  world.advance(200 * kMillisecond);
  EXPECT_EQ(lines[0], "timeout");
}

Routine wait_quietly(Self& self, Connection connection, Lines* out) {
  const NetResult<Chunk> got = co_await connection.read(self);
  out->push_back(got ? std::string(got->text()) : name_of(got.error()));
  while (std::optional<otp::Message> message = self.try_receive()) out->emplace_back(message->text());
}

TEST(Connection, MessagesStayInTheMailboxMeanwhile) {
  World world;
  Ends ends(world);
  Lines lines;
  const otp::Pid pid = world.runtime.spawn(wait_quietly, std::move(ends.server), &lines);
  world.run();
  const std::uint64_t steps = world.runtime.counters().steps;
  world.runtime.send(pid, otp::Message::of_text("first"));
  world.runtime.send(pid, otp::Message::of_text("second"));
  world.run();
  EXPECT_EQ(world.runtime.counters().steps, steps) << "a message does not even run it";
  write_text(*ends.client, "data");
  world.run();
  EXPECT_EQ(lines, (Lines{"data", "first", "second"}));
}

Routine chat(Self& self, Connection connection, Lines* out) {
  for (;;) {
    const Arrival arrival = co_await connection.readable_or_message(self, 10 * kSecond);
    if (!arrival.readable && !arrival.message) {
      out->emplace_back("silence");
      co_return;
    }
    if (arrival.message) out->push_back("message " + std::string((co_await otp::receive(self)).text()));
    if (arrival.readable) {
      const NetResult<Chunk> got = co_await connection.read(self);
      out->push_back(got ? "data " + std::string(got->text()) : name_of(got.error()));
      if (!got) co_return;
    }
  }
}

TEST(Connection, AProcessCanWaitForDataAndForMessages) {
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    World world(seed);
    Ends ends(world);
    Lines lines;
    const otp::Pid pid = world.runtime.spawn(chat, std::move(ends.server), &lines);
    world.run();
    world.runtime.send(pid, otp::Message::of_text("a"));
    world.run();
    write_text(*ends.client, "b");
    world.run();
    EXPECT_EQ(lines, (Lines{"message a", "data b"}));
    world.runtime.send(pid, otp::Message::of_text("c"));
    write_text(*ends.client, "d");
    world.run();
    EXPECT_EQ(lines.size(), 4u);
    if (seed % 2 == 0) {
      world.advance(10 * kSecond);
      EXPECT_EQ(lines.back(), "silence");
    } else {
      ends.client->shutdown_write();
      world.run();
      EXPECT_EQ(lines.back(), "finished");
    }
  }
}

Routine connect_and_tell(Self& self, Transport* transport, Address there, std::promise<std::string>* out) {
  Result<Connection> connection = co_await connect(self, *transport, there, 20 * kSecond);
  out->set_value(connection
                     ? "connected"
                     : std::string(rusm::name_of(connection.error().code)) + " " + connection.error().to_string());
}

std::string connect_outcome(TcpNode& node, Address there) {
  std::promise<std::string> outcome;
  auto future = outcome.get_future();
  node.runtime.spawn(connect_and_tell, &node.transport, there, &outcome);
  return future.get();
}

TEST(Connection, ConnectingWaitsUntilItIsConnectedOrSaysWhyNot) {
  TcpNode node;
  auto acceptor = node.transport.listen(kAnyPort);
  ASSERT_TRUE(acceptor);
  const Address there = (*acceptor)->local();
  EXPECT_EQ(connect_outcome(node, there), "connected");
  acceptor->reset();
  EXPECT_EQ(connect_outcome(node, there),
            "unavailable " + there.to_string() + ": connection refused: nothing listens there");
}

// A stream that never connects.
class Silence final : public SilentStream {
 public:
  Result<bool> established() noexcept override { return false; }
};

class NobodyAnswers final : public Transport {
 public:
  Result<std::unique_ptr<Acceptor>> listen(const Address& address) override {
    return fail(ErrorCode::kDenied, address.to_string(), "nobody");
  }
  Result<std::unique_ptr<Stream>> connect(const Address&) override { return std::make_unique<Silence>(); }
};

TEST(Connection, ConnectingHasADeadline) {
  World world;
  NobodyAnswers nobody;
  std::promise<std::string> outcome;
  auto future = outcome.get_future();
  world.runtime.spawn(connect_and_tell, &nobody, kHere, &outcome);
  world.run();
  EXPECT_EQ(future.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  world.advance(20 * kSecond);
  ASSERT_EQ(future.wait_for(std::chrono::seconds(0)), std::future_status::ready);
  EXPECT_TRUE(future.get().starts_with("timeout 127.0.0.1:80: did not answer in time"));
}

TEST(Connection, AKilledProcessClosesItsConnection) {
  World world;
  Ends ends(world);
  Lines lines;
  const otp::Pid pid = world.runtime.spawn(read_all, std::move(ends.server), kNever, &lines);
  world.run();
  EXPECT_EQ(ends.client->peer_state(), PeerState::kThere);
  world.runtime.exit(pid, otp::ExitReason::Kind::kKill);
  world.run();
  EXPECT_EQ(ends.client->peer_state(), PeerState::kFinished);
}

// Two processes that wait in turn, the second after it got the connection in a message.
Routine hand_over(Self& self, Connection connection, otp::Pid to) {
  (void)co_await connection.read(self);
  self.send(to, otp::Message::local(std::move(connection)));
}

Routine take_over(Self& self, Lines* out) {
  otp::Message message = co_await otp::receive(self);
  Connection connection = std::move(*message.get_if<Connection>());
  const NetResult<Chunk> got = co_await connection.read(self);
  out->emplace_back(got ? got->text() : "nothing");
}

TEST(Connection, CanBeHandedToAnotherProcess) {
  World world;
  Ends ends(world);
  Lines lines;
  const otp::Pid second = world.runtime.spawn(take_over, &lines);
  world.runtime.spawn(hand_over, std::move(ends.server), second);
  write_text(*ends.client, "for the first");
  world.run();
  write_text(*ends.client, "for the second");
  world.run();
  EXPECT_EQ(lines, Lines{"for the second"});
}

Routine finish_when_gone(Self& self, Connection connection, std::promise<std::string>* out) {
  // Until the reset has come.
  while (connection.stream()->peer_state() != PeerState::kGone) co_await otp::news(self);
  const NetResult<> finished = co_await connection.finish(self);
  out->set_value(finished ? "finish" : name_of(finished.error()));
}

TEST(Connection, FinishingABrokenOneIsNoSuccess) {
  TcpNode node;
  std::promise<std::string> outcome;
  auto future = outcome.get_future();
  auto acceptor = node.transport.listen(kAnyPort);
  auto client = node.transport.connect((*acceptor)->local());
  std::expected<std::unique_ptr<Stream>, AcceptFailure> server = (*acceptor)->try_accept();
  ASSERT_TRUE(client && server);
  const auto take = [](Self& self, Connection connection, std::promise<std::string>* out) {
    connection.set_owner(self.pid());
    return finish_when_gone(self, std::move(connection), out);
  };
  node.runtime.spawn(take, Connection(std::move(*server)), &outcome);
  (*client)->reset_on_close();
  client->reset();
  ASSERT_EQ(future.wait_for(std::chrono::seconds(60)), std::future_status::ready);
  EXPECT_EQ(future.get(), "broken");
}

// The bytes in memory that one idle connection needs in all, besides what the kernel has of it, stay few.
TEST(Connection, IsSmall) {
  EXPECT_LE(sizeof(Connection), 48u);
  EXPECT_LE(sizeof(detail::ReadAwait), 104u);
}

}  // namespace
}  // namespace rusm::net
