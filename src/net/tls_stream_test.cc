#include "net/tls_stream.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "net/listener.h"
#include "net/test_certificates.h"
#include "net/test_world.h"

namespace rusm::net {
namespace {

using otp::Routine;
using otp::Self;

constexpr int kSeeds = 20;

struct Certificates {
  TestFolder folder;
  TestAuthority authority{folder};
  Certificates() { authority.issue("server"); }
};

// Made once: keys cost time.
Certificates& certificates() {
  static Certificates all;
  return all;
}

std::string file(const std::string& name) {
  return certificates().folder / name;
}

TlsServerOptions server_options(const std::string& name = "server") {
  return {.certificate_file = file(name + ".pem"), .key_file = file(name + ".key")};
}
TlsClientOptions client_options() {
  return {.ca_file = file("ca.pem"), .server_name = "localhost"};
}

// Says what it knows of its peer and sends back what comes.
Routine echo(Self& self, Connection connection) {
  if (!co_await connection.established(self)) co_return;
  const std::string hello = "hello " + connection.tls()->peer_subject() + "\n";
  if (!co_await connection.write(self, hello)) co_return;
  for (;;) {
    const NetResult<Chunk> got = co_await connection.read(self);
    if (!got) {
      if (got.error().what == NetFailure::kFinished) (void)co_await connection.finish(self);
      co_return;
    }
    if (!co_await connection.write(self, *got)) co_return;
  }
}

// A TLS server over the simulated network, and what its clients come to.
struct TlsWorld : World {
  explicit TlsWorld(std::uint64_t seed = 1, SimulatedNetworkOptions options = {}) : World(seed, options) {}

  void serve(TlsServerOptions options, StartConnection body = each_connection(echo)) {
    auto loaded = TlsServer::load(std::move(options));
    ASSERT_TRUE(loaded) << loaded.error().to_string();
    server = *loaded;
    transport = std::make_unique<TlsTransport>(network, clock, TlsTransportParts{.server = server});
    runtime.spawn(listen, transport.get(), ListenOptions{.address = kHere}, std::move(body));
    run();
  }
  std::unique_ptr<TlsTransport> client(TlsClientOptions options) {
    auto loaded = TlsClient::load(std::move(options));
    EXPECT_TRUE(loaded) << loaded.error().to_string();
    return std::make_unique<TlsTransport>(network, clock, TlsTransportParts{.client = *loaded});
  }

  std::shared_ptr<TlsServer> server;
  std::unique_ptr<TlsTransport> transport;
};

Routine say_hello(Self& self, Transport* transport, std::string* out) {
  Result<Connection> connection = co_await connect(self, *transport, kHere, 30 * kSecond);
  if (!connection) {
    *out = connection.error().to_string();
    co_return;
  }
  const NetResult<std::string> line = co_await connection->read_until(self, "\n", 200, 30 * kSecond);
  if (!line) {
    *out = "after the handshake: " + connection->why_broken().to_string();
    co_return;
  }
  *out = *line + "|" + std::string(connection->tls()->version()) + "|" + std::string(connection->tls()->alpn()) + "|" +
         connection->tls()->peer_subject();
}

std::string hello(TlsWorld& world, TlsClientOptions options) {
  std::string outcome = "nothing";
  const auto client = world.client(std::move(options));
  world.runtime.spawn(say_hello, client.get(), &outcome);
  world.run();
  world.advance(31 * kSecond);
  return outcome;
}

TEST(Tls, BothSidesAgreeOnTheNewestVersion) {
  TlsWorld world;
  world.serve(server_options());
  EXPECT_EQ(hello(world, client_options()), "hello |TLSv1.3||CN=localhost");
}

TEST(Tls, AnAddressIsHeldAgainstTheCertificateToo) {
  TlsWorld world;
  world.serve(server_options());
  TlsClientOptions options = client_options();
  options.server_name.clear();
  EXPECT_TRUE(hello(world, options).starts_with("hello "));
}

TEST(Tls, TheServersPreferenceChoosesTheProtocol) {
  TlsWorld world;
  TlsServerOptions options = server_options();
  options.alpn = {"h2", "http/1.1"};
  world.serve(options);
  TlsClientOptions wants = client_options();
  wants.alpn = {"http/1.1", "h2"};
  EXPECT_EQ(hello(world, wants), "hello |TLSv1.3|h2|CN=localhost");
  wants.alpn = {"http/1.1"};
  EXPECT_EQ(hello(world, wants), "hello |TLSv1.3|http/1.1|CN=localhost");
  wants.alpn = {};
  EXPECT_EQ(hello(world, wants), "hello |TLSv1.3||CN=localhost");
  wants.alpn = {"smtp"};
  EXPECT_EQ(hello(world, wants), "127.0.0.1:80: the TLS handshake failed: tlsv1 alert no application protocol");
}

TEST(Tls, CertificatesThatDoNotHoldAreRefusedWithTheReason) {
  certificates().authority.issue("expired", {.valid_from_s = -7200, .valid_until_s = -3600});
  certificates().authority.issue("elsewhere", {.common_name = "elsewhere", .names = "DNS:elsewhere.example"});
  TestAuthority other(certificates().folder, "other");
  const std::string refused = "127.0.0.1:80: the server's certificate is not accepted: ";
  {
    TlsWorld world;
    world.serve(server_options("expired"));
    EXPECT_EQ(hello(world, client_options()), refused + "certificate has expired");
  }
  TlsWorld world;
  world.serve(server_options("elsewhere"));
  EXPECT_EQ(hello(world, client_options()), refused + "hostname mismatch");
  TlsClientOptions options = client_options();
  options.server_name.clear();
  EXPECT_EQ(hello(world, options), refused + "IP address mismatch");
  options.ca_file = file("other.pem");
  EXPECT_EQ(hello(world, options), refused + "unable to get local issuer certificate");
  options.accept_any_certificate = true;
  EXPECT_TRUE(hello(world, options).starts_with("hello "));
}

TEST(Tls, ClientsShowWhoTheyAre) {
  certificates().authority.issue("alice", {.common_name = "alice", .names = ""});
  TestAuthority other(certificates().folder, "other2");
  other.issue("mallory", {.common_name = "mallory", .names = ""});
  TlsServerOptions options = server_options();
  options.client_ca_file = file("ca.pem");
  TlsClientOptions alice = client_options();
  alice.certificate_file = file("alice.pem");
  alice.key_file = file("alice.key");
  TlsClientOptions mallory = client_options();
  mallory.certificate_file = file("mallory.pem");
  mallory.key_file = file("mallory.key");
  for (const ClientCertificates wanted : {ClientCertificates::kRequest, ClientCertificates::kRequire}) {
    TlsWorld world;
    options.client_certificates = wanted;
    world.serve(options);
    EXPECT_EQ(hello(world, alice), "hello CN=alice|TLSv1.3||CN=localhost");
    EXPECT_TRUE(hello(world, mallory).starts_with("after the handshake: ")) << hello(world, mallory);
    if (wanted == ClientCertificates::kRequest) {
      EXPECT_EQ(hello(world, client_options()), "hello |TLSv1.3||CN=localhost");
    } else {
      EXPECT_EQ(hello(world, client_options()),
                "after the handshake: 127.0.0.1:80: TLS: tlsv13 alert certificate required");
    }
  }
}

// ── Bytes ──

constexpr char letter_at(std::size_t position) {
  return static_cast<char>('a' + position % 23);
}

// Counts what comes, and whether it is what was sent.
Routine count_bytes(Self& self, Connection connection, std::size_t total, bool* good) {
  std::size_t count = 0;
  bool in_order = true;
  if (!co_await connection.read_until(self, "\n", 200)) co_return;
  while (count < total) {
    const NetResult<Chunk> got = co_await connection.read(self);
    if (!got) co_return;
    for (const char c : got->text()) in_order &= c == letter_at(count++);
  }
  const NetResult<Chunk> end = co_await connection.read(self);
  *good = in_order && count == total && !end && end.error().what == NetFailure::kFinished;
}

Routine send_bytes(Self& self, Connection connection, std::size_t total) {
  std::string text(total, ' ');
  for (std::size_t i = 0; i < total; ++i) text[i] = letter_at(i);
  if (!co_await connection.write(self, "go\n")) co_return;
  if (!co_await connection.write(self, text)) co_return;
  (void)co_await connection.finish(self);
  (void)co_await connection.read(self);
}

Routine fetch(Self& self, Transport* transport, std::size_t total, bool* good) {
  Result<Connection> connection = co_await connect(self, *transport, kHere);
  if (connection) self.runtime().spawn(count_bytes, std::move(*connection), total, good);
}

TEST(Tls, EveryByteArrivesThroughPiecesOfAnySize) {
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const std::size_t piece = seed % 3 == 0 ? 7 : seed % 3 == 1 ? 500 : 0;
    const std::size_t total = piece == 7 ? 20'000 : 300'000;
    TlsWorld world(seed, {.seed = seed, .buffer_bytes = 1000 + 999 * seed, .piece_bytes_max = piece});
    world.serve(server_options(), each_connection(send_bytes, total));
    const auto client = world.client(client_options());
    bool good = false;
    world.runtime.spawn(fetch, client.get(), total, &good);
    world.run();
    EXPECT_TRUE(good) << "seed " << seed;
    EXPECT_EQ(world.runtime.process_count(), 1u) << "only the listener is left";
  }
}

// ── What peers may do ──

Routine note_end(Self& self, Connection connection, std::string* out) {
  for (;;) {
    const NetResult<Chunk> got = co_await connection.read(self);
    if (got) continue;
    *out = got.error().what == NetFailure::kFinished ? "finished" : connection.why_broken().text;
    co_return;
  }
}

// A client over a raw simulated connection, whose bytes the test can hold back, cut off and change.
struct RawClient {
  RawClient(TlsWorld& w, const TlsClientOptions& options) : world(w), raw(std::move(*w.network.connect(kHere))) {
    tls = std::move(
        *TlsStream::client(std::make_unique<Through>(raw.get()), **TlsClient::load(options), "localhost", w.clock));
  }
  bool handshake() {
    for (int i = 0; i < 10; ++i) {
      const Result<bool> done = tls->established();
      if (!done) return false;
      if (*done) return true;
      world.run();
    }
    return false;
  }

  // Borrows a stream.
  class Through final : public Stream {
   public:
    explicit Through(Stream* to) : to_(to) {}
    void set_owner(otp::Pid pid) noexcept override { to_->set_owner(pid); }
    IoResult try_read(std::span<std::byte> room) noexcept override { return to_->try_read(room); }
    IoResult try_write(std::span<const std::span<const std::byte>> pieces) noexcept override {
      return to_->try_write(pieces);
    }
    void shutdown_write() noexcept override { to_->shutdown_write(); }
    void reset_on_close() noexcept override { to_->reset_on_close(); }
    PeerState peer_state() const noexcept override { return to_->peer_state(); }
    const Address& peer() const noexcept override { return to_->peer(); }

   private:
    Stream* const to_;
  };

  TlsWorld& world;
  std::unique_ptr<Stream> raw;
  std::unique_ptr<Stream> tls;
};

TEST(Tls, AnEndIsToldFromACut) {
  for (const bool in_order : {true, false}) {
    TlsWorld world;
    std::string end;
    world.serve(server_options(), each_connection(note_end, &end));
    RawClient client(world, client_options());
    ASSERT_TRUE(client.handshake());
    EXPECT_EQ(write_text(*client.tls, "data").bytes, 4u);
    world.run();
    in_order ? client.tls->shutdown_write() : client.raw->shutdown_write();
    world.run();
    EXPECT_EQ(end, in_order ? "finished"
                            : "the peer ended the connection without saying so in TLS: what came may be cut off");
  }
}

TEST(Tls, AResetInTheMiddleBreaksIt) {
  TlsWorld world;
  std::string end;
  world.serve(server_options(), each_connection(note_end, &end));
  RawClient client(world, client_options());
  ASSERT_TRUE(client.handshake());
  world.run();
  client.raw->reset_on_close();
  client.tls->reset_on_close();
  client.tls.reset();
  client.raw.reset();
  world.run();
  EXPECT_EQ(end, "the connection broke");
}

TEST(Tls, GarbageEndsOneConnectionOnly) {
  TlsWorld world;
  std::string end;
  world.serve(server_options(), each_connection(note_end, &end));
  auto raw = std::move(*world.network.connect(kHere));
  write_text(*raw, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  world.run();
  EXPECT_EQ(end, "the TLS handshake failed: http request");
  RawClient client(world, client_options());
  ASSERT_TRUE(client.handshake());
  write_text(*client.tls, "fine");
  write_text(*client.raw, "and now something that is no record");
  world.run();
  EXPECT_TRUE(end.starts_with("TLS: ")) << end;
}

TEST(Tls, AHandshakeHasADeadline) {
  TlsWorld world;
  std::string end;
  TlsServerOptions options = server_options();
  options.handshake_timeout = 10 * kSecond;
  world.serve(options, each_connection(note_end, &end));
  auto raw = std::move(*world.network.connect(kHere));
  world.run();
  const std::string_view begin("\x16\x03\x01\x02", 4);
  for (const char& c : begin) {
    write_text(*raw, {&c, 1});
    world.advance(2 * kSecond);
    EXPECT_EQ(end, "");
  }
  world.advance(2 * kSecond);
  EXPECT_EQ(end, "the TLS handshake took too long");
}

TEST(Tls, ASilentServerHasADeadline) {
  TlsWorld world;
  auto acceptor = world.network.listen(kHere);
  std::string outcome = "nothing";
  const auto client = world.client(client_options());
  world.runtime.spawn(say_hello, client.get(), &outcome);
  world.run();
  world.advance(10 * kSecond);
  EXPECT_EQ(outcome, "127.0.0.1:80: the TLS handshake took too long");
}

// ── Files ──

TEST(Tls, AReloadTakesEffectForNewConnectionsOnly) {
  certificates().authority.issue("old", {.common_name = "old"});
  certificates().authority.issue("new", {.common_name = "new"});
  const auto put = [](const std::string& name) {
    const auto how = std::filesystem::copy_options::overwrite_existing;
    std::filesystem::copy_file(file(name + ".pem"), file("live.pem"), how);
    std::filesystem::copy_file(file(name + ".key"), file("live.key"), how);
  };
  put("old");
  TlsWorld world;
  world.serve(server_options("live"));
  RawClient before(world, client_options());
  ASSERT_TRUE(before.handshake());
  world.run();
  EXPECT_EQ(read_text(*before.tls), "hello \n");
  put("new");
  ASSERT_TRUE(world.server->reload());
  EXPECT_EQ(before.tls->tls()->peer_subject(), "CN=old");
  EXPECT_TRUE(hello(world, client_options()).ends_with("|CN=new"));

  std::ofstream(file("live.pem")) << "no certificate";
  const Result<> failed = world.server->reload();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().where, file("live.pem"));
  EXPECT_TRUE(failed.error().text.starts_with("no certificate in PEM: no start line")) << failed.error().text;
  EXPECT_TRUE(hello(world, client_options()).ends_with("|CN=new")) << "the last good one stays";
  write_text(*before.tls, "still here");
  world.run();
  EXPECT_EQ(read_text(*before.tls), "still here");
}

TEST(Tls, WhatCannotBeLoadedIsNamed) {
  certificates().authority.issue("another");
  const auto error_of = [](TlsServerOptions options) {
    const auto loaded = TlsServer::load(std::move(options));
    return loaded ? Error() : loaded.error();
  };
  TlsServerOptions options = server_options();
  options.certificate_file = file("missing.pem");
  EXPECT_EQ(error_of(options).code, ErrorCode::kNotFound);
  EXPECT_EQ(error_of(options).to_string(),
            file("missing.pem") + ": the certificate cannot be read: No such file or directory");
  options = server_options();
  options.key_file = file("another.key");
  EXPECT_EQ(error_of(options).where, file("another.key"));
  EXPECT_TRUE(error_of(options).text.ends_with("key values mismatch")) << error_of(options).text;
  options = server_options();
  options.client_certificates = ClientCertificates::kRequire;
  EXPECT_EQ(error_of(options).where, "the authorities' certificates");
  options = server_options();
  options.alpn = {""};
  EXPECT_EQ(error_of(options).where, "alpn");
  EXPECT_EQ(error_of({}).text, "no file is given");
}

}  // namespace
}  // namespace rusm::net
