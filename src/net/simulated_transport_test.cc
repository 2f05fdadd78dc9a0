#include "net/simulated_transport.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "base/clock.h"

namespace rusm::net {
namespace {

struct World {
  SimulatedClock clock;
  SeededEntropy entropy{1};
  otp::QuietReactorFactory reactors;
  otp::Runtime runtime{{.deterministic_seed = 1}, {.clock = clock, .entropy = entropy, .reactors = reactors}};
};

const Address kHere = Address::ipv4(0x7f000001, 80);

IoResult write_text(Stream& stream, std::string_view text) {
  const std::span<const std::byte> pieces[] = {std::as_bytes(std::span(text))};
  return stream.try_write(pieces);
}

std::string read_text(Stream& stream, std::size_t room = 1024) {
  std::string text(room, '\0');
  const IoResult got = stream.try_read(std::as_writable_bytes(std::span(text)));
  text.resize(got.bytes);
  return text;
}

TEST(SimulatedTransport, CarriesBytesBothWaysAndTheEnd) {
  World world;
  SimulatedTransport network(world.runtime);
  auto acceptor = network.listen(kHere);
  ASSERT_TRUE(acceptor);
  EXPECT_FALSE(network.listen(kHere));
  auto client = network.connect(kHere);
  ASSERT_TRUE(client);
  auto server = (*acceptor)->try_accept();
  ASSERT_TRUE(server);
  EXPECT_FALSE((*acceptor)->try_accept());
  EXPECT_EQ(write_text(**client, "question").bytes, 8u);
  EXPECT_EQ(read_text(**server), "question");
  EXPECT_EQ(write_text(**server, "answer").bytes, 6u);
  EXPECT_EQ(read_text(**client, 3), "ans");
  EXPECT_EQ(read_text(**client), "wer");
  EXPECT_EQ((*server)->peer_state(), PeerState::kThere);
  (*client)->shutdown_write();
  EXPECT_EQ((*server)->peer_state(), PeerState::kFinished);
  std::byte room[4];
  EXPECT_EQ((*server)->try_read(room).status, Io::kFinished);
  EXPECT_EQ((*client)->try_read(room).status, Io::kWouldBlock);
}

TEST(SimulatedTransport, AFullBufferBlocksTheWriter) {
  World world;
  SimulatedTransport network(world.runtime, {.buffer_bytes = 4});
  auto acceptor = network.listen(kHere);
  auto client = network.connect(kHere);
  auto server = (*acceptor)->try_accept();
  EXPECT_EQ(write_text(**client, "123456").bytes, 4u);
  EXPECT_EQ(write_text(**client, "56").status, Io::kWouldBlock);
  EXPECT_EQ(read_text(**server, 1), "1");
  EXPECT_EQ(write_text(**client, "56").bytes, 1u);
}

TEST(SimulatedTransport, AResetIsSeenByBoth) {
  World world;
  SimulatedTransport network(world.runtime);
  auto acceptor = network.listen(kHere);
  auto client = network.connect(kHere);
  auto server = (*acceptor)->try_accept();
  (*client)->reset_on_close();
  client->reset();
  std::byte room[4];
  EXPECT_EQ((*server)->try_read(room).status, Io::kBroken);
  EXPECT_EQ((*server)->peer_state(), PeerState::kGone);
  EXPECT_EQ(write_text(**server, "x").status, Io::kBroken);
}

TEST(SimulatedTransport, PiecesFollowFromTheSeed) {
  World world;
  const auto sizes = [&](std::uint64_t seed) {
    SimulatedTransport network(world.runtime, {.seed = seed, .piece_bytes_max = 7});
    auto acceptor = network.listen(kHere);
    auto client = network.connect(kHere);
    std::vector<std::size_t> written;
    for (int i = 0; i < 20; ++i) written.push_back(write_text(**client, "0123456789").bytes);
    for (const std::size_t n : written) {
      EXPECT_GE(n, 1u);
      EXPECT_LE(n, 7u);
    }
    return written;
  };
  EXPECT_EQ(sizes(5), sizes(5));
  EXPECT_NE(sizes(5), sizes(6));
}

TEST(SimulatedTransport, ExhaustionEndsAfterTheGivenNumber) {
  World world;
  SimulatedTransport network(world.runtime);
  auto acceptor = network.listen(kHere);
  auto client = network.connect(kHere);
  network.exhaust(2);
  for (int i = 0; i < 2; ++i) {
    auto refused = (*acceptor)->try_accept();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error(), AcceptFailure::kExhausted);
  }
  EXPECT_TRUE((*acceptor)->try_accept());
  EXPECT_FALSE(network.connect(Address::ipv4(0x7f000001, 81))) << "nobody listens there";
}

}  // namespace
}  // namespace rusm::net
