// The server over real sockets, with workers on threads and clients that block.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "net/tcp.h"
#include "serve/native_handler.h"
#include "serve/server.h"

namespace rusm::serve {
namespace {

using http::Exchange;
using otp::Routine;
using otp::Self;

Routine hello(Self& self, Ref<Exchange> exchange) {
  co_await respond(self, exchange, 200, "hello");
}

Routine echo(Self& self, Ref<Exchange> exchange) {
  exchange->respond({});
  for (;;) {
    std::string piece = co_await read_body(self, exchange);
    if (piece.empty()) break;
    if (!co_await write_body(self, exchange, piece)) co_return;
  }
  exchange->response_body.finish();
}

// Never answers and never waits long: what a guest in an endless loop looks like.
Routine spins(Self& self, Ref<Exchange> exchange) {
  while (exchange) co_await otp::yield(self);
}

Routine crashes(Self&, Ref<Exchange>) {
  throw std::runtime_error("boom");
  co_return;
}

// A blocking connection. Reading gives up after a while, so that a test fails instead of hanging.
class Client {
 public:
  explicit Client(const net::Address& address) {
    sockaddr_storage system{};
    const socklen_t bytes = address.to_system(&system);
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval patience{.tv_sec = 20, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&system), bytes) != 0) close();
  }
  Client(Client&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Client& operator=(Client&&) = delete;
  ~Client() { close(); }

  bool send(std::string_view text) {
    while (!text.empty()) {
      const ssize_t n = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  // Until `end` has come, or the connection ended.
  std::string read_to(std::string_view end) {
    std::string text;
    char buffer[4096];
    while (!text.ends_with(end)) {
      const ssize_t n = recv(fd_, buffer, sizeof(buffer), 0);
      if (n <= 0) break;
      text.append(buffer, static_cast<std::size_t>(n));
    }
    return text;
  }
  std::size_t read_some(std::span<char> room) {
    const ssize_t n = recv(fd_, room.data(), room.size(), 0);
    return n <= 0 ? 0 : static_cast<std::size_t>(n);
  }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

bool eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

class ServerTcp : public testing::Test {
 protected:
  ServerTcp() {
    handlers_.add("hello", hello);
    handlers_.add("echo", echo);
    handlers_.add("spins", spins);
    handlers_.add("crashes", crashes);
  }
  void serve(ServeOptions options = {}) {
    options.listen = net::Address::ipv4(0x7f000001, 0);
    options.routes = {{"/", "hello"}, {"/echo", "echo"}, {"/spin", "spins"}, {"/crash", "crashes"}};
    auto server = Server::start(runtime_, transport_, handlers_, std::move(options));
    ASSERT_TRUE(server) << server.error().to_string();
    server_ = std::move(*server);
  }
  Client connect() const { return Client(server_->address()); }
  std::size_t processes() const { return runtime_.process_count(); }

  SystemClock clock_;
  SystemEntropy entropy_;
  net::IoDriver driver_;
  net::TcpTransport transport_{driver_};
  NativeHandlers handlers_;
  otp::Runtime runtime_{{.workers = 2, .deterministic_seed = {}},
                        {.clock = clock_, .entropy = entropy_, .reactors = driver_}};
  std::unique_ptr<Server> server_;
};

TEST_F(ServerTcp, ManyClientsAtOnce) {
  serve();
  constexpr int kClients = 8;
  constexpr int kRequests = 200;
  std::atomic<int> good{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kClients; ++i) {
      threads.emplace_back([&] {
        Client client = connect();
        for (int r = 0; r < kRequests; ++r) {
          client.send(kGet);
          if (client.read_to("hello").ends_with("hello")) good.fetch_add(1);
        }
      });
    }
  }
  EXPECT_EQ(good.load(), kClients * kRequests);
  // Counted once written, which the client may see first.
  EXPECT_TRUE(eventually([&] { return server_->counters()[Count::kAnswered] == kClients * kRequests; }));
  EXPECT_TRUE(server_->drain(20 * kSecond));
  EXPECT_TRUE(eventually([&] { return processes() == 0; }));
}

TEST_F(ServerTcp, AnEchoStreamsWithoutHoldingTheBody) {
  serve();
  Client client = connect();
  constexpr std::size_t kBytes = 64 << 20;
  std::jthread sender([&] {
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(kBytes) +
                "\r\nConnection: close\r\n\r\n");
    std::string piece(1 << 16, 'x');
    for (std::size_t sent = 0; sent < kBytes; sent += piece.size()) {
      if (!client.send(piece)) return;
    }
  });
  std::vector<char> buffer(1 << 18);
  std::size_t payload = 0;
  std::string tail;
  for (;;) {
    const std::size_t n = client.read_some(buffer);
    if (n == 0) break;
    payload +=
        static_cast<std::size_t>(std::count(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(n), 'x'));
    tail.append(buffer.data(), n);
    if (tail.size() > 16) tail.erase(0, tail.size() - 16);
  }
  EXPECT_EQ(payload, kBytes);
  EXPECT_TRUE(tail.ends_with("0\r\n\r\n"));
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
#ifndef RUSM_SANITIZED
  EXPECT_LT(usage.ru_maxrss, 48 << 10) << "KiB: less than the body";
#endif
}

TEST_F(ServerTcp, AClientThatLeavesASpinningHandlerKillsIt) {
  serve({.half_closed_timeout = kMillisecond});
  Client client = connect();
  client.send("GET /spin HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(eventually([&] { return processes() == 3; }));
  client.close();
  EXPECT_TRUE(eventually([&] { return processes() == 1; }));
  EXPECT_EQ(server_->counters()[Count::kClientGone], 1u);
}

TEST_F(ServerTcp, CrashesAndSpinsDoNotKeepOthersFromBeingAnswered) {
  serve({.half_closed_timeout = kMillisecond});
  std::vector<Client> spinning;
  for (int i = 0; i < 4; ++i) {
    spinning.push_back(connect());
    spinning.back().send("GET /spin HTTP/1.1\r\nHost: a\r\n\r\n");
  }
  ASSERT_TRUE(eventually([&] { return processes() == 9; }));
  for (int i = 0; i < 20; ++i) {
    Client crash = connect();
    crash.send("GET /crash HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    EXPECT_TRUE(crash.read_to("never").starts_with("HTTP/1.1 500 "));
    Client client = connect();
    client.send(kGet);
    EXPECT_TRUE(client.read_to("hello").starts_with("HTTP/1.1 200 "));
  }
  spinning.clear();
  EXPECT_TRUE(server_->drain(20 * kSecond));
  EXPECT_TRUE(eventually([&] { return processes() == 0; }));
}

TEST_F(ServerTcp, ClientsThatVanishAnywhereLeaveNothingBehind) {
  serve({.half_closed_timeout = kMillisecond});
  const std::string request = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n" + std::string(40, 'x');
  for (std::size_t cut = 0; cut <= request.size(); ++cut) {
    Client client = connect();
    client.send(std::string_view(request).substr(0, cut));
  }
  EXPECT_TRUE(eventually([&] { return server_->connections() == 0; }));
  EXPECT_TRUE(eventually([&] { return server_->requests_in_flight() == 0; }));
  EXPECT_TRUE(eventually([&] { return processes() == 1; }));
}

TEST_F(ServerTcp, DrainKillsWhatDoesNotEnd) {
  serve();
  Client client = connect();
  client.send("GET /spin HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(eventually([&] { return processes() == 3; }));
  EXPECT_FALSE(server_->drain(10 * kMillisecond));
  EXPECT_EQ(server_->connections(), 0u);
  EXPECT_TRUE(eventually([&] { return processes() == 0; }));
}

// Lowers the limit on descriptors, until it goes out of scope.
class FewDescriptors {
 public:
  explicit FewDescriptors(int more) {
    getrlimit(RLIMIT_NOFILE, &before_);
    std::vector<int> free;  // there may be gaps between those in use
    for (int i = 0; i < more; ++i) free.push_back(dup(0));
    const rlimit few{static_cast<rlim_t>(*std::ranges::max_element(free) + 1), before_.rlim_max};
    for (const int fd : free) ::close(fd);
    setrlimit(RLIMIT_NOFILE, &few);
  }
  ~FewDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST_F(ServerTcp, AcceptingResumesWhenThereAreDescriptorsAgain) {
  serve();
  std::vector<Client> clients;
  {
    const FewDescriptors few(7);  // four clients, three accepted
    for (int i = 0; i < 4; ++i) {
      clients.push_back(connect());
      clients.back().send(kGet);
    }
    ASSERT_TRUE(eventually([&] { return server_->counters()[Count::kAcceptExhausted] >= 1; }));
    int answered = 0;
    for (int i = 0; i < 3; ++i) answered += clients[static_cast<std::size_t>(i)].read_to("hello").ends_with("hello");
    EXPECT_EQ(answered, 3);
    clients.front().close();
    EXPECT_TRUE(clients.back().read_to("hello").ends_with("hello")) << "one closed, so there is room";
  }
}

}  // namespace
}  // namespace rusm::serve
