// SimulatedTransport: a network in memory, for tests. Both ends of a connection are Streams; what one writes the other
// reads, through a buffer of limited size. Faults are part of it: pieces of any size, resets, failing accepts.
// Everything that happens follows from the calls that are made and from the seed.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>

#include "base/entropy.h"
#include "net/transport.h"
#include "otp/runtime.h"

namespace rusm::net {

// What the network in memory is like.
struct SimulatedNetworkOptions {
  std::uint64_t seed = 1;
  std::size_t buffer_bytes = 64 << 10;  // in flight in one direction
  std::size_t piece_bytes_max = 0;      // 0: whole; else each read and write moves 1 to this many bytes
};

// Threads: any thread. Outlives its streams and acceptors.
class SimulatedTransport final : public Transport {
 public:
  explicit SimulatedTransport(otp::Runtime& runtime, SimulatedNetworkOptions options = {});
  ~SimulatedTransport() override;

  Result<std::unique_ptr<Acceptor>> listen(const Address& address) override;
  // Refused (kUnavailable) when nobody listens there.
  Result<std::unique_ptr<Stream>> connect(const Address& address) override;

  // The next `count` calls of try_accept that would have given a stream fail with kExhausted instead.
  void exhaust(int count) noexcept;
  // How often an acceptor was asked so far.
  std::uint64_t accept_calls() const noexcept;

 private:
  struct Queue;
  struct Connection;
  class End;
  class Listening;

  std::size_t piece(std::size_t bytes) noexcept;  // REQUIRES: mutex_ is held

  otp::Runtime& runtime_;
  const SimulatedNetworkOptions options_;
  mutable std::mutex mutex_;
  Random random_;                            // guarded by mutex_
  std::map<Address, Listening*> listening_;  // guarded by mutex_
  std::uint16_t next_port_ = 40'000;         // guarded by mutex_
  int exhausted_ = 0;                        // guarded by mutex_
  std::uint64_t accept_calls_ = 0;           // guarded by mutex_
};

}  // namespace rusm::net
