// rusm_tcp_load: asks a TCP server as fast as it answers, and prints one line of JSON.
//
//   rusm_tcp_load echo  --address 127.0.0.1:7000 --connections 64 --seconds 3 --bytes 64
//   rusm_tcp_load storm --address 127.0.0.1:7000 --connections 64 --seconds 3
//
// echo: every connection sends `bytes`, waits until they have come back, and sends the next ones.
// storm: so many connections at a time. Each is opened, sends one byte, waits until it has come back, and is closed.
// What comes back is compared with what was sent. A connection of storm is closed with a reset (SO_LINGER of 0): after
// an orderly close either side would keep its port for a minute, and one second would use up all ports.
//
// One thread, one epoll. The percentiles are of an echo, or of a connection from its opening to its byte. They are
// those of a closed loop: a server that stalls is asked less often.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/histogram.h"

namespace rusm::load {
namespace {

constexpr Nanoseconds kWarmUp = 250 * kMillisecond;  // not counted
constexpr Nanoseconds kPatience = 5 * kSecond;       // for one answer
constexpr unsigned kFailuresMax = 8;                 // connections of storm that may fail in one run
constexpr unsigned kConnectionsMax = 20'000;
constexpr std::size_t kBytesMax = 1 << 20;

struct Options {
  sockaddr_in address{};
  unsigned connections = 64;
  double seconds = 3;
  std::size_t bytes = 64;
};

struct Connection {
  int fd = -1;
  Nanoseconds started = 0;
  std::size_t sent = 0;
  std::size_t received = 0;
  std::vector<char> message;
};

// What both loads are made of. Threads: one.
class Load {
 public:
  explicit Load(const Options& options) : options_(options), connections_(options.connections) {}
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;
  virtual ~Load() {
    for (const Connection& connection : connections_) {
      if (connection.fd >= 0) ::close(connection.fd);
    }
    if (epoll_ >= 0) ::close(epoll_);
  }

  Result<> run();
  std::string json(const char* workload, const char* unit) const {
    return fmt::format(
        R"({{"workload":"{}","value":{:.0f},"unit":"{}","p50_ns":{},"p99_ns":{},"connections":{},"failures":{}}})",
        workload, static_cast<double>(spans_.count()) / options_.seconds, unit, spans_.percentile(0.5),
        spans_.percentile(0.99), options_.connections, failures_);
  }

 protected:
  virtual Result<> open(Connection& connection) = 0;
  virtual Result<> go_on(Connection& connection, std::uint32_t events) = 0;
  // It was not answered in time.
  virtual Result<> give_up(Connection& connection) = 0;

  // A non-blocking socket that is connected, or becomes so.
  Result<> connect(Connection& connection, bool* connected);
  Result<> watch(Connection& connection, std::uint32_t events);
  Result<> send(Connection& connection);
  // True when all of the message has come back.
  Result<bool> take(Connection& connection);
  void count(Connection& connection) {
    const Nanoseconds now = clock_.now();
    if (now >= counted_from_ && now < end_) spans_.record(static_cast<std::uint64_t>(now - connection.started));
    now_ = now;
  }
  // Makes the next message, different from the one before.
  void renew(Connection& connection);

  const Options options_;
  SystemClock clock_;
  Nanoseconds now_ = 0;
  unsigned failures_ = 0;

 private:
  Result<> check_patience();

  std::vector<Connection> connections_;
  std::vector<char> incoming_;
  int epoll_ = -1;
  std::uint64_t messages_ = 0;
  Nanoseconds counted_from_ = kNever;
  Nanoseconds end_ = kNever;
  Histogram spans_;
};

Error system_error(const char* what) {
  return {.code = ErrorCode::kIo, .where = "tcp_load", .text = std::string(what) + ": " + errno_text(errno)};
}

Result<> Load::run() {
  incoming_.resize(options_.bytes);
  epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0) return std::unexpected(system_error("epoll_create1"));
  for (Connection& connection : connections_) {
    connection.message.assign(options_.bytes, 'x');
    if (Result<> opened = open(connection); !opened) return opened;
  }
  now_ = clock_.now();
  counted_from_ = now_ + kWarmUp;
  end_ = counted_from_ + static_cast<Nanoseconds>(options_.seconds * 1e9);
  Nanoseconds looked = now_;
  std::vector<epoll_event> events(std::min(options_.connections, 1024u));
  while (now_ < end_) {
    const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 100);
    if (count < 0 && errno != EINTR) return std::unexpected(system_error("epoll_wait"));
    now_ = clock_.now();
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      if (Result<> gone_on = go_on(*static_cast<Connection*>(event.data.ptr), event.events); !gone_on) return gone_on;
    }
    if (now_ - looked < kSecond) continue;
    looked = now_;
    if (Result<> patient = check_patience(); !patient) return patient;
  }
  if (spans_.count() == 0) return fail(ErrorCode::kTimeout, "tcp_load", "the server answered nothing");
  return {};
}

Result<> Load::check_patience() {
  for (Connection& connection : connections_) {
    if (now_ - connection.started < kPatience) continue;
    if (Result<> given_up = give_up(connection); !given_up) return given_up;
  }
  return {};
}

Result<> Load::connect(Connection& connection, bool* connected) {
  connection.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (connection.fd < 0) return std::unexpected(system_error("socket"));
  connection.started = clock_.now();
  *connected =
      ::connect(connection.fd, reinterpret_cast<const sockaddr*>(&options_.address), sizeof options_.address) == 0;
  if (!*connected && errno != EINPROGRESS) return std::unexpected(system_error("connect"));
  return {};
}

Result<> Load::watch(Connection& connection, std::uint32_t events) {
  epoll_event event{.events = events | EPOLLET, .data = {.ptr = &connection}};
  if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, connection.fd, &event) < 0) return std::unexpected(system_error("epoll_ctl"));
  return {};
}

void Load::renew(Connection& connection) {
  ++messages_;
  std::memcpy(connection.message.data(), &messages_, std::min(sizeof messages_, connection.message.size()));
  connection.sent = connection.received = 0;
}

Result<> Load::send(Connection& connection) {
  const std::vector<char>& message = connection.message;
  while (connection.sent < message.size()) {
    const ssize_t count =
        ::send(connection.fd, message.data() + connection.sent, message.size() - connection.sent, MSG_NOSIGNAL);
    if (count < 0 && errno == EAGAIN) return {};
    if (count < 0) return std::unexpected(system_error("send"));
    connection.sent += static_cast<std::size_t>(count);
  }
  return {};
}

Result<bool> Load::take(Connection& connection) {
  const std::vector<char>& message = connection.message;
  while (connection.received < message.size()) {
    const std::size_t wanted = message.size() - connection.received;
    const ssize_t count = ::recv(connection.fd, incoming_.data(), wanted, 0);
    if (count < 0 && errno == EAGAIN) return false;
    if (count < 0) return std::unexpected(system_error("recv"));
    if (count == 0) return fail(ErrorCode::kIo, "tcp_load", "the server closed before it had answered");
    if (std::memcmp(incoming_.data(), message.data() + connection.received, static_cast<std::size_t>(count)) != 0) {
      return fail(ErrorCode::kCorrupt, "tcp_load", "what came back is not what was sent");
    }
    connection.received += static_cast<std::size_t>(count);
  }
  return true;
}

// Threads: one.
class EchoLoad final : public Load {
 public:
  using Load::Load;

 private:
  Result<> open(Connection& connection) override {
    bool connected = false;
    if (Result<> begun = connect(connection, &connected); !begun) return begun;
    const int on = 1;
    ::setsockopt(connection.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    renew(connection);
    return watch(connection, EPOLLIN | EPOLLOUT);
  }
  Result<> go_on(Connection& connection, std::uint32_t) override {
    if (Result<> sent = send(connection); !sent) return sent;
    const Result<bool> all = take(connection);
    if (!all) return std::unexpected(all.error());
    if (!*all) return {};
    count(connection);
    renew(connection);
    connection.started = now_;
    return send(connection);
  }
  Result<> give_up(Connection&) override {
    return fail(ErrorCode::kTimeout, "tcp_load", "the server stopped to answer");
  }
};

// Threads: one.
class StormLoad final : public Load {
 public:
  using Load::Load;

 private:
  Result<> open(Connection& connection) override {
    for (;;) {
      bool connected = false;
      Result<> done = connect(connection, &connected);
      if (done) {
        const linger reset{.l_onoff = 1, .l_linger = 0};
        ::setsockopt(connection.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        renew(connection);
        if (connected) done = send(connection);
      }
      if (done) return watch(connection, connected ? EPOLLIN : EPOLLIN | EPOLLOUT);
      if (Result<> few = note_failure(connection, done.error()); !few) return few;
    }
  }
  Result<> go_on(Connection& connection, std::uint32_t) override {
    Result<> sent = send(connection);
    const Result<bool> all = sent ? take(connection) : std::unexpected(sent.error());
    if (!all) {
      if (all.error().code == ErrorCode::kCorrupt) return std::unexpected(all.error());
      if (Result<> few = note_failure(connection, all.error()); !few) return few;
      return open(connection);
    }
    if (!*all) return {};
    count(connection);
    close(connection);
    return open(connection);
  }
  Result<> give_up(Connection& connection) override {
    if (Result<> few = note_failure(connection, {ErrorCode::kTimeout, "tcp_load", "no answer in time"}); !few) {
      return few;
    }
    return open(connection);
  }

  static void close(Connection& connection) {
    if (connection.fd >= 0) ::close(connection.fd);
    connection.fd = -1;
  }
  Result<> note_failure(Connection& connection, const Error& error) {
    close(connection);
    if (++failures_ <= kFailuresMax) return {};
    return fail(error.code, error.where, "more than a few connections failed, the last one: " + error.text);
  }
};

bool parse_address(const std::string& text, sockaddr_in* address) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) return false;
  const int port = std::atoi(text.c_str() + colon + 1);
  address->sin_family = AF_INET;
  address->sin_port = htons(static_cast<std::uint16_t>(port));
  return port > 0 && port < 65536 && ::inet_pton(AF_INET, text.substr(0, colon).c_str(), &address->sin_addr) == 1;
}

int run(int argc, char** argv) {
  Options options;
  std::string address;
  CLI::App app("Asks a TCP server as fast as it answers, and prints one line of JSON.");
  app.require_subcommand(1);
  CLI::App* echo = app.add_subcommand("echo", "connections that stay open; echoes per second");
  CLI::App* storm = app.add_subcommand("storm", "connections for one byte each; connections per second");
  for (CLI::App* command : {echo, storm}) {
    command->add_option("--address", address, "IPv4:PORT")->required();
    command->add_option("--connections", options.connections, "at a time (64)")->check(CLI::Range(1u, kConnectionsMax));
    command->add_option("--seconds", options.seconds, "how long is counted (3)")->check(CLI::Range(0.01, 3600.0));
  }
  echo->add_option("--bytes", options.bytes, "in a message (64)")->check(CLI::Range(std::size_t{1}, kBytesMax));
  CLI11_PARSE(app, argc, argv);
  if (!parse_address(address, &options.address)) {
    fmt::print(stderr, "tcp_load: --address: \"{}\" is not an IPv4 address with a port: 127.0.0.1:7000\n", address);
    return 2;
  }
  if (storm->parsed()) options.bytes = 1;
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }

  std::unique_ptr<Load> load;
  if (storm->parsed()) {
    load = std::make_unique<StormLoad>(options);
  } else {
    load = std::make_unique<EchoLoad>(options);
  }
  if (const Result<> ran = load->run(); !ran) {
    fmt::print(stderr, "{}\n", ran.error().to_string());
    return 1;
  }
  const std::string line = storm->parsed() ? load->json("connection-storm", "connections/s")  //
                                           : load->json("tcp-echo", "echoes/s");
  std::puts(line.c_str());
  return 0;
}

}  // namespace
}  // namespace rusm::load

int main(int argc, char** argv) {
  return rusm::load::run(argc, argv);
}
