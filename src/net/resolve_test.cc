#include "net/resolve.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <string>
#include <vector>

#include "net/listener.h"
#include "net/test_world.h"

namespace rusm::net {
namespace {

using otp::Routine;
using otp::Self;

std::string text_of(const Result<std::vector<Address>>& addresses) {
  if (!addresses) return std::string(name_of(addresses.error().code)) + " " + addresses.error().to_string();
  std::string text;
  for (const Address& address : *addresses) text += (text.empty() ? "" : " ") + address.to_string();
  return text;
}

Routine resolve_one(Self& self, std::string host, Nanoseconds timeout, LookUp look_up, std::promise<std::string>* out) {
  out->set_value(text_of(co_await resolve(self, host, 80, timeout, look_up)));
}

std::string resolved(otp::Runtime& runtime, std::string host, Nanoseconds timeout = 20 * kSecond,
                     LookUp look_up = look_up_in_system) {
  std::promise<std::string> out;
  auto future = out.get_future();
  runtime.spawn(resolve_one, std::move(host), timeout, look_up, &out);
  return future.get();
}

Result<std::vector<Address>> never_asked(std::string host, std::uint16_t) {
  ADD_FAILURE() << host << " was looked up";
  return fail(ErrorCode::kInternal, host, "asked");
}

TEST(Resolve, AddressesAreAnsweredWithoutAsking) {
  TcpNode node;
  EXPECT_EQ(resolved(node.runtime, "127.0.0.1", kSecond, never_asked), "127.0.0.1:80");
  EXPECT_EQ(resolved(node.runtime, "::1", kSecond, never_asked), "[::1]:80");
  EXPECT_EQ(resolved(node.runtime, "", kSecond, never_asked), "invalid no name of a host");
  EXPECT_TRUE(resolved(node.runtime, std::string(254, 'a'), kSecond, never_asked).starts_with("invalid aaa"));
  EXPECT_TRUE(resolved(node.runtime, std::string("a\0b", 3), kSecond, never_asked).starts_with("invalid a"));
}

TEST(Resolve, NamesComeFromTheSystem) {
  TcpNode node;
  EXPECT_TRUE(resolved(node.runtime, "localhost").contains(":80"));
  const std::string nobody = resolved(node.runtime, "no-such-host.invalid");
  EXPECT_TRUE(nobody.starts_with("not_found no-such-host.invalid: ") ||
              nobody.starts_with("unavailable no-such-host.invalid: the name servers do not answer"))
      << nobody;
}

std::atomic<bool> release{false};

Result<std::vector<Address>> stuck(std::string, std::uint16_t port) {
  release.wait(false);
  return std::vector{kHere.with_port(port)};
}

TEST(Resolve, PatienceEndsThoughTheResolverIsStuck) {
  TcpNode node;
  const std::string outcome = resolved(node.runtime, "slow.example", kMillisecond, stuck);
  release = true;
  release.notify_all();
  EXPECT_EQ(outcome, "timeout slow.example: was not looked up in time: check the network and resolv.conf");
}

Result<std::vector<Address>> a_few(std::string, std::uint16_t port) {
  return std::vector{kHere.with_port(port)};
}

std::atomic<int> looking{0};
std::atomic<int> looking_max{0};
std::atomic<bool> open_gate{false};

Result<std::vector<Address>> gated(std::string, std::uint16_t port) {
  const int now = ++looking;
  for (int most = looking_max; most < now && !looking_max.compare_exchange_weak(most, now);) continue;
  open_gate.wait(false);
  --looking;
  return std::vector{kHere.with_port(port)};
}

Routine block_once(Self& self, std::promise<void>* out) {
  co_await otp::blocking(self, [] {});
  out->set_value();
}

TEST(Resolve, NamesThatAreSlowLeaveThreadsForOthers) {
  std::vector<std::promise<std::string>> outcomes(30);
  std::promise<void> blocked;
  auto others = blocked.get_future();
  TcpNode node;
  for (auto& outcome : outcomes) {
    node.runtime.spawn(resolve_one, std::string("slow.example"), 60 * kSecond, gated, &outcome);
  }
  EXPECT_EQ(resolved(node.runtime, "late.example", kMillisecond, gated),
            "timeout late.example: was not looked up in time: check the network and resolv.conf");
  node.runtime.spawn(block_once, &blocked);
  EXPECT_EQ(others.wait_for(std::chrono::seconds(60)), std::future_status::ready) << "threads are left";
  open_gate = true;
  open_gate.notify_all();
  for (auto& outcome : outcomes) EXPECT_EQ(outcome.get_future().get(), kHere.to_string());
  EXPECT_LE(looking_max, static_cast<int>(kLookUpsMax));
  EXPECT_TRUE(node.runtime.wait_until_empty(60 * kSecond)) << "no resolver stays";
}

TEST(Resolve, AResolverThatEndsIsFoundAgain) {
  TcpNode node;
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(resolved(node.runtime, "again.example", 20 * kSecond, a_few), kHere.to_string());
  }
}

Result<std::vector<Address>> a_hundred(std::string, std::uint16_t port) {
  std::vector<Address> all;
  for (std::uint32_t i = 0; i < 100; ++i) all.push_back(Address::ipv4(i, port));
  return all;
}

TEST(Resolve, NoMoreAddressesThanAreAllowed) {
  TcpNode node;
  const std::string outcome = resolved(node.runtime, "many.example", kSecond, a_hundred);
  EXPECT_EQ(std::ranges::count(outcome, ' '), static_cast<std::ptrdiff_t>(kAddressesMax) - 1);
}

TEST(Resolve, EndpointsAreParsed) {
  for (const char* text : {"example.com:443", "127.0.0.1:80", "[::1]:80", "localhost:0"}) {
    const Result<Endpoint> endpoint = Endpoint::parse(text);
    ASSERT_TRUE(endpoint) << text;
    EXPECT_EQ(endpoint->to_string(), text);
  }
  for (const char* text : {"", ":", "a", ":80", "a:", "a:x", "a:65536", "a:-1", "::1:80", "a:80x"}) {
    EXPECT_FALSE(Endpoint::parse(text)) << text;
  }
}

// ── Connecting by name ──

Result<std::vector<Address>> three_of_which_the_last_is_there(std::string, std::uint16_t port) {
  return std::vector{Address::ipv4(0x7f000001, 1), Address::ipv4(0x7f000001, 2), Address::ipv4(0x7f000001, port)};
}

Routine connect_by_name(Self& self, Transport* transport, std::string endpoint, LookUp look_up, std::string* out) {
  Result<Connection> connection = co_await connect(self, *transport, endpoint, 30 * kSecond, look_up);
  *out = connection ? connection->peer().to_string() : connection.error().to_string();
}

TEST(Resolve, ConnectingTriesOneAddressAfterTheOther) {
  World world;
  auto acceptor = world.network.listen(kHere);
  std::string outcome;
  world.runtime.spawn(connect_by_name, &world.network, std::string("a.example:80"), three_of_which_the_last_is_there,
                      &outcome);
  world.run();
  EXPECT_EQ(outcome, "127.0.0.1:80");
  world.runtime.spawn(connect_by_name, &world.network, std::string("a.example:81"), three_of_which_the_last_is_there,
                      &outcome);
  world.run();
  EXPECT_EQ(outcome, "a.example:81 (127.0.0.1:81): Connection refused");
  world.runtime.spawn(connect_by_name, &world.network, std::string("nonsense"), never_asked, &outcome);
  world.run();
  EXPECT_EQ(outcome, "nonsense: expected a host and a port, such as example.com:443");
}

// Answers at some addresses only; elsewhere packets are lost.
class Lossy final : public Transport {
 public:
  explicit Lossy(Transport& to) : to_(to) {}
  Result<std::unique_ptr<Acceptor>> listen(const Address& address) override { return to_.listen(address); }
  Result<std::unique_ptr<Stream>> connect(const Address& address) override {
    if (address == kHere) return to_.connect(address);
    return std::make_unique<Lost>();
  }

 private:
  class Lost final : public SilentStream {
   public:
    Result<bool> established() noexcept override { return false; }
  };
  Transport& to_;
};

TEST(Resolve, AnAddressThatDoesNotAnswerGetsItsShareOfTheTime) {
  World world;
  Lossy lossy(world.network);
  auto acceptor = world.network.listen(kHere);
  std::string outcome;
  world.runtime.spawn(connect_by_name, &lossy, std::string("a.example:80"), three_of_which_the_last_is_there, &outcome);
  world.run();
  world.advance(9 * kSecond);
  EXPECT_EQ(outcome, "");
  world.advance(kSecond);
  world.advance(10 * kSecond);
  EXPECT_EQ(outcome, "127.0.0.1:80") << "after two thirds of 30 s";
}

}  // namespace
}  // namespace rusm::net
