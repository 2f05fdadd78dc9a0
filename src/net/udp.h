// UdpSocket: datagrams, sent and received by a process.
//
//   Result<UdpSocket> socket = UdpSocket::bind(driver, here);
//   const Result<Datagram> got = co_await socket->receive(self, room, 5 * kSecond);
//   co_await socket->send(self, answer, got->from);
//
// As with connections, a wait keeps messages in the mailbox, and a process that is killed closes its socket. A datagram
// arrives whole or not at all; of one that is longer than the room for it the rest is lost, and it says so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "base/error.h"
#include "net/address.h"
#include "net/epoll_reactor.h"
#include "net/timed_await.h"

namespace rusm::net {

struct Datagram {
  std::size_t bytes = 0;  // of it that are in the room
  Address from;
  bool truncated = false;  // it had more
};

struct UdpOptions {
  // What the kernel keeps for the process before it drops datagrams; 0: its default. It may give less.
  int receive_buffer_bytes = 0;
};

namespace detail {
struct UdpReceiveAwait;
struct UdpSendAwait;
}  // namespace detail

// Threads: one owner at a time, a process; whoever awaits it owns it.
class UdpSocket {
 public:
  static constexpr std::size_t kBytesMax = 65'507;  // of one datagram over IPv4

  // Port 0: the system chooses. `driver` outlives it. Errors: kExists when the port is taken, kDenied, kInvalid when
  // there is no such address here, kLimit.
  static Result<UdpSocket> bind(IoDriver& driver, const Address& address, UdpOptions options = {});
  UdpSocket(UdpSocket&&) noexcept;
  UdpSocket& operator=(UdpSocket&&) = delete;
  ~UdpSocket();

  // From now on it sends to `peer` where no address is given, and receives only from there; that nobody listens there
  // becomes an error of later calls.
  Result<> connect(const Address& peer);
  const Address& local() const noexcept { return local_; }
  void set_owner(otp::Pid pid) noexcept;

  // Nothing: it would have to wait, and a wake comes. Errors, after which the socket is as good as before: kLimit when
  // the datagram is too long, kUnavailable when nobody listens there or there is no way, kDenied, kInvalid.
  std::optional<Result<>> try_send(std::span<const std::byte> bytes, const Address* to = nullptr) noexcept;
  std::optional<Result<Datagram>> try_receive(std::span<std::byte> room) noexcept;

  // The same awaited: Result<>, Result<Datagram>. kTimeout when `timeout` ns have passed.
  detail::UdpSendAwait send(otp::Self& self, std::span<const std::byte> bytes, const Address& to,
                            Nanoseconds timeout = kNever) noexcept;
  // To its peer. REQUIRES: connect() was called.
  detail::UdpSendAwait send(otp::Self& self, std::span<const std::byte> bytes, Nanoseconds timeout = kNever) noexcept;
  detail::UdpReceiveAwait receive(otp::Self& self, std::span<std::byte> room, Nanoseconds timeout = kNever) noexcept;

 private:
  struct State;
  UdpSocket(std::unique_ptr<State> state, const Address& local);

  std::unique_ptr<State> state_;
  Address local_;
  otp::Pid owner_;
};

namespace detail {

struct UdpReceiveAwait : TimedAwait<UdpReceiveAwait, otp::Step::kWaitSignals> {
  UdpReceiveAwait(otp::Self& s, UdpSocket& u, std::span<std::byte> r, Nanoseconds span) noexcept
      : TimedAwait(s, span), socket(u), room(r) {
    socket.set_owner(s.pid());
  }
  bool step() noexcept { return (outcome = socket.try_receive(room)).has_value(); }
  Result<Datagram> await_resume() {
    if (timed_out) return fail(ErrorCode::kTimeout, socket.local().to_string(), "no datagram came in time");
    return std::move(*outcome);
  }
  UdpSocket& socket;
  const std::span<std::byte> room;
  std::optional<Result<Datagram>> outcome;
};

struct UdpSendAwait : TimedAwait<UdpSendAwait, otp::Step::kWaitSignals> {
  UdpSendAwait(otp::Self& s, UdpSocket& u, std::span<const std::byte> b, std::optional<Address> t,
               Nanoseconds span) noexcept
      : TimedAwait(s, span), socket(u), bytes(b), to(t) {
    socket.set_owner(s.pid());
  }
  bool step() noexcept { return (outcome = socket.try_send(bytes, to ? &*to : nullptr)).has_value(); }
  Result<> await_resume() {
    if (timed_out) return fail(ErrorCode::kTimeout, socket.local().to_string(), "the datagram was not sent in time");
    return std::move(*outcome);
  }
  UdpSocket& socket;
  const std::span<const std::byte> bytes;
  const std::optional<Address> to;
  std::optional<Result<>> outcome;
};

}  // namespace detail

inline detail::UdpSendAwait UdpSocket::send(otp::Self& self, std::span<const std::byte> bytes, const Address& to,
                                            Nanoseconds timeout) noexcept {
  return {self, *this, bytes, to, timeout};
}
inline detail::UdpSendAwait UdpSocket::send(otp::Self& self, std::span<const std::byte> bytes,
                                            Nanoseconds timeout) noexcept {
  return {self, *this, bytes, std::nullopt, timeout};
}
inline detail::UdpReceiveAwait UdpSocket::receive(otp::Self& self, std::span<std::byte> room,
                                                  Nanoseconds timeout) noexcept {
  return {self, *this, room, timeout};
}

}  // namespace rusm::net
