// FaultVfs: a file layer of SQLite that fails when it is told, and knows what would be left if the power went now: what
// was synced, and of what was written since any part.
#pragma once

#include <sqlite3.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/entropy.h"
#include "kv/vfs_in_front.h"

namespace rusm::kv {

// Threads: any thread. Must outlive the connections that were opened through it.
class FaultVfs final : public VfsInFront {
 public:
  enum class On : std::uint8_t { kRead, kWrite, kSync };
  // Whether something happens to the file at this path.
  using Which = std::function<bool(const std::string& path)>;
  static bool all(const std::string&) { return true; }

  FaultVfs();

  // The operations of that kind on `which` files from the `nth` on (1: the next) fail with `code`, `count` of them.
  void fail(On on, std::uint64_t nth, int code, std::uint64_t count = std::numeric_limits<std::uint64_t>::max(),
            Which which = all);
  void heal();
  // Operations of that kind on `which` files wait until release().
  void hold(On on, Which which = all);
  // Returns once one waits. False: none did for a minute.
  bool wait_until_one_is_held();
  void release();
  // All that was read so far.
  std::uint64_t bytes_read();
  // After `operations` more writes and syncs the power is off: nothing works any more.
  void cut_power_after(std::uint64_t operations);
  bool is_off();
  // The files by their paths, as they could be found after the power was cut now. Writes go to the disk in sectors, in
  // any order, as far as no sync was between them.
  std::map<std::string, std::string> left_over(Random& random);

 private:
  struct File;
  struct Operation {
    sqlite3_int64 offset;
    std::string bytes;      // written there
    bool truncate = false;  // else the file was cut off there
  };
  struct Content {
    std::string synced;
    std::vector<Operation> since;
  };
  struct Hold {
    On on;
    Which which;
  };
  struct Fault {
    std::uint64_t from = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t count = 0;
    int code = 0;
    Which which = all;
    std::uint64_t seen = 0;  // operations that it could have met
  };

  static FaultVfs& of(sqlite3_vfs* vfs) noexcept { return static_cast<FaultVfs&>(VfsInFront::of(vfs)); }
  static int open(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out_flags);
  static int read(sqlite3_file* file, void* to, int bytes, sqlite3_int64 offset);
  static int write(sqlite3_file* file, const void* from, int bytes, sqlite3_int64 offset);
  static int truncate(sqlite3_file* file, sqlite3_int64 size);
  static int sync(sqlite3_file* file, int flags);
  // Waits as long as the operation is held, and counts it. SQLITE_OK: it may be done.
  int next(std::unique_lock<std::mutex>& lock, On on, const std::string& path);

  static const sqlite3_io_methods kMethods;

  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  std::map<std::string, Content> files_;
  std::map<On, Fault> faults_;
  std::optional<Hold> hold_;
  unsigned held_ = 0;  // operations that wait
  std::uint64_t bytes_read_ = 0;
  std::uint64_t writes_ = 0;
  std::uint64_t syncs_ = 0;
  std::uint64_t power_ends_ = std::numeric_limits<std::uint64_t>::max();
};

}  // namespace rusm::kv
