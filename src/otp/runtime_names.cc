// The runtime's names and groups.
//
// The entry is made first; then a signal tells the process to take note of it, so that it gives it up at its end; when
// the signal finds nobody, the entry is removed again. What an entry's removal tells the process may be overtaken by a
// new entry of the same name, so the process looks before it forgets.
#include "otp/runtime.h"

namespace rusm::otp {
void Runtime::release(Pid pid, const Claim& claim) noexcept {
  switch (claim.kind) {
    case Claim::Kind::kName:
      registry_.erase(claim.name, pid);
      return;
    case Claim::Kind::kGroup:
      leave_group(claim.name, pid);
      return;
    case Claim::Kind::kGroupWatch:
      groups_.unwatch(claim.name, pid);
      return;
    case Claim::Kind::kNodeWatch: {
      const std::scoped_lock lock(nodes_mutex_);
      node_watchers_.erase(pid);
      return;
    }
  }
}

bool Runtime::holds(Pid pid, const Claim& claim) noexcept {
  switch (claim.kind) {
    case Claim::Kind::kName:
      return registry_.find(claim.name) == pid;
    case Claim::Kind::kGroup:
      return groups_.has_member(claim.name, pid);
    case Claim::Kind::kGroupWatch:
      return groups_.has_watcher(claim.name, pid);
    case Claim::Kind::kNodeWatch:
      return true;  // it ends with the process only
  }
  return false;
}

Result<> Runtime::check_claim(std::string_view name, Pid pid) const {
  if (!Registry::is_valid(name)) {
    return fail(ErrorCode::kInvalid, std::string(name.substr(0, 64)),
                name.empty() ? "a name must not be empty" : "a name has at most 255 bytes");
  }
  if (pid.node() != options_.node) return fail(ErrorCode::kInvalid, pid.to_string(), "is of another node");
  if (!is_alive(pid)) return fail(ErrorCode::kNotFound, pid.to_string(), "is not alive");
  return {};
}

Result<> Runtime::register_name(std::string_view name, Pid pid) {
  if (Result<> fine = check_claim(name, pid); !fine) return fine;
  if (!registry_.insert(name, pid)) return fail(ErrorCode::kExists, std::string(name), "the name is taken");
  if (Result<> fine = check_claim(name, pid); !fine) {  // it ended in between
    registry_.erase(name, pid);
    return fine;
  }
  post(pid, make_claim(EnvelopeKind::kClaim, {Claim::Kind::kName, std::string(name)}));
  return {};
}

bool Runtime::unregister_name(std::string_view name) {
  const Pid pid = registry_.erase(name);
  if (!pid) return false;
  post(pid, make_claim(EnvelopeKind::kDisclaim, {Claim::Kind::kName, std::string(name)}));
  return true;
}

bool Runtime::send(std::string_view name, Message message) noexcept {
  const Pid pid = whereis(name);
  if (pid) send(pid, std::move(message));
  return static_cast<bool>(pid);
}

Result<> Runtime::join(std::string_view group, Pid pid) {
  if (Result<> fine = check_claim(group, pid); !fine) return fine;
  const auto tell = [&](Pid watcher) { send(watcher, Message::of(GroupChange{std::string(group), pid, true})); };
  if (!groups_.join(group, pid, tell)) {
    return fail(ErrorCode::kExists, std::string(group), "the process is in the group already");
  }
  post(pid, make_claim(EnvelopeKind::kClaim, {Claim::Kind::kGroup, std::string(group)}));
  return {};
}

bool Runtime::leave_group(std::string_view group, Pid pid) noexcept {
  return groups_.leave(group, pid,
                       [&](Pid watcher) { send(watcher, Message::of(GroupChange{std::string(group), pid, false})); });
}

bool Runtime::leave(std::string_view group, Pid pid) {
  if (!leave_group(group, pid)) return false;
  post(pid, make_claim(EnvelopeKind::kDisclaim, {Claim::Kind::kGroup, std::string(group)}));
  return true;
}

std::size_t Runtime::broadcast(std::string_view group, std::span<const std::byte> bytes) {
  const Groups::Members members = groups_.members(group);
  if (!members) return 0;
  for (const Pid pid : *members) send(pid, Message::of_bytes(bytes));
  return members->size();
}

std::size_t Runtime::exit_group(std::string_view group, const ExitReason& reason) {
  const Groups::Members members = groups_.members(group);
  if (!members) return 0;
  for (const Pid pid : *members) exit(pid, reason);
  return members->size();
}

Groups::Members Runtime::watch_group(std::string_view group, Pid watcher) {
  if (!Registry::is_valid(group) || !is_alive(watcher)) return nullptr;
  Groups::Members members = groups_.watch(group, watcher);
  post(watcher, make_claim(EnvelopeKind::kClaim, {Claim::Kind::kGroupWatch, std::string(group)}));
  return members;
}

void Runtime::unwatch_group(std::string_view group, Pid watcher) {
  groups_.unwatch(group, watcher);
  post(watcher, make_claim(EnvelopeKind::kDisclaim, {Claim::Kind::kGroupWatch, std::string(group)}));
}

}  // namespace rusm::otp
