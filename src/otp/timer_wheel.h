// TimerWheel: a hierarchical timing wheel (Varghese and Lauck, 1987). Arming and cancelling are O(1); a timer never
// fires early, and at most one tick (2^16 ns, 66 µs) late beside what the scheduler adds. The finest level is long (a
// quarter of a second), so that most timers are touched twice only, when they are armed and when they fire.
//
// Two kinds of timers: one that wakes a process, of which each process has one, and message timers (message_timer.h).
//
// Invariants
// 1. A timer is in at most one wheel; Timer::wheel says in which, and changes only under that wheel's lock.
// 2. A timer that is due leaves the wheel before its pid is woken; the wake happens without the lock.
// 3. Whoever destroys a timer has cancelled it first: after cancel() returns no wheel refers to it.
// 4. Timers of one tick fire in the order in which they were armed: every list is a queue, and a coarse slot is spread
//    over finer ones before anything that is armed later gets there.
// 5. However many are due, one call of advance() moves a bounded number of them.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "base/clock.h"
#include "otp/message.h"
#include "otp/pid.h"

namespace rusm::otp {

class TimerWheel;
struct MessageTimer;

// A node of a circular list, or its head.
struct TimerLink {
  TimerLink* next = this;
  TimerLink* previous = this;

  bool empty() const noexcept { return next == this; }
  void push_back(TimerLink& link) noexcept {
    link.next = this;
    link.previous = previous;
    previous->next = &link;
    previous = &link;
  }
  void unlink() noexcept {
    next->previous = previous;
    previous->next = next;
    next = previous = this;
  }
  // Moves all of `other` behind what is here.
  void splice_back(TimerLink& other) noexcept {
    if (other.empty()) return;
    other.next->previous = previous;
    previous->next = other.next;
    other.previous->next = this;
    previous = other.previous;
    other.next = other.previous = &other;
  }
};

// Threads: armed and cancelled by its owner; see the wheel.
struct Timer : TimerLink {
  std::atomic<TimerWheel*> wheel{nullptr};
  Nanoseconds deadline = kNever;
  Pid pid;                           // woken when it is due, or the message's receiver
  std::atomic<std::uint64_t> id{0};  // of a message timer; else 0
};

// A timer that was due. With a message it is to be posted, without one the pid is to be woken.
struct DueTimer {
  Nanoseconds deadline;
  Pid pid;
  EnvelopePtr message;
  // To be given back to its table; null for none. One that repeats makes its message now, and then goes back into its
  // wheel by rearm().
  MessageTimer* spent;
};

// Threads: any thread; a mutex inside, held for O(1) or, in advance(), for a bounded number of timers.
class TimerWheel {
 public:
  explicit TimerWheel(Nanoseconds now);
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  // True when it is due before everything else, so that a worker that sleeps until next_due() has to be woken.
  // REQUIRES: the timer is in no wheel; only its owner arms it.
  bool arm(Timer* timer, Nanoseconds deadline) noexcept;
  // The same for a message timer, and counts it as its owner's.
  bool arm(MessageTimer* timer, Nanoseconds deadline) noexcept;
  // Takes the timer out of whatever wheel it is in. Returns false when it was in none (it fired, or never was armed).
  static bool cancel(Timer* timer) noexcept;
  // The same for a message timer, if it still is the one with that id.
  static bool cancel(MessageTimer* timer, std::uint64_t id) noexcept;
  // Puts one that repeats, and was delivered, back. False when it was cancelled meanwhile: it is to be given back.
  bool rearm(MessageTimer* timer, Nanoseconds now) noexcept;
  // Takes out what is due at `now`, the earliest first, and appends it to *due. Stops after kMovesMax timers; then
  // next_due() is in the past.
  void advance(Nanoseconds now, std::vector<DueTimer>* due);
  // When advance() should be called next, at the latest; kNever when empty. Never later than the earliest deadline,
  // sometimes earlier (a coarse level has to be spread over finer ones, or a slot became empty by a cancel).
  Nanoseconds next_due() const noexcept { return next_due_.load(); }

  static constexpr int kMovesMax = 2048;

 private:
  static constexpr int kTickBits = 16;  // a tick is 2^16 ns
  static constexpr int kFineBits = 12;  // the finest level: 268 ms
  static constexpr int kSlotBits = 6;   // each coarser one: 17 s, 18 min, …
  static constexpr int kFineSlots = 1 << kFineBits;
  static constexpr int kSlots = 1 << kSlotBits;
  static constexpr int kLevels = 7;  // 2^(16 + 12 + 6 * 6) ns: all of time

  // Which of up to 64 × 64 slots have timers; a bit may stand for a slot that cancels have emptied.
  class Occupied {
   public:
    void set(unsigned slot) noexcept {
      words_[slot / 64] |= std::uint64_t{1} << slot % 64;
      summary_ |= std::uint64_t{1} << slot / 64;
    }
    void clear(unsigned slot) noexcept {
      words_[slot / 64] &= ~(std::uint64_t{1} << slot % 64);
      if (words_[slot / 64] == 0) summary_ &= ~(std::uint64_t{1} << slot / 64);
    }
    // The first one after `slot`; -1 when there is none.
    int after(unsigned slot) const noexcept;

   private:
    std::uint64_t summary_ = 0;
    std::array<std::uint64_t, kFineSlots / 64> words_{};
  };

  // Fetches the timers of the slots that come next into the cache while others fire: their lists are walked, as their
  // order in memory is none.
  class Prefetcher {
   public:
    explicit Prefetcher(const TimerWheel& wheel) : wheel_(wheel), last_slot_(wheel.slot_at(wheel.tick_, 0)) {}
    void step() noexcept;
    // The slot's timers are about to fire: from then on each may be gone.
    void leave(const TimerLink& slot) noexcept {
      for (Walk& walk : walks_) {
        if (walk.head == &slot) walk = {};
      }
    }

   private:
    static constexpr int kLists = 4;  // at once: one list alone is a chain of misses
    struct Walk {
      const TimerLink* head = nullptr;
      const TimerLink* at = nullptr;
    };
    const TimerWheel& wheel_;
    unsigned last_slot_;
    unsigned turn_ = 0;
    std::array<Walk, kLists> walks_{};
  };

  void insert(Timer* timer) noexcept;
  void fire(Timer* timer, std::vector<DueTimer>* due);
  bool enter(Timer* timer, Nanoseconds deadline) noexcept;
  static bool withdraw(MessageTimer* timer) noexcept;
  static void count_armed(MessageTimer* timer, bool more) noexcept;
  static void leave(Timer* timer) noexcept;
  static constexpr int shift_of(int level) noexcept { return level == 0 ? 0 : kFineBits + (level - 1) * kSlotBits; }
  static constexpr unsigned slot_at(std::uint64_t tick, int level) noexcept {
    return static_cast<unsigned>(tick >> shift_of(level)) &
           static_cast<unsigned>(level == 0 ? kFineSlots - 1 : kSlots - 1);
  }
  TimerLink& slot(int level, unsigned slot) noexcept {
    return level == 0 ? fine_[slot] : coarse_[static_cast<unsigned>(level) - 1][slot];
  }
  bool in_work() const noexcept { return !overdue_.empty() || !spreading_.empty() || level_ > 0; }
  std::uint64_t next_occupied_tick() const noexcept;
  void refresh_next_due() noexcept;

  std::mutex mutex_;
  std::uint64_t tick_;   // everything before it has been handled
  int level_ = 0;        // levels below it may have slots that begin at tick_ and are not spread yet
  TimerLink spreading_;  // from a coarse slot that begins at tick_, on the way to finer ones
  TimerLink overdue_;    // due at tick_ or before
  std::array<Occupied, kLevels> occupied_;
  std::array<TimerLink, kFineSlots> fine_;
  std::array<std::array<TimerLink, kSlots>, kLevels - 1> coarse_;
  std::atomic<Nanoseconds> next_due_{kNever};
};

}  // namespace rusm::otp
