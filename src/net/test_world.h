// For net's tests: processes on a simulated network, in one thread and in virtual time. Not part of the library.
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <string>
#include <string_view>
#include <utility>

#include "base/log.h"
#include "net/connection.h"
#include "net/listener.h"
#include "net/simulated_transport.h"
#include "net/tcp.h"

namespace rusm::net {

inline const Address kHere = Address::ipv4(0x7f000001, 80);
inline const Address kAnyPort = Address::ipv4(0x7f000001, 0);

struct World {
  explicit World(std::uint64_t seed = 1, SimulatedNetworkOptions options = {}, Log* log = nullptr)
      : runtime({.deterministic_seed = seed}, {.clock = clock, .entropy = entropy, .reactors = reactors, .log = log}),
        network(runtime, options) {}
  ~World() {
    runtime.kill_all();
    runtime.run_until_idle();
  }
  void run() { runtime.run_until_idle(); }
  // A little more than `span`: a timer may be late by one tick of its wheel.
  void advance(Nanoseconds span) {
    clock.advance(span + kMillisecond);
    runtime.run_until_idle();
  }

  SimulatedClock clock;
  SeededEntropy entropy{7};
  otp::QuietReactorFactory reactors;
  otp::Runtime runtime;
  SimulatedTransport network;
};

// Threads, sockets of the operating system, and its clock.
struct TcpNode {
  explicit TcpNode(unsigned workers = 2)
      : runtime({.workers = workers}, {.clock = clock, .entropy = entropy, .reactors = driver}) {}
  SystemClock clock;
  SystemEntropy entropy;
  IoDriver driver;
  TcpTransport transport{driver};
  otp::Runtime runtime;
};

// A listener on a port of its own, which is there when this returns; `out`: where.
inline otp::Pid listen_on(otp::Runtime& runtime, Transport& transport, StartConnection body, Address* out,
                          ListenOptions options = {}) {
  std::promise<Address> where;
  auto future = where.get_future();
  options.address = kAnyPort;
  options.on_listening = [&](const Address& address) { where.set_value(address); };
  const otp::Pid pid = runtime.spawn(listen, &transport, std::move(options), std::move(body));
  *out = future.get();
  return pid;
}

// A stream on which nothing ever happens.
class SilentStream : public Stream {
 public:
  void set_owner(otp::Pid) noexcept override {}
  IoResult try_read(std::span<std::byte>) noexcept override { return {Io::kWouldBlock}; }
  IoResult try_write(std::span<const std::span<const std::byte>>) noexcept override { return {Io::kWouldBlock}; }
  void shutdown_write() noexcept override {}
  void reset_on_close() noexcept override {}
  PeerState peer_state() const noexcept override { return PeerState::kThere; }
  const Address& peer() const noexcept override { return kHere; }
};

inline IoResult write_text(Stream& stream, std::string_view text) {
  const std::span<const std::byte> pieces[] = {std::as_bytes(std::span(text))};
  return stream.try_write(pieces);
}
// What is there now.
inline std::string read_text(Stream& stream, std::size_t room = 1 << 20) {
  std::string text(room, '\0');
  std::size_t count = 0;
  while (count < room) {
    const IoResult got = stream.try_read(std::as_writable_bytes(std::span(text)).subspan(count));
    if (got.status != Io::kDone) break;
    count += got.bytes;
  }
  text.resize(count);
  return text;
}

}  // namespace rusm::net
