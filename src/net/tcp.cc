#include "net/tcp.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "net/socket.h"

namespace rusm::net {
namespace {

constexpr int kAcceptTries = 16;  // in one step, when connections come to nothing

// Why there is no connection to `address`.
Error connect_error(const Address& address, int error_number) {
  switch (error_number) {
    case ECONNREFUSED:
      return Error{ErrorCode::kUnavailable, address.to_string(), "connection refused: nothing listens there"};
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENETDOWN:
      return Error{ErrorCode::kUnavailable, address.to_string(),
                   errno_text(error_number) + ": check the address and the routes of this machine"};
    case ETIMEDOUT:
      return Error{ErrorCode::kTimeout, address.to_string(), "does not answer: is it up, and does a firewall let us?"};
    case EADDRNOTAVAIL:
      return Error{ErrorCode::kLimit, address.to_string(), "all local ports to there are in use: close connections"};
    default:
      return system_error(code_of(error_number), address, error_number);
  }
}

class TcpStream final : public Stream {
 public:
  TcpStream(Socket socket, const Address& peer, bool connected)
      : socket_(std::move(socket)), peer_(peer), connected_(connected) {
    // A fresh connection can be written to, and what it sent already is worth a try. One that is still connecting
    // becomes writable by an event.
    if (connected_) socket_.ready().set(kReadable | kWritable);
  }

  void set_owner(otp::Pid pid) noexcept override { socket_.ready().set_owner(pid); }

  IoResult try_read(std::span<std::byte> room) noexcept override {
    if (!begun()) return {Io::kWouldBlock};
    if ((socket_.ready().bits() & kReadable) == 0) return {Io::kWouldBlock};
    socket_.ready().clear(kReadable);
    for (;;) {
      const ssize_t n = recv(socket_.fd(), room.data(), room.size(), 0);
      if (n > 0) {
        // All that was there fitted, so the next byte brings a new edge. But an end or an error came with its edge.
        const auto bytes = static_cast<std::size_t>(n);
        if (bytes == room.size() || (socket_.ready().bits() & (kPeerFinished | kHangup)) != 0) {
          socket_.ready().set(kReadable);
        }
        return {Io::kDone, bytes};
      }
      if (n == 0) {
        socket_.ready().set(kReadable | kPeerFinished);
        return {Io::kFinished};
      }
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return {Io::kWouldBlock};
      error_ = errno;
      socket_.ready().set(kReadable | kHangup);
      return {Io::kBroken};
    }
  }

  IoResult try_write(std::span<const std::span<const std::byte>> pieces) noexcept override {
    if (!begun()) return {Io::kWouldBlock};
    if ((socket_.ready().bits() & kWritable) == 0) return {Io::kWouldBlock};
    iovec vectors[kPiecesMax];
    std::size_t count = 0;
    std::size_t total = 0;
    for (const auto& piece : pieces.first(std::min(pieces.size(), kPiecesMax))) {
      if (piece.empty()) continue;
      // sendmsg does not write to what it sends.
      vectors[count++] = {const_cast<std::byte*>(piece.data()), piece.size()};
      total += piece.size();
    }
    msghdr message{};
    message.msg_iov = vectors;
    message.msg_iovlen = count;
    socket_.ready().clear(kWritable);
    for (;;) {
      const ssize_t n = count == 1 ? send(socket_.fd(), vectors[0].iov_base, vectors[0].iov_len, MSG_NOSIGNAL)
                                   : sendmsg(socket_.fd(), &message, MSG_NOSIGNAL);
      if (n >= 0) {
        // Less than all means that the kernel's buffer is full: an edge tells when there is room.
        if (static_cast<std::size_t>(n) == total) socket_.ready().set(kWritable);
        return {Io::kDone, static_cast<std::size_t>(n)};
      }
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return {Io::kWouldBlock};
      error_ = errno;
      socket_.ready().set(kWritable | kHangup);
      return {Io::kBroken};
    }
  }

  void shutdown_write() noexcept override {
    if (shutdown(socket_.fd(), SHUT_WR) != 0 && error_ == 0) error_ = errno;
  }
  Io flush() noexcept override { return error_ == 0 ? Io::kDone : Io::kBroken; }

  void reset_on_close() noexcept override {
    const linger now{.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(socket_.fd(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  }

  void drop_input() noexcept override {
    // Whatever the last event said: the next may be on its way.
    socket_.ready().set(kReadable);
    Stream::drop_input();
  }

  PeerState peer_state() const noexcept override {
    const std::uint32_t bits = socket_.ready().bits();
    if (!connected_) return PeerState::kThere;
    if ((bits & kHangup) != 0) return PeerState::kGone;
    return (bits & kPeerFinished) != 0 ? PeerState::kFinished : PeerState::kThere;
  }

  const Address& peer() const noexcept override { return peer_; }

  Result<bool> established() noexcept override {
    if (error_ != 0) return std::unexpected(connect_error(peer_, error_));
    if (connected_) return true;
    if (!begun()) return false;
    socklen_t bytes = sizeof(error_);
    if (getsockopt(socket_.fd(), SOL_SOCKET, SO_ERROR, &error_, &bytes) != 0) error_ = errno;
    if (error_ == 0) return true;
    return std::unexpected(connect_error(peer_, error_));
  }

  Error failure() const override {
    return error_ == 0 ? Stream::failure() : Error{ErrorCode::kIo, peer_.to_string(), errno_text(error_)};
  }

 private:
  // A socket that connects reports a hang-up until it has begun; being writable says that it is over.
  bool begun() noexcept {
    if (connected_) return true;
    connected_ = (socket_.ready().bits() & kWritable) != 0;
    return connected_;
  }

  Socket socket_;
  const Address peer_;
  int error_ = 0;  // that broke it
  bool connected_;
};

class TcpAcceptor final : public Acceptor {
 public:
  TcpAcceptor(IoDriver& driver, Socket socket, const Address& local)
      : driver_(driver), socket_(std::move(socket)), local_(local) {
    socket_.ready().set(kReadable);
  }

  void set_owner(otp::Pid pid) noexcept override { socket_.ready().set_owner(pid); }

  std::expected<std::unique_ptr<Stream>, AcceptFailure> try_accept() noexcept override {
    for (int tries = 0; tries < kAcceptTries; ++tries) {
      if ((socket_.ready().bits() & kReadable) == 0) return std::unexpected(AcceptFailure::kWouldBlock);
      socket_.ready().clear(kReadable);
      sockaddr_storage from{};
      socklen_t bytes = sizeof(from);
      const int fd = accept4(socket_.fd(), reinterpret_cast<sockaddr*>(&from), &bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
      const int error = errno;
      if (fd < 0 && (error == EAGAIN || error == EWOULDBLOCK)) return std::unexpected(AcceptFailure::kWouldBlock);
      socket_.ready().set(kReadable);  // there may be more
      if (fd < 0) {
        if (error == EBADF || error == EINVAL || error == ENOTSOCK) return std::unexpected(AcceptFailure::kClosed);
        error_ = error;
        if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM) break;
        continue;  // this one came to nothing, as ECONNABORTED or a network error of it says: the next
      }
      Result<Socket> socket = Socket::adopt(driver_, fd);
      if (socket) return std::make_unique<TcpStream>(std::move(*socket), Address::from_system(from), true);
      error_ = 0;
      break;
    }
    return std::unexpected(AcceptFailure::kExhausted);
  }

  int last_error() const noexcept override { return error_; }
  const Address& local() const noexcept override { return local_; }

 private:
  IoDriver& driver_;
  Socket socket_;
  const Address local_;
  int error_ = 0;  // of the last kExhausted
};

}  // namespace

Result<std::unique_ptr<Acceptor>> TcpTransport::listen(const Address& address) {
  sockaddr_storage system{};
  socklen_t bytes = address.to_system(&system);
  OpenFd fd(socket(system.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return std::unexpected(system_error(code_of(errno), address, errno));
  set_flag(fd.get(), SOL_SOCKET, SO_REUSEADDR);
  set_flag(fd.get(), IPPROTO_TCP, TCP_NODELAY);  // those that it accepts inherit it
  if (address.is_ipv6()) set_flag(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&system), bytes) != 0 ||
      ::listen(fd.get(), options_.backlog) != 0) {
    return std::unexpected(system_error(code_of(errno), address, errno));
  }
  bytes = sizeof(system);
  if (getsockname(fd.get(), reinterpret_cast<sockaddr*>(&system), &bytes) != 0) {
    return std::unexpected(system_error(ErrorCode::kIo, address, errno));
  }
  Result<Socket> socket = Socket::adopt(driver_, fd.release());
  if (!socket) return std::unexpected(std::move(socket.error()));
  return std::make_unique<TcpAcceptor>(driver_, std::move(*socket), Address::from_system(system));
}

Result<std::unique_ptr<Stream>> TcpTransport::connect(const Address& address) {
  sockaddr_storage system{};
  const socklen_t bytes = address.to_system(&system);
  OpenFd fd(socket(system.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return std::unexpected(system_error(code_of(errno), address, errno));
  set_flag(fd.get(), IPPROTO_TCP, TCP_NODELAY);
  const bool connected = ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&system), bytes) == 0;
  if (!connected && errno != EINPROGRESS) return std::unexpected(connect_error(address, errno));
  Result<Socket> socket = Socket::adopt(driver_, fd.release());
  if (!socket) return std::unexpected(std::move(socket.error()));
  return std::make_unique<TcpStream>(std::move(*socket), address, connected);
}

}  // namespace rusm::net
