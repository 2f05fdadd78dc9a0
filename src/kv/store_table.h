// StoreReader and StoreWriter: the entries of a durable store through one connection each. All SQL is here.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "kv/kv_store.h"
#include "kv/sqlite.h"
#include "kv/store_files.h"
#include "kv/store_vfs.h"

namespace rusm::kv {

// Sees what is committed. Threads: one at a time.
class StoreReader {
 public:
  static Result<StoreReader> open(const StoreFiles& files, const StoreVfs& vfs);

  Result<std::optional<std::string>> get(std::string_view bucket, std::string_view key);
  Result<bool> exists(std::string_view bucket, std::string_view key);
  Result<KvPage> list(std::string_view bucket, std::string_view prefix, std::string_view after, std::uint32_t keys_max);
  // Reads every page and every entry; kCorrupt names the first thing that is wrong.
  Result<> check();
  // Writes what is committed now to a new file, which has to be synced.
  Result<> copy_to(const std::string& path);

 private:
  explicit StoreReader(Connection connection) : connection_(std::move(connection)) {}

  Connection connection_;
  Statement get_;
  Statement exists_;
  Statement list_;
};

// The one connection that writes. Threads: one at a time.
class StoreWriter {
 public:
  // Opens the store, or makes a new one where there is none. Recovers what an earlier process committed; kCorrupt when
  // the mark knows of more than that.
  static Result<StoreWriter> open(StoreFiles& files, const StoreVfs& vfs);

  // ── A transaction ──
  Result<> begin();
  // The inner error refuses this batch, and nothing of it is done. After an outer one the transaction has to be rolled
  // back.
  Result<Result<KvOutcome>> apply(const KvBatch& batch, const KvLimits& limits);
  // Returns once the transaction is on the disk.
  Result<> commit();
  void rollback() noexcept;
  // Whether the transaction has changed anything.
  bool has_changed() const noexcept { return changed_; }

  // Moves the log into the main file, as far as no reader is in the way. `all`: and cuts the log off.
  Result<> move_log(bool all);
  // Pages in the log, 0 when all of them have been moved.
  int log_pages() const noexcept { return *log_pages_; }
  // As of the last commit.
  std::uint64_t bytes() const noexcept { return committed_.bytes; }
  std::uint64_t sequence() const noexcept { return committed_.sequence; }
  // The log stays as it is, for the next one to read.
  void close() noexcept;

 private:
  struct State {
    std::uint64_t sequence = 0;  // of the last transaction
    std::uint64_t bytes = 0;     // as KvLimits::store_bytes_max counts
  };

  explicit StoreWriter(Connection connection) : connection_(std::move(connection)) {}
  Result<> load(const StoreFiles& files);
  Result<> prepare();
  Result<std::optional<std::size_t>> first_unmet(const KvBatch& batch);
  Result<bool> holds(const KvExpectation& expected);
  // How many bytes the value has; nothing when there is no such key. Does not read the value.
  Result<std::optional<std::uint64_t>> length_of(std::string_view bucket, std::string_view key);

  Connection connection_;
  Statement begin_;
  Statement commit_;
  Statement rollback_;
  Statement value_;
  Statement length_;
  Statement set_;
  Statement remove_;
  Statement keep_state_;
  std::unique_ptr<int> log_pages_ = std::make_unique<int>(0);  // SQLite writes to it after each commit
  State committed_;
  State present_;  // in the transaction
  bool changed_ = false;
};

}  // namespace rusm::kv
