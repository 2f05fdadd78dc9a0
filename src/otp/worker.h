// Worker: one thread that runs processes. Internal to otp.
//
// Where the next process comes from, in this order: the chat slot (a process that the running one has just sent a
// message to, or that it has just started and will wait for: it finds the caches warm), the own run queue, the
// injection queue, other workers.
// - At most kChatsInARow steps are taken from the chat slot in a row, so that two that chat cannot starve the rest.
// - Every kTickMax steps, and down to every kTickMin if they have lately taken long, so that about kLookWithin passes,
//   the injection queue comes first; then, and after a step that used up its slice, the reactor and the timers are
//   looked at.
// - A process that used up its slice goes to the back of the injection queue while there is anyone in it, so that the
//   own queue runs empty and all get their turns alike, however many there are.
//
// Sleep. A worker that finds nothing says that it is idle, looks everywhere once more and parks in its reactor.
// 1. Work put into a worker's own queues needs nobody else to be awake: that worker is awake and will run it. So
//    pushing there only looks, without a fence, whether an idle worker should be woken to help. When sockets or timers
//    make a few runnable between two steps nobody is woken if this worker will have run them, by what its steps have
//    taken lately, before another had got up (kWorthWaking); in a step one is woken for so few at most once in that
//    time. If they take longer than that after all, another is woken after the step in which that is noticed.
// 2. Work injected from outside is published before idle_ is read, both sequentially consistent; a parking worker does
//    the reverse. So at least one of the two sees the other.
// 3. As long as another worker is not parked, and for kGuardFor after that, a parked one is on guard: it sleeps for
//    kWatchMin to kWatchMax at a time and then looks after the others: whoever has not finished a step since gets his
//    timers and runnable processes attended to; sockets are nobody's. So a native step that never awaits freezes
//    for long (two looks of a guard) nothing but itself. Whoever gets up while nobody is on guard wakes another. When
//    all have been parked for a while nobody wakes up without cause. A guard counts itself out before it looks whether
//    others are up; whoever gets up says so before it looks for a guard; both sequentially consistent: so one of the
//    two sees the other.
#pragma once

#include <time.h>

#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "base/entropy.h"
#include "otp/chat_slot.h"
#include "otp/process_table.h"
#include "otp/run_queue.h"
#include "otp/runtime.h"
#include "otp/timer_wheel.h"

namespace rusm::otp {

// Written by one worker, read by any. Threads: increment by the owner.
class OwnedCounter {
 public:
  // Release and acquire: who sees an exit counted sees its spawn counted.
  void add() noexcept { value_.store(value_.load(std::memory_order_relaxed) + 1, std::memory_order_release); }
  std::uint64_t get() const noexcept { return value_.load(std::memory_order_acquire); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

class Worker {
 public:
  Worker(Runtime& runtime, unsigned index);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // The worker that runs on this thread, or null.
  static Worker* current() noexcept { return current_; }
  // The same if it is one of `runtime`'s.
  static Worker* current_of(const Runtime& runtime) noexcept {
    Worker* worker = current_;
    return worker != nullptr && &worker->runtime_ == &runtime ? worker : nullptr;
  }

  void start();
  void join();
  // Threads: any thread.
  void interrupt() noexcept { runtime_.reactor_->wake(index_); }

  Runtime& runtime() noexcept { return runtime_; }
  TimerWheel& timers() noexcept { return timers_; }
  unsigned index() const noexcept { return index_; }

  // Owner: makes `process` runnable here.
  void enqueue(Process& process, bool chatty) noexcept;
  // The time when it last looked at the clock: before this step, or some steps ago. Owner.
  Nanoseconds recent_time() const noexcept { return looked_outside_; }
  bool has_work() const noexcept { return !chat_.empty() || !queue_.empty(); }
  // Deterministic mode.
  bool step();
  // Makes it the calling thread's worker; returns the one that was.
  Worker* enter() noexcept { return std::exchange(current_, this); }
  static void leave(Worker* previous) noexcept { current_ = previous; }
  void fire_timers(Nanoseconds now) noexcept { fire_timers_of(*this, now); }

  SlotList slots;                    // free slots of the process table; owner
  TimerTable::FreeList free_timers;  // owner
  ExitLog last_exits;
  struct {
    OwnedCounter spawns, exits, crashes, sends, sheds, steals, parks, long_steps;
  } counters;
  std::uint64_t references = 0;  // owner

 private:
  friend class Runtime;

  static constexpr int kChatsInARow = 16;
  static constexpr int kTickMin = 4;
  static constexpr int kTickMax = 61;
  static constexpr Nanoseconds kWatchMin = kMillisecond;
  static constexpr Nanoseconds kWatchMax = 4 * kMillisecond;
  static constexpr Nanoseconds kGuardFor = 4 * kWatchMax;
  static constexpr Nanoseconds kWorthWaking = 100 * kMicrosecond;
  static constexpr Nanoseconds kStepSpanMin = 100;  // what a step is taken for at least
  static constexpr int kLongStepClockFactor = 10;
  static constexpr Nanoseconds kLookWithin = 100 * kMicrosecond;
  static constexpr Nanoseconds kLookEvery = 20 * kMicrosecond;  // at sockets and timers, at least this far apart

  void loop() noexcept;
  Process* next() noexcept;
  Process* search() noexcept;
  Process* steal_from_others() noexcept;
  void look_outside() noexcept;
  void overflow(Process& process) noexcept;
  void to_the_back(Process& process) noexcept;
  void stop_searching() noexcept;
  void sleep() noexcept;
  void watch_others(Nanoseconds now) noexcept;
  void note_pace(Nanoseconds now, bool slept) noexcept;
  void look_for_help() noexcept;
  void fire_timers_of(Worker& worker, Nanoseconds now) noexcept;
  Nanoseconds cpu_time() const noexcept;
  void run(Process& process) noexcept;

  static constinit inline thread_local Worker* current_ = nullptr;

  Runtime& runtime_;
  const unsigned index_;
  TimerWheel timers_;
  std::atomic<bool> timers_in_hand_{false};  // somebody delivers what was due
  Random random_;
  std::thread thread_;

  ChatSlot chat_;
  RunQueue queue_;

  // Read by watchers.
  alignas(64) std::atomic<std::uint64_t> steps_{0};  // begun and ended ones together: odd while one runs
  std::atomic<Process*> running_{nullptr};           // null between steps
  std::atomic<bool> parked_{false};
  std::atomic<clockid_t> cpu_clock_{CLOCK_MONOTONIC};  // of its thread
  std::atomic<bool> wake_to_search_{false};            // set by whoever wakes it and counted it as searching

  // Owner.
  int chats_ = 0;
  bool searching_ = false;
  int until_tick_ = 1;
  bool ran_long_ = false;  // the last step used up its slice
  Nanoseconds looked_outside_ = 0;
  Nanoseconds watch_span_ = kWatchMin;
  Nanoseconds watch_at_ = 0;
  Nanoseconds others_ran_ = 0;  // when another was last seen up
  // What its steps have taken lately, and since when and which step that is being counted.
  Nanoseconds step_span_ = kWorthWaking;
  Nanoseconds paced_at_ = 0;
  std::uint64_t paced_steps_ = 0;
  // When it took on work for which it woke nobody; 0: there is none.
  Nanoseconds alone_since_ = 0;
  Nanoseconds woke_another_ = 0;  // for little, in a step
  std::vector<DueTimer> due_;
  std::vector<Runtime::DueOrder> due_order_;
  std::vector<Process*> deterministic_;  // runnable processes in deterministic mode
  struct Seen {
    std::uint64_t steps = 0;
    Nanoseconds since = 0;
    Nanoseconds cpu = 0;
    bool reported = false;
  };
  std::vector<Seen> seen_;  // of each other worker, by watch_others
};

}  // namespace rusm::otp
