// Record: reads a supervisor's life from its beginning to its end. Whoever goes through it says what should have been
// done next, and is told what came in next.
#pragma once

#include <deque>
#include <optional>
#include <string>

#include "sim/supervisor_life.h"

namespace rusm::otp::sim {

// Thrown when nothing came in any more: the supervisor waits for ever, or was killed.
struct OutOfInputs {};
// Thrown when something was not done, not then, or should not have been done.
struct Contradiction {
  std::string text;
};

constexpr Nanoseconds kSameTime = 3 * kMillisecond;  // timers are late by less

// Threads: one.
class Record {
 public:
  explicit Record(const Life& life);

  // The time of the last thing that came in, or of a deadline that has passed since.
  Nanoseconds now() const { return now_; }

  // What came in next; nothing when the deadline passed first, after which `child` was killed. What came at the same
  // time may have been first or last, and the killing tells.
  std::optional<Input> next(Nanoseconds deadline = kNever, Pid child = {});
  // What came in before the next deed.
  std::optional<Input> next_before_deed();

  // It tried to start a child; whom it started, or nobody.
  Pid has_started(const std::string& name);
  // It sent `child` an exit signal, kStop or kKill; none reaches one that is dead by then.
  void has_told(Pid child, Deed::What what);
  // From now on exit signals go to several children at once, and reach them in any order.
  void tells_many() { tells_many_ = true; }
  void has_ended(const ExitReason& reason);
  // There is nothing left, but for the end of one that was killed.
  void is_over();

  // An exit signal came before its first step, in which it begins to trap them.
  bool ended_before_it_began() const;
  bool kill_reached_it() const { return life_.kill_reached_it; }

 private:
  void done(std::deque<Deed>::iterator deed);
  std::deque<Deed>::iterator find_signal(Pid child, Deed::What what);
  bool next_is_end() const { return !deeds_.empty() && deeds_.front().what == Deed::What::kEnd; }
  bool next_is_kill() const { return next_is_end() && deeds_.front().reason.kind() == ExitReason::Kind::kKilled; }

  const Life& life_;
  std::deque<Input> inputs_;
  std::deque<Deed> deeds_;
  std::size_t deeds_done_ = 0;
  Nanoseconds now_;
  bool tells_many_ = false;
};

}  // namespace rusm::otp::sim
