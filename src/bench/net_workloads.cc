#include "bench/net_workloads.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/entropy.h"
#include "bench/resident.h"
#include "net/listener.h"
#include "net/tcp.h"

namespace rusm::bench {
namespace {

using net::Chunk;
using net::Connection;
using net::NetResult;
using otp::Routine;
using otp::Self;

constexpr unsigned kConnectionsMax = 10'000;
constexpr unsigned kConnectionsBefore = 1000;  // they pay for what all share
constexpr rlim_t kOtherDescriptors = 200;
constexpr Nanoseconds kPatience = 60 * kSecond;

Routine echo(Self& self, Connection connection) {
  for (;;) {
    const NetResult<Chunk> got = co_await connection.read(self);
    if (!got || !co_await connection.write(self, *got)) co_return;
  }
}

Routine echo_byte(Self& self, Connection connection) {
  std::byte byte[1];
  if (co_await connection.read_some(self, byte)) (void)co_await connection.write(self, byte);
}

Routine count_and_wait(Self& self, Connection connection, std::atomic<unsigned>* started) {
  started->fetch_add(1, std::memory_order_relaxed);
  (void)co_await connection.read(self);
}

// A listener with the product's defaults.
struct TcpServer {
  TcpServer(const Options& options, net::StartConnection body)
      : runtime({.workers = options.workers}, {.clock = clock, .entropy = entropy, .reactors = driver}) {
    std::promise<net::Address> where;
    net::ListenOptions listening{.address = net::Address::ipv4(0x7f000001, 0)};
    listening.on_listening = [&](const net::Address& at) { where.set_value(at); };
    auto known = where.get_future();
    runtime.spawn(net::listen, &transport, listening, std::move(body));
    if (known.wait_for(std::chrono::nanoseconds(kPatience)) == std::future_status::ready) address = known.get();
  }
  SystemClock clock;
  SystemEntropy entropy;
  net::IoDriver driver;
  net::TcpTransport transport{driver};
  otp::Runtime runtime;
  net::Address address;
};

std::string load_program() {
  if (const char* path = std::getenv("RUSM_TCP_LOAD")) return path;
  std::error_code error;
  return (std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / "rusm_tcp_load").string();
}

Result<Measurement> parse_load(const std::string& text) {
  const auto line = nlohmann::json::parse(text, nullptr, false);
  if (!line.is_object() || !line.contains("value")) {
    return fail(ErrorCode::kUnavailable, "rusm_tcp_load",
                "gave no result (it is built beside rusm, or RUSM_TCP_LOAD names it): " + text);
  }
  return Measurement{.value = line.value("value", 0.0),
                     .unit = line.value("unit", std::string()),
                     .p50_ns = line.value("p50_ns", std::uint64_t{0}),
                     .p99_ns = line.value("p99_ns", std::uint64_t{0})};
}

Result<Measurement> drive(const char* mode, const char* more, TcpServer& server, const Options& options) {
  const std::string command = fmt::format("'{}' {} --address {} --connections 64 --seconds {} {} 2>&1", load_program(),
                                          mode, server.address.to_string(), options.seconds, more);
  std::FILE* output = ::popen(command.c_str(), "r");
  if (output == nullptr) return fail(ErrorCode::kIo, "rusm_tcp_load", "cannot be started: " + errno_text(errno));
  std::string text;
  char room[256];
  while (std::fgets(room, sizeof room, output) != nullptr) text += room;
  ::pclose(output);
  Result<Measurement> measured = parse_load(text);
  if (measured) measured->workers = server.runtime.workers();
  return measured;
}

// Sockets that are connected and do nothing: numbers, so that the memory that is measured is the server's.
class Visitors {
 public:
  Visitors() = default;
  Visitors(const Visitors&) = delete;
  Visitors& operator=(const Visitors&) = delete;
  ~Visitors() {
    for (const int fd : fds_) close(fd);
  }
  Result<> add(const net::Address& address, unsigned count, const std::atomic<unsigned>& started) {
    sockaddr_storage system{};
    const socklen_t bytes = address.to_system(&system);
    const auto target = static_cast<unsigned>(fds_.size()) + count;
    while (fds_.size() < target) {
      const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (fd < 0) return fail(ErrorCode::kLimit, "connection-scale", errno_text(errno));
      fds_.push_back(fd);
      if (connect(fd, reinterpret_cast<const sockaddr*>(&system), bytes) != 0) {
        return fail(ErrorCode::kIo, address.to_string(), errno_text(errno));
      }
    }
    const SystemClock clock;
    const Nanoseconds until = clock.now() + kPatience;
    while (started.load(std::memory_order_relaxed) < target) {
      if (clock.now() > until) return fail(ErrorCode::kTimeout, address.to_string(), "not all were accepted");
      usleep(1000);
    }
    return {};
  }

 private:
  std::vector<int> fds_;
};

}  // namespace

Result<Measurement> tcp_echo(const Options& options) {
  TcpServer server(options, net::each_connection(echo));
  return drive("echo", "--bytes 64", server, options);
}

Result<Measurement> connection_storm(const Options& options) {
  TcpServer server(options, net::each_connection(echo_byte));
  return drive("storm", "", server, options);
}

Result<Measurement> connection_scale(const Options& options) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  // Both ends are here.
  const rlim_t room = limit.rlim_cur > kOtherDescriptors ? (limit.rlim_cur - kOtherDescriptors) / 2 : 0;
  if (room <= 2 * kConnectionsBefore) {
    return fail(ErrorCode::kLimit, "connection-scale", "needs more file descriptors: ulimit -n 20200");
  }
  const auto count = static_cast<unsigned>(std::min<rlim_t>(room, kConnectionsMax)) - kConnectionsBefore;
  std::atomic<unsigned> started{0};
  TcpServer server(options, net::each_connection(count_and_wait, &started));
  Visitors visitors;
  if (Result<> there = visitors.add(server.address, kConnectionsBefore, started); !there) {
    return std::unexpected(std::move(there.error()));
  }
  const std::uint64_t before = resident_bytes();
  if (Result<> there = visitors.add(server.address, count, started); !there) {
    return std::unexpected(std::move(there.error()));
  }
  return Measurement{.value = static_cast<double>(resident_bytes() - before) / count,
                     .unit = "bytes/connection",
                     .workers = server.runtime.workers()};
}

}  // namespace rusm::bench
