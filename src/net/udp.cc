#include "net/udp.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>

#include "net/socket.h"

namespace rusm::net {
namespace {

Error datagram_error(const Address& address, std::size_t bytes, int error_number) {
  switch (error_number) {
    case EMSGSIZE:
      return {ErrorCode::kLimit, address.to_string(),
              "a datagram of " + std::to_string(bytes) + " bytes is too long to be sent: send several"};
    case ECONNREFUSED:
      return {ErrorCode::kUnavailable, address.to_string(), "nobody listens there"};
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENETDOWN:
      return {ErrorCode::kUnavailable, address.to_string(), errno_text(error_number)};
    default:
      return system_error(code_of(error_number), address, error_number);
  }
}

}  // namespace

struct UdpSocket::State {
  Socket socket;
  Address peer;
};

UdpSocket::UdpSocket(std::unique_ptr<State> state, const Address& local) : state_(std::move(state)), local_(local) {}
UdpSocket::UdpSocket(UdpSocket&&) noexcept = default;
UdpSocket::~UdpSocket() = default;

Result<UdpSocket> UdpSocket::bind(IoDriver& driver, const Address& address, UdpOptions options) {
  sockaddr_storage system{};
  socklen_t bytes = address.to_system(&system);
  OpenFd fd(::socket(system.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return std::unexpected(system_error(code_of(errno), address, errno));
  if (address.is_ipv6()) set_flag(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY);
  if (options.receive_buffer_bytes > 0) {
    (void)setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &options.receive_buffer_bytes, sizeof(int));
  }
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&system), bytes) != 0) {
    return std::unexpected(system_error(code_of(errno), address, errno));
  }
  bytes = sizeof(system);
  if (getsockname(fd.get(), reinterpret_cast<sockaddr*>(&system), &bytes) != 0) {
    return std::unexpected(system_error(ErrorCode::kIo, address, errno));
  }
  Result<Socket> socket = Socket::adopt(driver, fd.release());
  if (!socket) return std::unexpected(std::move(socket.error()));
  socket->ready().set(kReadable | kWritable);
  const Address local = Address::from_system(system);
  return UdpSocket(std::make_unique<State>(std::move(*socket), local), local);
}

Result<> UdpSocket::connect(const Address& peer) {
  sockaddr_storage system{};
  const socklen_t bytes = peer.to_system(&system);
  if (::connect(state_->socket.fd(), reinterpret_cast<const sockaddr*>(&system), bytes) != 0) {
    return std::unexpected(datagram_error(peer, 0, errno));
  }
  state_->peer = peer;
  return {};
}

void UdpSocket::set_owner(otp::Pid pid) noexcept {
  if (owner_ == pid) return;
  owner_ = pid;
  state_->socket.ready().set_owner(pid);
}

std::optional<Result<>> UdpSocket::try_send(std::span<const std::byte> bytes, const Address* to) noexcept {
  Readiness& ready = state_->socket.ready();
  if ((ready.bits() & kWritable) == 0) return std::nullopt;
  sockaddr_storage system{};
  const socklen_t address_bytes = to == nullptr ? 0 : to->to_system(&system);
  const auto* address = to == nullptr ? nullptr : reinterpret_cast<const sockaddr*>(&system);
  ready.clear(kWritable);
  for (;;) {
    const ssize_t n = sendto(state_->socket.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL, address, address_bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return std::nullopt;
    const int error = errno;
    ready.set(kWritable);
    if (n >= 0) return Result<>();
    return std::unexpected(datagram_error(to == nullptr ? state_->peer : *to, bytes.size(), error));
  }
}

std::optional<Result<Datagram>> UdpSocket::try_receive(std::span<std::byte> room) noexcept {
  Readiness& ready = state_->socket.ready();
  if ((ready.bits() & kReadable) == 0) return std::nullopt;
  sockaddr_storage system{};
  iovec vector{room.data(), room.size()};
  msghdr message{};
  message.msg_name = &system;
  message.msg_namelen = sizeof(system);
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  ready.clear(kReadable);
  for (;;) {
    const ssize_t n = recvmsg(state_->socket.fd(), &message, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return std::nullopt;
    const int error = errno;
    ready.set(kReadable);  // there may be more
    if (n < 0) return std::unexpected(datagram_error(state_->peer, 0, error));
    return Datagram{.bytes = static_cast<std::size_t>(n),
                    .from = Address::from_system(system),
                    .truncated = (message.msg_flags & MSG_TRUNC) != 0};
  }
}

}  // namespace rusm::net
