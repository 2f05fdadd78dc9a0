#include "kv/durable_kv_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <system_error>
#include <utility>

#include "kv/store_files.h"
#include "kv/store_table.h"
#include "kv/store_vfs.h"

namespace rusm::kv {
namespace {

namespace fs = std::filesystem;

// To gather a group the writer waits at most this part of a commit, when others are likely to come.
constexpr Nanoseconds kGatherPart = 8;
constexpr Nanoseconds kGatherMax = 2 * kMillisecond;
// So often a group is tried again without the batch that failed; then it is divided.
constexpr int kAgainMax = 16;

Nanoseconds now() noexcept {
  return SystemClock().now();
}

// What is damaged is the store; all else is about the backup, though SQLite names the file that it read.
Error no_backup(const fs::path& name, Error why) {
  if (why.code == ErrorCode::kCorrupt) return why;
  if (why.code == ErrorCode::kLimit) {
    return {why.code, name.string(),
            "there is no room for the backup, and nothing of it is left; the store itself is as it was: make room "
            "there, or "
            "name a folder on another disk"};
  }
  return {
      why.code, name.string(),
      fmt::format("the backup was not made, and nothing of it is left; the store itself is as it was: {}", why.text)};
}

// For a thread that waits.
class BlockingCommit final : public KvPending {
 public:
  using KvPending::KvPending;
  Result<KvOutcome> wait() {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return is_done(); });
    return take();
  }

 private:
  void on_done() noexcept override {
    const std::scoped_lock lock(mutex_);
    done_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable done_;
};

}  // namespace

struct DurableKvStore::Disk {
  StoreFiles files;               // the mark: the writer's thread; the paths: constant
  std::unique_ptr<StoreVfs> vfs;  // any thread; outlives the connections
  StoreWriter writer;             // the writer's thread
};

// A reader for as long as this lives, unless the store is being closed.
class DurableKvStore::Reading {
 public:
  explicit Reading(const DurableKvStore& store) : hold_(store), store_(store) {
    std::unique_lock lock(store.readers_mutex_);
    store.reader_free_.wait(lock, [&store] { return !store.readers_.empty() || store.closing_; });
    if (store.closing_) return;
    reader_ = std::move(store.readers_.back());
    store.readers_.pop_back();
  }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;
  ~Reading() {
    if (!reader_) return;
    const std::scoped_lock lock(store_.readers_mutex_);
    store_.readers_.push_back(std::move(reader_));
    store_.reader_free_.notify_one();
  }
  // Calls `read` with the reader.
  template <class Read>
  auto with(Read read) const -> decltype(read(std::declval<StoreReader&>())) {
    if (reader_) return read(*reader_);
    return fail(ErrorCode::kUnavailable, store_.disk_->files.folder().string(), "the store is being closed");
  }

 private:
  const KvReadHold hold_;
  const DurableKvStore& store_;
  std::unique_ptr<StoreReader> reader_;
};

KvReadHold::KvReadHold(const DurableKvStore& store) : store_(store) {
  store.enter_read();
}

KvReadHold::~KvReadHold() {
  store_.leave_read();
}

void DurableKvStore::enter_read() const {
  const std::scoped_lock lock(readers_mutex_);
  ++reads_;
}

// The lock is held to the end: the store may go right after it.
void DurableKvStore::leave_read() const noexcept {
  const std::scoped_lock lock(readers_mutex_);
  if (--reads_ == 0) reads_ended_.notify_all();
}

Result<std::unique_ptr<DurableKvStore>> DurableKvStore::open(DurableKvOptions options) {
  Result<StoreFiles> files = StoreFiles::open(options.folder);
  if (!files) return std::unexpected(files.error());
  Result<std::unique_ptr<StoreVfs>> vfs = StoreVfs::make(options.vfs, files->main_path());
  if (!vfs) return std::unexpected(vfs.error());
  Result<StoreWriter> writer = StoreWriter::open(*files, **vfs);
  if (!writer) return std::unexpected(writer.error());
  // With the log there: the layer below takes a folder that it cannot open for one that needs no sync.
  if (Result<> synced = sync_folder(files->folder()); !synced) {
    writer->close();
    return std::unexpected(synced.error());
  }
  auto disk = std::make_unique<Disk>(std::move(*files), std::move(*vfs), std::move(*writer));
  std::unique_ptr<DurableKvStore> store(new DurableKvStore(std::move(options), std::move(disk)));
  const unsigned readers = std::max(store->options_.readers_max, 1u);
  for (unsigned i = 0; i < readers; ++i) {
    Result<StoreReader> reader = StoreReader::open(store->disk_->files, *store->disk_->vfs);
    if (!reader) return std::unexpected(reader.error());
    store->readers_.push_back(std::make_unique<StoreReader>(std::move(*reader)));
  }
  try {
    store->thread_ = std::thread([raw = store.get()] { raw->run(); });
  } catch (const std::system_error&) {
    return fail(ErrorCode::kUnavailable, store->disk_->files.folder().string(),
                "the system gives no thread to write with");
  }
  return store;
}

DurableKvStore::DurableKvStore(DurableKvOptions options, std::unique_ptr<Disk> disk)
    : options_(std::move(options)),
      disk_(std::move(disk)),
      recent_(options_.recent_bytes_max),
      move_at_pages_(options_.log_pages_max) {
  stats_.bytes = disk_->writer.bytes();
}

DurableKvStore::~DurableKvStore() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  arrived_.notify_all();
  if (thread_.joinable()) thread_.join();
  {
    std::unique_lock lock(readers_mutex_);
    closing_ = true;
    reader_free_.notify_all();
    reads_ended_.wait(lock, [this] { return reads_ == 0; });
    readers_.clear();
  }
  // What cannot be moved now is in the log, and the next one to open the store moves it.
  if (!disk_->vfs->sync_failed()) (void)disk_->writer.move_log(true);
  disk_->writer.close();
}

// ── Reading ──

Result<std::optional<std::string>> DurableKvStore::get(std::string_view bucket, std::string_view key) const {
  if (Result<> checked = check_key(options_.limits, bucket, key); !checked) return std::unexpected(checked.error());
  if (std::optional<std::string> value = recent(bucket, key)) return value;
  return Reading(*this).with([&](StoreReader& reader) { return reader.get(bucket, key); });
}

Result<bool> DurableKvStore::exists(std::string_view bucket, std::string_view key) const {
  if (Result<> checked = check_key(options_.limits, bucket, key); !checked) return std::unexpected(checked.error());
  if (recent(bucket, key)) return true;
  return Reading(*this).with([&](StoreReader& reader) { return reader.exists(bucket, key); });
}

Result<KvPage> DurableKvStore::list(std::string_view bucket, std::string_view prefix, std::string_view after) const {
  if (Result<> checked = check_bucket(options_.limits, bucket); !checked) return std::unexpected(checked.error());
  return Reading(*this).with(
      [&](StoreReader& reader) { return reader.list(bucket, prefix, after, options_.limits.list_keys_max); });
}

Result<> DurableKvStore::check() const {
  return Reading(*this).with([](StoreReader& reader) { return reader.check(); });
}

Result<> DurableKvStore::back_up(const fs::path& folder) const {
  if (folder.empty()) return fail(ErrorCode::kInvalid, "backup", "the path of a backup must not be empty");
  std::error_code failed;
  fs::path name = fs::absolute(folder, failed).lexically_normal();
  if (failed) return fail(ErrorCode::kIo, folder.string(), fmt::format("cannot find it: {}", failed.message()));
  if (!name.has_filename()) name = name.parent_path();  // a slash at the end
  if (fs::exists(fs::symlink_status(name, failed))) {
    return fail(ErrorCode::kExists, name.string(), "a backup goes into a new folder: name one that is not there");
  }
  // It gets its name last, so that a folder of that name is always a whole backup.
  Result<UnfinishedFolder> made = UnfinishedFolder::make_beside(name);
  if (!made) return std::unexpected(no_backup(name, made.error()));
  const std::string copy = (made->path() / "store.db").string();
  Result<> done = Reading(*this).with([&](StoreReader& reader) { return reader.copy_to(copy); });
  if (done) done = sync_file(copy);
  if (done) done = made->publish(name);
  return done ? done : std::unexpected(no_backup(name, done.error()));
}

DurableKvStats DurableKvStore::stats() const {
  const std::scoped_lock lock(mutex_);
  DurableKvStats stats = stats_;
  stats.queued = queue_.size();
  return stats;
}

// ── Writing, by any thread ──

Result<> DurableKvStore::set(std::string_view bucket, std::string_view key, std::string_view value) {
  const Result<KvOutcome> outcome = commit(std::move(KvBatch().set(bucket, key, value)));
  return outcome ? Result<>() : std::unexpected(outcome.error());
}

Result<bool> DurableKvStore::remove(std::string_view bucket, std::string_view key) {
  const Result<KvOutcome> outcome = commit(std::move(KvBatch().remove(bucket, key)));
  if (!outcome) return std::unexpected(outcome.error());
  return outcome->removed != 0;
}

Result<KvOutcome> DurableKvStore::commit(KvBatch batch) {
  const Ref<BlockingCommit> pending = make_ref<BlockingCommit>(std::move(batch));
  submit(pending);
  return pending->wait();
}

void DurableKvStore::submit(Ref<KvPending> pending) {
  if (Result<> checked = check_batch(options_.limits, pending->batch_); !checked) {
    return pending->finish(std::unexpected(checked.error()));
  }
  pending->bytes_ = bytes_of(pending->batch_);
  std::optional<Error> refused;
  bool enough = false;
  {
    const std::scoped_lock lock(mutex_);
    refused = refuses(*pending);
    if (!refused) {
      queue_bytes_ += pending->bytes_;
      queue_.push_back(pending);
      enough = wanted_ != 0 && queue_.size() >= wanted_;
      if (enough) wanted_ = 0;
    }
  }
  if (enough) arrived_.notify_one();
  if (refused) pending->finish(std::unexpected(std::move(*refused)));
}

std::optional<Error> DurableKvStore::refuses(const KvPending& pending) const {
  if (closed_) return closed_;
  if (queue_.size() < options_.queue_batches_max && queue_bytes_ + pending.bytes_ <= options_.queue_bytes_max) {
    return std::nullopt;
  }
  return Error{ErrorCode::kLimit, disk_->files.folder().string(),
               fmt::format("{} batches of {} bytes wait to be written, and no more may: try again later", queue_.size(),
                           queue_bytes_)};
}

// ── The writer's thread ──

void DurableKvStore::run() noexcept {
  Group group;
  while (next_group(&group)) {
    write(group);
    group.clear();
    keep_log_short();
  }
}

// Waits until something is there, and then a little for what is likely to come: as many as were in the last group.
// Else, of many that wait for a commit and then write again, the first would get a transaction for itself each time.
bool DurableKvStore::next_group(Group* group) {
  std::unique_lock lock(mutex_);
  wanted_ = 1;
  arrived_.wait(lock, [this] { return !queue_.empty() || stopping_; });
  const auto span = std::chrono::nanoseconds(std::min(commit_span_ / kGatherPart, kGatherMax));
  const std::size_t likely = std::min<std::size_t>(last_group_, options_.group_batches_max);
  wanted_ = likely;
  arrived_.wait_for(lock, span, [&] { return queue_.size() >= likely || stopping_; });
  wanted_ = 0;
  std::uint64_t bytes = 0;
  while (!queue_.empty() && group->size() < options_.group_batches_max) {
    bytes += queue_.front()->bytes_;
    if (!group->empty() && bytes > options_.group_bytes_max) break;
    queue_bytes_ -= queue_.front()->bytes_;
    group->push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  last_group_ = group->size();
  return !group->empty();
}

void DurableKvStore::write(Group& group) {
  if (const std::optional<Error> full = log_is_full()) {
    {
      const std::scoped_lock lock(mutex_);
      stats_.log_full += group.size();
    }
    return give_up(group, *full);
  }
  Transacted last;
  for (int again = 0; !group.empty(); ++again) {
    const Nanoseconds start = now();
    last = transact(group);
    commit_span_ = now() - start;
    if (last.done) return acknowledge(group, std::move(last.outcomes));
    if (!last.failed || again == kAgainMax || disk_->vfs->sync_failed()) break;
    const auto failed = group.begin() + static_cast<std::ptrdiff_t>(*last.failed);
    give_up({failed, 1}, last.done.error());
    group.erase(failed);
  }
  if (group.empty()) return;
  if (group.size() == 1 || disk_->vfs->sync_failed()) return give_up(group, last.done.error());
  write_apart(group);
}

// For a group whose transaction failed, when it is not known by which batch: by halves.
void DurableKvStore::write_apart(std::span<const Ref<KvPending>> group) {
  for (const auto half : {group.first(group.size() / 2), group.subspan(group.size() / 2)}) {
    Transacted written = transact(half);
    if (written.done) {
      acknowledge(half, std::move(written.outcomes));
    } else if (half.size() == 1 || disk_->vfs->sync_failed()) {
      give_up(half, written.done.error());
    } else {
      write_apart(half);
    }
  }
}

// All of them in one transaction.
DurableKvStore::Transacted DurableKvStore::transact(std::span<const Ref<KvPending>> group) {
  {
    const std::scoped_lock lock(mutex_);
    if (closed_) return {.done = std::unexpected(*closed_), .outcomes = {}, .failed = {}};
  }
  forget_recent(group);
  Transacted result{.done = disk_->writer.begin(), .outcomes = {}, .failed = {}};
  for (std::size_t i = 0; i < group.size() && result.done; ++i) {
    Result<Result<KvOutcome>> applied = disk_->writer.apply(group[i]->batch_, options_.limits);
    if (applied) {
      result.outcomes.push_back(std::move(*applied));
    } else {
      result.done = std::unexpected(applied.error());
      result.failed = i;
    }
  }
  if (result.done && disk_->writer.has_changed()) result.done = disk_->writer.commit();
  if (!result.done || !disk_->writer.has_changed()) disk_->writer.rollback();
  return result;
}

void DurableKvStore::forget_recent(std::span<const Ref<KvPending>> group) {
  for (const Ref<KvPending>& pending : group) {
    for (const KvWrite& write : pending->batch_.writes) recent_.forget(write.bucket, write.key);
  }
}

void DurableKvStore::keep_recent(KvBatch& batch, const Result<KvOutcome>& outcome) {
  if (!outcome || !outcome->applied()) return;
  for (KvWrite& write : batch.writes) {
    if (write.value) {
      recent_.keep(write.bucket, write.key, std::move(*write.value));
    } else {
      recent_.forget(write.bucket, write.key);
    }
  }
}

void DurableKvStore::acknowledge(std::span<const Ref<KvPending>> group, std::vector<Result<KvOutcome>> outcomes) {
  // A mark that is not written stays behind, and then finds out less; it never claims too much.
  if (disk_->writer.has_changed()) (void)disk_->files.write_mark(disk_->writer.sequence());
  {
    const std::scoped_lock lock(mutex_);
    stats_.bytes = disk_->writer.bytes();
    stats_.batches += group.size();
    stats_.transactions += disk_->writer.has_changed() ? 1 : 0;
  }
  // All of them before the first is told: a later batch may have written what an earlier one did.
  for (std::size_t i = 0; i < group.size(); ++i) keep_recent(group[i]->batch_, outcomes[i]);
  for (std::size_t i = 0; i < group.size(); ++i) group[i]->finish(std::move(outcomes[i]));
}

void DurableKvStore::give_up(std::span<const Ref<KvPending>> group, const Error& why) {
  Error error = why;
  {
    const std::scoped_lock lock(mutex_);
    if (disk_->vfs->sync_failed() && !closed_) {
      closed_ = Error{ErrorCode::kIo, disk_->files.folder().string(),
                      fmt::format("the store takes no more writes, as the disk did not confirm one ({}); what it "
                                  "acknowledged before can be read: look after the disk, then start the node again",
                                  why.text)};
    }
    if (closed_) error = *closed_;
  }
  for (const Ref<KvPending>& pending : group) pending->finish(std::unexpected(error));
}

void DurableKvStore::keep_log_short() {
  if (disk_->writer.log_pages() < move_at_pages_) {
    const std::scoped_lock lock(mutex_);
    stats_.log_pages = static_cast<std::uint64_t>(disk_->writer.log_pages());
    return;
  }
  move_log();
}

void DurableKvStore::move_log() {
  const Result<> moved = disk_->writer.move_log(false);
  // What could not be moved is not looked at again for every group.
  move_at_pages_ = disk_->writer.log_pages() + options_.log_pages_max;
  {
    const std::scoped_lock lock(mutex_);
    stats_.log_pages = static_cast<std::uint64_t>(disk_->writer.log_pages());
    stats_.log_error = moved ? std::nullopt : std::optional(moved.error());
  }
  if (!moved && disk_->vfs->sync_failed()) give_up({}, moved.error());
}

std::optional<Error> DurableKvStore::log_is_full() {
  const auto bytes = [this] { return static_cast<std::uint64_t>(disk_->writer.log_pages()) * kFrameBytes; };
  if (bytes() < options_.log_bytes_max) return std::nullopt;
  move_log();
  if (bytes() < options_.log_bytes_max) return std::nullopt;
  std::string why = "a backup, a check or a long read still needs it: try again when that is done";
  {
    const std::scoped_lock lock(mutex_);
    if (stats_.log_error) why = fmt::format("it cannot be moved into the main file: {}", stats_.log_error->text);
  }
  return Error{ErrorCode::kLimit, disk_->files.folder().string(),
               fmt::format("the log of the store has {} bytes, at most {} are allowed, and {}", bytes(),
                           options_.log_bytes_max, why)};
}

}  // namespace rusm::kv
