#include "net/tls_stream.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <utility>

namespace rusm::net {
namespace {

constexpr std::size_t kRecordBytes = SSL3_RT_MAX_PLAIN_LENGTH;
constexpr std::size_t kGatherBelow = 4096;  // a first piece that is shorter is sent together with what follows
constexpr int kReadsMax = 64;               // from the stream below in one call of OpenSSL
constexpr int kIdleReadsInARow = 4;         // that brought no data, in one step
constexpr int kIdleReadsMax = 256;          // in a row; each is of one record to as many as one read from below brings

// ── The stream below as OpenSSL sees it ──

TlsStream::Link& link_of(BIO* bio) {
  return *static_cast<TlsStream::Link*>(BIO_get_data(bio));
}

int read_below(BIO* bio, char* room, std::size_t bytes, std::size_t* count) {
  BIO_clear_retry_flags(bio);
  TlsStream::Link& link = link_of(bio);
  *count = 0;
  if (link.reads_left-- <= 0) {
    link.starved = true;
    BIO_set_retry_read(bio);
    return 0;
  }
  const IoResult got = link.stream->try_read(std::as_writable_bytes(std::span(room, bytes)));
  *count = got.bytes;
  link.blocked = got.status == Io::kWouldBlock;
  if (link.blocked) BIO_set_retry_read(bio);
  return got.status == Io::kDone ? 1 : 0;
}

int write_below(BIO* bio, const char* from, std::size_t bytes, std::size_t* count) {
  BIO_clear_retry_flags(bio);
  const std::span<const std::byte> pieces[] = {std::as_bytes(std::span(from, bytes))};
  TlsStream::Link& link = link_of(bio);
  const IoResult put = link.stream->try_write(pieces);
  *count = put.bytes;
  link.blocked = put.status == Io::kWouldBlock;
  if (link.blocked) BIO_set_retry_write(bio);
  return put.status == Io::kDone ? 1 : 0;
}

long control_below(BIO*, int command, long, void*) {  // NOLINT(google-runtime-int): OpenSSL's type
  return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP ? 1 : 0;
}

const BIO_METHOD* stream_method() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
    BIO_meth_set_read_ex(made, read_below);
    BIO_meth_set_write_ex(made, write_below);
    BIO_meth_set_ctrl(made, control_below);
    return made;
  }();
  return method;
}

bool is_ip(const std::string& host) {
  std::array<unsigned char, 16> room;
  return inet_pton(AF_INET, host.c_str(), room.data()) == 1 || inet_pton(AF_INET6, host.c_str(), room.data()) == 1;
}

// Whom the certificate has to be for.
bool expect_host(SSL* ssl, const std::string& host) {
  if (is_ip(host)) return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str()) == 1;
  return SSL_set_tlsext_host_name(ssl, host.c_str()) == 1 && SSL_set1_host(ssl, host.c_str()) == 1;
}

// "127.0.0.1" of "127.0.0.1:443".
std::string ip_text(const Address& address) {
  const std::string text = address.to_string();
  const std::string host = text.substr(0, text.rfind(':'));
  return host.starts_with('[') ? host.substr(1, host.size() - 2) : host;
}

}  // namespace

// ── TlsSession ──

std::string_view TlsSession::version() const noexcept {
  return SSL_get_version(ssl_);
}

std::string_view TlsSession::alpn() const noexcept {
  const unsigned char* chosen = nullptr;
  unsigned bytes = 0;
  SSL_get0_alpn_selected(ssl_, &chosen, &bytes);
  return {reinterpret_cast<const char*>(chosen), bytes};
}

std::string TlsSession::server_name() const {
  const char* name = SSL_get_servername(ssl_, TLSEXT_NAMETYPE_host_name);
  return name == nullptr ? std::string() : std::string(name);
}

bool TlsSession::has_peer_certificate() const noexcept {
  return SSL_get0_peer_certificate(ssl_) != nullptr && SSL_get_verify_result(ssl_) == X509_V_OK;
}

std::string TlsSession::peer_subject() const {
  X509* certificate = SSL_get0_peer_certificate(ssl_);
  if (certificate == nullptr) return {};
  BIO* out = BIO_new(BIO_s_mem());
  X509_NAME_print_ex(out, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253);
  const char* text = nullptr;
  const auto bytes = static_cast<std::size_t>(BIO_get_mem_data(out, &text));
  std::string subject(text, bytes);
  BIO_free(out);
  return subject;
}

// ── TlsStream ──

void TlsStream::FreeSsl::operator()(ssl_st* ssl) const noexcept {
  SSL_free(ssl);
}

TlsStream::TlsStream(std::unique_ptr<Stream> below, std::shared_ptr<const TlsMaterial> material, ssl_st* ssl,
                     bool is_server, const Clock& clock, Nanoseconds handshake_timeout)
    : below_(std::move(below)),
      link_{.stream = below_.get()},
      material_(std::move(material)),
      ssl_(ssl),
      session_(ssl),
      clock_(clock),
      timeout_(handshake_timeout),
      is_server_(is_server) {
  BIO* bio = SSL_get_rbio(ssl);
  BIO_set_data(bio, &link_);
  BIO_set_init(bio, 1);
  (void)connected_below();
}

Result<std::unique_ptr<TlsStream>> TlsStream::make(std::unique_ptr<Stream> below,
                                                   std::shared_ptr<const TlsMaterial> material, bool is_server,
                                                   const Clock& clock, Nanoseconds handshake_timeout) {
  ERR_clear_error();
  SSL* ssl = SSL_new(material->context());
  BIO* bio = ssl == nullptr ? nullptr : BIO_new(stream_method());
  if (bio == nullptr) {
    SSL_free(ssl);
    return fail(ErrorCode::kLimit, below->peer().to_string(), "no memory for TLS: " + take_openssl_error());
  }
  SSL_set_bio(ssl, bio, bio);
  is_server ? SSL_set_accept_state(ssl) : SSL_set_connect_state(ssl);
  return std::unique_ptr<TlsStream>(
      new TlsStream(std::move(below), std::move(material), ssl, is_server, clock, handshake_timeout));
}

Result<std::unique_ptr<Stream>> TlsStream::server(std::unique_ptr<Stream> below, const TlsServer& server,
                                                  const Clock& clock) {
  return make(std::move(below), server.material(), true, clock, server.options().handshake_timeout);
}

Result<std::unique_ptr<Stream>> TlsStream::client(std::unique_ptr<Stream> below, const TlsClient& client,
                                                  std::string_view host, const Clock& clock) {
  auto stream = make(std::move(below), client.material(), false, clock, client.options().handshake_timeout);
  if (!stream) return std::unexpected(std::move(stream.error()));
  if (!expect_host((*stream)->ssl_.get(), std::string(host))) {
    return fail(ErrorCode::kInvalid, std::string(host), "no name of a server: " + take_openssl_error());
  }
  return std::unique_ptr<Stream>(std::move(*stream));
}

TlsStream::~TlsStream() {
  if (reset_) return;
  if (phase_ == Phase::kOpen && half_written_ == 0 && notify_ != Notify::kSent) {
    begin_call();
    (void)SSL_shutdown(ssl_.get());
    ERR_clear_error();
  }
  below_->drop_input();
}

void TlsStream::break_off(ErrorCode code, std::string text) noexcept {
  phase_ = Phase::kBroken;
  if (!error_) error_ = std::make_unique<Error>(Error{code, peer().to_string(), std::move(text)});
}

// What is wrong with the handshake, as somebody can act on it.
std::string TlsStream::why_refused() const {
  const std::string reason = take_openssl_error();
  const long verified = SSL_get_verify_result(ssl_.get());  // NOLINT(google-runtime-int): OpenSSL's type
  if (verified != X509_V_OK && SSL_get_verify_mode(ssl_.get()) != SSL_VERIFY_NONE) {
    return std::string(is_server_ ? "the client's" : "the server's") +
           " certificate is not accepted: " + X509_verify_cert_error_string(verified);
  }
  if (reason.empty()) return "the peer ended the TLS handshake";
  return "the TLS handshake failed: " + reason;
}

void TlsStream::begin_call() noexcept {
  ERR_clear_error();
  link_.reads_left = kReadsMax;
  link_.blocked = link_.starved = false;
}

Nanoseconds TlsStream::look_again_at() noexcept {
  if (std::exchange(again_, false)) return 0;
  return phase_ == Phase::kHandshake ? deadline_ : kNever;
}

// The time for the handshake begins when there is a connection.
bool TlsStream::connected_below() noexcept {
  if (deadline_ != kNever) return true;
  Result<bool> connected = below_->established();
  if (!connected) {
    phase_ = Phase::kBroken;
    error_ = std::make_unique<Error>(std::move(connected.error()));
    return false;
  }
  if (*connected) deadline_ = deadline_after(clock_.now(), timeout_);
  return *connected;
}

bool TlsStream::handshake() noexcept {
  if (phase_ == Phase::kOpen) return true;
  if (phase_ == Phase::kBroken || !connected_below()) return false;
  begin_call();
  const int outcome = SSL_do_handshake(ssl_.get());
  if (outcome == 1) {
    phase_ = Phase::kOpen;
    return true;
  }
  const int why = SSL_get_error(ssl_.get(), outcome);
  if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
    break_off(SSL_get_verify_result(ssl_.get()) != X509_V_OK ? ErrorCode::kDenied : ErrorCode::kIo, why_refused());
  } else if (clock_.now() >= deadline_) {
    break_off(ErrorCode::kTimeout, "the TLS handshake took too long");
  }
  again_ = link_.starved;
  ERR_clear_error();
  return false;
}

Result<bool> TlsStream::established() noexcept {
  if (handshake()) return true;
  if (error_) return std::unexpected(*error_);
  return false;
}

Io TlsStream::status_of(int outcome) noexcept {
  switch (SSL_get_error(ssl_.get(), outcome)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return Io::kWouldBlock;
    case SSL_ERROR_ZERO_RETURN:
      return Io::kFinished;
    default:
      break;
  }
  const std::string reason = take_openssl_error();
  if (!reason.empty()) {
    break_off(ErrorCode::kIo, "TLS: " + reason);
  } else if (below_->peer_state() == PeerState::kFinished) {
    break_off(ErrorCode::kCorrupt, "the peer ended the connection without saying so in TLS: what came may be cut off");
  } else {
    break_off(ErrorCode::kIo, below_->failure().text);
  }
  return Io::kBroken;
}

IoResult TlsStream::try_read(std::span<std::byte> room) noexcept {
  if (!handshake()) return {phase_ == Phase::kBroken ? Io::kBroken : Io::kWouldBlock};
  link_.starved = again_ = false;
  for (int reads = 0; reads < kIdleReadsInARow && !link_.starved; ++reads) {
    begin_call();
    std::size_t count = 0;
    const int outcome = SSL_read_ex(ssl_.get(), room.data(), room.size(), &count);
    if (outcome == 1) {
      idle_reads_ = 0;
      return {Io::kDone, count};
    }
    const Io status = status_of(outcome);
    if (status != Io::kWouldBlock || link_.blocked) return {status};
    // There were records, but none of data: tickets, new keys.
    if (!link_.starved && ++idle_reads_ > kIdleReadsMax) {
      break_off(ErrorCode::kLimit, "the peer sends TLS records without data again and again");
      return {Io::kBroken};
    }
  }
  again_ = true;
  return {Io::kWouldBlock};
}

IoResult TlsStream::try_write(std::span<const std::span<const std::byte>> pieces) noexcept {
  if (!handshake()) return {phase_ == Phase::kBroken ? Io::kBroken : Io::kWouldBlock};
  if (notify_ != Notify::kNone) return {Io::kBroken};
  pieces = pieces.first(std::min(pieces.size(), kPiecesMax));
  std::array<std::byte, kRecordBytes> room;
  std::span<const std::byte> record;
  while (!pieces.empty() && pieces.front().empty()) pieces = pieces.subspan(1);
  if (pieces.size() == 1 || pieces.front().size() >= std::max<std::size_t>(kGatherBelow, half_written_)) {
    record = pieces.front().first(std::min(pieces.front().size(), kRecordBytes));
  } else {
    std::size_t gathered = 0;
    for (const auto& piece : pieces) {
      const std::size_t count = std::min(piece.size(), kRecordBytes - gathered);
      std::copy_n(piece.begin(), count, room.begin() + static_cast<std::ptrdiff_t>(gathered));
      gathered += count;
    }
    record = std::span(room).first(gathered);
  }
  if (half_written_ != 0) {
    if (record.size() < half_written_) {
      break_off(ErrorCode::kInternal, "bytes of which some are on their way were not written again");
      return {Io::kBroken};
    }
    record = record.first(half_written_);
  }
  begin_call();
  std::size_t count = 0;
  const int outcome = SSL_write_ex(ssl_.get(), record.data(), record.size(), &count);
  if (outcome == 1) {
    half_written_ = 0;
    return {Io::kDone, count};
  }
  const Io status = status_of(outcome);
  if (status == Io::kWouldBlock) half_written_ = static_cast<std::uint32_t>(record.size());
  return {status == Io::kFinished ? Io::kBroken : status};
}

void TlsStream::shutdown_write() noexcept {
  if (notify_ == Notify::kNone) notify_ = Notify::kWanted;
  (void)flush();
}

Io TlsStream::flush() noexcept {
  if (phase_ == Phase::kBroken) return Io::kBroken;
  if (notify_ == Notify::kSent) return below_->flush();
  if (notify_ == Notify::kNone) return Io::kDone;
  if (!handshake()) return phase_ == Phase::kBroken ? Io::kBroken : Io::kWouldBlock;
  if (half_written_ != 0) return Io::kWouldBlock;
  begin_call();
  const int outcome = SSL_shutdown(ssl_.get());
  if (outcome < 0) {
    const Io status = status_of(outcome);
    if (status == Io::kWouldBlock || status == Io::kBroken) return status;
  }
  // It is never asked again: it would read what still comes.
  notify_ = Notify::kSent;
  below_->shutdown_write();
  return below_->flush();
}

void TlsStream::reset_on_close() noexcept {
  reset_ = true;
  below_->reset_on_close();
}

PeerState TlsStream::peer_state() const noexcept {
  if ((SSL_get_shutdown(ssl_.get()) & SSL_RECEIVED_SHUTDOWN) != 0) return PeerState::kFinished;
  return below_->peer_state();
}

Error TlsStream::failure() const {
  return error_ ? *error_ : below_->failure();
}

// ── TlsTransport ──

namespace {

class TlsAcceptor final : public Acceptor {
 public:
  TlsAcceptor(std::unique_ptr<Acceptor> below, std::shared_ptr<const TlsServer> server, const Clock& clock)
      : below_(std::move(below)), server_(std::move(server)), clock_(clock) {}
  void set_owner(otp::Pid pid) noexcept override { below_->set_owner(pid); }
  std::expected<std::unique_ptr<Stream>, AcceptFailure> try_accept() noexcept override {
    auto accepted = below_->try_accept();
    if (!accepted) return accepted;
    auto stream = TlsStream::server(std::move(*accepted), *server_, clock_);
    if (!stream) return std::unexpected(AcceptFailure::kExhausted);
    return std::move(*stream);
  }
  const Address& local() const noexcept override { return below_->local(); }
  int last_error() const noexcept override { return below_->last_error(); }

 private:
  const std::unique_ptr<Acceptor> below_;
  const std::shared_ptr<const TlsServer> server_;
  const Clock& clock_;
};

}  // namespace

Result<std::unique_ptr<Acceptor>> TlsTransport::listen(const Address& address) {
  if (!parts_.server) return fail(ErrorCode::kInvalid, address.to_string(), "listening needs a certificate and a key");
  auto acceptor = below_.listen(address);
  if (!acceptor) return acceptor;
  return std::make_unique<TlsAcceptor>(std::move(*acceptor), parts_.server, clock_);
}

Result<std::unique_ptr<Stream>> TlsTransport::connect(const Address& address) {
  if (!parts_.client) return fail(ErrorCode::kInvalid, address.to_string(), "this transport is for servers only");
  const std::string& name = parts_.client->options().server_name;
  return connect_host(address, name.empty() ? ip_text(address) : name);
}

Result<std::unique_ptr<Stream>> TlsTransport::connect_host(const Address& address, std::string_view host) {
  if (!parts_.client) return fail(ErrorCode::kInvalid, address.to_string(), "this transport is for servers only");
  auto stream = below_.connect_host(address, host);
  if (!stream) return stream;
  return TlsStream::client(std::move(*stream), *parts_.client, host, clock_);
}

}  // namespace rusm::net
