// listen(): the body of a process that accepts connections, each in a process of its own.
//
//   Routine echo(Self& self, Connection connection, int limit);
//
//   runtime.spawn(net::listen, &transport, ListenOptions{.address = here}, each_connection(echo, 100));
//   SupervisorSpec{.children = {listener_child("echo", &transport, {.address = here}, each_connection(echo, 100))}}
//
// Its connections are not its children and have no restarts: one that ends, however it ends, is over, and nobody else
// is touched. But they end with it: told to end (an exit signal) it closes its socket, lets them go on for `drain`,
// sends each the exit signal `shutdown`, and kills those that are left after `kill_after`; only then it ends. A
// connection that waited in a mailbox meanwhile is closed when a process takes it. Killed, it takes them along.
//
// Out of descriptors or processes, or with connections_max there, it goes on as soon as there is room.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "net/connection.h"
#include "otp/supervisor.h"

namespace rusm::net {

// Where a listener listens, how many connections it takes, and how it ends.
struct ListenOptions {
  Address address = {};
  std::size_t connections_max = 100'000;
  Nanoseconds drain = 0;
  Nanoseconds kill_after = 5 * kSecond;
  std::string label = "listener";
  bool reports_ready = false;  // to its supervisor, as soon as it listens; see ChildSpec::reports_ready
  // Told where it listens, with the port that the system chose when 0 was asked for. Must not block.
  std::function<void(const Address&)> on_listening = {};
};

// Starts a process for a connection; false when there is no room for one.
using StartConnection = std::function<bool(otp::Runtime&, Connection)>;

// handler(Self&, Connection, args...) returns a Routine; each connection gets copies.
template <class Handler, class... Args>
StartConnection each_connection(Handler handler, Args... args) {
  return [handler, args...](otp::Runtime& runtime, Connection connection) {
    const auto start = [](otp::Self& self, Connection owned, Handler body, Args... given) {
      owned.set_owner(self.pid());
      return body(self, std::move(owned), std::move(given)...);
    };
    return static_cast<bool>(runtime.spawn(start, std::move(connection), handler, args...));
  };
}

// Ends with crashed ("listen") when it cannot listen, with the reason that it was told, or normal when its socket is
// closed by the system. `transport` outlives it.
otp::Routine listen(otp::Self& self, Transport* transport, ListenOptions options, StartConnection start);

// The same as a child that reports when it listens, and is given the time that its connections may take.
otp::ChildSpec listener_child(std::string id, Transport* transport, ListenOptions options, StartConnection start);

// What a listener answers when it is asked how it is.
struct ListenerStatus {
  std::string address;
  std::uint64_t connections = 0;  // now
  std::uint64_t accepted = 0;     // since its start
  std::uint64_t full = 0;         // how often connections_max was reached
  std::uint64_t exhausted = 0;    // how often there were no descriptors, memory or processes
  std::uint64_t refused = 0;      // connections that were closed because there was no room for a process
};
// Errors: kUnavailable when there is no such listener, or it does not answer.
otp::Task<Result<ListenerStatus>> listener_status(otp::Self& self, otp::Pid listener);

}  // namespace rusm::net
