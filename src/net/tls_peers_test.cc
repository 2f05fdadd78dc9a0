// TLS against libraries that nobody here wrote: openssl's programs, Python's ssl module, curl.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <future>
#include <string>
#include <thread>

#include "base/test_wait.h"
#include "net/listener.h"
#include "net/test_certificates.h"
#include "net/test_world.h"
#include "net/tls_stream.h"

namespace rusm::net {
namespace {

constexpr std::chrono::seconds kPatience(60);

using otp::Routine;
using otp::Self;

// Runs a command with a deadline; its output, errors included.
class Command {
 public:
  explicit Command(const std::string& line) : pipe_(::popen(("timeout 60 " + line + " 2>&1").c_str(), "r")) {}
  ~Command() { ::pclose(pipe_); }
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;
  // Empty at the end.
  std::string line() {
    std::array<char, 4096> room;
    return std::fgets(room.data(), room.size(), pipe_) == nullptr ? std::string() : std::string(room.data());
  }
  std::string line_with(const std::string& part) {
    for (std::string one = line(); !one.empty(); one = line()) {
      if (one.find(part) != std::string::npos) return one;
    }
    return {};
  }
  std::string rest() {
    std::string all;
    for (std::string one = line(); !one.empty(); one = line()) all += one;
    return all;
  }

 private:
  std::FILE* const pipe_;
};

struct Peers : testing::Test {
  Peers() {
    authority.issue("server");
    authority.issue("alice", {.common_name = "alice", .names = ""});
  }
  // Returns the port.
  std::string serve(StartConnection body, TlsServerOptions options = {}) {
    options.certificate_file = folder / "server.pem";
    options.key_file = folder / "server.key";
    server = *TlsServer::load(std::move(options));
    transport = std::make_unique<TlsTransport>(node.transport, node.clock, TlsTransportParts{.server = server});
    Address there;
    listen_on(node.runtime, *transport, std::move(body), &there);
    return std::to_string(there.port());
  }
  // What a client of ours comes to that sends a line to `port` and reads one.
  std::string ask(std::uint16_t port, const std::string& line, TlsClientOptions options = {});
  std::string python(const std::string& program) {
    const std::string path = folder / "peer.py";
    std::ofstream(path) << program;
    return "python3 -u " + path + " ";
  }

  TestFolder folder;
  TestAuthority authority{folder};
  TcpNode node;
  std::shared_ptr<TlsServer> server;
  std::unique_ptr<TlsTransport> transport;
};

Routine answer_line(Self& self, Connection connection) {
  const NetResult<std::string> line = co_await connection.read_until(self, "\n", 1000, 30 * kSecond);
  if (!line) co_return;
  const std::string answer = "you said " + *line + ", " + std::string(connection.tls()->version()) + ", " +
                             std::string(connection.tls()->alpn()) + ", " + connection.tls()->server_name() + ", " +
                             connection.tls()->peer_subject() + "\n";
  (void)co_await connection.write(self, answer, 30 * kSecond);
  (void)co_await connection.finish(self, 30 * kSecond);
  (void)co_await connection.read(self, 30 * kSecond);
}

TEST_F(Peers, OpensslAsClient) {
  const std::string port = serve(each_connection(answer_line), {.alpn = {"line"}});
  const std::string client =
      "sh -c 'echo hello | openssl s_client -quiet -verify_return_error -servername localhost "
      "-verify_hostname localhost -alpn line -CAfile " +
      (folder / "ca.pem") + " -connect 127.0.0.1:" + port;
  EXPECT_EQ(Command(client + "'").line_with("you said"), "you said hello, TLSv1.3, line, localhost, \n");
  EXPECT_EQ(Command(client + " -tls1_2'").line_with("you said"), "you said hello, TLSv1.2, line, localhost, \n");
  EXPECT_NE(Command(client + " -tls1_1'").rest().find("error"), std::string::npos);
}

TEST_F(Peers, PythonAsClientMovesManyBytesBothWays) {
  const auto echo = [](Self& self, Connection connection) -> Routine {
    for (;;) {
      const NetResult<Chunk> got = co_await connection.read(self, 60 * kSecond);
      if (!got || !co_await connection.write(self, *got, 60 * kSecond)) break;
    }
    (void)co_await connection.finish(self, kSecond);
  };
  const std::string port = serve(each_connection(echo));
  Command client(python(R"(
import hashlib, socket, ssl, sys, threading
context = ssl.create_default_context(cafile=sys.argv[1])
with socket.create_connection(("127.0.0.1", int(sys.argv[2]))) as raw:
    with context.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False) as tls:
        data = bytes(i * 31 >> 3 & 255 for i in range(1 << 16)) * 32
        def send():
            tls.sendall(data)
        sender = threading.Thread(target=send)
        sender.start()
        got = b""
        while len(got) < len(data):
            got += tls.recv(100000)
        sender.join()
        print("same" if got == data else "different", tls.version())
)") + (folder / "ca.pem") +
                 " " + port);
  EXPECT_EQ(client.rest(), "same TLSv1.3\n");
}

TEST_F(Peers, PythonAsClientWithAndWithoutACertificate) {
  const std::string port = serve(each_connection(answer_line), {.client_certificates = ClientCertificates::kRequire,
                                                                .client_ca_file = folder / "ca.pem"});
  const std::string program = python(R"(
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
if len(sys.argv) > 3:
    context.load_cert_chain(sys.argv[3] + ".pem", sys.argv[3] + ".key")
try:
    with socket.create_connection(("127.0.0.1", int(sys.argv[2]))) as raw:
        with context.wrap_socket(raw, server_hostname="localhost") as tls:
            tls.sendall(b"hello\n")
            print(tls.recv(1000).decode(), end="")
except ssl.SSLError as error:
    print(error.reason)
)") + (folder / "ca.pem") + " " +
                              port;
  EXPECT_EQ(Command(program + " " + (folder / "alice")).rest(), "you said hello, TLSv1.3, , localhost, CN=alice\n");
  EXPECT_EQ(Command(program).rest(), "TLSV13_ALERT_CERTIFICATE_REQUIRED\n");
}

TEST_F(Peers, CurlAsClient) {
  const auto answer = [](Self& self, Connection connection) -> Routine {
    if (!co_await connection.read_until(self, "\r\n\r\n", 10'000, 30 * kSecond)) co_return;
    (void)co_await connection.write(self, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello curl\n", 30 * kSecond);
    (void)co_await connection.finish(self, 30 * kSecond);
  };
  const std::string port = serve(each_connection(answer));
  const std::string address = " https://localhost:" + port + "/";
  EXPECT_EQ(Command("curl -sS --noproxy '*' --resolve localhost:" + port + ":127.0.0.1 --cacert " +
                    (folder / "ca.pem") + address)
                .rest(),
            "hello curl\n");
  EXPECT_NE(Command("curl -sS --noproxy '*' " + address).rest().find("certificate problem"), std::string::npos)
      << "curl does not know the authority";
}

// ── Our client ──

Routine ask_line(Self& self, Transport* transport, Address there, std::string line, std::promise<std::string>* out) {
  Result<Connection> connection = co_await connect(self, *transport, there, 30 * kSecond);
  if (!connection) {
    out->set_value(connection.error().text);
    co_return;
  }
  (void)co_await connection->write(self, line, 30 * kSecond);
  const NetResult<std::string> answer = co_await connection->read_until(self, "\n", 1000, 30 * kSecond);
  out->set_value(answer ? *answer : connection->why_broken().text);
}

std::string Peers::ask(std::uint16_t port, const std::string& line, TlsClientOptions options) {
  if (options.ca_file.empty()) options.ca_file = folder / "ca.pem";
  if (options.server_name.empty()) options.server_name = "localhost";
  TlsTransport client(node.transport, node.clock, {.client = *TlsClient::load(std::move(options))});
  std::promise<std::string> outcome;
  auto future = outcome.get_future();
  const otp::Pid pid = node.runtime.spawn(ask_line, &client, Address::ipv4(0x7f000001, port), line, &outcome);
  std::string text = future.get();
  node.runtime.wait_for(pid, 60 * kSecond);
  return text;
}

TEST_F(Peers, OpensslAsServer) {
  for (const std::string version : {"-tls1_2", "-tls1_3"}) {
    Command peer("openssl s_server -rev -naccept 1 -accept 127.0.0.1:0 " + version + " -cert " +
                 (folder / "server.pem") + " -key " + (folder / "server.key"));
    const std::string accepting = peer.line_with("ACCEPT");
    ASSERT_FALSE(accepting.empty());
    const int port = std::stoi(accepting.substr(accepting.rfind(':') + 1));
    EXPECT_EQ(ask(static_cast<std::uint16_t>(port), "desserts\n"), "stressed");
  }
}

TEST_F(Peers, PythonAsServerAndItsOldOrForeignCertificates) {
  TestAuthority other(folder, "other");
  other.issue("foreign");
  authority.issue("expired", {.valid_from_s = -7200, .valid_until_s = -3600});
  authority.issue("elsewhere", {.common_name = "elsewhere", .names = "DNS:elsewhere.example"});
  const std::string program = python(R"(
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1] + ".pem", sys.argv[1] + ".key")
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1])
raw, _ = listener.accept()
try:
    with context.wrap_socket(raw, server_side=True) as tls:
        tls.sendall(tls.recv(1000).upper())
except ssl.SSLError as error:
    print(error.reason)
)");
  const auto outcome = [&](const std::string& name) {
    Command peer(program + (folder / name));
    const std::string port = peer.line();
    return port.empty() ? port : ask(static_cast<std::uint16_t>(std::stoi(port)), "hello\n");
  };
  EXPECT_EQ(outcome("server"), "HELLO");
  EXPECT_EQ(outcome("expired"), "the server's certificate is not accepted: certificate has expired");
  EXPECT_EQ(outcome("elsewhere"), "the server's certificate is not accepted: hostname mismatch");
  EXPECT_TRUE(outcome("foreign").starts_with("the server's certificate is not accepted: "));
}

// ── Reload under load ──

struct Load {
  std::atomic<bool> leave{false};
  std::atomic<int> kept{0};   // answers on connections that stay
  std::atomic<int> fresh{0};  // connections that were made anew
  std::atomic<int> bad{0};
};

Routine stays(Self& self, Transport* transport, Address there, Load* load) {
  Result<Connection> connection = co_await connect(self, *transport, there);
  while (!load->leave.load()) {
    std::string answer(4, ' ');
    const bool good = connection && co_await connection->write(self, "ping", 30 * kSecond) &&
                      co_await connection->read_exactly(self, std::as_writable_bytes(std::span(answer)), 30 * kSecond);
    ++(good ? load->kept : load->bad);
    if (!good) co_return;
    co_await otp::yield(self);
  }
}

Routine comes_and_goes(Self& self, Transport* transport, Address there, Load* load) {
  while (!load->leave.load()) {
    Result<Connection> connection = co_await connect(self, *transport, there);
    const bool good = connection && co_await connection->write(self, "ping", 30 * kSecond) &&
                      co_await connection->read(self, 30 * kSecond);
    ++(good ? load->fresh : load->bad);
  }
}

TEST_F(Peers, AReloadUnderLoadDropsNothing) {
  const auto echo = [](Self& self, Connection connection) -> Routine {
    for (;;) {
      const NetResult<Chunk> got = co_await connection.read(self);
      if (!got || !co_await connection.write(self, *got)) co_return;
    }
  };
  const auto port = static_cast<std::uint16_t>(std::stoi(serve(each_connection(echo))));
  const Address there = Address::ipv4(0x7f000001, port);
  TlsTransport client(node.transport, node.clock,
                      {.client = *TlsClient::load({.ca_file = folder / "ca.pem", .server_name = "localhost"})});
  Load load;
  for (int i = 0; i < 4; ++i) node.runtime.spawn(stays, &client, there, &load);
  for (int i = 0; i < 2; ++i) node.runtime.spawn(comes_and_goes, &client, there, &load);
  for (int i = 0; i < 10; ++i) {
    authority.issue("server", {.common_name = "generation " + std::to_string(i)});
    EXPECT_TRUE(server->reload());
    const int kept = load.kept;
    const int fresh = load.fresh;
    EXPECT_TRUE(eventually([&] { return load.kept > kept + 10 && load.fresh > fresh + 2; }, kPatience));
  }
  load.leave = true;
  EXPECT_TRUE(eventually([&] { return node.runtime.process_count() == 1; }, kPatience)) << "all but the listener";
  EXPECT_EQ(load.bad, 0);
}

}  // namespace
}  // namespace rusm::net
