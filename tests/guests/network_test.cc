// What a guest may reach through wasi:sockets: network.wasm tries, and says what it was told.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>
#include <fstream>
#include <functional>
#include <sstream>

#include "one_answer.h"
#include "wasm/test_node.h"

namespace rusm::wasm {
namespace {

using ::testing::HasSubstr;

class NetworkTest : public testing::Test {
 protected:
  // Runs the guest with its words, three by three, and gives back the lines that it wrote.
  // `meanwhile` is called while it runs.
  std::string run(std::vector<std::string> words, std::vector<std::string> reach, std::vector<std::string> listen = {},
                  const std::function<void(TestNode&)>& meanwhile = {}) {
    TestNode node;
    Capabilities may;
    may.args = {"network"};
    may.args.insert(may.args.end(), words.begin(), words.end());
    NetworkPolicy policy;
    for (const std::string& rule : reach) policy.reach.push_back(*NetworkRule::parse(rule));
    for (const std::string& rule : listen) policy.listen.push_back(*NetworkRule::parse_listen(rule));
    if (!policy.empty()) may.network = {policy};
    std::ifstream file(RUSM_GUEST_DIR "/network.wasm", std::ios::binary);
    EXPECT_TRUE(file);
    std::ostringstream bytes;
    bytes << file.rdbuf();
    const otp::Pid pid = node.start(*node.maker(bytes.str(), Entry::kCommand, may));
    if (meanwhile) meanwhile(node);
    const otp::ExitReason reason = node.wait(pid);
    EXPECT_TRUE(reason.is_normal()) << reason.to_string();
    EXPECT_TRUE(node.settles());
    hit_ = node.engine->limits_hit();
    return node.lines.text();
  }

  std::string here(std::uint16_t port) const { return "127.0.0.1:" + std::to_string(port); }

  OneAnswer server_{""};
  LimitsHit hit_;
};

TEST_F(NetworkTest, WithoutARightThereIsNothing) {
  const std::string said = run({"connect", here(server_.port()), "-", "lookup", "localhost", "-", "listen",
                                "127.0.0.1:0", "-", "send", here(server_.port()), "-"},
                               {});
  EXPECT_THAT(said, testing::Not(HasSubstr(": ok")));
  EXPECT_THAT(said, HasSubstr("connect " + here(server_.port()) + ": access-denied"));
}

TEST_F(NetworkTest, OnlyTheAddressAndPortThatAreNamed) {
  const std::string said = run({"connect",
                                here(server_.port()),
                                "-",
                                "connect",
                                here(1),
                                "-",
                                "connect",
                                "127.0.0.2:80",
                                "-",
                                "connect",
                                "10.0.0.1:80",
                                "-",
                                "connect",
                                "[::1]:80",
                                "-",
                                "send",
                                here(server_.port()),
                                "-",
                                "send",
                                here(9),
                                "-",
                                "lookup",
                                "localhost",
                                "-",
                                "bind",
                                "127.0.0.1:0",
                                "-",
                                "listen",
                                "0.0.0.0:0",
                                "-"},
                               {here(server_.port())});
  EXPECT_THAT(said, HasSubstr("connect " + here(server_.port()) + ": ok"));
  EXPECT_THAT(said, HasSubstr("send " + here(server_.port()) + ": ok"));
  for (const char* refused :
       {"connect 127.0.0.1:1:", "connect 127.0.0.2:80:", "connect 10.0.0.1:80:", "connect [::1]:80:",
        "send 127.0.0.1:9:", "lookup localhost:", "bind 127.0.0.1:0:", "listen 0.0.0.0:0:"}) {
    EXPECT_THAT(said, HasSubstr(refused + std::string(" access-denied")));
  }
  EXPECT_GE(hit_[Limit::kAddress], 6u);
  EXPECT_EQ(hit_[Limit::kName], 1u);
}

TEST_F(NetworkTest, EveryPublicAddressIsNotThisMachine) {
  const std::string said = run(
      {"connect", here(server_.port()), "-", "connect", "169.254.169.254:80", "-", "connect", "[::ffff:127.0.0.1]:80",
       "-", "connect", "[fd00:ec2::254]:80", "-", "named", "localhost", std::to_string(server_.port())},
      {"*", "0.0.0.0/0", "[::]/0"});
  EXPECT_THAT(said, testing::Not(HasSubstr(": ok")));
  EXPECT_THAT(said, HasSubstr("named localhost: access-denied"));
}

TEST_F(NetworkTest, ANameOpensWhatItsLookUpGave) {
  const std::string port = std::to_string(server_.port());
  const std::string said =
      run({"connect", here(server_.port()), "-", "named", "localhost", port, "connect", "127.0.0.1:1", "-"},
          {"localhost:" + port});
  EXPECT_THAT(said, HasSubstr("connect " + here(server_.port()) + ": access-denied")) << "nobody had looked it up";
  EXPECT_THAT(said, HasSubstr("named localhost: ok"));
  EXPECT_THAT(said, HasSubstr("connect 127.0.0.1:1: access-denied")) << "the name has one port";
}

TEST_F(NetworkTest, WhatIsNoNameIsRefused) {
  const std::string longest(256, 'a');
  const std::string said = run({"lookup", longest, "-", "lookup", "b\u00fccher.example", "-", "lookup", "a b", "-",
                                "lookup", "127.0.0.1", "-", "lookup", "[::1]", "-"},
                               {"*"});
  for (const std::string& refused : {longest, std::string("b\u00fccher.example"), std::string("a b")}) {
    EXPECT_THAT(said, HasSubstr("lookup " + refused + ": invalid-argument"));
  }
  EXPECT_THAT(said, HasSubstr("lookup 127.0.0.1: ok"));
  EXPECT_THAT(said, HasSubstr("lookup [::1]: ok"));
}

// Gives back to its client what it sends, as it comes, or answers one datagram in capitals.
class Echo {
 public:
  explicit Echo(int type) : socket_(type == SOCK_STREAM ? listen_on_loopback(&port_) : datagrams(&port_)) {
    thread_ = std::thread([this, type] { type == SOCK_STREAM ? stream() : datagram(); });
  }
  ~Echo() {
    shutdown(socket_, SHUT_RDWR);
    thread_.join();
    close(socket_);
  }
  std::uint16_t port() const { return port_; }

 private:
  static int datagrams(std::uint16_t* port) {
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
    getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
    *port = ntohs(address.sin_port);
    return fd;
  }
  void stream() const {
    const int client = accept(socket_, nullptr, nullptr);
    if (client < 0) return;
    char buffer[4096];
    for (ssize_t n; (n = recv(client, buffer, sizeof buffer, 0)) > 0;) {
      if (send(client, buffer, static_cast<std::size_t>(n), MSG_NOSIGNAL) != n) break;
    }
    close(client);
  }
  void datagram() const {
    char buffer[64];
    sockaddr_in from{};
    socklen_t size = sizeof from;
    const ssize_t n = recvfrom(socket_, buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &size);
    for (ssize_t i = 0; i < n; ++i) buffer[i] = static_cast<char>(std::toupper(buffer[i]));
    if (n > 0) (void)sendto(socket_, buffer, static_cast<std::size_t>(n), 0, reinterpret_cast<sockaddr*>(&from), size);
  }

  std::uint16_t port_ = 0;
  const int socket_;
  std::thread thread_;
};

TEST_F(NetworkTest, BytesFlowBothWaysOverTcpAndDatagramsAreAnswered) {
  Echo tcp(SOCK_STREAM);
  Echo udp(SOCK_DGRAM);
  const std::string said = run({"talk", here(tcp.port()), "3000000", "ask", here(udp.port()), "-"}, {"127.0.0.1"});
  EXPECT_THAT(said, HasSubstr("talk " + here(tcp.port()) + ": ok"));
  EXPECT_THAT(said, HasSubstr("ask " + here(udp.port()) + ": ok"));
}

TEST_F(NetworkTest, AGuestServesTcp) {
  std::string came;
  const auto visit = [&](TestNode& node) {
    std::string said;
    ASSERT_TRUE(eventually([&] { return (said = node.lines.text()).find("port ") != std::string::npos; }));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(said.substr(said.find("port ") + 5))));
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(send(fd, "hello", 5, MSG_NOSIGNAL), 5);
    shutdown(fd, SHUT_WR);
    char buffer[64];
    for (ssize_t n; (n = recv(fd, buffer, sizeof buffer, 0)) > 0;) came.append(buffer, static_cast<std::size_t>(n));
    close(fd);
  };
  EXPECT_THAT(run({"serve", "127.0.0.1:0", "-"}, {}, {"127.0.0.1"}, visit), HasSubstr("serve 127.0.0.1:0: ok"));
  EXPECT_EQ(came, "hello");
}

TEST_F(NetworkTest, ListeningIsARightOfItsOwn) {
  const std::string said =
      run({"listen", "127.0.0.1:0", "-", "listen", "0.0.0.0:0", "-", "connect", here(server_.port()), "-"}, {},
          {"127.0.0.1"});
  EXPECT_THAT(said, HasSubstr("listen 127.0.0.1:0: ok"));
  EXPECT_THAT(said, HasSubstr("listen 0.0.0.0:0: access-denied"));
  EXPECT_THAT(said, HasSubstr("connect " + here(server_.port()) + ": access-denied"));
}

}  // namespace
}  // namespace rusm::wasm
