// TcpTransport: connections over the sockets of the operating system, non-blocking, with readiness from an IoDriver.
#pragma once

#include "net/epoll_reactor.h"
#include "net/transport.h"

namespace rusm::net {

// What the system is asked for beside an address.
struct TcpOptions {
  int backlog = 4096;  // connections that wait to be accepted; the kernel may allow less
};

// Threads: any thread. Outlives its streams and acceptors; the driver outlives it.
class TcpTransport final : public Transport {
 public:
  explicit TcpTransport(IoDriver& driver, TcpOptions options = {}) : driver_(driver), options_(options) {}
  Result<std::unique_ptr<Acceptor>> listen(const Address& address) override;
  Result<std::unique_ptr<Stream>> connect(const Address& address) override;

 private:
  IoDriver& driver_;
  const TcpOptions options_;
};

}  // namespace rusm::net
