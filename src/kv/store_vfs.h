// StoreVfs: what lies between SQLite and the files of one store. SQLite believes what it reads; this makes that true.
//
// Invariants
// 1. A page of the main file carries a checksum of its content and number in its last kReservedBytes. It is put in on
//    the way out, and a page that fails its check on the way in, or is missing, is an error (SQLITE_IOERR_DATA) and
//    never seen. SQLite itself would take a missing page for zeros. It asks for no page that it has not written, as its
//    writer keeps the pages of a transaction in memory (cache_spill = off).
// 2. A frame of the log is remembered by its checksum when it is written and is checked against it when it is read.
//    Frames of an earlier process SQLite checks itself when it recovers the log; they are then moved to the main file.
// 3. Once a sync of the main file or the log has failed every write and sync of these two fails: what the system has
//    dropped is never taken for safe. Other files, which are those of a backup, neither close the store nor are closed
//    with it.
//
// Of the main file this relies on: pages of kPageBytes, a header that says so; check_header() makes sure.
#pragma once

#include <sqlite3.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "kv/vfs_in_front.h"

namespace rusm::kv {

inline constexpr std::size_t kPageBytes = 4096;
inline constexpr std::size_t kReservedBytes = 8;
// Of the log: a header and a page.
inline constexpr std::size_t kFrameBytes = 24 + kPageBytes;

// Threads: any thread. Must outlive the connections that were opened through it.
class StoreVfs final : public VfsInFront {
 public:
  // Over the VFS called `base`, for the store with this main file. kUnavailable when there is no such VFS.
  static Result<std::unique_ptr<StoreVfs>> make(const char* base, const std::string& main_path);
  // A sync of the store has failed: see invariant 3.
  bool sync_failed() const noexcept { return sync_failed_.load(std::memory_order_acquire); }

 private:
  struct File;
  // kCopy: a main file, but not that of this store.
  enum class Kind : std::uint8_t { kMain, kLog, kCopy, kOther };

  StoreVfs(sqlite3_vfs* base, std::string main_path);
  Kind kind_of(const char* path, int flags) const noexcept;
  static StoreVfs& of(sqlite3_vfs* vfs) noexcept { return static_cast<StoreVfs&>(VfsInFront::of(vfs)); }
  static int open(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out_flags) noexcept;
  static int read(sqlite3_file* file, void* to, int bytes, sqlite3_int64 offset) noexcept;
  static int write(sqlite3_file* file, const void* from, int bytes, sqlite3_int64 offset) noexcept;
  static int sync(sqlite3_file* file, int flags) noexcept;

  bool frame_is_as_written(std::span<const std::byte> page, sqlite3_int64 offset) noexcept;
  void remember(std::span<const std::byte> written, sqlite3_int64 offset);

  static const sqlite3_io_methods kMethods;

  // Constant after construction.
  const std::string main_path_;  // as SQLite asks for it
  const std::string log_path_;

  std::atomic<bool> sync_failed_{false};  // partner: itself

  std::mutex mutex_;
  std::vector<std::uint64_t> frames_;  // of the log, their checksums; 0: not known. Guarded by mutex_
};

// The checksum of a page of the main file, without its last kReservedBytes.
std::uint64_t page_checksum(std::span<const std::byte> page, std::uint64_t number) noexcept;

}  // namespace rusm::kv
