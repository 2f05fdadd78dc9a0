// Calls that block, and threads that are not workers.
#include <condition_variable>
#include <mutex>
#include <thread>

#include "spec/fixture.h"

namespace rusm::otp::spec {
namespace {

using Kind = ExitReason::Kind;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(Blocking, ReturnsWhatTheCallReturnsAndThrowsWhatItThrows) {
  for_seeds(On::kOneNode, [](World& w) {
    Lines lines;
    w.here().spawn(
        [](Self& self, Lines* out) -> Routine {
          out->push_back(co_await blocking(self, [] { return std::string("value"); }));
          bool ran = false;
          co_await blocking(self, [&ran] { ran = true; });
          if (ran) out->push_back("ran");
          try {
            co_await blocking(self, []() -> int { throw std::runtime_error("thrown"); });
          } catch (const std::runtime_error& e) {
            out->push_back(e.what());
          }
        },
        &lines);
    w.run();
    EXPECT_THAT(lines, ElementsAre("value", "ran", "thrown"));
  });
}

// A call that the test holds.
struct Held {
  void wait() {
    std::unique_lock lock(mutex);
    running = true;
    changed.notify_all();
    changed.wait(lock, [this] { return released; });
  }
  void wait_until_running() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return running; });
  }
  void release() {
    const std::scoped_lock lock(mutex);
    released = true;
    changed.notify_all();
  }
  std::mutex mutex;
  std::condition_variable changed;
  bool running = false;
  bool released = false;
};

struct InFrame {
  explicit InFrame(std::atomic<int>* a) : alive(a) { alive->fetch_add(1); }
  InFrame(const InFrame&) = delete;
  ~InFrame() { alive->fetch_sub(1); }
  std::atomic<int>* alive;
};

Routine blocks(Self& self, Held* held, std::atomic<int>* frames, std::atomic<int>* seen) {
  const InFrame frame(frames);
  int local = 0;
  co_await blocking(self, [&] {
    held->wait();
    local = 1;  // the frame is still there
  });
  seen->fetch_add(local);
}

TEST(X, Case5_KilledInABlockingCallItIsDeadAtOnceAndItsFrameGoesWhenTheCallReturns) {
  std::atomic<int> frames{0};
  std::atomic<int> seen{0};
  Held held;
  {
    ThreadedNode node(2);
    const Pid pid = node.runtime.spawn(blocks, &held, &frames, &seen);
    held.wait_until_running();
    node.runtime.exit(pid, Kind::kKill);
    EXPECT_TRUE(node.wait_until_empty());
    EXPECT_FALSE(node.runtime.is_alive(pid));
    EXPECT_EQ(frames.load(), 1) << "the call refers to it";
    held.release();
  }
  EXPECT_EQ(frames.load(), 0);
  EXPECT_EQ(seen.load(), 0) << "its code does not go on";
}

TEST(Blocking, OthersGoOnMeanwhileAndMoreCallsThanThreadsWaitTheirTurn) {
  constexpr int kCalls = 100;
  std::atomic<int> frames{0};
  std::atomic<int> seen{0};
  Held held;
  ThreadedNode node(1);
  for (int i = 0; i < kCalls; ++i) node.runtime.spawn(blocks, &held, &frames, &seen);
  held.wait_until_running();
  const auto answer = node.runtime.wait_for(node.runtime.spawn([](Self&) -> Routine { co_return; }), kNever);
  ASSERT_TRUE(answer);
  EXPECT_EQ(seen.load(), 0);
  held.release();
  EXPECT_TRUE(node.wait_until_empty());
  EXPECT_EQ(seen.load(), kCalls);
}

TEST(Blocking, KillsAtAnyMomentLeaveNothingBehind) {
#ifdef RUSM_SANITIZED
  constexpr int kCalls = 500;
#else
  constexpr int kCalls = 5000;
#endif
  std::atomic<int> frames{0};
  {
    ThreadedNode node(2);
    for (int i = 0; i < kCalls; ++i) {
      const Pid pid = node.runtime.spawn(
          [](Self& self, std::atomic<int>* alive) -> Routine {
            const InFrame frame(alive);
            int local = 0;
            co_await blocking(self, [&local] { ++local; });
            co_await blocking(self, [&local] { ++local; });
          },
          &frames);
      if (i % 3 != 0) node.runtime.exit(pid, Kind::kKill);
      if (i % 64 == 0) std::this_thread::yield();
    }
    EXPECT_TRUE(node.wait_until_empty());
  }
  EXPECT_EQ(frames.load(), 0);
}

Routine doubles(Self& self) {
  for (;;) {
    const Message message = co_await receive(self);
    if (const int* number = message.get_if<int>()) self.reply(message.reply_to(), Message::of(2 * *number));
  }
}

TEST(Outside, AThreadAsksAProcess) {
  ThreadedNode node(2);
  const Pid server = node.runtime.spawn(doubles);
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        auto answer = node.runtime.ask(server, Message::of(1000 * t + i));
        const int* number = answer ? answer->get_if<int>() : nullptr;
        if (number != nullptr && *number == 2 * (1000 * t + i)) right.fetch_add(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right.load(), 400);
  node.runtime.exit(server, Kind::kKill);
  EXPECT_TRUE(node.wait_until_empty());
  const auto dead = node.runtime.ask(server, Message::of(1));
  ASSERT_FALSE(dead);
  EXPECT_EQ(dead.error(), ExitReason(Kind::kNoProc));
}

TEST(Outside, WaitingGivesUpAfterItsTime) {
  ThreadedNode node(1);
  const Pid server = node.runtime.spawn(doubles);
  EXPECT_EQ(node.runtime.wait_for(server, kMillisecond), std::nullopt);
  const auto late = node.runtime.ask(server, Message::of_text("never answered"), kMillisecond);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error(), ExitReason(Kind::kTimeout));
}

TEST(Outside, ShutdownAsksThenKillsAndSaysWhom) {
  ThreadedNode node(2);
  for (int i = 0; i < 10; ++i) node.runtime.spawn(doubles);
  std::atomic<bool> traps{false};
  const Pid stubborn = node.runtime.spawn(
      [](Self& self, std::atomic<bool>* flag) -> Routine {
        self.trap_exit(true);
        flag->store(true);
        flag->notify_all();
        for (;;) co_await receive(self);
      },
      &traps);
  traps.wait(false);
  EXPECT_THAT(node.runtime.shutdown(20 * kMillisecond), ElementsAre(stubborn));
  EXPECT_EQ(node.runtime.process_count(), 0u);
  EXPECT_THAT(node.runtime.shutdown(kSecond), IsEmpty());
}

}  // namespace
}  // namespace rusm::otp::spec
