#include "kv/store_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

#include "kv/checksum.h"
#include "kv/sqlite.h"
#include "kv/store_vfs.h"

namespace rusm::kv {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMarkMagic = 0x316b'7261'6d76'6b72;  // "rkvmark1"

struct Mark {
  std::uint64_t magic;
  std::uint64_t sequence;
  std::uint64_t sum;
};

std::uint64_t sum_of(const Mark& mark) noexcept {
  return checksum(std::as_bytes(std::span(&mark.sequence, 1)), kMarkMagic);
}

std::unexpected<Error> system_error(const fs::path& file, std::string_view doing, int error_number) {
  ErrorCode code = ErrorCode::kIo;
  if (error_number == EACCES || error_number == EPERM || error_number == EROFS) code = ErrorCode::kDenied;
  if (error_number == ENOENT || error_number == ENOTDIR) code = ErrorCode::kNotFound;
  if (error_number == ENOSPC || error_number == EDQUOT) code = ErrorCode::kLimit;
  if (error_number == EMFILE || error_number == ENFILE || error_number == ENOMEM) code = ErrorCode::kUnavailable;
  return fail(code, file.string(), fmt::format("cannot {}: {}", doing, errno_text(error_number)));
}

Result<Descriptor> open_file(const fs::path& file, int flags) {
  Descriptor descriptor(::open(file.c_str(), flags | O_CLOEXEC, 0600));
  if (descriptor.get() < 0) return system_error(file, "open it", errno);
  return descriptor;
}

std::uint32_t big_endian(const std::byte* at) noexcept {
  std::uint32_t word = 0;
  std::memcpy(&word, at, sizeof word);
  return __builtin_bswap32(word);
}

}  // namespace

Descriptor::Descriptor(Descriptor&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

Descriptor::~Descriptor() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<> sync_file(const fs::path& file) {
  const Result<Descriptor> opened = open_file(file, O_RDONLY);  // a folder too
  if (!opened) return std::unexpected(opened.error());
  if (::fsync(opened->get()) != 0) return system_error(file, "make it last on the disk", errno);
  return {};
}

Result<> sync_folder(const fs::path& folder) {
  Result<> synced = sync_file(folder);
  if (!synced && synced.error().code == ErrorCode::kDenied) {
    synced.error().text += "; to make it last on the disk this user must be able to read it";
  }
  return synced;
}

Result<> make_folder(const fs::path& folder) {
  // One that is there may have been made just before the power went the last time, or by another program.
  if (::mkdir(folder.c_str(), 0700) == 0) return sync_folder(folder.parent_path());
  const int error_number = errno;
  struct stat status{};
  if (error_number == EEXIST && ::stat(folder.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) return sync_folder(folder.parent_path());
    return fail(ErrorCode::kInvalid, folder.string(), "this is a file; a store is a folder: name another path");
  }
  return system_error(folder, "make this folder", error_number);
}

Result<UnfinishedFolder> UnfinishedFolder::make_beside(const fs::path& name) {
  std::string path = name.string() + ".unfinished-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) return system_error(name, "make a folder beside it", errno);
  return UnfinishedFolder(path);
}

UnfinishedFolder::~UnfinishedFolder() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

Result<> UnfinishedFolder::publish(const fs::path& name) {
  if (Result<> synced = sync_folder(path_); !synced) return synced;
  if (::rename(path_.c_str(), name.c_str()) != 0) {
    if (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR) {
      return fail(ErrorCode::kExists, name.string(),
                  "there is something of that name: name a folder that is not there");
    }
    return system_error(name, "give the folder this name", errno);
  }
  path_ = name;  // should it not last
  if (Result<> synced = sync_folder(name.parent_path()); !synced) return synced;
  path_.clear();
  return {};
}

Result<StoreFiles> StoreFiles::open(const fs::path& folder) {
  if (folder.empty()) return fail(ErrorCode::kInvalid, "store", "the path of a store must not be empty");
  StoreFiles files;
  std::error_code failed;
  // Absolute: the process may change its folder, and SQLite takes some relative names for URLs.
  files.folder_ = fs::absolute(folder, failed).lexically_normal();
  if (failed) return system_error(folder, "find the present folder", failed.value());
  if (!files.folder_.has_filename()) files.folder_ = files.folder_.parent_path();
  if (Result<> made = make_folder(files.folder_); !made) return std::unexpected(made.error());
  Result<Descriptor> lock = open_file(files.folder_ / "lock", O_RDWR | O_CREAT | O_NOFOLLOW);
  if (!lock) return std::unexpected(lock.error());
  files.lock_ = std::move(*lock);
  if (::flock(files.lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      return fail(ErrorCode::kExists, files.folder_.string(),
                  "the store is open already, here or in another process: stop that one, or name another folder");
    }
    return system_error(files.folder_ / "lock", "lock it", errno);
  }
  Result<Descriptor> mark = open_file(files.folder_ / "mark", O_RDWR | O_CREAT | O_NOFOLLOW);
  if (!mark) return std::unexpected(mark.error());
  files.mark_ = std::move(*mark);
  return files;
}

Result<bool> StoreFiles::has_store() const {
  struct stat status{};
  if (::lstat(main_path().c_str(), &status) == 0) {
    if (S_ISREG(status.st_mode)) return true;
    return fail(ErrorCode::kInvalid, main_path(), "this is not a file, so not a store: name another folder");
  }
  if (errno != ENOENT) return system_error(main_path(), "look at it", errno);
  const bool has_log = ::lstat((main_path() + "-wal").c_str(), &status) == 0;
  if (!has_log && read_mark().value_or(0) == 0) return false;
  return fail(ErrorCode::kCorrupt, main_path(),
              fmt::format("the main file is missing beside other parts of the store: {}", kRestore));
}

Result<> StoreFiles::check_header() const {
  const std::string path = main_path();
  const Result<Descriptor> file = open_file(path, O_RDONLY);
  if (!file) return std::unexpected(file.error());
  std::array<std::byte, 100> header{};
  const ssize_t got = ::pread(file->get(), header.data(), header.size(), 0);
  if (got < 0) return system_error(path, "read it", errno);
  if (static_cast<std::size_t>(got) < header.size()) {
    return fail(ErrorCode::kCorrupt, path, fmt::format("the file is cut off: {}", kRestore));
  }
  constexpr std::string_view kMagic("SQLite format 3\0", 16);
  if (std::memcmp(header.data(), kMagic.data(), kMagic.size()) != 0 || big_endian(&header[68]) != kApplicationId) {
    return fail(
        ErrorCode::kInvalid, path,
        fmt::format("this is no store, or one whose beginning is damaged: name another folder, or {}", kRestore));
  }
  if (const std::uint32_t version = big_endian(&header[60]); version < kFormatVersionMin || version > kFormatVersion) {
    return fail(
        ErrorCode::kInvalid, path,
        fmt::format("the store has format {}; this program reads formats {} to {}: use the program that wrote it",
                    version, kFormatVersionMin, kFormatVersion));
  }
  const unsigned page_bytes = std::to_integer<unsigned>(header[16]) << 8 | std::to_integer<unsigned>(header[17]);
  if (page_bytes != kPageBytes || std::to_integer<std::size_t>(header[20]) != kReservedBytes) {
    return fail(ErrorCode::kCorrupt, path, fmt::format("the header of the file is damaged: {}", kRestore));
  }
  return {};
}

Result<> StoreFiles::start_new() {
  std::error_code ignored;
  for (const char* suffix : {"", "-journal", "-wal"}) fs::remove(new_path() + suffix, ignored);
  const Result<Descriptor> made = open_file(new_path(), O_RDWR | O_CREAT | O_EXCL);
  return made ? Result<>() : std::unexpected(made.error());
}

Result<> StoreFiles::publish_new() {
  if (Result<> synced = sync_file(new_path()); !synced) return synced;
  if (::rename(new_path().c_str(), main_path().c_str()) != 0) return system_error(new_path(), "rename it", errno);
  return sync_folder(folder_);
}

std::optional<std::uint64_t> StoreFiles::read_mark() const {
  Mark mark{};
  if (::pread(mark_.get(), &mark, sizeof mark, 0) != static_cast<ssize_t>(sizeof mark)) return std::nullopt;
  if (mark.magic != kMarkMagic || mark.sum != sum_of(mark)) return std::nullopt;
  return mark.sequence;
}

Result<> StoreFiles::write_mark(std::uint64_t sequence) noexcept {
  Mark mark{.magic = kMarkMagic, .sequence = sequence, .sum = 0};
  mark.sum = sum_of(mark);
  if (::pwrite(mark_.get(), &mark, sizeof mark, 0) == static_cast<ssize_t>(sizeof mark)) return {};
  return system_error(folder_ / "mark", "write it", errno);
}

}  // namespace rusm::kv
