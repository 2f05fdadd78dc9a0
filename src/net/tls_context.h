// What a TLS server or client is configured with, loaded and checked: certificate, key, authorities, protocols.
//
// TLS 1.2 and 1.3 with forward secrecy; no compression, no renegotiation. Loading reads files and blocks a little: not
// for workers.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

struct ssl_ctx_st;

namespace rusm::net {

enum class ClientCertificates : std::uint8_t {
  kNone,     // not asked for
  kRequest,  // may be missing; one that is sent must be valid
  kRequire,
};

struct TlsServerOptions {
  std::string certificate_file = {};  // PEM: the server's own first, then those between it and the root
  std::string key_file = {};          // PEM, not encrypted
  // Protocols for ALPN, the preferred one first. A client that offers others only is refused; one without ALPN is not.
  std::vector<std::string> alpn = {};
  ClientCertificates client_certificates = ClientCertificates::kNone;
  std::string client_ca_file = {};  // PEM: who signs clients' certificates
  // Tickets that each client of TLS 1.3 is sent, to resume its session later; who does not read resets the connection
  // when it closes it, and what it wrote last may be lost.
  unsigned session_tickets = 0;
  Nanoseconds handshake_timeout = 10 * kSecond;
};

struct TlsClientOptions {
  std::string ca_file = {};           // PEM; empty: the system's
  std::string certificate_file = {};  // for servers that ask for one
  std::string key_file = {};
  std::vector<std::string> alpn = {};
  // The name to hold against the certificate when connecting by address; empty: the address itself.
  std::string server_name = {};
  // Only for tests: takes any certificate, so that anybody between here and the server can read and change everything.
  bool accept_any_certificate = false;
  Nanoseconds handshake_timeout = 10 * kSecond;
};

// One loaded state. Threads: immutable.
class TlsMaterial {
 public:
  TlsMaterial(ssl_ctx_st* context, std::string alpn) : context_(context), alpn_(std::move(alpn)) {}
  ~TlsMaterial();
  TlsMaterial(const TlsMaterial&) = delete;
  TlsMaterial& operator=(const TlsMaterial&) = delete;
  ssl_ctx_st* context() const noexcept { return context_; }
  // As in the handshake: each protocol after its length.
  const std::string& alpn() const noexcept { return alpn_; }

 private:
  ssl_ctx_st* const context_;
  const std::string alpn_;
};

// Errors of what loads: kNotFound, kDenied, kInvalid; they name the file. Threads: any thread.
class TlsServer {
 public:
  static Result<std::shared_ptr<TlsServer>> load(TlsServerOptions options);
  // Reads the files again: handshakes that begin later take what they hold then; connections go on. When it fails all
  // stays as it was.
  Result<> reload();

  std::shared_ptr<const TlsMaterial> material() const;
  const TlsServerOptions& options() const noexcept { return options_; }

 private:
  explicit TlsServer(TlsServerOptions options) : options_(std::move(options)) {}
  const TlsServerOptions options_;
  mutable std::mutex mutex_;
  std::shared_ptr<const TlsMaterial> material_;  // guarded by mutex_
};

// Threads: immutable.
class TlsClient {
 public:
  static Result<std::shared_ptr<TlsClient>> load(TlsClientOptions options);
  const std::shared_ptr<const TlsMaterial>& material() const noexcept { return material_; }
  const TlsClientOptions& options() const noexcept { return options_; }

 private:
  TlsClient(TlsClientOptions options, std::shared_ptr<const TlsMaterial> material)
      : options_(std::move(options)), material_(std::move(material)) {}
  const TlsClientOptions options_;
  const std::shared_ptr<const TlsMaterial> material_;
};

// What OpenSSL complained of on this thread, and clears it; empty when there was nothing.
std::string take_openssl_error();

}  // namespace rusm::net
