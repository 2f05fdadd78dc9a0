// What people see of processes: labels, parents, and how the last ones ended.
#pragma once

#include <array>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstddef>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/spin_lock.h"
#include "otp/exit_reason.h"
#include "otp/pid.h"

namespace rusm::otp {

// What a process is called, and under whom it is shown.
struct Tag {
  std::string label;
  Pid parent;
  bool awaited = false;  // its parent waits for ready()
};

// Apart from the processes, so that others can read it. Threads: any thread; a lock for each of a few shards, held for
// O(1).
class Tags {
 public:
  void set(Pid pid, Tag tag);
  void set_label(Pid pid, std::string label);
  // Empty when there is none.
  Tag find(Pid pid) const;
  Tag take(Pid pid);

 private:
  struct Shard {
    mutable SpinLock mutex;
    boost::unordered_flat_map<Pid, Tag, std::hash<Pid>> tags;  // guarded by mutex
  };
  static constexpr std::size_t kShards = 64;

  Shard& shard_of(Pid pid) { return shards_[pid.index() % kShards]; }
  const Shard& shard_of(Pid pid) const { return shards_[pid.index() % kShards]; }

  std::array<Shard, kShards> shards_;
};

// A process that did not end `normal`.
struct PastExit {
  Pid pid;
  std::string label;
  ExitReason reason;   // shortened
  Nanoseconds at = 0;  // on the runtime's clock, as its worker last read it: some steps before
};

// The last exits of one worker. Threads: any thread; one lock, held for O(1), or while all are copied.
class ExitLog {
 public:
  static constexpr std::size_t kKept = 128;

  void add(PastExit exit) noexcept;
  // The latest first.
  std::vector<PastExit> list() const;

 private:
  mutable SpinLock mutex_;
  std::vector<PastExit> ring_;  // guarded by mutex_; grows to kKept
  std::size_t oldest_ = 0;      // guarded by mutex_
};

}  // namespace rusm::otp
