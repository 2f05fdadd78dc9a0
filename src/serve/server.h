// Server: one HTTP/1.1 server. Each connection is a process, and each request is handled by a process of its own, whose
// body comes from a BodyFactory: serve knows nothing of what a handler is.
#pragma once

#include <memory>

#include "base/error.h"
#include "net/transport.h"
#include "otp/body.h"
#include "otp/runtime.h"
#include "serve/counters.h"
#include "serve/options.h"

namespace rusm::serve {

class ServerCore;

// Threads: any thread, but not the runtime's workers for what says that it blocks. The runtime and the transport
// outlive it.
class Server {
 public:
  // Listens and serves. `factory` is asked once for each route's handler.
  // Errors: those of Router::add and Transport::listen; kNotFound for a handler that there is not; kInvalid for a
  // header that cannot be sent; kLimit when no process can be started.
  static Result<std::unique_ptr<Server>> start(otp::Runtime& runtime, net::Transport& transport,
                                               const otp::BodyFactory& factory, ServeOptions options);
  // Kills what is left.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Where it listens.
  const net::Address& address() const noexcept { return address_; }
  ServeCounters counters() const noexcept;
  std::size_t connections() const noexcept;
  std::uint32_t requests_in_flight() const noexcept;

  // Stops accepting, closes idle connections and lets requests in flight finish. Returns at once.
  void begin_drain();
  // The same; returns once all connections have ended, or kills those that are left after `timeout` ns and returns
  // false. Blocks.
  bool drain(Nanoseconds timeout);
  // Kills all connections, and with them their handlers. Returns at once.
  void kill();

 private:
  Server(Ref<ServerCore> core, const net::Address& address);

  const Ref<ServerCore> core_;
  const net::Address address_;
};

}  // namespace rusm::serve
