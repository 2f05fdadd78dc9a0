// A server and a client of TCP, each a process, as another project builds them.
#include <rusm/net.h>
#include <rusm/otp.h>

#include <array>
#include <cstdio>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <string_view>

using namespace rusm;
using namespace rusm::otp;

namespace {

constexpr std::string_view kText = "hello over TCP";

net::IoResult write(net::Stream& stream, std::span<const std::byte> bytes) {
  const std::array<std::span<const std::byte>, 1> pieces{bytes};
  return stream.try_write(pieces);
}

Task<std::unique_ptr<net::Stream>> accepted(Self& self, net::Acceptor& acceptor) {
  acceptor.set_owner(self.pid());
  for (;;) {
    auto stream = acceptor.try_accept();
    if (stream) co_return std::move(*stream);
    co_await news(self);
  }
}

// Sends back what it reads until the other side is done.
Routine echo(Self& self, std::unique_ptr<net::Acceptor> acceptor) {
  const std::unique_ptr<net::Stream> stream = co_await accepted(self, *acceptor);
  stream->set_owner(self.pid());
  std::array<std::byte, 4096> room;
  for (;;) {
    const net::IoResult got = stream->try_read(room);
    if (got.status == net::Io::kWouldBlock) {
      co_await news(self);
      continue;
    }
    if (got.status != net::Io::kDone) co_return;
    std::span<const std::byte> rest(room.data(), got.bytes);
    while (!rest.empty()) {
      const net::IoResult put = write(*stream, rest);
      if (put.status == net::Io::kDone) rest = rest.subspan(put.bytes);
      if (put.status == net::Io::kWouldBlock) co_await news(self);
      if (put.status == net::Io::kBroken) co_return;
    }
  }
}

Routine client(Self& self, std::unique_ptr<net::Stream> stream, std::shared_ptr<std::promise<std::string>> answer) {
  stream->set_owner(self.pid());
  std::span<const std::byte> rest = std::as_bytes(std::span(kText));
  std::string text;
  while (text.size() < kText.size()) {
    bool moved = false;
    if (!rest.empty()) {
      const net::IoResult put = write(*stream, rest);
      if (put.status == net::Io::kBroken) break;
      rest = rest.subspan(put.bytes);
      moved = put.status == net::Io::kDone;
    }
    std::array<std::byte, 64> room;
    const net::IoResult got = stream->try_read(room);
    if (got.status == net::Io::kFinished || got.status == net::Io::kBroken) break;
    text.append(reinterpret_cast<const char*>(room.data()), got.bytes);
    if (!moved && got.status == net::Io::kWouldBlock) co_await news(self);
  }
  answer->set_value(text);
}

}  // namespace

int main() {
  SystemClock clock;
  SystemEntropy entropy;
  net::IoDriver io;
  Runtime runtime({}, {clock, entropy, io});
  net::TcpTransport tcp(io);

  auto acceptor = tcp.listen(*net::Address::parse("127.0.0.1:0"));
  if (!acceptor) return std::printf("%s\n", acceptor.error().to_string().c_str());
  const net::Address address = (*acceptor)->local();
  runtime.spawn(echo, std::move(*acceptor));
  auto stream = tcp.connect(address);
  if (!stream) return std::printf("%s\n", stream.error().to_string().c_str());
  auto answer = std::make_shared<std::promise<std::string>>();
  runtime.spawn(client, std::move(*stream), answer);
  std::printf("%s\n", answer->get_future().get().c_str());
  return runtime.wait_until_empty(60 * kSecond) ? 0 : 1;
}
