#include "net/tcp.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "otp/routine.h"

namespace rusm::net {
namespace {

using otp::Routine;
using otp::Self;

constexpr auto kPatience = std::chrono::seconds(20);

const Address kAnyPort = Address::ipv4(0x7f000001, 0);

struct Node {
  explicit Node(otp::EventHook* hook = nullptr)
      : runtime({.workers = 2, .deterministic_seed = {}},
                {.clock = clock, .entropy = entropy, .reactors = driver, .hook = hook}) {}
  SystemClock clock;
  SystemEntropy entropy;
  IoDriver driver;
  TcpTransport transport{driver};
  otp::Runtime runtime;
};

IoResult write_bytes(Stream& stream, std::span<const std::byte> bytes) {
  const std::span<const std::byte> pieces[] = {bytes};
  return stream.try_write(pieces);
}

// Sends back whatever comes until the peer sends no more.
Routine echo_one(Self& self, std::unique_ptr<Acceptor> acceptor) {
  acceptor->set_owner(self.pid());
  std::unique_ptr<Stream> stream;
  for (;;) {
    auto accepted = acceptor->try_accept();
    if (accepted) {
      stream = std::move(*accepted);
      break;
    }
    co_await otp::news(self);
  }
  stream->set_owner(self.pid());
  std::vector<std::byte> buffer(10'000);
  for (;;) {
    const IoResult got = stream->try_read(buffer);
    if (got.status == Io::kWouldBlock) {
      co_await otp::news(self);
      continue;
    }
    if (got.status != Io::kDone) break;
    std::span<const std::byte> rest(buffer.data(), got.bytes);
    while (!rest.empty()) {
      const IoResult put = write_bytes(*stream, rest);
      if (put.status == Io::kWouldBlock) {
        co_await otp::news(self);
      } else if (put.status == Io::kDone) {
        rest = rest.subspan(put.bytes);
      } else {
        co_return;
      }
    }
  }
}

struct Sums {
  std::uint64_t sent = 0;
  std::uint64_t received = 0;
  bool in_order = true;
  Io end = Io::kDone;
};

constexpr std::byte byte_at(std::uint64_t position) {
  return static_cast<std::byte>(position * 31 >> 3);
}

// Sends `bytes` and reads them back, both at the same time.
Routine pump(Self& self, std::unique_ptr<Stream> stream, std::uint64_t bytes, std::promise<Sums>* out) {
  stream->set_owner(self.pid());
  Sums sums;
  std::vector<std::byte> outgoing(8192);
  std::vector<std::byte> incoming(16'384);
  while (sums.received < bytes) {
    bool moved = false;
    if (sums.sent < bytes) {
      const auto n = std::min<std::uint64_t>(outgoing.size(), bytes - sums.sent);
      for (std::uint64_t i = 0; i < n; ++i) outgoing[i] = byte_at(sums.sent + i);
      const IoResult put = write_bytes(*stream, std::span(outgoing).first(n));
      if (put.status == Io::kDone) {
        sums.sent += put.bytes;
        moved = true;
        if (sums.sent == bytes) stream->shutdown_write();
      } else if (put.status != Io::kWouldBlock) {
        sums.end = put.status;
        break;
      }
    }
    const IoResult got = stream->try_read(incoming);
    if (got.status == Io::kDone) {
      for (std::size_t i = 0; i < got.bytes; ++i) sums.in_order &= incoming[i] == byte_at(sums.received + i);
      sums.received += got.bytes;
      moved = true;
    } else if (got.status != Io::kWouldBlock) {
      sums.end = got.status;
      break;
    }
    if (!moved) co_await otp::news(self);
  }
  while (sums.end == Io::kDone) {
    const IoResult got = stream->try_read(incoming);
    if (got.status == Io::kWouldBlock) {
      co_await otp::news(self);
    } else {
      sums.end = got.status;
    }
  }
  out->set_value(sums);
}

TEST(Tcp, BytesGoBothWaysUnderBackPressure) {
  Node node;
  auto acceptor = node.transport.listen(kAnyPort);
  ASSERT_TRUE(acceptor);
  const Address there = (*acceptor)->local();
  node.runtime.spawn(echo_one, std::move(*acceptor));
  auto stream = node.transport.connect(there);
  ASSERT_TRUE(stream);
  std::promise<Sums> done;
  auto future = done.get_future();
  constexpr std::uint64_t kBytes = 32 << 20;  // more than all buffers of both sockets
  node.runtime.spawn(pump, std::move(*stream), kBytes, &done);
  ASSERT_EQ(future.wait_for(kPatience), std::future_status::ready);
  const Sums sums = future.get();
  EXPECT_EQ(sums.sent, kBytes);
  EXPECT_EQ(sums.received, kBytes);
  EXPECT_TRUE(sums.in_order);
  EXPECT_EQ(sums.end, Io::kFinished);
}

// ── A node in trouble ────────────────────────────────────────────────────────────────────────────────────────────────

class LongSteps final : public otp::EventHook {
 public:
  std::future<otp::Pid> reported() { return reported_.get_future(); }

 private:
  void on_long_step(otp::Pid pid, Nanoseconds) noexcept override {
    if (!told_.exchange(true)) reported_.set_value(pid);
  }
  std::atomic<bool> told_{false};
  std::promise<otp::Pid> reported_;
};

// Sets timers, of which its own wheel has charge, and then never awaits again.
Routine loop_until(Self& self, otp::Pid counts, int timers, const std::atomic<bool>* release) {
  for (int i = 0; i < timers; ++i) self.send_after((1 + i % 100) * kMillisecond, counts, otp::Message::of(i + 1));
  self.send_every(kMillisecond, counts, 0);
  while (!release->load(std::memory_order_relaxed)) {
  }
  co_return;
}

// Until as many have come, and repeated ones besides.
Routine count_from_outside(Self& self, int timers, std::promise<void>* fired) {
  int once = 0;
  int again = 0;
  while (once < timers || again < 100) {
    const otp::Message message = co_await otp::receive(self);
    const int* number = message.get_if<int>();
    *number == 0 ? ++again : ++once;
  }
  fired->set_value();
}

// Lets the stuck one go, whatever the test comes to.
struct Release {
  ~Release() { flag.store(true); }
  std::atomic<bool>& flag;
};

Routine receive_nothing(Self& self) {
  (void)co_await otp::receive_if(self, [](const otp::Message& m) { return m.text() == "never"; });
}

Routine count_timers(Self& self, int timers, std::promise<int>* fired) {
  for (int i = 0; i < timers; ++i) {
    self.send_after((1 + i % 100) * kMillisecond, self.pid(), otp::Message::of(i));
    if (i % 1000 == 999) co_await otp::yield(self);
  }
  for (int i = 0; i < timers; ++i) (void)co_await otp::receive(self);
  fired->set_value(timers);
}

TEST(Tcp, AStuckLoopAFullMailboxAndManyTimersStopNobodyElse) {
  constexpr int kTimers = 100'000;
  constexpr std::uint64_t kBytes = 4 << 20;
  constexpr int kStuckTimers = 1000;
  LongSteps hook;
  std::atomic<bool> release{false};
  std::promise<void> stuck_fired;
  std::promise<int> fired;
  std::promise<Sums> pumped;
  auto all_stuck_fired = stuck_fired.get_future();
  auto all_fired = fired.get_future();
  auto done = pumped.get_future();
  std::future<otp::Pid> reported = hook.reported();
  Node node(&hook);
  const Release at_the_end{release};
  const otp::Pid counts = node.runtime.spawn(count_from_outside, kStuckTimers, &stuck_fired);
  const otp::Pid stuck = node.runtime.spawn(loop_until, counts, kStuckTimers, &release);
  const otp::Pid full = node.runtime.spawn_with({.mailbox_messages_max = 1000}, receive_nothing);
  while (node.runtime.try_send(full, otp::Message::of_text("one more"))) {
  }
  node.runtime.spawn(count_timers, kTimers, &fired);
  auto acceptor = node.transport.listen(kAnyPort);
  ASSERT_TRUE(acceptor);
  auto stream = node.transport.connect((*acceptor)->local());
  ASSERT_TRUE(stream);
  node.runtime.spawn(echo_one, std::move(*acceptor));
  node.runtime.spawn(pump, std::move(*stream), kBytes, &pumped);

  ASSERT_EQ(reported.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(reported.get(), stuck);
  ASSERT_EQ(done.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(done.get().received, kBytes);
  ASSERT_EQ(all_fired.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(all_fired.get(), kTimers);
  ASSERT_EQ(all_stuck_fired.wait_for(kPatience), std::future_status::ready) << "the stuck one's own timers";
  EXPECT_TRUE(node.runtime.is_alive(stuck));
  EXPECT_FALSE(node.runtime.try_send(full, otp::Message::of_text("one more")));
  EXPECT_EQ(node.runtime.info(full)->mailbox_length, 1000u);
  node.runtime.exit(full, otp::ExitReason::Kind::kKill);
  EXPECT_TRUE(node.runtime.wait_for(full, 20 * kSecond).has_value());  // killed, or gone already
}

// Waits until the peer's state is what is expected.
Routine watch_peer(Self& self, std::unique_ptr<Stream> stream, PeerState expected, std::promise<void>* out) {
  stream->set_owner(self.pid());
  while (stream->peer_state() != expected) co_await otp::news(self);
  out->set_value();
}

// The two ends of one connection.
struct Pair {
  std::unique_ptr<Stream> client;
  std::unique_ptr<Stream> server;
};

Routine accept_one(Self& self, Acceptor* acceptor, std::promise<std::unique_ptr<Stream>>* out) {
  acceptor->set_owner(self.pid());
  for (;;) {
    auto accepted = acceptor->try_accept();
    if (accepted) {
      out->set_value(std::move(*accepted));
      co_return;
    }
    co_await otp::news(self);
  }
}

Pair connect_pair(Node& node) {
  auto acceptor = node.transport.listen(kAnyPort);
  auto client = node.transport.connect((*acceptor)->local());
  std::promise<std::unique_ptr<Stream>> accepted;
  auto future = accepted.get_future();
  const otp::Pid pid = node.runtime.spawn(accept_one, acceptor->get(), &accepted);
  Pair pair{std::move(*client), future.get()};
  while (node.runtime.is_alive(pid)) std::this_thread::yield();
  return pair;
}

TEST(Tcp, APeerThatFinishesIsSeenWithoutReading) {
  Node node;
  Pair pair = connect_pair(node);
  std::promise<void> seen;
  auto future = seen.get_future();
  node.runtime.spawn(watch_peer, std::move(pair.server), PeerState::kFinished, &seen);
  pair.client->shutdown_write();
  EXPECT_EQ(future.wait_for(kPatience), std::future_status::ready);
}

TEST(Tcp, AResetIsSeenWithoutReading) {
  Node node;
  Pair pair = connect_pair(node);
  std::promise<void> seen;
  auto future = seen.get_future();
  node.runtime.spawn(watch_peer, std::move(pair.server), PeerState::kGone, &seen);
  pair.client->reset_on_close();
  pair.client.reset();
  EXPECT_EQ(future.wait_for(kPatience), std::future_status::ready);
}

Routine read_end(Self& self, std::unique_ptr<Stream> stream, std::promise<Io>* out) {
  stream->set_owner(self.pid());
  std::byte buffer[16];
  for (;;) {
    const IoResult got = stream->try_read(buffer);
    const std::byte one[] = {std::byte{1}};
    const IoResult put = write_bytes(*stream, one);
    if (got.status != Io::kWouldBlock || put.status == Io::kBroken) {
      out->set_value(got.status != Io::kWouldBlock ? got.status : put.status);
      co_return;
    }
    co_await otp::news(self);
  }
}

TEST(Tcp, ARefusedConnectionIsBroken) {
  Node node;
  Address nobody;
  {
    auto acceptor = node.transport.listen(kAnyPort);
    ASSERT_TRUE(acceptor);
    nobody = (*acceptor)->local();
  }
  auto stream = node.transport.connect(nobody);
  if (!stream) {
    EXPECT_EQ(stream.error().code, ErrorCode::kUnavailable);
    return;
  }
  std::promise<Io> end;
  auto future = end.get_future();
  node.runtime.spawn(read_end, std::move(*stream), &end);
  ASSERT_EQ(future.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(future.get(), Io::kBroken);
}

TEST(Tcp, APortThatIsTakenIsAnErrorThatNamesIt) {
  Node node;
  auto first = node.transport.listen(kAnyPort);
  ASSERT_TRUE(first);
  auto second = node.transport.listen((*first)->local());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kExists);
  EXPECT_EQ(second.error().where, (*first)->local().to_string());
}

// Lowers the limit on descriptors to what is in use, until it goes out of scope.
class NoMoreDescriptors {
 public:
  NoMoreDescriptors() {
    getrlimit(RLIMIT_NOFILE, &before_);
    const int next = dup(0);
    close(next);
    const rlimit none{static_cast<rlim_t>(next), before_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
  }
  ~NoMoreDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST(Tcp, OutOfDescriptorsIsAValueAndAcceptingGoesOnAfterwards) {
  Node node;
  auto acceptor = node.transport.listen(kAnyPort);
  ASSERT_TRUE(acceptor);
  auto client = node.transport.connect((*acceptor)->local());
  ASSERT_TRUE(client);
  {
    const NoMoreDescriptors none;
    auto refused = (*acceptor)->try_accept();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error(), AcceptFailure::kExhausted);
    auto connection = node.transport.connect((*acceptor)->local());
    ASSERT_FALSE(connection);
    EXPECT_EQ(connection.error().code, ErrorCode::kLimit);
    auto listening = node.transport.listen(kAnyPort);
    ASSERT_FALSE(listening);
    EXPECT_EQ(listening.error().code, ErrorCode::kLimit);
  }
  auto accepted = (*acceptor)->try_accept();
  EXPECT_TRUE(accepted);
}

}  // namespace
}  // namespace rusm::net
