#include "kv/store_vfs.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string_view>
#include <utility>

#include "kv/checksum.h"

namespace rusm::kv {
namespace {

// The format of the log: a header, then frames of a header and a page.
constexpr sqlite3_int64 kLogHeaderBytes = 32;
constexpr sqlite3_int64 kFrameSpan = kFrameBytes;
constexpr sqlite3_int64 kFrameHeaderBytes = kFrameSpan - static_cast<sqlite3_int64>(kPageBytes);

std::span<const std::byte> as_bytes(const void* data, int bytes) noexcept {
  return {static_cast<const std::byte*>(data), static_cast<std::size_t>(bytes)};
}

bool is_whole_page(int bytes, sqlite3_int64 offset) noexcept {
  return bytes == static_cast<int>(kPageBytes) && offset % static_cast<sqlite3_int64>(kPageBytes) == 0;
}

// Whether the page of a frame starts at `offset` of the log.
bool is_frame_page(std::size_t bytes, sqlite3_int64 offset) noexcept {
  const sqlite3_int64 in_frames = offset - kLogHeaderBytes - kFrameHeaderBytes;
  return bytes == kPageBytes && in_frames >= 0 && in_frames % kFrameSpan == 0;
}

std::uint64_t number_of_page(sqlite3_int64 offset) noexcept {
  return static_cast<std::uint64_t>(offset) / kPageBytes + 1;
}

// The sum lies in the file as it does in memory.
static_assert(std::endian::native == std::endian::little, "stores move between little-endian machines only");

bool is_page_as_written(std::span<const std::byte> page, sqlite3_int64 offset) noexcept {
  std::uint64_t sum = 0;
  std::memcpy(&sum, page.data() + kPageBytes - kReservedBytes, sizeof sum);
  return sum == page_checksum(page, number_of_page(offset));
}

}  // namespace

std::uint64_t page_checksum(std::span<const std::byte> page, std::uint64_t number) noexcept {
  static_assert(kReservedBytes == sizeof(std::uint64_t));
  return checksum(page.first(kPageBytes - kReservedBytes), number);
}

struct StoreVfs::File : FileInFront<StoreVfs::File> {
  sqlite3_file base;
  StoreVfs* vfs;
  Kind kind;

  bool has_pages() const noexcept { return kind == Kind::kMain || kind == Kind::kCopy; }
  // Of this store: see invariant 3.
  bool is_of_store() const noexcept { return kind == Kind::kMain || kind == Kind::kLog; }
};

const sqlite3_io_methods StoreVfs::kMethods = [] {
  sqlite3_io_methods methods = File::methods();
  methods.xRead = &StoreVfs::read;
  methods.xWrite = &StoreVfs::write;
  methods.xSync = &StoreVfs::sync;
  return methods;
}();

Result<std::unique_ptr<StoreVfs>> StoreVfs::make(const char* base, const std::string& main_path) {
  sqlite3_vfs* below = sqlite3_vfs_find(base);
  if (below == nullptr) {
    return fail(ErrorCode::kUnavailable, "store", fmt::format("this SQLite has no file layer called \"{}\"", base));
  }
  // With links followed, as SQLite will ask for it.
  std::string full(static_cast<std::size_t>(below->mxPathname) + 1, '\0');
  if (below->xFullPathname(below, main_path.c_str(), below->mxPathname, full.data()) & 0xff) {
    return fail(ErrorCode::kInvalid, main_path, "SQLite cannot use this path: name a shorter one");
  }
  full.resize(full.find('\0'));
  std::unique_ptr<StoreVfs> made(new StoreVfs(below, std::move(full)));
  if (!made->make_known()) {
    return fail(ErrorCode::kUnavailable, "store", "SQLite cannot take the file layer of the store: out of memory");
  }
  return made;
}

StoreVfs::StoreVfs(sqlite3_vfs* base, std::string main_path)
    : VfsInFront(base, "rusm", sizeof(File), &StoreVfs::open),
      main_path_(std::move(main_path)),
      log_path_(main_path_ + "-wal") {}

StoreVfs::Kind StoreVfs::kind_of(const char* path, int flags) const noexcept {
  const std::string_view name(path == nullptr ? "" : path);
  if ((flags & SQLITE_OPEN_MAIN_DB) != 0) return name == main_path_ ? Kind::kMain : Kind::kCopy;
  return (flags & SQLITE_OPEN_WAL) != 0 && name == log_path_ ? Kind::kLog : Kind::kOther;
}

int StoreVfs::open(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out_flags) noexcept {
  StoreVfs& self = of(vfs);
  File& ours = File::of(file);
  ours.base.pMethods = nullptr;
  ours.vfs = &self;
  ours.kind = self.kind_of(path, flags);
  sqlite3_file* below = File::below(file);
  const int code = self.base_->xOpen(self.base_, path, below, flags, out_flags);
  // Whoever sets pMethods is closed, also after a failure.
  if (below->pMethods != nullptr) ours.base.pMethods = &kMethods;
  return code;
}

int StoreVfs::read(sqlite3_file* file, void* to, int bytes, sqlite3_int64 offset) noexcept {
  const int code = File::pass<&sqlite3_io_methods::xRead>(file, to, bytes, offset);
  const File& ours = File::of(file);
  if (code == SQLITE_IOERR_SHORT_READ && ours.kind != Kind::kOther && bytes == static_cast<int>(kPageBytes)) {
    return SQLITE_IOERR_DATA;
  }
  if (code != SQLITE_OK) return code;
  if (ours.has_pages() && is_whole_page(bytes, offset) && !is_page_as_written(as_bytes(to, bytes), offset)) {
    return SQLITE_IOERR_DATA;
  }
  if (ours.kind == Kind::kLog && !ours.vfs->frame_is_as_written(as_bytes(to, bytes), offset)) return SQLITE_IOERR_DATA;
  return SQLITE_OK;
}

int StoreVfs::write(sqlite3_file* file, const void* from, int bytes, sqlite3_int64 offset) noexcept {
  const File& ours = File::of(file);
  if (ours.is_of_store() && ours.vfs->sync_failed()) return SQLITE_IOERR_WRITE;
  if (ours.has_pages() && is_whole_page(bytes, offset)) {
    std::array<std::byte, kPageBytes> page;
    std::memcpy(page.data(), from, kPageBytes);
    const std::uint64_t sum = page_checksum(page, number_of_page(offset));
    std::memcpy(page.data() + kPageBytes - kReservedBytes, &sum, sizeof sum);
    return File::pass<&sqlite3_io_methods::xWrite>(file, static_cast<const void*>(page.data()), bytes, offset);
  }
  if (ours.kind == Kind::kLog) {
    try {
      ours.vfs->remember(as_bytes(from, bytes), offset);
    } catch (const std::bad_alloc&) {
      return SQLITE_NOMEM;
    }
  }
  return File::pass<&sqlite3_io_methods::xWrite>(file, from, bytes, offset);
}

int StoreVfs::sync(sqlite3_file* file, int flags) noexcept {
  const File& ours = File::of(file);
  StoreVfs& vfs = *ours.vfs;
  if (ours.is_of_store() && vfs.sync_failed()) return SQLITE_IOERR_FSYNC;
  const int code = File::pass<&sqlite3_io_methods::xSync>(file, flags);
  if (code != SQLITE_OK && ours.is_of_store()) vfs.sync_failed_.store(true, std::memory_order_release);
  return code;
}

bool StoreVfs::frame_is_as_written(std::span<const std::byte> page, sqlite3_int64 offset) noexcept {
  if (!is_frame_page(page.size(), offset)) return true;
  const auto frame = static_cast<std::size_t>((offset - kLogHeaderBytes) / kFrameSpan);
  std::uint64_t wanted = 0;
  {
    const std::scoped_lock lock(mutex_);
    if (frame < frames_.size()) wanted = frames_[frame];
  }
  return wanted == 0 || wanted == checksum(page, frame);
}

void StoreVfs::remember(std::span<const std::byte> written, sqlite3_int64 offset) {
  const auto end = offset + static_cast<sqlite3_int64>(written.size());
  if (end <= kLogHeaderBytes) return;
  const bool whole = is_frame_page(written.size(), offset);
  const auto first = static_cast<std::size_t>((std::max(offset, kLogHeaderBytes) - kLogHeaderBytes) / kFrameSpan);
  const auto last = static_cast<std::size_t>((end - 1 - kLogHeaderBytes) / kFrameSpan);
  const std::uint64_t sum = whole ? checksum(written, first) : 0;
  const std::scoped_lock lock(mutex_);
  if (frames_.size() <= last) frames_.resize(last + 1);
  std::fill(frames_.begin() + static_cast<std::ptrdiff_t>(first),
            frames_.begin() + static_cast<std::ptrdiff_t>(last) + 1, sum);
}

}  // namespace rusm::kv
