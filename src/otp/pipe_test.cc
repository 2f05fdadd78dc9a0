#include "otp/pipe.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "otp/routine.h"

namespace rusm::otp {
namespace {

using State = Pipe::State;

#ifdef RUSM_SANITIZED
constexpr std::uint64_t kSeeds = 30;
constexpr std::uint64_t kBytes = 200'000;
#else
constexpr std::uint64_t kSeeds = 200;
constexpr std::uint64_t kBytes = 3'000'000;
#endif

struct Node {
  explicit Node(std::optional<std::uint64_t> seed = {}, unsigned workers = 2)
      : runtime({.workers = workers, .deterministic_seed = seed},
                {.clock = clock, .entropy = entropy, .reactors = reactors}) {}
  SimulatedClock clock;
  SeededEntropy entropy{1};
  QuietReactorFactory reactors;
  Runtime runtime;
};

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string take_all(Pipe& pipe) {
  std::string out;
  for (;;) {
    const auto data = pipe.readable();
    if (data.empty()) return out;
    out.append(reinterpret_cast<const char*>(data.data()), data.size());
    pipe.consume(data.size());
  }
}

std::byte pattern(std::uint64_t at) {
  return static_cast<std::byte>(at * 131 >> 3);
}

class PipeTest : public testing::Test {
 protected:
  Node node_{7};
  Pipe pipe_{node_.runtime, 64};
};

TEST_F(PipeTest, RoundsItsCapacityUpToAPowerOfTwo) {
  EXPECT_EQ(Pipe(node_.runtime, 0).capacity(), 64u);
  EXPECT_EQ(Pipe(node_.runtime, 65).capacity(), 128u);
  EXPECT_EQ(Pipe(node_.runtime, 4096).capacity(), 4096u);
}

TEST_F(PipeTest, CarriesBytesInOrderAndCountsThem) {
  EXPECT_TRUE(pipe_.readable().empty());
  EXPECT_EQ(pipe_.write(bytes_of("hello ")), 6u);
  EXPECT_EQ(pipe_.write(bytes_of("world")), 5u);
  EXPECT_EQ(take_all(pipe_), "hello world");
  EXPECT_EQ(pipe_.bytes_written(), 11u);
  EXPECT_EQ(pipe_.bytes_read(), 11u);
  EXPECT_EQ(pipe_.state(), State::kOpen);
  EXPECT_FALSE(pipe_.ended());
}

TEST_F(PipeTest, TakesNoMoreThanItsCapacityUntilSomethingIsRead) {
  const std::string text(100, 'x');
  EXPECT_EQ(pipe_.write(bytes_of(text)), 64u);
  EXPECT_TRUE(pipe_.writable().empty());
  pipe_.consume(10);
  EXPECT_EQ(pipe_.writable().size(), 10u);
  EXPECT_EQ(pipe_.write(bytes_of(text)), 10u);
}

TEST_F(PipeTest, WrapsAroundItsRing) {
  std::uint64_t written = 0;
  std::uint64_t read = 0;
  Random random(5);
  while (read < 10'000) {
    const auto room = pipe_.writable();
    const std::size_t n = room.empty() ? 0 : random.below(room.size() + 1);
    for (std::size_t i = 0; i < n; ++i) room[i] = pattern(written++);
    pipe_.commit(n);
    const auto data = pipe_.readable();
    const std::size_t m = data.empty() ? 0 : random.below(data.size() + 1);
    for (std::size_t i = 0; i < m; ++i) ASSERT_EQ(data[i], pattern(read++));
    pipe_.consume(m);
  }
}

TEST_F(PipeTest, AfterFinishTheReaderStillGetsWhatIsThere) {
  pipe_.write(bytes_of("rest"));
  pipe_.finish();
  EXPECT_EQ(pipe_.state(), State::kFinished);
  EXPECT_FALSE(pipe_.ended());
  EXPECT_TRUE(pipe_.writable().empty());
  EXPECT_EQ(pipe_.write(bytes_of("more")), 0u);
  EXPECT_EQ(take_all(pipe_), "rest");
  EXPECT_TRUE(pipe_.ended());
  pipe_.abort();
  EXPECT_EQ(pipe_.state(), State::kFinished) << "it ended well";
}

TEST_F(PipeTest, AfterAbortNothingComesAndNothingIsTaken) {
  pipe_.write(bytes_of("lost"));
  pipe_.abort();
  EXPECT_EQ(pipe_.state(), State::kBroken);
  EXPECT_TRUE(pipe_.readable().empty());
  EXPECT_TRUE(pipe_.writable().empty());
  EXPECT_EQ(pipe_.write(bytes_of("more")), 0u);
  pipe_.finish();
  EXPECT_EQ(pipe_.state(), State::kBroken);
  EXPECT_FALSE(pipe_.ended());
}

TEST_F(PipeTest, AbortAfterFinishBreaksWhatWasNotRead) {
  pipe_.write(bytes_of("unread"));
  pipe_.finish();
  pipe_.abort();
  EXPECT_EQ(pipe_.state(), State::kBroken);
}

// ── Between processes ────────────────────────────────────────────────────────────────────────────────────────────────

struct Transfer {
  Transfer(Runtime& runtime, std::size_t capacity) : pipe(runtime, capacity) {}
  Pipe pipe;
  std::atomic<std::uint64_t> received{0};
  std::atomic<std::uint64_t> wrong{0};
  std::atomic<int> ends{0};
};

Routine write_pattern(Self& self, Transfer* transfer, std::uint64_t bytes, std::uint64_t chunk_max) {
  Pipe& pipe = transfer->pipe;
  pipe.set_writer(self.pid());
  std::uint64_t written = 0;
  while (written < bytes) {
    const auto room = pipe.writable();
    if (room.empty()) {
      if (pipe.state() != State::kOpen) break;
      co_await news(self);
      continue;
    }
    const std::uint64_t n = std::min<std::uint64_t>({room.size(), bytes - written, 1 + written % chunk_max});
    for (std::uint64_t i = 0; i < n; ++i) room[i] = pattern(written++);
    pipe.commit(n);
  }
  pipe.finish();
  transfer->ends.fetch_add(1);
}

Routine read_pattern(Self& self, Transfer* transfer, std::uint64_t stop_after, std::uint64_t chunk_max) {
  Pipe& pipe = transfer->pipe;
  pipe.set_reader(self.pid());
  std::uint64_t read = 0;
  while (read < stop_after) {
    const auto data = pipe.readable();
    if (data.empty()) {
      if (pipe.ended() || pipe.state() == State::kBroken) break;
      co_await news(self);
      continue;
    }
    const std::uint64_t n = std::min<std::uint64_t>(data.size(), 1 + read % chunk_max);
    for (std::uint64_t i = 0; i < n; ++i) {
      if (data[i] != pattern(read++)) transfer->wrong.fetch_add(1);
    }
    pipe.consume(n);
  }
  pipe.abort();
  transfer->received.store(read);
  transfer->ends.fetch_add(1);
}

TEST(PipeBetweenProcesses, WakesWhoeverWaits) {
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    Node node(seed);
    Transfer transfer(node.runtime, 64);
    node.runtime.spawn(write_pattern, &transfer, 3000, 1 + seed % 90);
    node.runtime.spawn(read_pattern, &transfer, UINT64_MAX, 1 + seed % 70);
    node.runtime.run_until_idle();
    ASSERT_EQ(transfer.received.load(), 3000u);
    ASSERT_EQ(transfer.wrong.load(), 0u);
    ASSERT_EQ(transfer.ends.load(), 2);
  }
}

TEST(PipeBetweenProcesses, AWriterThatWaitsForRoomSeesThatTheReaderGaveUp) {
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    Node node(seed);
    Transfer transfer(node.runtime, 64);
    node.runtime.spawn(write_pattern, &transfer, UINT64_MAX, 64);
    node.runtime.spawn(read_pattern, &transfer, 500, 64);
    node.runtime.run_until_idle();
    ASSERT_EQ(transfer.ends.load(), 2) << "somebody waits for ever";
    ASSERT_EQ(transfer.pipe.state(), State::kBroken);
  }
}

TEST(PipeBetweenProcesses, WakesAcrossWorkers) {
  Node node({}, 4);
  Transfer small(node.runtime, 64);
  Transfer large(node.runtime, 4096);
  for (Transfer* transfer : {&small, &large}) {
    node.runtime.spawn(write_pattern, transfer, kBytes, 300);
    node.runtime.spawn(read_pattern, transfer, UINT64_MAX, 200);
  }
  EXPECT_TRUE(node.runtime.wait_until_empty(60 * kSecond));
  for (const Transfer* transfer : {&small, &large}) {
    EXPECT_EQ(transfer->received.load(), kBytes);
    EXPECT_EQ(transfer->wrong.load(), 0u);
  }
}

// The ring itself between two plain threads that poll.
TEST(PipeBetweenThreads, CarriesBytesInOrder) {
  Node node(1);
  Pipe pipe(node.runtime, 16 * 1024);
  std::thread writer([&pipe] {
    for (std::uint64_t written = 0; written < kBytes;) {
      const auto room = pipe.writable();
      if (room.empty()) {
        std::this_thread::yield();
        continue;
      }
      const std::uint64_t n = std::min<std::uint64_t>(room.size(), kBytes - written);
      for (std::uint64_t i = 0; i < n; ++i) room[i] = pattern(written++);
      pipe.commit(n);
    }
    pipe.finish();
  });
  std::uint64_t read = 0;
  std::uint64_t wrong = 0;
  while (!pipe.ended()) {
    const auto data = pipe.readable();
    if (data.empty()) std::this_thread::yield();
    for (const std::byte byte : data) wrong += byte != pattern(read++) ? 1 : 0;
    pipe.consume(data.size());
  }
  writer.join();
  EXPECT_EQ(read, kBytes);
  EXPECT_EQ(wrong, 0u);
}

}  // namespace
}  // namespace rusm::otp
