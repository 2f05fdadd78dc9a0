#include "durability/fault_vfs.h"

#include <algorithm>
#include <chrono>

#include "base/test_folder.h"

namespace rusm::kv {
namespace {

constexpr std::size_t kSectorBytes = 512;

void put(std::string* file, std::size_t offset, std::string_view bytes) {
  if (file->size() < offset + bytes.size()) file->resize(offset + bytes.size());
  file->replace(offset, bytes.size(), bytes);
}

}  // namespace

struct FaultVfs::File : FileInFront<FaultVfs::File> {
  sqlite3_file base;
  FaultVfs* vfs;
  const std::string* path;
  Content* content;
};

const sqlite3_io_methods FaultVfs::kMethods = [] {
  sqlite3_io_methods methods = File::methods();
  methods.xRead = &FaultVfs::read;
  methods.xWrite = &FaultVfs::write;
  methods.xTruncate = &FaultVfs::truncate;
  methods.xSync = &FaultVfs::sync;
  return methods;
}();

FaultVfs::FaultVfs() : VfsInFront(sqlite3_vfs_find("unix-excl"), "fault", sizeof(File), &FaultVfs::open) {
  vfs_.xDelete = [](sqlite3_vfs* v, const char* path, int sync_folder) {
    {
      const std::scoped_lock lock(of(v).mutex_);
      if (const auto at = of(v).files_.find(path); at != of(v).files_.end()) at->second = {};
    }
    return of(v).base_->xDelete(of(v).base_, path, sync_folder);
  };
  make_known();
}

void FaultVfs::fail(On on, std::uint64_t nth, int code, std::uint64_t count, Which which) {
  const std::scoped_lock lock(mutex_);
  faults_[on] = {.from = nth, .count = count, .code = code, .which = std::move(which)};
}

void FaultVfs::heal() {
  const std::scoped_lock lock(mutex_);
  faults_.clear();
}

void FaultVfs::hold(On on, Which which) {
  const std::scoped_lock lock(mutex_);
  hold_ = {.on = on, .which = std::move(which)};
}

bool FaultVfs::wait_until_one_is_held() {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::minutes(1), [this] { return held_ != 0; });
}

void FaultVfs::release() {
  const std::scoped_lock lock(mutex_);
  hold_.reset();
  changed_.notify_all();
}

std::uint64_t FaultVfs::bytes_read() {
  const std::scoped_lock lock(mutex_);
  return bytes_read_;
}

void FaultVfs::cut_power_after(std::uint64_t operations) {
  const std::scoped_lock lock(mutex_);
  power_ends_ = writes_ + syncs_ + operations;
}

bool FaultVfs::is_off() {
  const std::scoped_lock lock(mutex_);
  return writes_ + syncs_ >= power_ends_;
}

int FaultVfs::next(std::unique_lock<std::mutex>& lock, On on, const std::string& path) {
  const auto is_held = [&] { return hold_ && hold_->on == on && hold_->which(path); };
  if (is_held()) {
    ++held_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return !is_held(); });
    --held_;
  }
  if (on != On::kRead) {
    if (writes_ + syncs_ >= power_ends_) return on == On::kWrite ? SQLITE_IOERR_WRITE : SQLITE_IOERR_FSYNC;
    ++(on == On::kWrite ? writes_ : syncs_);
  }
  const auto at = faults_.find(on);
  if (at == faults_.end() || !at->second.which(path)) return SQLITE_OK;
  Fault& fault = at->second;
  ++fault.seen;
  return fault.seen >= fault.from && fault.seen - fault.from < fault.count ? fault.code : SQLITE_OK;
}

int FaultVfs::open(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out_flags) {
  FaultVfs& self = of(vfs);
  File& ours = File::of(file);
  ours.base.pMethods = nullptr;
  ours.vfs = &self;
  const int code = self.base_->xOpen(self.base_, path, File::below(file), flags, out_flags);
  if (File::below(file)->pMethods != nullptr) ours.base.pMethods = &kMethods;
  const std::scoped_lock lock(self.mutex_);
  const auto [at, first] = self.files_.try_emplace(path == nullptr ? "" : path);
  if (first && path != nullptr) at->second.synced = read_file(path);
  ours.path = &at->first;
  ours.content = &at->second;
  return code;
}

// Without the lock: a read that is slow is in the way of no other.
int FaultVfs::read(sqlite3_file* file, void* to, int bytes, sqlite3_int64 offset) {
  File& ours = File::of(file);
  {
    std::unique_lock lock(ours.vfs->mutex_);
    if (const int code = ours.vfs->next(lock, On::kRead, *ours.path); code != SQLITE_OK) return code;
    ours.vfs->bytes_read_ += static_cast<std::uint64_t>(bytes);
  }
  return File::pass<&sqlite3_io_methods::xRead>(file, to, bytes, offset);
}

int FaultVfs::write(sqlite3_file* file, const void* from, int bytes, sqlite3_int64 offset) {
  File& ours = File::of(file);
  std::unique_lock lock(ours.vfs->mutex_);
  if (const int code = ours.vfs->next(lock, On::kWrite, *ours.path); code != SQLITE_OK) return code;
  ours.content->since.push_back(
      {.offset = offset, .bytes = std::string(static_cast<const char*>(from), static_cast<std::size_t>(bytes))});
  return File::pass<&sqlite3_io_methods::xWrite>(file, from, bytes, offset);
}

int FaultVfs::truncate(sqlite3_file* file, sqlite3_int64 size) {
  File& ours = File::of(file);
  std::unique_lock lock(ours.vfs->mutex_);
  if (ours.vfs->next(lock, On::kWrite, *ours.path) != SQLITE_OK) return SQLITE_IOERR_TRUNCATE;
  ours.content->since.push_back({.offset = size, .bytes = "", .truncate = true});
  return File::pass<&sqlite3_io_methods::xTruncate>(file, size);
}

int FaultVfs::sync(sqlite3_file* file, int) {
  File& ours = File::of(file);
  std::unique_lock lock(ours.vfs->mutex_);
  if (const int code = ours.vfs->next(lock, On::kSync, *ours.path); code != SQLITE_OK) return code;
  for (const Operation& operation : ours.content->since) {
    const auto at = static_cast<std::size_t>(operation.offset);
    if (operation.truncate) {
      ours.content->synced.resize(at);
    } else {
      put(&ours.content->synced, at, operation.bytes);
    }
  }
  ours.content->since.clear();
  return SQLITE_OK;
}

std::map<std::string, std::string> FaultVfs::left_over(Random& random) {
  const std::scoped_lock lock(mutex_);
  std::map<std::string, std::string> left;
  const std::uint64_t lost_in_eight = random.below(9);
  for (const auto& [path, content] : files_) {
    std::string& file = left[path] = content.synced;
    for (const Operation& operation : content.since) {
      const auto at = static_cast<std::size_t>(operation.offset);
      if (operation.truncate && random.below(8) >= lost_in_eight) file.resize(at);
      for (std::size_t done = 0; done < operation.bytes.size(); done += kSectorBytes) {
        if (random.below(8) < lost_in_eight) continue;
        put(&file, at + done, std::string_view(operation.bytes).substr(done, kSectorBytes));
      }
    }
  }
  return left;
}

}  // namespace rusm::kv
