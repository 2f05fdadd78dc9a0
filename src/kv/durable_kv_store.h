// DurableKvStore: a KvStore in a folder on a disk. What was acknowledged is there after a kill and after a loss of
// power, and what is damaged is an error and never a wrong answer. Why and how: README.md.
//
// Invariants
// 1. A commit is acknowledged after the transaction that holds it is synced. One thread writes; what waits for it goes
//    into one transaction, in the order in which it came.
// 2. A batch that fails takes no other with it: the others are tried again without it.
// 3. A value that was written is forgotten in recent_ before its transaction begins, and kept there after the
// commit
//    and before anybody is told of it.
// 4. After a sync that failed nothing is written any more; what was acknowledged before can still be read.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/refcount.h"
#include "kv/kv_store.h"
#include "kv/recent_values.h"

namespace rusm::kv {

class DurableKvStore;
class StoreReader;

struct DurableKvOptions {
  std::filesystem::path folder;  // of the store, made if need be; the one above it must be there
  KvLimits limits = {};
  unsigned readers_max = 8;                  // reads at one time; others wait for their turn
  std::uint32_t queue_batches_max = 65'536;  // that wait to be written
  std::uint64_t queue_bytes_max = 256u << 20;
  std::uint32_t group_batches_max = 1024;  // in one transaction
  std::uint64_t group_bytes_max = 8u << 20;
  int log_pages_max = 4096;  // then the log is moved into the main file
  // What cannot be moved yet stays in the log, as a backup, a check or a long read still needs it, or as the disk is
  // full. Once the log is this large nothing is written until it could be moved; one group may go beyond.
  std::uint64_t log_bytes_max = 1ull << 30;
  std::uint64_t recent_bytes_max = 16u << 20;  // of values that were written last, kept in memory; 0: none
  const char* vfs = "unix-excl";               // the file layer of SQLite; others are for tests
};

// Since the store was opened.
struct DurableKvStats {
  std::uint64_t bytes = 0;  // as KvLimits::store_bytes_max counts
  std::uint64_t batches = 0;
  std::uint64_t transactions = 0;
  std::uint64_t queued = 0;        // now
  std::uint64_t log_pages = 0;     // in the log, as of the last group; 0 when all of it was moved
  std::uint64_t log_full = 0;      // batches that were refused because of log_bytes_max
  std::optional<Error> log_error;  // why the log could not be moved into the main file the last time; none when it was
};

// A batch on its way. Threads: made by any; then the store's, until is_done().
class KvPending : public RefCounted {
 public:
  explicit KvPending(KvBatch what) : batch_(std::move(what)) {}
  bool is_done() const noexcept { return done_.load(std::memory_order_acquire); }  // partner: finish
  // REQUIRES: is_done(). Once.
  Result<KvOutcome> take() { return std::move(outcome_); }

 protected:
  // On the store's thread, or on that of submit(), after is_done() has become true. Must not block.
  virtual void on_done() noexcept = 0;

 private:
  friend class DurableKvStore;
  void finish(Result<KvOutcome> outcome) noexcept {
    outcome_ = std::move(outcome);
    done_.store(true, std::memory_order_release);
    on_done();
  }

  KvBatch batch_;
  std::uint64_t bytes_ = 0;
  Result<KvOutcome> outcome_;
  std::atomic<bool> done_{false};
};

// Keeps the store from being closed while it lives: for reads on behalf of someone who may be gone before they end.
// REQUIRES: it is made while the store is open. Threads: made and destroyed on any.
class KvReadHold {
 public:
  explicit KvReadHold(const DurableKvStore& store);
  ~KvReadHold();
  KvReadHold(const KvReadHold&) = delete;
  KvReadHold& operator=(const KvReadHold&) = delete;

 private:
  const DurableKvStore& store_;
};

// Threads: any thread, except destruction, which is exclusive but for reads that still run. What writes blocks for a
// sync, about as long as the disk takes for one: not for workers, which have kv_process.h. What reads blocks for the
// disk when the system does not have the page in memory, and for a short lock.
class DurableKvStore final : public KvStore {
 public:
  // kExists: it is open already. kDenied, kNotFound, kLimit (no room), kIo: the folder cannot be used. kInvalid: there
  // is something else, or a store of another version. kCorrupt: the store is damaged.
  static Result<std::unique_ptr<DurableKvStore>> open(DurableKvOptions options);
  // Writes what waits, refuses new reads, waits until those that run have come back, then closes.
  ~DurableKvStore() override;
  DurableKvStore(const DurableKvStore&) = delete;
  DurableKvStore& operator=(const DurableKvStore&) = delete;

  Result<std::optional<std::string>> get(std::string_view bucket, std::string_view key) const override;
  Result<> set(std::string_view bucket, std::string_view key, std::string_view value) override;
  Result<bool> remove(std::string_view bucket, std::string_view key) override;
  Result<bool> exists(std::string_view bucket, std::string_view key) const override;
  Result<KvPage> list(std::string_view bucket, std::string_view prefix, std::string_view after) const override;
  Result<KvOutcome> commit(KvBatch batch) override;

  // A value that was written lately, without blocking: for workers. Nothing: get() knows.
  std::optional<std::string> recent(std::string_view bucket, std::string_view key) const {
    return recent_.find(bucket, key);
  }
  // Hands a batch over without waiting for it. An error of its own, or a full queue, finishes it at once.
  void submit(Ref<KvPending> pending);

  // Copies what is committed now into a new folder, as a store that can be opened. An error leaves nothing of it and
  // does no harm to the store. kExists: the folder is there. kLimit: no room for it. kCorrupt: the store is damaged.
  Result<> back_up(const std::filesystem::path& folder) const;
  // Reads and checks everything. kCorrupt names the first thing that is wrong.
  Result<> check() const;
  DurableKvStats stats() const;

 private:
  struct Disk;
  class Reading;
  friend class KvReadHold;
  using Group = std::vector<Ref<KvPending>>;

  DurableKvStore(DurableKvOptions options, std::unique_ptr<Disk> disk);
  // See KvReadHold.
  void enter_read() const;
  void leave_read() const noexcept;
  // REQUIRES: mutex_ is held. Why it is not taken.
  std::optional<Error> refuses(const KvPending& pending) const;

  // The writer's thread.
  void run() noexcept;
  bool next_group(Group* group);
  void write(Group& group);
  void write_apart(std::span<const Ref<KvPending>> group);
  // What came of a group. An error means that none of it is there, unless a sync has failed.
  struct Transacted {
    Result<> done;
    std::vector<Result<KvOutcome>> outcomes;  // of each, when it is done
    std::optional<std::size_t> failed;        // the batch that could not be applied, when that is why
  };
  Transacted transact(std::span<const Ref<KvPending>> group);
  void forget_recent(std::span<const Ref<KvPending>> group);
  void keep_recent(KvBatch& batch, const Result<KvOutcome>& outcome);
  void acknowledge(std::span<const Ref<KvPending>> group, std::vector<Result<KvOutcome>> outcomes);
  void give_up(std::span<const Ref<KvPending>> group, const Error& why);
  void keep_log_short();
  void move_log();
  // Why nothing may be added to the log.
  std::optional<Error> log_is_full();

  // Constant after construction.
  const DurableKvOptions options_;
  const std::unique_ptr<Disk> disk_;  // what in it may be used by whom stands there
  RecentValues recent_;

  // The writer's thread.
  Nanoseconds commit_span_ = 0;  // how long the last commit took
  std::size_t last_group_ = 1;   // how many were in it
  int move_at_pages_;            // of the log: when to move it

  mutable std::mutex readers_mutex_;
  mutable std::condition_variable reader_free_;
  mutable std::condition_variable reads_ended_;
  // Guarded by readers_mutex_.
  mutable std::vector<std::unique_ptr<StoreReader>> readers_;  // those that are free
  mutable std::size_t reads_ = 0;                              // reads and KvReadHolds that are there
  bool closing_ = false;                                       // no reader is given any more

  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  // Guarded by mutex_.
  std::deque<Ref<KvPending>> queue_;
  std::uint64_t queue_bytes_ = 0;
  std::size_t wanted_ = 0;  // how many the writer waits for; 0: it does not wait
  bool stopping_ = false;
  std::optional<Error> closed_;  // why nothing is written any more
  DurableKvStats stats_;

  std::thread thread_;
};

}  // namespace rusm::kv
