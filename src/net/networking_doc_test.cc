// The examples of docs/networking.md, word for word, and that they do what it says.
#include <gtest/gtest.h>

#include <array>
#include <future>
#include <string>

#include "net/listener.h"
#include "net/resolve.h"
#include "net/test_certificates.h"
#include "net/test_world.h"
#include "net/tls_stream.h"
#include "net/udp.h"

namespace rusm::net {
namespace {

using otp::Message;
using otp::receive;
using otp::Routine;
using otp::Self;

Routine echo(Self& self, Connection connection) {
  for (;;) {
    const NetResult<Chunk> got = co_await connection.read(self, 30 * kSecond);
    if (!got) co_return;  // the peer finished, broke off, or was silent for 30 s
    if (!co_await connection.write(self, *got, 30 * kSecond)) co_return;
  }
}

Routine guest(Self& self, Connection connection, std::string room) {
  if (!self.runtime().join(room, self.pid())) co_return;
  for (;;) {
    const Arrival arrival = co_await connection.readable_or_message(self);
    if (arrival.message) {
      const Message said = co_await receive(self);
      if (!co_await connection.write(self, said.text(), 10 * kSecond)) co_return;
    }
    if (arrival.readable) {
      const NetResult<std::string> line = co_await connection.read_until(self, "\n", 1000, 10 * kSecond);
      if (!line) co_return;
      const std::string text = *line + "\n";
      self.runtime().broadcast(room, std::as_bytes(std::span(text)));
    }
  }
}

Routine ask(Self& self, Transport* transport, std::string server, std::string* answer) {
  Result<Connection> connection = co_await connect(self, *transport, server, 10 * kSecond);
  if (!connection) {
    *answer = connection.error().to_string();
    co_return;
  }
  if (!co_await connection->write(self, "hello\n", kSecond)) co_return;
  const NetResult<std::string> line = co_await connection->read_until(self, "\n", 1000, 10 * kSecond);
  *answer = line ? *line : line.error().to_string();
}

Routine answer_datagrams(Self& self, UdpSocket socket) {
  std::array<std::byte, 1500> room;
  for (;;) {
    const Result<Datagram> got = co_await socket.receive(self, room);
    if (!got) continue;  // such as: nobody listened where the last answer went
    if (!got->truncated) (void)co_await socket.send(self, std::span(room).first(got->bytes), got->from);
  }
}

TEST(NetworkingDoc, AServerAndAClient) {
  World world;
  world.runtime.spawn(net::listen, &world.network, ListenOptions{.address = kHere}, each_connection(echo));
  world.run();
  std::string answer;
  world.runtime.spawn(ask, &world.network, std::string("127.0.0.1:80"), &answer);
  world.run();
  EXPECT_EQ(answer, "hello");
  world.runtime.spawn(ask, &world.network, std::string("127.0.0.1:81"), &answer);
  world.run();
  EXPECT_EQ(answer, "127.0.0.1:81 (127.0.0.1:81): Connection refused");
}

TEST(NetworkingDoc, GuestsHearEachOther) {
  World world;
  world.runtime.spawn(net::listen, &world.network, ListenOptions{.address = kHere},
                      each_connection(guest, std::string("lobby")));
  world.run();
  auto alice = std::move(*world.network.connect(kHere));
  auto bob = std::move(*world.network.connect(kHere));
  world.run();
  write_text(*alice, "hi ");
  world.run();
  write_text(*alice, "bob\n");
  world.run();
  EXPECT_EQ(read_text(*bob), "hi bob\n");
  EXPECT_EQ(read_text(*alice), "hi bob\n");
}

void serve_with_tls(Transport& tcp, World& world, const std::string& certificate, const std::string& key,
                    const std::string& authority, std::string* answer) {
  const Clock& clock = world.clock;
  auto server = TlsServer::load({.certificate_file = certificate, .key_file = key, .alpn = {"line"}});
  auto client = TlsClient::load({.ca_file = authority, .alpn = {"line"}});
  if (!server || !client) return;  // the error names the file and what is wrong with it
  TlsTransport transport(tcp, clock, {.server = *server, .client = *client});

  world.runtime.spawn(net::listen, &transport, ListenOptions{.address = kHere}, each_connection(echo));
  world.run();
  world.runtime.spawn(ask, &transport, std::string("127.0.0.1:80"), answer);
  world.run();
}

TEST(NetworkingDoc, TheSameWithTls) {
  TestFolder folder;
  TestAuthority authority(folder);
  authority.issue("server");
  World world;
  std::string answer;
  serve_with_tls(world.network, world, folder / "server.pem", folder / "server.key", folder / "ca.pem", &answer);
  EXPECT_EQ(answer, "hello");
}

Routine ask_by_datagram(Self& self, UdpSocket socket, Address server, std::promise<std::string>* out) {
  const std::string question = "hello";
  std::string room(100, '\0');
  Result<> sent = co_await socket.send(self, std::as_bytes(std::span(question)), server);
  const Result<Datagram> got = co_await socket.receive(self, std::as_writable_bytes(std::span(room)), 20 * kSecond);
  out->set_value(sent && got ? room.substr(0, got->bytes) : "nothing");
}

TEST(NetworkingDoc, Datagrams) {
  TcpNode node;
  auto server = UdpSocket::bind(node.driver, kAnyPort);
  auto client = UdpSocket::bind(node.driver, kAnyPort);
  ASSERT_TRUE(server && client);
  const Address there = server->local();
  std::promise<std::string> answer;
  node.runtime.spawn(answer_datagrams, std::move(*server));
  node.runtime.spawn(ask_by_datagram, std::move(*client), there, &answer);
  EXPECT_EQ(answer.get_future().get(), "hello");
}

}  // namespace
}  // namespace rusm::net
