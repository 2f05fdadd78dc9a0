// TLS against a peer that uses the protocol as it likes: OpenSSL by hand, over the simulated network.
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <array>
#include <string>

#include "net/listener.h"
#include "net/test_certificates.h"
#include "net/test_world.h"
#include "net/tls_stream.h"

namespace rusm::net {
namespace {

struct Files {
  TestFolder folder;
  TestAuthority authority{folder};
  Files() { authority.issue("server"); }
};

TlsServerOptions server_options() {
  static Files files;  // made once: keys cost time
  return {.certificate_file = files.folder / "server.pem", .key_file = files.folder / "server.key"};
}

// A server's stream, and its client, of which each record is made by hand.
class ByHand {
 public:
  explicit ByHand(World& world, const TlsServerOptions& options = server_options())
      : context_(SSL_CTX_new(TLS_client_method())), ssl_(SSL_new(context_)) {
    SSL_set_bio(ssl_, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl_);
    auto acceptor = world.network.listen(kHere);
    raw = std::move(*world.network.connect(kHere));
    server =
        std::move(*TlsStream::server(std::move(*(*acceptor)->try_accept()), **TlsServer::load(options), world.clock));
  }
  ~ByHand() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
  }
  ByHand(const ByHand&) = delete;
  ByHand& operator=(const ByHand&) = delete;

  bool handshake() {
    for (int i = 0; i < 10; ++i) {
      const bool done = SSL_do_handshake(ssl_) == 1;
      push();
      const Result<bool> theirs = server->established();
      if (done && theirs && *theirs) return true;
      const std::string came = read_text(*raw);
      BIO_write(SSL_get_rbio(ssl_), came.data(), static_cast<int>(came.size()));
    }
    return false;
  }
  // Records that say: new keys from here on.
  void update_keys(int times) {
    for (int i = 0; i < times; ++i) {
      SSL_key_update(ssl_, SSL_KEY_UPDATE_NOT_REQUESTED);
      SSL_do_handshake(ssl_);
    }
  }
  void say(const std::string& text) { SSL_write(ssl_, text.data(), static_cast<int>(text.size())); }
  void finish() { SSL_shutdown(ssl_); }
  // Sends what was made.
  void push() {
    char* made = nullptr;
    const auto bytes = static_cast<std::size_t>(BIO_get_mem_data(SSL_get_wbio(ssl_), &made));
    if (bytes > 0) EXPECT_EQ(write_text(*raw, {made, bytes}).bytes, bytes);
    (void)BIO_reset(SSL_get_wbio(ssl_));
  }

  std::unique_ptr<Stream> raw;
  std::unique_ptr<Stream> server;

 private:
  SSL_CTX* const context_;
  SSL* const ssl_;
};

TEST(TlsRecords, ManyWithoutDataTakeManyTurns) {
  World world(1, {.buffer_bytes = 1 << 20});
  ByHand peer(world);
  ASSERT_TRUE(peer.handshake());
  peer.update_keys(8000);
  peer.say("data");
  peer.push();
  std::array<std::byte, 100> room;
  int turns = 1;
  IoResult got = peer.server->try_read(room);
  for (; got.status == Io::kWouldBlock; ++turns) {
    ASSERT_EQ(peer.server->look_again_at(), 0) << "there is more";
    ASSERT_EQ(peer.server->look_again_at(), kNever) << "and it is told once";
    got = peer.server->try_read(room);
  }
  EXPECT_EQ(got.status, Io::kDone);
  EXPECT_EQ(got.bytes, 4u);
  EXPECT_GE(turns, 3);
}

TEST(TlsRecords, WithoutDataForeverBreakItOff) {
  World world;
  ByHand peer(world);
  ASSERT_TRUE(peer.handshake());
  std::array<std::byte, 100> room;
  Io status = Io::kWouldBlock;
  int records = 0;
  for (; records < 1000 && status == Io::kWouldBlock; ++records) {
    if (records == 200) {
      peer.say("data");
      peer.push();
      ASSERT_EQ(peer.server->try_read(room).status, Io::kDone) << "which is counted from here";
    }
    peer.update_keys(1);
    peer.push();
    status = peer.server->try_read(room).status;
  }
  EXPECT_EQ(status, Io::kBroken);
  EXPECT_GT(records, 400);
  EXPECT_EQ(peer.server->failure().text, "the peer sends TLS records without data again and again");
}

// Writes and closes, without ever reading. When it closes, the tickets are there.
otp::Routine say_and_close(otp::Self& self, Transport* transport, Address there, std::string text) {
  Result<Connection> connection = co_await connect(self, *transport, there, "localhost", 30 * kSecond);
  if (!connection) co_return;
  co_await otp::sleep(self, kSecond);
  (void)co_await connection->write(self, text);
}

otp::Routine note_all(otp::Self& self, Connection connection, std::string* out) {
  if (!co_await connection.established(self)) co_return;
  for (;;) {
    const NetResult<Chunk> got = co_await connection.read(self);
    if (!got) {
      *out += got.error().what == NetFailure::kFinished ? "|finished" : "|" + connection.why_broken().text;
      co_return;
    }
    *out += got->text();
  }
}

std::string heard_of_a_client_that_only_writes(unsigned tickets) {
  World world;
  TlsServerOptions options = server_options();
  options.session_tickets = tickets;
  const auto server = *TlsServer::load(options);
  const auto client = *TlsClient::load({.accept_any_certificate = true});
  TlsTransport transport(world.network, world.clock, {.server = server, .client = client});
  std::string heard;
  world.runtime.spawn(listen, &transport, ListenOptions{.address = kHere}, each_connection(note_all, &heard));
  world.run();
  world.runtime.spawn(say_and_close, &transport, kHere, std::string("all of it"));
  world.run();
  world.advance(kSecond);
  return heard;
}

TEST(TlsRecords, ATicketThatNobodyReadsLosesNothing) {
  for (const unsigned tickets : {0u, 1u, 2u}) {
    EXPECT_EQ(heard_of_a_client_that_only_writes(tickets), "all of it|finished") << tickets << " tickets";
  }
}

TEST(TlsRecords, TicketsAreSentOnlyWhenAskedFor) {
  for (const unsigned tickets : {0u, 1u}) {
    World world;
    TlsServerOptions options = server_options();
    options.session_tickets = tickets;
    ByHand peer(world, options);
    ASSERT_TRUE(peer.handshake());
    EXPECT_EQ(read_text(*peer.raw).empty(), tickets == 0);
  }
}

// A stream that takes its time to connect, and is silent then.
class Slow final : public SilentStream {
 public:
  explicit Slow(const bool& connected) : connected_(connected) {}
  Result<bool> established() noexcept override { return connected_; }

 private:
  const bool& connected_;
};

TEST(TlsRecords, TheTimeForTheHandshakeBeginsWithTheConnection) {
  World world;
  const auto client = *TlsClient::load({.accept_any_certificate = true, .handshake_timeout = 10 * kSecond});
  bool connected = false;
  auto stream = *TlsStream::client(std::make_unique<Slow>(connected), *client, "localhost", world.clock);
  world.advance(60 * kSecond);
  ASSERT_TRUE(stream->established());
  EXPECT_EQ(stream->look_again_at(), kNever);
  connected = true;
  ASSERT_TRUE(stream->established());
  EXPECT_EQ(stream->look_again_at(), world.clock.now() + 10 * kSecond);
  world.advance(9 * kSecond);
  ASSERT_TRUE(stream->established());
  world.advance(kSecond);
  const Result<bool> late = stream->established();
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().text, "the TLS handshake took too long");
}

TEST(TlsRecords, FinishingABrokenConnectionIsNoSuccess) {
  World world;
  ByHand peer(world);
  ASSERT_TRUE(peer.handshake());
  write_text(*peer.raw, "something that is no record");
  std::array<std::byte, 100> room;
  EXPECT_EQ(peer.server->try_read(room).status, Io::kBroken);
  peer.server->shutdown_write();
  EXPECT_EQ(peer.server->flush(), Io::kBroken);
}

TEST(TlsRecords, FinishingWhenThePeerIsGoneIsNoSuccess) {
  World world;
  ByHand peer(world);
  ASSERT_TRUE(peer.handshake());
  peer.raw->reset_on_close();
  peer.raw.reset();
  peer.server->shutdown_write();
  EXPECT_EQ(peer.server->flush(), Io::kBroken);
}

}  // namespace
}  // namespace rusm::net
