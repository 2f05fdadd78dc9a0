// TlsStream: TLS over any stream, and TlsTransport: TLS over any transport, so that whoever uses streams need not know.
//
//   auto server = TlsServer::load({.certificate_file = "cert.pem", .key_file = "key.pem"});
//   TlsTransport transport(tcp, clock, {.server = *server});
//
// OpenSSL reads from and writes to the stream below through callbacks that never wait; it holds no buffer for an idle
// connection, and nothing of it refers to memory of a process. The handshake runs in the process of the connection, by
// its first read, write or established(), and costs about a millisecond of its worker's time: it is one step.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "net/tls_context.h"
#include "net/transport.h"

struct ssl_st;

namespace rusm::net {

// What the handshake came to. Threads: the owner of the stream.
class TlsSession {
 public:
  explicit TlsSession(ssl_st* ssl) : ssl_(ssl) {}
  std::string_view version() const noexcept;   // "TLSv1.3"
  std::string_view alpn() const noexcept;      // the protocol that was chosen; empty: none
  std::string server_name() const;             // that the client asked for; empty: none
  bool has_peer_certificate() const noexcept;  // one that was found valid
  // "CN=alice,O=example" (RFC 2253); empty without a certificate.
  std::string peer_subject() const;

 private:
  ssl_st* const ssl_;
};

// Threads: one owner at a time.
class TlsStream final : public Stream {
 public:
  struct FreeSsl {
    void operator()(ssl_st* ssl) const noexcept;
  };
  // The stream below as OpenSSL's callbacks use it during one call.
  struct Link {
    Stream* stream;
    int reads_left = 0;
    bool blocked = false;  // the stream below would block
    bool starved = false;  // it would not, but this call has read enough
  };

  // The end that accepted `below`.
  static Result<std::unique_ptr<Stream>> server(std::unique_ptr<Stream> below, const TlsServer& server,
                                                const Clock& clock);
  // The end that connected `below` to `host`, a name or an address, which the certificate has to be for.
  static Result<std::unique_ptr<Stream>> client(std::unique_ptr<Stream> below, const TlsClient& client,
                                                std::string_view host, const Clock& clock);
  // Says in good order that no more comes, when that can be done at once.
  ~TlsStream() override;

  void set_owner(otp::Pid pid) noexcept override { below_->set_owner(pid); }
  IoResult try_read(std::span<std::byte> room) noexcept override;
  IoResult try_write(std::span<const std::span<const std::byte>> pieces) noexcept override;
  void shutdown_write() noexcept override;
  void reset_on_close() noexcept override;
  PeerState peer_state() const noexcept override;
  const Address& peer() const noexcept override { return below_->peer(); }
  Result<bool> established() noexcept override;
  Io flush() noexcept override;
  Nanoseconds look_again_at() noexcept override;
  Error failure() const override;
  const TlsSession* tls() const noexcept override { return phase_ == Phase::kOpen ? &session_ : nullptr; }

 private:
  enum class Phase : std::uint8_t { kHandshake, kOpen, kBroken };
  enum class Notify : std::uint8_t { kNone, kWanted, kSent };  // close_notify

  TlsStream(std::unique_ptr<Stream> below, std::shared_ptr<const TlsMaterial> material, ssl_st* ssl, bool is_server,
            const Clock& clock, Nanoseconds handshake_timeout);
  static Result<std::unique_ptr<TlsStream>> make(std::unique_ptr<Stream> below,
                                                 std::shared_ptr<const TlsMaterial> material, bool is_server,
                                                 const Clock& clock, Nanoseconds handshake_timeout);
  // Before each call of OpenSSL that may read or write.
  void begin_call() noexcept;
  bool connected_below() noexcept;
  // True when the handshake is done.
  bool handshake() noexcept;
  // What OpenSSL's answer `outcome` means for a read or a write.
  Io status_of(int outcome) noexcept;
  void break_off(ErrorCode code, std::string text) noexcept;
  std::string why_refused() const;

  const std::unique_ptr<Stream> below_;
  Link link_;
  const std::shared_ptr<const TlsMaterial> material_;
  const std::unique_ptr<ssl_st, FreeSsl> ssl_;
  const TlsSession session_;
  const Clock& clock_;
  const Nanoseconds timeout_;      // of the handshake
  Nanoseconds deadline_ = kNever;  // of the handshake, once the stream below is connected
  std::unique_ptr<Error> error_;
  std::uint32_t half_written_ = 0;  // bytes of a record that the stream below did not take whole yet
  std::uint16_t idle_reads_ = 0;    // in a row, that brought records and no data
  const bool is_server_;
  Phase phase_ = Phase::kHandshake;
  Notify notify_ = Notify::kNone;
  bool reset_ = false;
  bool again_ = false;  // the last try stopped before the stream below would block
};

struct TlsTransportParts {
  std::shared_ptr<const TlsServer> server = {};  // without: it cannot listen
  std::shared_ptr<const TlsClient> client = {};  // without: it cannot connect
};

// Threads: any thread. Outlives its streams and acceptors; the transport below and the clock outlive it.
class TlsTransport final : public Transport {
 public:
  TlsTransport(Transport& below, const Clock& clock, TlsTransportParts parts)
      : below_(below), clock_(clock), parts_(std::move(parts)) {}
  Result<std::unique_ptr<Acceptor>> listen(const Address& address) override;
  Result<std::unique_ptr<Stream>> connect(const Address& address) override;
  Result<std::unique_ptr<Stream>> connect_host(const Address& address, std::string_view host) override;

 private:
  Transport& below_;
  const Clock& clock_;
  const TlsTransportParts parts_;
};

}  // namespace rusm::net
