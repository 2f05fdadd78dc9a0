#include "net/udp.h"

#include <gtest/gtest.h>

#include <future>
#include <string>
#include <thread>
#include <vector>

#include "net/test_world.h"

namespace rusm::net {
namespace {

using otp::Routine;
using otp::Self;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

// What it received, a line for each, until `count` came or one took too long.
Routine collect(Self& self, UdpSocket socket, int count, std::size_t room_bytes, Nanoseconds timeout, bool answer,
                std::promise<std::vector<std::string>>* out) {
  std::vector<std::string> lines;
  std::string room(room_bytes, '\0');
  for (int i = 0; i < count; ++i) {
    const Result<Datagram> got = co_await socket.receive(self, std::as_writable_bytes(std::span(room)), timeout);
    if (!got) {
      lines.push_back(got.error().to_string());
      break;
    }
    lines.push_back(room.substr(0, got->bytes) + (got->truncated ? "…" : ""));
    if (answer) (void)co_await socket.send(self, bytes_of("re: " + lines.back()), got->from);
  }
  out->set_value(std::move(lines));
}

Routine send_all(Self& self, UdpSocket socket, Address to, std::vector<std::string> texts,
                 std::promise<std::vector<std::string>>* out) {
  std::vector<std::string> outcomes;
  for (const std::string& text : texts) {
    const Result<> sent = co_await socket.send(self, bytes_of(text), to);
    outcomes.push_back(sent ? "sent" : sent.error().text);
  }
  out->set_value(std::move(outcomes));
}

TEST(Udp, DatagramsArriveWholeOrSayThatTheyDidNot) {
  for (const char* address : {"127.0.0.1:0", "[::1]:0"}) {
    TcpNode node;
    auto receiver = UdpSocket::bind(node.driver, *Address::parse(address));
    auto sender = UdpSocket::bind(node.driver, *Address::parse(address));
    if (!receiver && std::string_view(address).starts_with('[')) continue;  // a machine without IPv6
    ASSERT_TRUE(receiver && sender);
    const Address there = receiver->local();
    std::promise<std::vector<std::string>> received;
    std::promise<std::vector<std::string>> sent;
    node.runtime.spawn(collect, std::move(*receiver), 4, std::size_t{8}, 20 * kSecond, false, &received);
    node.runtime.spawn(send_all, std::move(*sender), there,
                       std::vector<std::string>{"one", "", "exactly8", "more than eight"}, &sent);
    EXPECT_EQ(sent.get_future().get(), (std::vector<std::string>{"sent", "sent", "sent", "sent"}));
    EXPECT_EQ(received.get_future().get(), (std::vector<std::string>{"one", "", "exactly8", "more tha…"}));
  }
}

TEST(Udp, OneThatIsTooLongIsAnErrorAndTheNextGoesThrough) {
  TcpNode node;
  auto receiver = UdpSocket::bind(node.driver, kAnyPort);
  auto sender = UdpSocket::bind(node.driver, kAnyPort);
  ASSERT_TRUE(receiver && sender);
  const Address there = receiver->local();
  std::promise<std::vector<std::string>> received;
  std::promise<std::vector<std::string>> sent;
  node.runtime.spawn(collect, std::move(*receiver), 1, std::size_t{100}, 20 * kSecond, false, &received);
  node.runtime.spawn(send_all, std::move(*sender), there,
                     std::vector<std::string>{std::string(UdpSocket::kBytesMax + 1, 'x'), "short"}, &sent);
  EXPECT_EQ(sent.get_future().get(),
            (std::vector<std::string>{"a datagram of 65508 bytes is too long to be sent: send several", "sent"}));
  EXPECT_EQ(received.get_future().get(), std::vector<std::string>{"short"});
}

Routine ask_peer(Self& self, UdpSocket socket, std::promise<std::string>* out) {
  std::string room(100, '\0');
  Result<> sent = co_await socket.send(self, bytes_of("question"));
  const Result<Datagram> got = co_await socket.receive(self, std::as_writable_bytes(std::span(room)), 20 * kSecond);
  out->set_value(!sent ? sent.error().text : !got ? got.error().text : room.substr(0, got->bytes));
}

TEST(Udp, AConnectedOneHearsItsPeerOnlyAndThatNobodyIsThere) {
  TcpNode node;
  auto server = UdpSocket::bind(node.driver, kAnyPort);
  auto client = UdpSocket::bind(node.driver, kAnyPort);
  auto stranger = UdpSocket::bind(node.driver, kAnyPort);
  ASSERT_TRUE(server && client && stranger);
  const Address there = server->local();
  const Address here = client->local();
  ASSERT_TRUE(client->connect(there));
  ASSERT_TRUE(stranger->try_send(bytes_of("spam"), &here).has_value());
  std::promise<std::vector<std::string>> received;
  node.runtime.spawn(collect, std::move(*server), 1, std::size_t{100}, 20 * kSecond, true, &received);
  std::promise<std::string> outcome;
  node.runtime.spawn(ask_peer, std::move(*client), &outcome);
  EXPECT_EQ(outcome.get_future().get(), "re: question");
  EXPECT_EQ(received.get_future().get(), std::vector<std::string>{"question"});

  ASSERT_TRUE(node.runtime.wait_until_empty(20 * kSecond)) << "the server's socket is closed with its process";
  auto late = UdpSocket::bind(node.driver, kAnyPort);
  ASSERT_TRUE(late->connect(there));
  std::promise<std::string> nobody;
  node.runtime.spawn(ask_peer, std::move(*late), &nobody);
  EXPECT_EQ(nobody.get_future().get(), "nobody listens there");
}

TEST(Udp, ReceivingHasADeadlineAndErrorsNameTheAddress) {
  TcpNode node;
  auto socket = UdpSocket::bind(node.driver, kAnyPort);
  ASSERT_TRUE(socket);
  const Address here = socket->local();
  auto taken = UdpSocket::bind(node.driver, here);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, ErrorCode::kExists);
  EXPECT_EQ(taken.error().where, here.to_string());
  std::promise<std::vector<std::string>> received;
  node.runtime.spawn(collect, std::move(*socket), 1, std::size_t{100}, kMillisecond, false, &received);
  EXPECT_EQ(received.get_future().get(), std::vector<std::string>{here.to_string() + ": no datagram came in time"});
}

TEST(Udp, AKilledProcessClosesItsSocket) {
  TcpNode node;
  auto socket = UdpSocket::bind(node.driver, kAnyPort);
  ASSERT_TRUE(socket);
  const Address here = socket->local();
  std::promise<std::vector<std::string>> never;
  const otp::Pid pid = node.runtime.spawn(collect, std::move(*socket), 1, std::size_t{9}, kNever, false, &never);
  EXPECT_FALSE(UdpSocket::bind(node.driver, here));
  node.runtime.exit(pid, otp::ExitReason::Kind::kKill);
  ASSERT_TRUE(node.runtime.wait_until_empty(20 * kSecond));
  EXPECT_TRUE(UdpSocket::bind(node.driver, here));
}

}  // namespace
}  // namespace rusm::net
