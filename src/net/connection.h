// Connection: one end of a connection as its process uses it: reads and writes that wait, with deadlines.
//
//   Routine echo(Self& self, Connection connection) {
//     for (;;) {
//       const NetResult<Chunk> got = co_await connection.read(self, 30 * kSecond);
//       if (!got) co_return;
//       if (!co_await connection.write(self, *got, 30 * kSecond)) co_return;
//     }
//   }
//
// A wait that is over at once neither suspends nor allocates, and reads no clock. While a process waits here messages
// stay in its mailbox; readable_or_message() waits for both. A connection that waits for data holds no buffer. A
// process that is killed closes its connection. Timeouts are spans of ns from the call, kNever for none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/chunk.h"
#include "net/connections.h"
#include "net/transport.h"
#include "otp/routine.h"

namespace rusm::net {

// How a wait for the network ends otherwise than well.
enum class NetFailure : std::uint8_t {
  kFinished,  // the peer sends no more
  kBroken,    // the connection is gone: reset, or closed on this side
  kTimeout,   // the time is over; reading can be tried again, after writing only closing makes sense
  kLimit,     // more came than the caller wants to have
};

// Threads: a value.
struct NetError {
  NetFailure what = NetFailure::kBroken;
  Address peer;

  Error to_error() const;
  std::string to_string() const { return to_error().to_string(); }
};

template <class T = void>
using NetResult = std::expected<T, NetError>;

// What readable_or_message() waited for; nothing when the time was over.
struct Arrival {
  bool readable = false;  // reading will not wait: there is data, or an end
  bool message = false;   // receiving will not wait
};

namespace detail {
struct ReadAwait;
struct ReadSomeAwait;
struct ReadExactlyAwait;
struct ReadUntilAwait;
struct WriteAwait;
struct FinishAwait;
struct EstablishAwait;
struct ArrivalAwait;
}  // namespace detail

// Threads: one owner at a time, a process. It can be handed to another process in a message; whoever awaits it owns it.
class Connection {
 public:
  static constexpr std::size_t kReadBytes = 16 << 10;  // that one read gives at most

  Connection() = default;  // closed
  explicit Connection(std::unique_ptr<Stream> stream, std::unique_ptr<Lease> lease = nullptr)
      : lease_(std::move(lease)), stream_(std::move(stream)) {}
  Connection(Connection&&) noexcept = default;
  Connection& operator=(Connection&& other) noexcept;

  // What has come, at least one byte and at most kReadBytes: NetResult<Chunk>.
  detail::ReadAwait read(otp::Self& self, Nanoseconds timeout = kNever) noexcept;
  // The same into memory of the caller's: NetResult<std::size_t>. REQUIRES: `room` is not empty.
  detail::ReadSomeAwait read_some(otp::Self& self, std::span<std::byte> room, Nanoseconds timeout = kNever) noexcept;
  // Fills `room`: NetResult<>. When it fails, what had come is in `room`, and gone.
  detail::ReadExactlyAwait read_exactly(otp::Self& self, std::span<std::byte> room,
                                        Nanoseconds timeout = kNever) noexcept;
  // What comes before the next `delimiter`, which is taken too: NetResult<std::string>. kLimit when it is not among the
  // next `limit` bytes and its own. When it fails, what had come can still be read.
  detail::ReadUntilAwait read_until(otp::Self& self, std::string delimiter, std::size_t limit,
                                    Nanoseconds timeout = kNever) noexcept;
  // Writes all of it: NetResult<>. The process waits while the peer does not take it.
  detail::WriteAwait write(otp::Self& self, std::span<const std::byte> bytes, Nanoseconds timeout = kNever) noexcept;
  detail::WriteAwait write(otp::Self& self, std::string_view text, Nanoseconds timeout = kNever) noexcept;
  // Says to the peer that no more is sent, when all has been: NetResult<>. Reading goes on.
  detail::FinishAwait finish(otp::Self& self, Nanoseconds timeout = kNever) noexcept;
  // Waits until it is connected and its handshake is done: Result<>, whose error says why not. Reading and writing wait
  // for that too.
  detail::EstablishAwait established(otp::Self& self, Nanoseconds timeout = kNever) noexcept;
  // Waits for data or a message, for a process that lives of both: Arrival.
  detail::ArrivalAwait readable_or_message(otp::Self& self, Nanoseconds timeout = kNever) noexcept;

  // Closes it in good order, now. reset(): so that the peer sees a broken connection.
  void close() noexcept;
  void reset() noexcept;

  bool is_open() const noexcept { return stream_ != nullptr; }
  // Empty once it is closed.
  Address peer() const noexcept { return stream_ ? stream_->peer() : Address(); }
  // Why it is broken, as far as that is known.
  Error why_broken() const;
  // Null without TLS. Valid until it is closed.
  const TlsSession* tls() const noexcept { return stream_ ? stream_->tls() : nullptr; }
  // Null once it is closed. For what is not here; what was read ahead (read_until, readable_or_message) is not in it.
  Stream* stream() noexcept { return stream_.get(); }
  // Bytes of memory that hold what was read ahead.
  std::size_t ahead_memory() const noexcept { return ahead_ ? ahead_->bytes.capacity() : 0; }
  // Who awaits it next; saves the first await from finding out. Closes it when its listener is ending.
  void set_owner(otp::Pid pid) noexcept;

 private:
  friend struct detail::ReadAwait;
  friend struct detail::ReadSomeAwait;
  friend struct detail::ReadExactlyAwait;
  friend struct detail::ReadUntilAwait;
  friend struct detail::WriteAwait;
  friend struct detail::FinishAwait;
  friend struct detail::EstablishAwait;
  friend struct detail::ArrivalAwait;

  // Bytes that were read and not asked for yet. Gone as soon as it is empty.
  struct Ahead {
    static constexpr std::size_t kRoomyBytes = 4 * kReadBytes;  // capacity up to this is never given back
    std::vector<std::byte> bytes;
    std::size_t begin = 0;
    void forget_used(std::size_t more);
    std::span<const std::byte> rest() const noexcept { return std::span(bytes).subspan(begin); }
  };

  // From what was read ahead, then from the stream. kWouldBlock, or kFinished and kBroken, which stay.
  IoResult take(std::span<std::byte> room) noexcept;
  IoResult read_ahead();
  void consume(std::size_t bytes) noexcept;
  NetError error(NetFailure what) const noexcept { return {what, peer()}; }

  // Goes after the stream: whoever waits for the place finds the descriptor free.
  std::unique_ptr<Lease> lease_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Ahead> ahead_;
  otp::Pid owner_;
  Io end_ = Io::kDone;  // kFinished or kBroken once reading met it
};

// Waits until there is a connection to `address`. Errors say where and why: kUnavailable when it was refused or there
// is no way there, kTimeout, kLimit when this side is out of descriptors or ports; with TLS those of the handshake.
otp::Task<Result<Connection>> connect(otp::Self& self, Transport& transport, Address address,
                                      Nanoseconds timeout = 30 * kSecond);
// The same to `host`, whose address this is; TLS holds the name against the certificate.
otp::Task<Result<Connection>> connect(otp::Self& self, Transport& transport, Address address, std::string host,
                                      Nanoseconds timeout);

}  // namespace rusm::net

#include "net/connection_await.h"  // IWYU pragma: keep
