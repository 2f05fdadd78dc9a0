#include "net/tls_context.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <utility>

namespace rusm::net {
namespace {

constexpr const char* kCiphers = "ECDHE+AESGCM:ECDHE+CHACHA20";  // of TLS 1.2
constexpr std::size_t kProtocolBytesMax = 255;

struct FreeContext {
  void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
};
using ContextPtr = std::unique_ptr<SSL_CTX, FreeContext>;

Result<std::string> wire_format(const std::vector<std::string>& protocols) {
  std::string wire;
  for (const std::string& protocol : protocols) {
    if (protocol.empty() || protocol.size() > kProtocolBytesMax) {
      return fail(ErrorCode::kInvalid, "alpn", "a protocol's name has 1 to 255 bytes");
    }
    wire += static_cast<char>(protocol.size());
    wire += protocol;
  }
  return wire;
}

// Opened here once, so that the error is the system's and not a library's paraphrase.
Result<> check_readable(const std::string& path, const char* what) {
  if (path.empty()) return fail(ErrorCode::kInvalid, what, "no file is given");
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) {
    const int error = errno;
    return fail(error == ENOENT ? ErrorCode::kNotFound : ErrorCode::kDenied, path,
                std::string(what) + " cannot be read: " + errno_text(error));
  }
  std::fclose(file);
  return {};
}

std::unexpected<Error> unusable(const std::string& path, const std::string& what) {
  return fail(ErrorCode::kInvalid, path, what + ": " + take_openssl_error());
}

Result<> use_certificate(SSL_CTX* context, const std::string& certificate, const std::string& key) {
  if (Result<> readable = check_readable(certificate, "the certificate"); !readable) return readable;
  if (Result<> readable = check_readable(key, "the key"); !readable) return readable;
  // Without it OpenSSL would ask for the password on the terminal.
  SSL_CTX_set_default_passwd_cb(context, [](char*, int, int, void*) { return -1; });
  ERR_clear_error();
  if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1) {
    return unusable(certificate, "no certificate in PEM");
  }
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return unusable(key, "no key in PEM that is not encrypted and fits " + certificate);
  }
  if (SSL_CTX_check_private_key(context) != 1) return unusable(key, "not the key of " + certificate);
  return {};
}

Result<> use_authorities(SSL_CTX* context, const std::string& path) {
  if (Result<> readable = check_readable(path, "the authorities' certificates"); !readable) return readable;
  ERR_clear_error();
  if (SSL_CTX_load_verify_locations(context, path.c_str(), nullptr) != 1) {
    return unusable(path, "no certificates of authorities in PEM");
  }
  return {};
}

Result<ContextPtr> make_context(const SSL_METHOD* method) {
  ERR_clear_error();
  ContextPtr context(SSL_CTX_new(method));
  if (!context || SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION) != 1 ||
      SSL_CTX_set_cipher_list(context.get(), kCiphers) != 1) {
    return fail(ErrorCode::kUnavailable, "tls", "OpenSSL cannot be set up: " + take_openssl_error());
  }
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  // Buffers exist only while a record is half read or half written. A write ends with its record, and is tried again
  // from wherever the caller keeps the same bytes then.
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // After records without data OpenSSL comes back, so that a peer that sends nothing else holds nobody up.
  SSL_CTX_clear_mode(context.get(), SSL_MODE_AUTO_RETRY);
  SSL_CTX_set_read_ahead(context.get(), 1);  // a record's head and body by one system call
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  return context;
}

// The first of ours that the client offers.
int select_protocol(SSL*, const unsigned char** out, unsigned char* out_bytes, const unsigned char* offered,
                    unsigned offered_bytes, void* argument) {
  const auto& ours = *static_cast<const std::string*>(argument);
  unsigned char* chosen = nullptr;
  const int outcome = SSL_select_next_proto(&chosen, out_bytes, reinterpret_cast<const unsigned char*>(ours.data()),
                                            static_cast<unsigned>(ours.size()), offered, offered_bytes);
  *out = chosen;
  return outcome == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

Result<> ask_for_client_certificates(SSL_CTX* context, const TlsServerOptions& options) {
  if (options.client_certificates == ClientCertificates::kNone) return {};
  if (Result<> used = use_authorities(context, options.client_ca_file); !used) return used;
  SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(options.client_ca_file.c_str()));
  const bool require = options.client_certificates == ClientCertificates::kRequire;
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | (require ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), nullptr);
  return {};
}

Result<std::shared_ptr<const TlsMaterial>> load_server(const TlsServerOptions& options) {
  Result<std::string> alpn = wire_format(options.alpn);
  if (!alpn) return std::unexpected(std::move(alpn.error()));
  Result<ContextPtr> context = make_context(TLS_server_method());
  if (!context) return std::unexpected(std::move(context.error()));
  SSL_CTX* raw = context->get();
  if (Result<> used = use_certificate(raw, options.certificate_file, options.key_file); !used) {
    return std::unexpected(std::move(used.error()));
  }
  if (Result<> asked = ask_for_client_certificates(raw, options); !asked) {
    return std::unexpected(std::move(asked.error()));
  }
  // Tickets are made with keys of this context: after a reload, which may bring other authorities, they are worthless.
  static constexpr unsigned char kSessions[] = "rusm";
  SSL_CTX_set_session_id_context(raw, kSessions, sizeof(kSessions) - 1);
  SSL_CTX_set_num_tickets(raw, options.session_tickets);
  auto material = std::make_shared<const TlsMaterial>(context->release(), std::move(*alpn));
  if (!material->alpn().empty()) {
    SSL_CTX_set_alpn_select_cb(raw, select_protocol, const_cast<std::string*>(&material->alpn()));
  }
  return material;
}

Result<std::shared_ptr<const TlsMaterial>> load_client(const TlsClientOptions& options) {
  Result<std::string> alpn = wire_format(options.alpn);
  if (!alpn) return std::unexpected(std::move(alpn.error()));
  Result<ContextPtr> context = make_context(TLS_client_method());
  if (!context) return std::unexpected(std::move(context.error()));
  SSL_CTX* raw = context->get();
  if (!options.certificate_file.empty()) {
    if (Result<> used = use_certificate(raw, options.certificate_file, options.key_file); !used) {
      return std::unexpected(std::move(used.error()));
    }
  }
  if (!options.accept_any_certificate) {
    SSL_CTX_set_verify(raw, SSL_VERIFY_PEER, nullptr);
    if (options.ca_file.empty()) {
      if (SSL_CTX_set_default_verify_paths(raw) != 1) {
        return fail(ErrorCode::kNotFound, "tls", "the system's root certificates cannot be found: give a ca_file");
      }
    } else if (Result<> used = use_authorities(raw, options.ca_file); !used) {
      return std::unexpected(std::move(used.error()));
    }
  }
  const auto* bytes = reinterpret_cast<const unsigned char*>(alpn->data());
  if (!alpn->empty() && SSL_CTX_set_alpn_protos(raw, bytes, static_cast<unsigned>(alpn->size())) != 0) {
    return fail(ErrorCode::kInvalid, "alpn", "OpenSSL does not take these protocols");
  }
  return std::make_shared<const TlsMaterial>(context->release(), std::move(*alpn));
}

}  // namespace

TlsMaterial::~TlsMaterial() {
  SSL_CTX_free(context_);
}

Result<std::shared_ptr<TlsServer>> TlsServer::load(TlsServerOptions options) {
  std::shared_ptr<TlsServer> server(new TlsServer(std::move(options)));
  if (Result<> loaded = server->reload(); !loaded) return std::unexpected(std::move(loaded.error()));
  return server;
}

Result<> TlsServer::reload() {
  Result<std::shared_ptr<const TlsMaterial>> loaded = load_server(options_);
  if (!loaded) return std::unexpected(std::move(loaded.error()));
  const std::scoped_lock lock(mutex_);
  material_.swap(*loaded);
  return {};
}

std::shared_ptr<const TlsMaterial> TlsServer::material() const {
  const std::scoped_lock lock(mutex_);
  return material_;
}

Result<std::shared_ptr<TlsClient>> TlsClient::load(TlsClientOptions options) {
  Result<std::shared_ptr<const TlsMaterial>> loaded = load_client(options);
  if (!loaded) return std::unexpected(std::move(loaded.error()));
  return std::shared_ptr<TlsClient>(new TlsClient(std::move(options), std::move(*loaded)));
}

std::string take_openssl_error() {
  std::string text;
  while (const unsigned long error = ERR_get_error()) {  // NOLINT(google-runtime-int): OpenSSL's type
    const char* reason = ERR_reason_error_string(error);
    if (reason == nullptr || text.find(reason) != std::string::npos) continue;
    text += (text.empty() ? "" : ", ") + std::string(reason);
  }
  return text;
}

}  // namespace rusm::net
