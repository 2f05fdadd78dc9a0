// Transport: the seam to the network. Production is TCP (tcp.h); tests use SimulatedTransport.
//
// Nothing here waits. A process tries, and when it is told kWouldBlock it awaits otp::news: the stream wakes the pid
// that owns it once trying again can help. Wakes without cause are legal. Connection (connection.h) is what a process
// uses: it waits, with deadlines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "net/address.h"
#include "otp/pid.h"

namespace rusm::net {

class TlsSession;  // tls_stream.h

enum class Io : std::uint8_t {
  kDone,        // `bytes` > 0 went through
  kWouldBlock,  // nothing now; a wake comes
  kFinished,    // reading: the peer sends no more
  kBroken,      // the connection is gone: reset, timed out
};

// How a try to read or write went.
struct IoResult {
  Io status;
  std::size_t bytes = 0;
};

// What is known of the peer without reading.
enum class PeerState : std::uint8_t {
  kThere,
  kFinished,  // it will send no more, but may still read; there may be data from before
  kGone,      // nobody reads what we write
};

// One end of a connection. Destroying it closes the connection in good order.
// Threads: one owner at a time.
class Stream {
 public:
  static constexpr std::size_t kPiecesMax = 8;

  virtual ~Stream() = default;
  // Who is woken. What was ready before is not told again: the new owner tries first.
  virtual void set_owner(otp::Pid pid) noexcept = 0;
  virtual IoResult try_read(std::span<std::byte> room) noexcept = 0;
  // Writes from the pieces in order, at most kPiecesMax of them; `bytes` may be less than their sum. Told kWouldBlock,
  // the caller tries again with the same bytes, to which more may have been added.
  // REQUIRES: at least one piece is not empty.
  virtual IoResult try_write(std::span<const std::span<const std::byte>> pieces) noexcept = 0;
  // Says to the peer that no more is sent; reading goes on.
  virtual void shutdown_write() noexcept = 0;
  // From now on destroying it tells the peer that the connection broke.
  virtual void reset_on_close() noexcept = 0;
  virtual PeerState peer_state() const noexcept = 0;
  virtual const Address& peer() const noexcept = 0;

  // Reads and drops what has come, at most kDropBytesMax, without waiting: closing with unread data makes the system
  // drop what the peer has not got yet.
  static constexpr std::size_t kDropBytesMax = 256 << 10;
  virtual void drop_input() noexcept;
  // False while it is being set up (a connection, a handshake); a wake comes. Until then reading and writing would
  // block. Errors: why it came to nothing: kUnavailable when refused or unreachable, kTimeout, kDenied, kInvalid, kIo.
  virtual Result<bool> established() noexcept { return true; }
  // kDone when nothing that was written or shut down still waits inside the stream; kWouldBlock when it does, and a
  // wake comes; kBroken when it never goes out.
  virtual Io flush() noexcept { return Io::kDone; }
  // When the owner has to try again at the latest, though no wake comes. 0: there is more to do, which would keep
  // others waiting: in another turn. That is told once for each try.
  virtual Nanoseconds look_again_at() noexcept { return kNever; }
  // Why it is kBroken, as far as that is known.
  virtual Error failure() const;
  // What TLS knows of the connection; null without TLS. Valid as long as the stream.
  virtual const TlsSession* tls() const noexcept { return nullptr; }
};

// Why there was no stream from accept().
enum class AcceptFailure : std::uint8_t {
  kWouldBlock,  // nobody there now; a wake comes
  kExhausted,   // out of descriptors or memory, or it fails again and again: try again later, no wake comes for it
  kClosed,      // it does not listen any more
};

// Threads: one owner at a time.
class Acceptor {
 public:
  virtual ~Acceptor() = default;
  virtual void set_owner(otp::Pid pid) noexcept = 0;
  virtual std::expected<std::unique_ptr<Stream>, AcceptFailure> try_accept() noexcept = 0;
  // Where it listens, with the port that the system chose when 0 was asked for.
  virtual const Address& local() const noexcept = 0;
  // The errno value of the last kExhausted; 0 when there is none.
  virtual int last_error() const noexcept { return 0; }
};

// Threads: any thread.
class Transport {
 public:
  virtual ~Transport() = default;
  // Errors: kExists when the port is taken, kDenied, kInvalid when there is no such address here, kLimit.
  virtual Result<std::unique_ptr<Acceptor>> listen(const Address& address) = 0;
  // A stream that may still be connecting: reading and writing would block until it is, and tell kBroken when it
  // could not; established() tells why. Errors: kUnavailable when refused or unreachable, kLimit, kIo.
  virtual Result<std::unique_ptr<Stream>> connect(const Address& address) = 0;
  // The same for a host by its name, which TLS holds against the certificate.
  virtual Result<std::unique_ptr<Stream>> connect_host(const Address& address, std::string_view host);
};

}  // namespace rusm::net
