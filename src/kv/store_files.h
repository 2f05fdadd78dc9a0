// StoreFiles: the folder of a durable store, and what in it is not SQLite's: the lock and the mark.
//
//   store.db       the main file
//   store.db-wal   the log: what was committed and is not yet in the main file
//   mark           the number of the last transaction that was acknowledged
//   lock           held while the store is open; its content means nothing
//
// The mark is written, without a sync, after a transaction is synced and before anyone hears of it. So it never claims
// what is not safe; after a kill it is exact, and a log that lost its end, which looks like one that was never written
// to its end, is found out. After a loss of power it may be old.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"

namespace rusm::kv {

inline constexpr std::uint32_t kApplicationId = 0x5255'534d;  // "RUSM"
// Format 1 had the values in the tree of the keys (store_table.cc). It is read and written, but not made any more.
inline constexpr std::uint32_t kFormatVersion = 2;
inline constexpr std::uint32_t kFormatVersionMin = 1;

// A descriptor that is closed with its owner. Threads: one at a time.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int descriptor) noexcept : descriptor_(descriptor) {}
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();
  int get() const noexcept { return descriptor_; }

 private:
  int descriptor_ = -1;
};

// Threads: one at a time.
class StoreFiles {
 public:
  // Makes the folder if need be (not those above it) and takes its lock. kExists: a store is open there.
  static Result<StoreFiles> open(const std::filesystem::path& folder);

  std::string main_path() const { return (folder_ / "store.db").string(); }
  std::string new_path() const { return (folder_ / "store.new").string(); }
  const std::filesystem::path& folder() const noexcept { return folder_; }

  // Whether there is a main file. kCorrupt: there is none, but other parts of a store.
  Result<bool> has_store() const;
  // kInvalid: no store, or one of another version. kCorrupt: too short for one.
  Result<> check_header() const;
  // Makes an empty file at new_path(), which only this user may read; removes what an earlier attempt left there.
  Result<> start_new();
  // Gives the file that was made at new_path() its name, for good.
  Result<> publish_new();

  // Nothing: there is none, or it is not readable as one.
  std::optional<std::uint64_t> read_mark() const;
  Result<> write_mark(std::uint64_t sequence) noexcept;

 private:
  std::filesystem::path folder_;
  Descriptor lock_;
  Descriptor mark_;
};

// Makes what was done to the names in the folder last. kDenied: it cannot be read, which that needs.
Result<> sync_folder(const std::filesystem::path& folder);
// Makes the content of a file last.
Result<> sync_file(const std::filesystem::path& file);
// Makes one folder, for this user only, if there is none, and makes it last in either case.
Result<> make_folder(const std::filesystem::path& folder);

// A folder that goes with its object unless it was given its name. Threads: one at a time.
class UnfinishedFolder {
 public:
  // With a name of its own beside `name`, for this user only.
  static Result<UnfinishedFolder> make_beside(const std::filesystem::path& name);
  UnfinishedFolder(UnfinishedFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  UnfinishedFolder& operator=(UnfinishedFolder&&) = delete;
  ~UnfinishedFolder();
  const std::filesystem::path& path() const noexcept { return path_; }
  // Gives it this name, for good. kExists: there is such a folder, and something in it.
  Result<> publish(const std::filesystem::path& name);

 private:
  explicit UnfinishedFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;  // empty: nothing is to be removed
};

}  // namespace rusm::kv
