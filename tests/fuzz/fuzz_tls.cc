// Two ends of TLS over a connection in memory, on which the input changes, cuts and withholds bytes. Whatever happens,
// neither end crashes or gives out a byte that the other did not write.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "net/test_certificates.h"
#include "net/tls_stream.h"

namespace {

using namespace rusm;       // NOLINT(google-build-using-namespace): this file is about nothing else
using namespace rusm::net;  // NOLINT(google-build-using-namespace)

void hold(bool condition) {
  if (!condition) std::abort();
}

// What the input orders, byte by byte; at its end: nothing more.
class Orders {
 public:
  explicit Orders(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  std::uint8_t next() {
    if (bytes_.empty()) return 0;
    const std::uint8_t byte = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return byte;
  }

 private:
  std::span<const std::uint8_t> bytes_;
};

struct Wire {
  std::deque<std::byte> bytes;
  bool finished = false;
};

// One end below TLS. Each write takes two orders: how much goes through, and what happens to it.
class MemoryStream final : public Stream {
 public:
  MemoryStream(Wire& in, Wire& out, Orders& orders) : in_(in), out_(out), orders_(orders) {}
  ~MemoryStream() override { out_.finished = true; }
  void set_owner(otp::Pid) noexcept override {}
  IoResult try_read(std::span<std::byte> room) noexcept override {
    if (in_.bytes.empty()) return {in_.finished ? Io::kFinished : Io::kWouldBlock};
    const std::size_t count = std::min(room.size(), in_.bytes.size());
    std::copy_n(in_.bytes.begin(), count, room.begin());
    in_.bytes.erase(in_.bytes.begin(), in_.bytes.begin() + static_cast<std::ptrdiff_t>(count));
    return {Io::kDone, count};
  }
  IoResult try_write(std::span<const std::span<const std::byte>> pieces) noexcept override {
    const std::span<const std::byte> piece = pieces.front();
    const std::uint8_t size = orders_.next();
    const std::uint8_t change = orders_.next();
    if (size == 255) return {Io::kWouldBlock};
    const std::size_t count = size == 0 ? piece.size() : std::min<std::size_t>(piece.size(), size);
    out_.bytes.insert(out_.bytes.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(count));
    if (change != 0 && count > change) out_.bytes[out_.bytes.size() - change] ^= std::byte{change};
    if (change == 254) out_.bytes.pop_back();
    if (change == 253) out_.bytes.push_back(std::byte{size});
    if (change == 252) out_.finished = true;
    return {Io::kDone, count};
  }
  void shutdown_write() noexcept override { out_.finished = true; }
  void reset_on_close() noexcept override {}
  PeerState peer_state() const noexcept override { return in_.finished ? PeerState::kFinished : PeerState::kThere; }
  const Address& peer() const noexcept override { return address_; }

 private:
  Wire& in_;
  Wire& out_;
  Orders& orders_;
  const Address address_;
};

struct Setup {
  Setup() {
    TestAuthority authority(folder);
    authority.issue("server");
    server = *TlsServer::load({.certificate_file = folder / "server.pem", .key_file = folder / "server.key"});
    client = *TlsClient::load({.ca_file = folder / "ca.pem"});
  }
  TestFolder folder;
  std::shared_ptr<TlsServer> server;
  std::shared_ptr<TlsClient> client;
};

constexpr std::string_view kText = "what the one wrote is what the other reads";

// One end writes and reads a little; false when nothing more comes of it.
bool go_on(Stream& stream, std::string_view* to_write, std::string* was_read) {
  if (!to_write->empty()) {
    const std::span<const std::byte> pieces[] = {std::as_bytes(std::span(*to_write))};
    const IoResult put = stream.try_write(pieces);
    if (put.status == Io::kBroken) return false;
    hold(put.bytes <= to_write->size());
    to_write->remove_prefix(put.bytes);
    if (to_write->empty()) stream.shutdown_write();
  }
  (void)stream.flush();
  std::byte room[16];
  const IoResult got = stream.try_read(room);
  hold(got.bytes <= sizeof(room));
  was_read->append(reinterpret_cast<const char*>(room), got.bytes);
  return got.status == Io::kDone || got.status == Io::kWouldBlock;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Setup setup;
  SimulatedClock clock;
  Orders orders({data, size});
  Wire up;
  Wire down;
  auto server = *TlsStream::server(std::make_unique<MemoryStream>(up, down, orders), *setup.server, clock);
  auto client = *TlsStream::client(std::make_unique<MemoryStream>(down, up, orders), *setup.client, "localhost", clock);
  std::string_view from_server = kText;
  std::string_view from_client = kText;
  std::string at_server;
  std::string at_client;
  bool server_lives = true;
  bool client_lives = true;
  for (int turns = 0; turns < 64 && (server_lives || client_lives); ++turns) {
    if (client_lives) client_lives = go_on(*client, &from_client, &at_client);
    if (server_lives) server_lives = go_on(*server, &from_server, &at_server);
  }
  hold(kText.starts_with(at_server) && kText.starts_with(at_client));
  if (size == 0) hold(at_server == kText && at_client == kText);
  return 0;
}
