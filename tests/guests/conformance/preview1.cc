// WASI preview 1 as it stands in its interface: what the C library does not call, and what it hides.
#include <fcntl.h>
#include <unistd.h>
#include <wasi/api.h>

#include <array>
#include <cstring>
#include <string>

#include "cases.h"

namespace {

constexpr __wasi_rights_t kAllRights = (__wasi_rights_t{__WASI_RIGHTS_SOCK_SHUTDOWN} << 1) - 1;  // that there are
constexpr __wasi_fd_t kNoFd = 1000;

#define REQUIRE(condition)                   \
  do {                                       \
    if (!(condition)) return no(#condition); \
  } while (false)

std::string name_of(__wasi_fd_t preopen) {
  __wasi_prestat_t stat;
  if (__wasi_fd_prestat_get(preopen, &stat) != __WASI_ERRNO_SUCCESS) return {};
  std::string name(stat.u.dir.pr_name_len, '\0');
  if (__wasi_fd_prestat_dir_name(preopen, reinterpret_cast<uint8_t*>(name.data()), name.size()) != 0) return {};
  return name;
}

__wasi_fd_t folder(std::string_view wanted) {
  for (__wasi_fd_t fd = 3; fd < 10; ++fd) {
    if (name_of(fd) == wanted) return fd;
  }
  return kNoFd;
}

__wasi_errno_t open_at(__wasi_fd_t at, const char* path, __wasi_oflags_t how, __wasi_rights_t rights, __wasi_fd_t* fd,
                       __wasi_fdflags_t flags = 0) {
  return __wasi_path_open(at, 0, path, how, rights, kAllRights, flags, fd);
}

constexpr __wasi_rights_t kReadWrite = __WASI_RIGHTS_FD_READ | __WASI_RIGHTS_FD_WRITE | __WASI_RIGHTS_FD_SEEK |
                                       __WASI_RIGHTS_FD_TELL | __WASI_RIGHTS_FD_FILESTAT_GET |
                                       __WASI_RIGHTS_FD_FILESTAT_SET_SIZE | __WASI_RIGHTS_FD_FILESTAT_SET_TIMES |
                                       __WASI_RIGHTS_FD_SYNC | __WASI_RIGHTS_FD_DATASYNC | __WASI_RIGHTS_FD_ADVISE;

int preopens() {
  REQUIRE(name_of(3) == "/in" && name_of(4) == "/out" && name_of(5).empty());
  __wasi_prestat_t stat;
  REQUIRE(__wasi_fd_prestat_get(5, &stat) == __WASI_ERRNO_BADF);
  uint8_t byte = 0;
  REQUIRE(__wasi_fd_prestat_dir_name(3, &byte, 1) == __WASI_ERRNO_NAMETOOLONG);
  REQUIRE(__wasi_fd_prestat_get(0, &stat) != __WASI_ERRNO_SUCCESS);
  return 0;
}

int descriptors() {
  __wasi_fdstat_t stat;
  REQUIRE(__wasi_fd_fdstat_get(folder("/in"), &stat) == 0 && stat.fs_filetype == __WASI_FILETYPE_DIRECTORY);
  REQUIRE(__wasi_fd_fdstat_get(kNoFd, &stat) == __WASI_ERRNO_BADF);
  REQUIRE(__wasi_fd_close(kNoFd) == __WASI_ERRNO_BADF);
  __wasi_fd_t one = 0;
  __wasi_fd_t two = 0;
  REQUIRE(open_at(folder("/in"), "a.txt", 0, __WASI_RIGHTS_FD_READ, &one) == 0);
  REQUIRE(open_at(folder("/in"), "a.txt", 0, __WASI_RIGHTS_FD_READ, &two) == 0 && one != two);
  REQUIRE(__wasi_fd_fdstat_get(one, &stat) == 0 && stat.fs_filetype == __WASI_FILETYPE_REGULAR_FILE);
  REQUIRE(__wasi_fd_renumber(two, one) == 0);
  REQUIRE(__wasi_fd_fdstat_get(two, &stat) == __WASI_ERRNO_BADF);
  uint8_t byte = 0;
  __wasi_iovec_t room{&byte, 1};
  __wasi_size_t count = 0;
  REQUIRE(__wasi_fd_read(one, &room, 1, &count) == 0 && count == 1 && byte == 't');
  REQUIRE(__wasi_fd_close(one) == 0 && __wasi_fd_close(one) == __WASI_ERRNO_BADF);
  return 0;
}

int vectors() {
  const __wasi_fd_t out = folder("/out");
  __wasi_fd_t fd = 0;
  REQUIRE(open_at(out, "vectors", __WASI_OFLAGS_CREAT | __WASI_OFLAGS_TRUNC, kReadWrite, &fd) == 0);
  const auto bytes = [](const char* text) { return reinterpret_cast<const uint8_t*>(text); };
  const __wasi_ciovec_t pieces[] = {{bytes("ab"), 2}, {bytes(""), 0}, {bytes("cde"), 3}};
  __wasi_size_t count = 0;
  // A host may take fewer than all.
  for (std::size_t written = 0; written < 3;) {
    REQUIRE(__wasi_fd_write(fd, pieces + written, 3 - written, &count) == 0);
    while (written < 3 && count >= pieces[written].buf_len) count -= pieces[written++].buf_len;
    REQUIRE(count == 0);
  }
  __wasi_filesize_t at = 0;
  REQUIRE(__wasi_fd_tell(fd, &at) == 0 && at == 5);
  const __wasi_ciovec_t late{bytes("X"), 1};
  REQUIRE(__wasi_fd_pwrite(fd, &late, 1, 1, &count) == 0 && count == 1);
  REQUIRE(__wasi_fd_tell(fd, &at) == 0 && at == 5);
  std::array<uint8_t, 8> text{};
  const __wasi_iovec_t room{text.data(), text.size()};
  REQUIRE(__wasi_fd_pread(fd, &room, 1, 0, &count) == 0 && count == 5 && std::memcmp(text.data(), "aXcde", 5) == 0);
  REQUIRE(__wasi_fd_seek(fd, -2, __WASI_WHENCE_END, &at) == 0 && at == 3);
  REQUIRE(__wasi_fd_seek(fd, -1, __WASI_WHENCE_CUR, &at) == 0 && at == 2);
  REQUIRE(__wasi_fd_seek(fd, -9, __WASI_WHENCE_SET, &at) == __WASI_ERRNO_INVAL);
  REQUIRE(__wasi_fd_sync(fd) == 0 && __wasi_fd_datasync(fd) == 0);
  REQUIRE(__wasi_fd_advise(fd, 0, 5, __WASI_ADVICE_SEQUENTIAL) == 0);
  REQUIRE(__wasi_fd_filestat_set_size(fd, 7) == 0);
  __wasi_filestat_t stat;
  REQUIRE(__wasi_fd_filestat_get(fd, &stat) == 0 && stat.size == 7);
  REQUIRE(__wasi_fd_close(fd) == 0 && __wasi_path_unlink_file(out, "vectors") == 0);
  return 0;
}

int open_flags() {
  const __wasi_fd_t out = folder("/out");
  __wasi_fd_t fd = 0;
  REQUIRE(open_at(out, "new", __WASI_OFLAGS_CREAT | __WASI_OFLAGS_EXCL, kReadWrite, &fd) == 0);
  __wasi_fd_t again = 0;
  REQUIRE(open_at(out, "new", __WASI_OFLAGS_CREAT | __WASI_OFLAGS_EXCL, kReadWrite, &again) == __WASI_ERRNO_EXIST);
  REQUIRE(open_at(out, "new", __WASI_OFLAGS_DIRECTORY, __WASI_RIGHTS_FD_READ, &again) == __WASI_ERRNO_NOTDIR);
  REQUIRE(open_at(out, "new/below", 0, __WASI_RIGHTS_FD_READ, &again) == __WASI_ERRNO_NOTDIR);
  REQUIRE(open_at(out, "/out/new", 0, __WASI_RIGHTS_FD_READ, &again) != 0);
  REQUIRE(open_at(out, "", 0, __WASI_RIGHTS_FD_READ, &again) != 0);
  REQUIRE(__wasi_fd_close(fd) == 0 && __wasi_path_unlink_file(out, "new") == 0);
  return 0;
}

int paths() {
  const __wasi_fd_t out = folder("/out");
  __wasi_fd_t fd = 0;
  REQUIRE(__wasi_path_create_directory(out, "d") == 0 && __wasi_path_create_directory(out, "d") == __WASI_ERRNO_EXIST);
  REQUIRE(open_at(out, "d/f", __WASI_OFLAGS_CREAT, kReadWrite, &fd) == 0 && __wasi_fd_close(fd) == 0);
  REQUIRE(__wasi_path_remove_directory(out, "d") == __WASI_ERRNO_NOTEMPTY);
  REQUIRE(__wasi_path_unlink_file(out, "d") != 0 && __wasi_path_remove_directory(out, "d/f") != 0);
  REQUIRE(__wasi_path_link(out, 0, "d/f", out, "hard") == 0);
  __wasi_filestat_t stat;
  REQUIRE(__wasi_path_filestat_get(out, 0, "hard", &stat) == 0 && stat.nlink == 2);
  REQUIRE(__wasi_path_rename(out, "hard", out, "d/g") == 0);
  REQUIRE(__wasi_path_filestat_get(out, 0, "hard", &stat) == __WASI_ERRNO_NOENT);
  REQUIRE(__wasi_path_rename(out, "d/g", folder("/in"), "g") != 0);
  REQUIRE(__wasi_path_filestat_set_times(out, 0, "d/f", 5'000'000'000, 7'000'000'000,
                                         __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_MTIM) == 0);
  REQUIRE(__wasi_path_filestat_get(out, 0, "d/f", &stat) == 0 && stat.mtim == 7'000'000'000);
  REQUIRE(__wasi_path_unlink_file(out, "d/f") == 0 && __wasi_path_unlink_file(out, "d/g") == 0);
  REQUIRE(__wasi_path_remove_directory(out, "d") == 0);
  return 0;
}

int links() {
  const __wasi_fd_t out = folder("/out");
  __wasi_fd_t fd = 0;
  REQUIRE(open_at(out, "target", __WASI_OFLAGS_CREAT, kReadWrite, &fd) == 0 && __wasi_fd_close(fd) == 0);
  REQUIRE(__wasi_path_symlink("target", out, "soft") == 0);
  std::array<uint8_t, 16> text{};
  __wasi_size_t count = 0;
  REQUIRE(__wasi_path_readlink(out, "soft", text.data(), text.size(), &count) == 0 && count == 6);
  REQUIRE(std::memcmp(text.data(), "target", 6) == 0);
  __wasi_filestat_t stat;
  REQUIRE(__wasi_path_filestat_get(out, 0, "soft", &stat) == 0 && stat.filetype == __WASI_FILETYPE_SYMBOLIC_LINK);
  REQUIRE(__wasi_path_filestat_get(out, __WASI_LOOKUPFLAGS_SYMLINK_FOLLOW, "soft", &stat) == 0);
  REQUIRE(stat.filetype == __WASI_FILETYPE_REGULAR_FILE);
  // Neither made nor followed when it leads out.
  REQUIRE(__wasi_path_symlink("/etc/passwd", out, "absolute") != 0);
  if (__wasi_path_symlink("../secret", out, "up") == 0) {
    REQUIRE(__wasi_path_open(out, __WASI_LOOKUPFLAGS_SYMLINK_FOLLOW, "up", 0, __WASI_RIGHTS_FD_READ, 0, 0, &fd) != 0);
    REQUIRE(__wasi_path_unlink_file(out, "up") == 0);
  }
  REQUIRE(__wasi_path_symlink("a", folder("/in"), "b") != 0);
  REQUIRE(__wasi_path_unlink_file(out, "soft") == 0 && __wasi_path_unlink_file(out, "target") == 0);
  return 0;
}

int escapes() {
  const __wasi_fd_t in = folder("/in");
  __wasi_fd_t fd = 0;
  for (const char* path : {"..", "../secret", "./../secret", "a.txt/../../secret", "/secret", "link"}) {
    if (__wasi_path_open(in, __WASI_LOOKUPFLAGS_SYMLINK_FOLLOW, path, 0, __WASI_RIGHTS_FD_READ, 0, 0, &fd) == 0) {
      return no(path);
    }
  }
  const __wasi_fd_t out = folder("/out");
  REQUIRE(__wasi_path_create_directory(out, "../made") != 0 && __wasi_path_unlink_file(out, "../secret") != 0);
  REQUIRE(__wasi_path_rename(out, "../secret", out, "taken") != 0);
  REQUIRE(__wasi_path_link(in, __WASI_LOOKUPFLAGS_SYMLINK_FOLLOW, "link", out, "copy") != 0);
  return 0;
}

int folder_pages() {
  const __wasi_fd_t out = folder("/out");
  __wasi_fd_t fd = 0;
  for (char name[] = "file-a"; name[5] <= 'z'; ++name[5]) {
    REQUIRE(open_at(out, name, __WASI_OFLAGS_CREAT, kReadWrite, &fd) == 0 && __wasi_fd_close(fd) == 0);
  }
  // Little room, so that it takes many calls.
  std::array<uint8_t, 100> page{};
  __wasi_dircookie_t cookie = 0;
  unsigned seen = 0;
  for (__wasi_size_t used = page.size(); used == page.size();) {
    REQUIRE(__wasi_fd_readdir(out, page.data(), page.size(), cookie, &used) == 0);
    for (std::size_t at = 0; at + sizeof(__wasi_dirent_t) <= used;) {
      __wasi_dirent_t entry;
      std::memcpy(&entry, page.data() + at, sizeof entry);
      at += sizeof entry;
      if (at + entry.d_namlen > used) break;
      seen += entry.d_namlen == 6 && std::memcmp(page.data() + at, "file-", 5) == 0;
      at += entry.d_namlen;
      cookie = entry.d_next;
    }
  }
  for (char name[] = "file-a"; name[5] <= 'z'; ++name[5]) REQUIRE(__wasi_path_unlink_file(out, name) == 0);
  REQUIRE(seen == 26);
  __wasi_size_t used = 0;
  REQUIRE(__wasi_fd_readdir(1, page.data(), page.size(), 0, &used) != 0);
  return 0;
}

__wasi_subscription_t clock_after(__wasi_timestamp_t span, __wasi_userdata_t data) {
  __wasi_subscription_t wish{};
  wish.userdata = data;
  wish.u.tag = __WASI_EVENTTYPE_CLOCK;
  wish.u.u.clock = {__WASI_CLOCKID_MONOTONIC, span, 0, 0};
  return wish;
}

int poll_oneoff() {
  __wasi_size_t count = 0;
  std::array<__wasi_event_t, 3> events{};
  REQUIRE(__wasi_poll_oneoff(nullptr, nullptr, 0, &count) == __WASI_ERRNO_INVAL);
  std::array<__wasi_subscription_t, 3> wishes{clock_after(3'600'000'000'000, 1), clock_after(2'000'000, 2), {}};
  wishes[2].userdata = 3;
  wishes[2].u.tag = __WASI_EVENTTYPE_FD_WRITE;
  wishes[2].u.u.fd_write.file_descriptor = 1;
  REQUIRE(__wasi_poll_oneoff(wishes.data(), events.data(), 2, &count) == 0 && count == 1);
  REQUIRE(events[0].userdata == 2 && events[0].type == __WASI_EVENTTYPE_CLOCK && events[0].error == 0);
  REQUIRE(__wasi_poll_oneoff(wishes.data(), events.data(), 3, &count) == 0 && count >= 1);
  bool writable = false;
  for (__wasi_size_t i = 0; i < count; ++i) writable |= events[i].userdata == 3 && events[i].error == 0;
  REQUIRE(writable);
  // A moment that has passed.
  __wasi_timestamp_t now = 0;
  REQUIRE(__wasi_clock_time_get(__WASI_CLOCKID_MONOTONIC, 1, &now) == 0);
  wishes[0] = clock_after(now, 4);
  wishes[0].u.u.clock.flags = __WASI_SUBCLOCKFLAGS_SUBSCRIPTION_CLOCK_ABSTIME;
  REQUIRE(__wasi_poll_oneoff(wishes.data(), events.data(), 1, &count) == 0 && count == 1 && events[0].userdata == 4);
  return 0;
}

int sockets_without_any() {
  uint8_t byte = 0;
  __wasi_iovec_t room{&byte, 1};
  const __wasi_ciovec_t data{&byte, 1};
  __wasi_size_t count = 0;
  __wasi_roflags_t flags = 0;
  __wasi_fd_t fd = 0;
  for (const __wasi_fd_t no_socket : {folder("/in"), kNoFd}) {
    REQUIRE(__wasi_sock_recv(no_socket, &room, 1, 0, &count, &flags) != 0);
    REQUIRE(__wasi_sock_send(no_socket, &data, 1, 0, &count) != 0);
    REQUIRE(__wasi_sock_shutdown(no_socket, __WASI_SDFLAGS_RD) != 0);
    REQUIRE(__wasi_sock_accept(no_socket, 0, &fd) != 0);
  }
  return 0;
}

int clocks_and_chance() {
  __wasi_timestamp_t time = 0;
  REQUIRE(__wasi_clock_res_get(__WASI_CLOCKID_REALTIME, &time) == 0 && time > 0);
  REQUIRE(__wasi_clock_time_get(__WASI_CLOCKID_REALTIME, 1, &time) == 0 && time > 1'577'836'800'000'000'000);
  REQUIRE(__wasi_sched_yield() == 0);
  // Pieces of any length, and nothing behind their end.
  std::array<uint8_t, 300> bytes{};
  REQUIRE(__wasi_random_get(bytes.data(), 0) == 0 && bytes == (std::array<uint8_t, 300>{}));
  REQUIRE(__wasi_random_get(bytes.data(), 299) == 0 && bytes[299] == 0);
  std::array<bool, 256> seen{};
  for (const uint8_t byte : bytes) seen[byte] = true;
  int different = 0;
  for (const bool one : seen) different += one;
  REQUIRE(different > 100);
  return 0;
}

// Nothing is granted by asking for it.
int rights() {
  const __wasi_fd_t in = folder("/in");
  __wasi_fd_t fd = 0;
  REQUIRE(open_at(in, "a.txt", 0, kAllRights, &fd) != 0 || __wasi_fd_filestat_set_size(fd, 0) != 0);
  REQUIRE(open_at(in, "a.txt", 0, __WASI_RIGHTS_FD_READ, &fd) == 0);
  const uint8_t byte = 'x';
  const __wasi_ciovec_t data{&byte, 1};
  __wasi_size_t count = 0;
  REQUIRE(__wasi_fd_write(fd, &data, 1, &count) != 0 && __wasi_fd_filestat_set_size(fd, 0) != 0);
  REQUIRE(__wasi_fd_filestat_set_times(fd, 0, 0, __WASI_FSTFLAGS_MTIM_NOW) != 0);
  REQUIRE(__wasi_path_filestat_set_times(in, 0, "a.txt", 0, 0, __WASI_FSTFLAGS_MTIM_NOW) != 0);
  REQUIRE(__wasi_path_create_directory(in, "d") != 0 && __wasi_path_link(in, 0, "a.txt", in, "b.txt") != 0);
  return 0;
}

constexpr Case kCases[] = {
    {"preopens", preopens},
    {"descriptors", descriptors},
    {"vectors", vectors},
    {"open-flags", open_flags},
    {"paths", paths},
    {"links", links},
    {"raw-escapes", escapes},
    {"folder-pages", folder_pages},
    {"poll-oneoff", poll_oneoff},
    {"no-sockets", sockets_without_any},
    {"raw-clocks", clocks_and_chance},
    {"rights", rights},
};

}  // namespace

std::span<const Case> preview1_cases() {
  return kCases;
}
