// What the file layers of SQLite have in common that stand in front of another and hand on to it what they do not do
// themselves.
#pragma once

#include <fmt/format.h>
#include <sqlite3.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace rusm::kv {

// The base of a File that has a sqlite3_file as its first member. SQLite allocates it, with room behind it for the file
// of the layer below.
template <class File>
struct FileInFront {
  static File& of(sqlite3_file* file) noexcept { return *reinterpret_cast<File*>(file); }
  static sqlite3_file* below(sqlite3_file* file) noexcept {
    return reinterpret_cast<sqlite3_file*>(reinterpret_cast<File*>(file) + 1);
  }
  // Calls a method of the file below.
  template <auto Method, class... Args>
  static int pass(sqlite3_file* file, Args... args) noexcept {
    sqlite3_file* real = below(file);
    return (real->pMethods->*Method)(real, args...);
  }

  // All of them handed on, but for memory mapping (version 2), which would turn a truncated file into a signal.
  static constexpr sqlite3_io_methods methods() noexcept {
    using Io = sqlite3_io_methods;
    using Offset = sqlite3_int64;
    using F = sqlite3_file;
    return {
        .iVersion = 2,
        .xClose = [](F* f) { return pass<&Io::xClose>(f); },
        .xRead = [](F* f, void* to, int n, Offset at) { return pass<&Io::xRead>(f, to, n, at); },
        .xWrite = [](F* f, const void* from, int n, Offset at) { return pass<&Io::xWrite>(f, from, n, at); },
        .xTruncate = [](F* f, Offset n) { return pass<&Io::xTruncate>(f, n); },
        .xSync = [](F* f, int flags) { return pass<&Io::xSync>(f, flags); },
        .xFileSize = [](F* f, Offset* n) { return pass<&Io::xFileSize>(f, n); },
        .xLock = [](F* f, int level) { return pass<&Io::xLock>(f, level); },
        .xUnlock = [](F* f, int level) { return pass<&Io::xUnlock>(f, level); },
        .xCheckReservedLock = [](F* f, int* out) { return pass<&Io::xCheckReservedLock>(f, out); },
        .xFileControl = [](F* f, int op, void* arg) { return pass<&Io::xFileControl>(f, op, arg); },
        .xSectorSize = [](F* f) { return pass<&Io::xSectorSize>(f); },
        .xDeviceCharacteristics = [](F* f) { return pass<&Io::xDeviceCharacteristics>(f); },
        .xShmMap = [](F* f, int page, int size, int extend,
                      void volatile** out) { return pass<&Io::xShmMap>(f, page, size, extend, out); },
        .xShmLock = [](F* f, int offset, int n, int flags) { return pass<&Io::xShmLock>(f, offset, n, flags); },
        .xShmBarrier =
            [](F* f) {
              F* real = below(f);
              real->pMethods->xShmBarrier(real);
            },
        .xShmUnmap = [](F* f, int del) { return pass<&Io::xShmUnmap>(f, del); },
        .xFetch = nullptr,
        .xUnfetch = nullptr,
    };
  }
};

// The layer itself. Threads: any thread. Must outlive the connections that were opened through it.
class VfsInFront {
 public:
  VfsInFront(const VfsInFront&) = delete;
  VfsInFront& operator=(const VfsInFront&) = delete;

  // For sqlite3_open_v2.
  const char* name() const noexcept { return name_.c_str(); }

 protected:
  using Open = int (*)(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out_flags);

  // `file_bytes`: of its own part of a file.
  VfsInFront(sqlite3_vfs* base, std::string_view prefix, std::size_t file_bytes, Open open)
      : base_(base), name_(fmt::format("{}-{}", prefix, static_cast<void*>(this))), vfs_(*base) {
    vfs_.szOsFile = static_cast<int>(file_bytes) + base->szOsFile;
    vfs_.pNext = nullptr;
    vfs_.zName = name_.c_str();
    vfs_.pAppData = this;
    vfs_.xOpen = open;
    // The layer below finds its own state in the VFS that it is called with.
    vfs_.xDelete = [](sqlite3_vfs* v, const char* path, int sync_folder) {
      return of(v).base_->xDelete(of(v).base_, path, sync_folder);
    };
    vfs_.xAccess = [](sqlite3_vfs* v, const char* path, int flags, int* out) {
      return of(v).base_->xAccess(of(v).base_, path, flags, out);
    };
    vfs_.xFullPathname = [](sqlite3_vfs* v, const char* path, int bytes, char* out) {
      return of(v).base_->xFullPathname(of(v).base_, path, bytes, out);
    };
  }
  ~VfsInFront() { sqlite3_vfs_unregister(&vfs_); }

  static VfsInFront& of(sqlite3_vfs* vfs) noexcept { return *static_cast<VfsInFront*>(vfs->pAppData); }
  // From now on SQLite knows it by its name. False: out of memory.
  bool make_known() noexcept { return sqlite3_vfs_register(&vfs_, 0) == SQLITE_OK; }

  sqlite3_vfs* const base_;  // the layer below

 private:
  const std::string name_;

 protected:
  sqlite3_vfs vfs_;
};

}  // namespace rusm::kv
