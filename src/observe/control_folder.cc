#include "observe/control_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

namespace rusm::observe {
namespace {

bool is_folder(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

std::string in_tmp(uid_t user) {
  return fmt::format("/tmp/rusm-{}", user);
}

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return fail(ErrorCode::kInvalid, path,
                fmt::format("the path of a socket has at most {} bytes; choose a shorter folder with XDG_RUNTIME_DIR",
                            sizeof(address.sun_path) - 1));
  }
  std::memcpy(address.sun_path, path.c_str(), path.size());
  return address;
}

Result<Descriptor> open_socket(const std::string& path) {
  Descriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail(ErrorCode::kIo, path, "no socket can be made: " + errno_text(errno));
  return fd;
}

}  // namespace

std::string control_folder(std::string_view xdg_runtime_dir, uid_t user) {
  const std::string runtime_dir(xdg_runtime_dir);
  return runtime_dir.starts_with('/') && is_folder(runtime_dir) ? runtime_dir + "/rusm" : in_tmp(user);
}

std::vector<std::string> control_folders(std::string_view xdg_runtime_dir, uid_t user) {
  std::vector<std::string> folders;
  for (std::string folder :
       {control_folder(xdg_runtime_dir, user), fmt::format("/run/user/{}/rusm", user), in_tmp(user)}) {
    if (std::ranges::find(folders, folder) == folders.end()) folders.push_back(std::move(folder));
  }
  return folders;
}

Result<> open_control_folder(const std::string& folder, uid_t user) {
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    return fail(ErrorCode::kIo, folder, "the folder of control sockets cannot be made: " + errno_text(errno));
  }
  return check_control_folder(folder, user);
}

Result<> check_control_folder(const std::string& folder, uid_t user) {
  struct stat status;
  if (lstat(folder.c_str(), &status) != 0) {
    return fail(ErrorCode::kNotFound, folder, "the folder of control sockets is not there: " + errno_text(errno));
  }
  if (!S_ISDIR(status.st_mode)) {
    return fail(ErrorCode::kDenied, folder, "this should be a folder of control sockets and is none; remove it");
  }
  if (status.st_uid != user) {
    return fail(ErrorCode::kDenied, folder,
                fmt::format("the folder of control sockets belongs to user {} instead of {}; set XDG_RUNTIME_DIR to a "
                            "folder of your own",
                            status.st_uid, user));
  }
  if ((status.st_mode & 077) != 0) {
    return fail(ErrorCode::kDenied, folder, "others may enter the folder of control sockets; chmod 700 it");
  }
  return {};
}

bool is_valid_node_name(std::string_view name) noexcept {
  const auto is_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  };
  return !name.empty() && name.size() <= 64 && name.front() != '.' && std::ranges::all_of(name, is_letter);
}

Result<std::string> socket_path(const std::string& folder, std::string_view node) {
  std::string path = fmt::format("{}/{}{}", folder, node, kSocketSuffix);
  if (Result<sockaddr_un> address = address_of(path); !address) return std::unexpected(std::move(address.error()));
  return path;
}

std::vector<std::string> node_names(const std::string& folder) {
  struct Close {
    void operator()(DIR* dir) const noexcept { closedir(dir); }
  };
  std::vector<std::string> names;
  const std::unique_ptr<DIR, Close> dir(opendir(folder.c_str()));
  if (!dir) return names;
  while (const dirent* entry = readdir(dir.get())) {
    std::string_view name = entry->d_name;
    if (!name.ends_with(kSocketSuffix)) continue;
    name.remove_suffix(kSocketSuffix.size());
    if (is_valid_node_name(name)) names.emplace_back(name);
  }
  // Numbers by their value.
  std::ranges::sort(names, [](const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() < b.size() : a < b;
  });
  return names;
}

std::optional<uid_t> peer_of(int socket) noexcept {
  ucred peer = {};
  socklen_t size = sizeof(peer);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || size != sizeof(peer)) return std::nullopt;
  return peer.uid;
}

Descriptor::~Descriptor() {
  if (fd_ >= 0) close(fd_);
}

Result<Descriptor> connect_to(const std::string& path, Nanoseconds patience) {
  const Result<sockaddr_un> address = address_of(path);
  if (!address) return std::unexpected(address.error());
  Result<Descriptor> fd = open_socket(path);
  if (!fd) return fd;
  if (patience > 0) {
    // The one way to wait for room: a connect that blocks, for at most this long.
    const timeval limit = {.tv_sec = patience / kSecond,
                           .tv_usec = std::min<suseconds_t>(patience % kSecond / kMicrosecond + 1, 999'999)};
    setsockopt(fd->get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    fcntl(fd->get(), F_SETFL, 0);
  }
  if (connect(fd->get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) == 0 &&
      fcntl(fd->get(), F_SETFL, O_NONBLOCK) == 0) {
    return fd;
  }
  const int error = errno;
  const ErrorCode code = error == ECONNREFUSED || error == ENOENT ? ErrorCode::kNotFound
                         : error == EAGAIN                        ? ErrorCode::kUnavailable
                                                                  : ErrorCode::kIo;
  return fail(code, path, "it cannot be connected to: " + errno_text(error));
}

Result<Descriptor> listen_at(const std::string& path) {
  const Result<sockaddr_un> address = address_of(path);
  if (!address) return std::unexpected(address.error());
  Result<Descriptor> fd = open_socket(path);
  if (!fd) return fd;
  if (bind(fd->get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) != 0 ||
      chmod(path.c_str(), 0600) != 0 || listen(fd->get(), 64) != 0) {
    return fail(ErrorCode::kIo, path, "a control socket cannot be opened there: " + errno_text(errno));
  }
  return fd;
}

}  // namespace rusm::observe
