#include "otp/run_queue.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

#include "otp/chat_slot.h"

namespace rusm::otp {
namespace {

#ifdef RUSM_SANITIZED
constexpr std::size_t kRounds = 20;
#else
constexpr std::size_t kRounds = 200;
#endif
constexpr std::size_t kProcesses = 2'000;

TEST(RunQueue, IsFirstInFirstOut) {
  const auto processes = std::make_unique<Process[]>(3);
  RunQueue queue;
  EXPECT_EQ(queue.pop(), nullptr);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(queue.push(&processes[static_cast<std::size_t>(i)]));
  EXPECT_EQ(queue.size(), 3u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(queue.pop(), &processes[static_cast<std::size_t>(i)]);
  EXPECT_TRUE(queue.empty());
}

TEST(RunQueue, TakesItsCapacityAndNoMoreHoweverOftenItWrapped) {
  const auto processes = std::make_unique<Process[]>(RunQueue::kCapacity + 1);
  RunQueue queue;
  for (int round = 0; round < 10; ++round) {
    for (std::uint32_t i = 0; i < RunQueue::kCapacity; ++i) EXPECT_TRUE(queue.push(&processes[i]));
    EXPECT_FALSE(queue.push(&processes[RunQueue::kCapacity]));
    for (std::uint32_t i = 0; i < RunQueue::kCapacity; ++i) EXPECT_EQ(queue.pop(), &processes[i]);
    EXPECT_EQ(queue.pop(), nullptr);
    // So that the next round starts somewhere else in the ring.
    EXPECT_TRUE(queue.push(&processes[0]));
    EXPECT_EQ(queue.pop(), &processes[0]);
  }
}

TEST(RunQueue, AThiefTakesTheOlderHalfAndRunsTheFirst) {
  const auto processes = std::make_unique<Process[]>(RunQueue::kCapacity);
  RunQueue victim;
  RunQueue thief;
  EXPECT_EQ(victim.steal(&thief), nullptr);
  for (std::uint32_t i = 0; i < RunQueue::kCapacity; ++i) EXPECT_TRUE(victim.push(&processes[i]));
  EXPECT_EQ(victim.steal(&thief), &processes[0]);
  EXPECT_EQ(thief.size(), RunQueue::kCapacity / 2 - 1);
  EXPECT_EQ(victim.size(), RunQueue::kCapacity / 2);
  for (std::uint32_t i = 1; i < RunQueue::kCapacity / 2; ++i) EXPECT_EQ(thief.pop(), &processes[i]);
  EXPECT_EQ(victim.pop(), &processes[RunQueue::kCapacity / 2]);
}

TEST(RunQueue, AThiefTakesNoMoreThanItHasRoomFor) {
  const auto processes = std::make_unique<Process[]>(2 * RunQueue::kCapacity);
  RunQueue victim;
  RunQueue thief;
  for (std::uint32_t i = 0; i < RunQueue::kCapacity; ++i) EXPECT_TRUE(victim.push(&processes[i]));
  for (std::uint32_t i = 0; i + 1 < RunQueue::kCapacity; ++i) {
    EXPECT_TRUE(thief.push(&processes[RunQueue::kCapacity + i]));
  }
  EXPECT_EQ(victim.steal(&thief), &processes[0]);
  EXPECT_EQ(thief.size(), RunQueue::kCapacity) << "one to run at once, one for the last free place";
  EXPECT_EQ(victim.steal(&thief), &processes[2]);
  EXPECT_EQ(thief.size(), RunQueue::kCapacity) << "one to run at once, none to keep";
  EXPECT_EQ(victim.pop(), &processes[3]);
}

// Counts how often each process was taken.
class Ledger {
 public:
  explicit Ledger(const Process* first) : first_(first), taken_(kProcesses) {}
  void take(const Process* process) { taken_[static_cast<std::size_t>(process - first_)].fetch_add(1); }
  void expect_each(int times) const {
    for (std::size_t i = 0; i < kProcesses; ++i) ASSERT_EQ(taken_[i].load(), times) << "process " << i;
  }

 private:
  const Process* first_;
  std::vector<std::atomic<int>> taken_;
};

TEST(RunQueue, WhatIsPushedIsTakenOnceWhileOthersSteal) {
  const auto processes = std::make_unique<Process[]>(kProcesses);
  Ledger ledger(processes.get());
  RunQueue queues[3];
  std::atomic<bool> done{false};
  std::vector<std::thread> thieves;
  for (std::size_t t = 1; t < 3; ++t) {
    thieves.emplace_back([&, t] {
      RunQueue& own = queues[t];
      for (;;) {
        const bool last = done.load();
        bool any = false;
        for (std::size_t victim = 0; victim < 3; ++victim) {
          if (victim == t) continue;
          if (Process* process = queues[victim].steal(&own)) {
            ledger.take(process);
            any = true;
          }
        }
        while (Process* process = own.pop()) {
          ledger.take(process);
          any = true;
          if (own.size() % 3 == 1) break;  // leave some to be stolen
        }
        if (last && !any) return;
      }
    });
  }
  for (std::size_t round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < kProcesses; ++i) {
      while (!queues[0].push(&processes[i])) {
        if (Process* process = queues[0].pop()) ledger.take(process);
      }
      if (i % 7 == 0) {
        if (Process* process = queues[0].pop()) ledger.take(process);
      }
    }
  }
  while (Process* process = queues[0].pop()) ledger.take(process);
  done.store(true);
  for (std::thread& thief : thieves) thief.join();
  ledger.expect_each(static_cast<int>(kRounds));
}

TEST(ChatSlot, HoldsOneAndGivesBackTheOneItDisplaces) {
  const auto processes = std::make_unique<Process[]>(2);
  ChatSlot slot;
  EXPECT_TRUE(slot.empty());
  EXPECT_EQ(slot.take(), nullptr);
  EXPECT_EQ(slot.put(&processes[0]), nullptr);
  EXPECT_EQ(slot.put(&processes[1]), &processes[0]);
  EXPECT_FALSE(slot.empty());
  EXPECT_EQ(slot.take(), &processes[1]);
  EXPECT_TRUE(slot.empty());
}

TEST(ChatSlot, CanBeStolenFromWhileTheOwnerDoesSomethingElse) {
  const auto processes = std::make_unique<Process[]>(1);
  ChatSlot slot;
  EXPECT_EQ(slot.steal(), nullptr);
  slot.put(&processes[0]);
  Process* stolen = nullptr;
  std::thread([&] { stolen = slot.steal(); }).join();
  if (stolen != nullptr) {  // where the kernel refuses membarrier(2) nobody steals
    EXPECT_EQ(stolen, &processes[0]);
    EXPECT_EQ(slot.take(), nullptr);
  } else {
    EXPECT_EQ(slot.take(), &processes[0]);
  }
}

TEST(ChatSlot, WhatIsPutIsTakenOnceWhileOthersSteal) {
  const auto processes = std::make_unique<Process[]>(kProcesses);
  Ledger ledger(processes.get());
  ChatSlot slot;
  std::atomic<bool> done{false};
  std::vector<std::thread> thieves;
  for (int t = 0; t < 2; ++t) {
    thieves.emplace_back([&] {
      while (!done.load()) {
        if (Process* process = slot.steal()) ledger.take(process);
      }
    });
  }
  for (std::size_t round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < kProcesses; ++i) {
      if (Process* displaced = slot.put(&processes[i])) ledger.take(displaced);
      if (i % 3 == 0) {
        if (Process* process = slot.take()) ledger.take(process);
      }
    }
  }
  done.store(true);
  for (std::thread& thief : thieves) thief.join();
  if (Process* process = slot.take()) ledger.take(process);
  ledger.expect_each(static_cast<int>(kRounds));
}

}  // namespace
}  // namespace rusm::otp
