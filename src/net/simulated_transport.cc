#include "net/simulated_transport.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace rusm::net {

// One direction. All under the transport's mutex.
struct SimulatedTransport::Queue {
  std::deque<std::byte> bytes;
  otp::Pid reader;
  otp::Pid writer;
  bool finished = false;  // the writer sends no more
};

// Both ends hold it. Queue i is written by end i.
struct SimulatedTransport::Connection {
  std::array<Queue, 2> queues;
  std::array<bool, 2> closed{};
  bool reset = false;
};

class SimulatedTransport::End final : public Stream {
 public:
  End(SimulatedTransport& network, std::shared_ptr<Connection> connection, unsigned side, const Address& peer)
      : network_(network), connection_(std::move(connection)), side_(side), peer_(peer) {}

  ~End() override {
    otp::Pid peer;
    {
      const std::scoped_lock lock(network_.mutex_);
      connection_->closed[side_] = true;
      // As TCP does: closing with unread data resets.
      if (reset_on_close_ || !in().bytes.empty()) {
        connection_->reset = true;
        out().bytes.clear();
      }
      out().finished = true;
      peer = out().reader;
    }
    network_.runtime_.wake(peer);
  }

  void set_owner(otp::Pid pid) noexcept override {
    const std::scoped_lock lock(network_.mutex_);
    in().reader = pid;
    out().writer = pid;
  }

  IoResult try_read(std::span<std::byte> room) noexcept override {
    otp::Pid writer;
    std::size_t count = 0;
    {
      const std::scoped_lock lock(network_.mutex_);
      Queue& queue = in();
      if (connection_->reset) return {Io::kBroken};
      if (queue.bytes.empty()) return {queue.finished ? Io::kFinished : Io::kWouldBlock};
      count = network_.piece(std::min(room.size(), queue.bytes.size()));
      std::copy_n(queue.bytes.begin(), count, room.begin());
      queue.bytes.erase(queue.bytes.begin(), queue.bytes.begin() + static_cast<std::ptrdiff_t>(count));
      writer = queue.writer;
    }
    network_.runtime_.wake(writer);
    return {Io::kDone, count};
  }

  IoResult try_write(std::span<const std::span<const std::byte>> pieces) noexcept override {
    otp::Pid reader;
    std::size_t count = 0;
    {
      const std::scoped_lock lock(network_.mutex_);
      if (connection_->reset || connection_->closed[1 - side_]) {
        connection_->reset = true;
        return {Io::kBroken};
      }
      std::size_t total = 0;
      for (const auto& piece : pieces) total += piece.size();
      const std::size_t room = network_.options_.buffer_bytes - out().bytes.size();
      count = network_.piece(std::min(total, room));
      if (count == 0) return {Io::kWouldBlock};
      std::size_t left = count;
      for (const auto& piece : pieces) {
        const std::size_t n = std::min(left, piece.size());
        out().bytes.insert(out().bytes.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(n));
        left -= n;
      }
      reader = out().reader;
    }
    network_.runtime_.wake(reader);
    return {Io::kDone, count};
  }

  void shutdown_write() noexcept override {
    otp::Pid reader;
    {
      const std::scoped_lock lock(network_.mutex_);
      out().finished = true;
      reader = out().reader;
    }
    network_.runtime_.wake(reader);
  }

  Io flush() noexcept override {
    const std::scoped_lock lock(network_.mutex_);
    return connection_->reset ? Io::kBroken : Io::kDone;
  }

  void reset_on_close() noexcept override { reset_on_close_ = true; }

  PeerState peer_state() const noexcept override {
    const std::scoped_lock lock(network_.mutex_);
    if (connection_->reset) return PeerState::kGone;
    return connection_->queues[1 - side_].finished ? PeerState::kFinished : PeerState::kThere;
  }

  const Address& peer() const noexcept override { return peer_; }

 private:
  Queue& in() const noexcept { return connection_->queues[1 - side_]; }
  Queue& out() const noexcept { return connection_->queues[side_]; }

  SimulatedTransport& network_;
  const std::shared_ptr<Connection> connection_;
  const unsigned side_;
  const Address peer_;
  bool reset_on_close_ = false;
};

class SimulatedTransport::Listening final : public Acceptor {
 public:
  Listening(SimulatedTransport& network, const Address& local) : network_(network), local_(local) {}
  ~Listening() override {
    const std::scoped_lock lock(network_.mutex_);
    network_.listening_.erase(local_);
  }

  void set_owner(otp::Pid pid) noexcept override {
    const std::scoped_lock lock(network_.mutex_);
    owner = pid;
  }

  std::expected<std::unique_ptr<Stream>, AcceptFailure> try_accept() noexcept override {
    const std::scoped_lock lock(network_.mutex_);
    ++network_.accept_calls_;
    if (waiting.empty()) return std::unexpected(AcceptFailure::kWouldBlock);
    if (network_.exhausted_ > 0) {
      --network_.exhausted_;
      return std::unexpected(AcceptFailure::kExhausted);
    }
    std::unique_ptr<Stream> stream = std::move(waiting.front());
    waiting.pop_front();
    return stream;
  }

  const Address& local() const noexcept override { return local_; }

  // Under the transport's mutex, except for the streams left over at the end.
  otp::Pid owner;
  std::deque<std::unique_ptr<Stream>> waiting;

 private:
  SimulatedTransport& network_;
  const Address local_;
};

SimulatedTransport::SimulatedTransport(otp::Runtime& runtime, SimulatedNetworkOptions options)
    : runtime_(runtime), options_(options), random_(options.seed) {}

SimulatedTransport::~SimulatedTransport() = default;

std::size_t SimulatedTransport::piece(std::size_t bytes) noexcept {
  if (options_.piece_bytes_max == 0 || bytes == 0) return bytes;
  return std::min<std::size_t>(bytes, 1 + random_.below(options_.piece_bytes_max));
}

Result<std::unique_ptr<Acceptor>> SimulatedTransport::listen(const Address& address) {
  const std::scoped_lock lock(mutex_);
  if (listening_.contains(address)) {
    return fail(ErrorCode::kExists, address.to_string(), errno_text(EADDRINUSE));
  }
  auto acceptor = std::make_unique<Listening>(*this, address);
  listening_.emplace(address, acceptor.get());
  return acceptor;
}

Result<std::unique_ptr<Stream>> SimulatedTransport::connect(const Address& address) {
  std::unique_ptr<Stream> client;
  otp::Pid owner;
  {
    const std::scoped_lock lock(mutex_);
    const auto there = listening_.find(address);
    if (there == listening_.end()) return fail(ErrorCode::kUnavailable, address.to_string(), errno_text(ECONNREFUSED));
    auto connection = std::make_shared<Connection>();
    client = std::make_unique<End>(*this, connection, 0, address);
    const Address from = Address::ipv4(0x7f000001, next_port_++);
    there->second->waiting.push_back(std::make_unique<End>(*this, connection, 1, from));
    owner = there->second->owner;
  }
  runtime_.wake(owner);
  return client;
}

void SimulatedTransport::exhaust(int count) noexcept {
  const std::scoped_lock lock(mutex_);
  exhausted_ = count;
}

std::uint64_t SimulatedTransport::accept_calls() const noexcept {
  const std::scoped_lock lock(mutex_);
  return accept_calls_;
}

}  // namespace rusm::net
