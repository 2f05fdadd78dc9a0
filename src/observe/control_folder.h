// Where the sockets of running nodes are: in a folder that belongs to one user alone, NAME.sock for each node, where
// NAME is the number of its process unless its owner chose another.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

namespace rusm::observe {

inline constexpr std::string_view kSocketSuffix = ".sock";

// "$XDG_RUNTIME_DIR/rusm" when there is such a folder, else "/tmp/rusm-<uid>". `xdg_runtime_dir`: the variable's value,
// empty when it is not set.
std::string control_folder(std::string_view xdg_runtime_dir, uid_t user);
// Where nodes of this user may be, whatever their environment said: the folder above, and the others that it could have
// been.
std::vector<std::string> control_folders(std::string_view xdg_runtime_dir, uid_t user);

// Makes the folder if it is not there, and checks it. Errors: kIo; kDenied when it is not a folder (a symbolic link,
// for one), is not `user`'s, or others may enter it.
Result<> open_control_folder(const std::string& folder, uid_t user);
// Only checks it. Errors: kNotFound, kDenied.
Result<> check_control_folder(const std::string& folder, uid_t user);

// Letters, digits, '-', '_' and '.', not at the front; at most 64.
bool is_valid_node_name(std::string_view name) noexcept;
// Errors: kInvalid when the path is longer than an address of a socket may be.
Result<std::string> socket_path(const std::string& folder, std::string_view node);
// The names of the nodes whose sockets are in the folder, in order; also of those that have died.
std::vector<std::string> node_names(const std::string& folder);

// Who may ask a node of `owner`: the same user, and root.
constexpr bool may_ask(uid_t peer, uid_t owner) noexcept {
  return peer == owner || peer == 0;
}
// The user at the other end of a socket; nothing when the system does not say.
std::optional<uid_t> peer_of(int socket) noexcept;

// A file descriptor, closed with it. Threads: one owner.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor();

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// A socket that is connected to `path` and does not block. Waits at most `patience` for the listener to have room.
// Errors: kNotFound when nobody listens there, or nothing is there; kUnavailable when it has no room; kIo, kInvalid.
Result<Descriptor> connect_to(const std::string& path, Nanoseconds patience = 0);
// Errors: kInvalid, kIo.
Result<Descriptor> listen_at(const std::string& path);

}  // namespace rusm::observe
