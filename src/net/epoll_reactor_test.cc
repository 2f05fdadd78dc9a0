#include "net/epoll_reactor.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>
#include <memory>
#include <semaphore>
#include <thread>
#include <vector>

#include "net/address.h"
#include "net/tcp.h"
#include "otp/routine.h"

namespace rusm::net {
namespace {

using otp::Pid;
using otp::Routine;
using otp::Self;

TEST(Readiness, LateEventOfAnEarlierTenantChangesNothing) {
  ReadinessTable table;
  Readiness* slot = table.acquire();
  ASSERT_NE(slot, nullptr);
  const auto generation = static_cast<std::uint32_t>(slot->key() >> 32);
  const auto index = static_cast<std::uint32_t>(slot->key());
  EXPECT_TRUE(slot->raise(generation, kReadable));
  table.release(slot);
  EXPECT_FALSE(slot->raise(generation, kReadable)) << "nobody lives here";
  Readiness* next = table.acquire();
  ASSERT_EQ(next, slot) << "the slot is used again";
  EXPECT_EQ(next->bits(), 0u);
  EXPECT_FALSE(next->raise(generation, kHangup));
  EXPECT_EQ(next->bits(), 0u);
  EXPECT_TRUE(table.at(index)->raise(generation + 1, kWritable));
  EXPECT_EQ(next->bits(), kWritable);
}

TEST(Readiness, IndexesThatNeverWereAddressNothing) {
  ReadinessTable table;
  EXPECT_EQ(table.at(0), nullptr);
  EXPECT_EQ(table.at(UINT32_MAX), nullptr);
  std::vector<Readiness*> slots;
  for (std::uint32_t i = 0; i < 2 * ReadinessTable::kChunk + 1; ++i) slots.push_back(table.acquire());
  for (Readiness* slot : slots) EXPECT_EQ(table.at(static_cast<std::uint32_t>(slot->key())), slot);
}

struct Node {
  SystemClock clock;
  SystemEntropy entropy;
  IoDriver driver;
  otp::Runtime runtime{{.workers = 2, .deterministic_seed = {}},
                       {.clock = clock, .entropy = entropy, .reactors = driver}};
};

TEST(EpollReactor, WakeBeforeParkEndsItAtOnceEvenWhenAnotherWorkerLooked) {
  Node node;
  ReadinessTable table;
  EpollReactor reactor(node.runtime, 2, table);
  reactor.wake(1);
  reactor.poll();
  reactor.park(1, kNever);  // a lost wake hangs here
  std::thread waker([&] { reactor.wake(1); });
  reactor.park(1, kNever);
  waker.join();
  reactor.park(1, 0);
  reactor.park(1, 1);
}

// Whichever of the two polls, a wake gets up the one that it is for.
TEST(EpollReactor, WakesReachPollersAndSleepersAlike) {
  Node node;
  ReadinessTable table;
  EpollReactor reactor(node.runtime, 2, table);
  std::atomic<int> up[2] = {0, 0};
  constexpr int kRounds = 1000;
  const auto sleeper = [&](unsigned me) {
    for (int round = 1; round <= kRounds; ++round) {
      reactor.park(me, kNever);
      up[me].store(round);
      up[me].notify_all();
    }
  };
  std::thread threads[] = {std::thread(sleeper, 0u), std::thread(sleeper, 1u)};
  SystemEntropy entropy;
  Random random(entropy.next_u64());
  for (int left[2] = {kRounds, kRounds}; left[0] + left[1] > 0;) {
    const unsigned who = left[0] == 0 || (left[1] != 0 && random.below(2) == 1) ? 1 : 0;
    const int before = kRounds - left[who]--;
    reactor.wake(who);
    up[who].wait(before);  // a lost wake hangs here
  }
  for (std::thread& thread : threads) thread.join();
}

Routine read_one(Self& self, int fd, Readiness* slot, std::promise<char>* out) {
  slot->set_owner(self.pid());
  char byte = 0;
  while (read(fd, &byte, 1) != 1) co_await otp::news(self);
  out->set_value(byte);
}

TEST(EpollReactor, WhatComesWakesTheOwner) {
  Node node;
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
  Result<Readiness*> slot = node.driver.watch(fds[0]);
  ASSERT_TRUE(slot);
  std::promise<char> seen;
  auto future = seen.get_future();
  node.runtime.spawn(read_one, fds[0], *slot, &seen);
  ASSERT_EQ(write(fds[1], "x", 1), 1);
  ASSERT_EQ(future.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  EXPECT_EQ(future.get(), 'x');
  close(fds[0]);
  close(fds[1]);
  node.driver.forget(*slot);
}

// Says when all workers sleep without a limit.
class CountingReactor final : public otp::Reactor {
 public:
  CountingReactor(std::unique_ptr<otp::Reactor> inner, std::atomic<int>& sleeping)
      : inner_(std::move(inner)), sleeping_(sleeping) {}
  void poll() noexcept override { inner_->poll(); }
  void park(unsigned worker, Nanoseconds timeout) noexcept override {
    if (timeout == kNever) change(+1);
    inner_->park(worker, timeout);
    if (timeout == kNever) change(-1);
  }
  void wake(unsigned worker) noexcept override { inner_->wake(worker); }

 private:
  void change(int by) noexcept {
    sleeping_.fetch_add(by);
    sleeping_.notify_all();
  }
  std::unique_ptr<otp::Reactor> inner_;
  std::atomic<int>& sleeping_;
};

struct CountingDriver final : otp::ReactorFactory {
  std::unique_ptr<otp::Reactor> make(otp::Runtime& runtime, unsigned workers) override {
    return std::make_unique<CountingReactor>(driver.make(runtime, workers), sleeping);
  }
  IoDriver driver;
  std::atomic<int> sleeping{0};
};

Routine reads_then(Self& self, int fd, Readiness* slot, std::binary_semaphore* begun, std::counting_semaphore<>* wait) {
  slot->set_owner(self.pid());
  char byte = 0;
  while (read(fd, &byte, 1) != 1) co_await otp::news(self);
  begun->release();
  if (wait != nullptr) wait->acquire();  // a native step that is stuck
}

// Two of three workers, got up by sockets one after the other, are stuck in native steps: the third has to be there.
TEST(EpollReactor, WhoGetsUpForAStepThatBlocksLeavesAnotherToPoll) {
  SystemClock clock;
  SystemEntropy entropy;
  CountingDriver counting;
  otp::Runtime runtime({.workers = 3}, {.clock = clock, .entropy = entropy, .reactors = counting});
  for (int round = 0; round < 5; ++round) {
    int fds[3][2];
    Readiness* slots[3];
    std::binary_semaphore begun(0);
    std::counting_semaphore<> go_on(0);
    for (int i = 0; i < 3; ++i) {
      ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds[i]), 0);
      Result<Readiness*> slot = counting.driver.watch(fds[i][0]);
      ASSERT_TRUE(slot);
      slots[i] = *slot;
      runtime.spawn(reads_then, fds[i][0], slots[i], &begun, i < 2 ? &go_on : nullptr);
    }
    for (int now = counting.sleeping; now != 3; now = counting.sleeping) counting.sleeping.wait(now);
    bool served = true;
    for (auto& pair : fds) {
      ASSERT_EQ(write(pair[1], "x", 1), 1);
      served = served && begun.try_acquire_for(std::chrono::seconds(60));
    }
    go_on.release(2);
    ASSERT_TRUE(served) << "round " << round;
    for (int now = counting.sleeping; now != 3; now = counting.sleeping) counting.sleeping.wait(now);
    for (int i = 0; i < 3; ++i) {
      for (const int fd : fds[i]) close(fd);
      counting.driver.forget(slots[i]);
    }
  }
}

TEST(IoDriver, AFileThatCannotBeWatchedIsAnError) {
  Node node;
  Result<Readiness*> slot = node.driver.watch(-1);
  ASSERT_FALSE(slot);
  EXPECT_EQ(slot.error().code, ErrorCode::kIo);
}

TEST(Address, ParsesWhatItPrints) {
  for (const char* text : {"127.0.0.1:8080", "0.0.0.0:0", "[::1]:65535", "[2001:db8::7]:1"}) {
    Result<Address> address = Address::parse(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address->to_string(), text);
    sockaddr_storage system{};
    address->to_system(&system);
    EXPECT_EQ(Address::from_system(system), *address);
  }
}

TEST(Address, RefusesWhatIsNone) {
  for (const char* text :
       {"", ":", "8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:8080x", "::1:80",
        "[::1", "[]:80", "localhost:80", "256.0.0.1:80", "127.0.0.1: 80"}) {
    EXPECT_FALSE(Address::parse(text)) << text;
  }
}

TEST(IoDriver, OfNoRuntimeSaysSo) {
  IoDriver driver;
  TcpTransport transport(driver);
  const auto listening = transport.listen(Address::ipv4(0x7f000001, 0));
  ASSERT_FALSE(listening);
  EXPECT_NE(listening.error().to_string().find("belongs to no runtime"), std::string::npos);
}

}  // namespace
}  // namespace rusm::net
