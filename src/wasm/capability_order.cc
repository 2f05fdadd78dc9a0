#include "wasm/capability_order.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "wasm/capability_limits.h"

namespace rusm::wasm {
namespace {

template <class T>
bool is_part(const std::vector<T>& part, const std::vector<T>& whole) {
  return std::ranges::all_of(part, [&](const T& item) { return std::ranges::find(whole, item) != whole.end(); });
}

// Of two lists of names, where an empty one means every name.
bool is_narrower(const std::vector<std::string>& narrow, const std::vector<std::string>& wide) {
  return wide.empty() || (!narrow.empty() && is_part(narrow, wide));
}

// Each policy of the parent has one of the child's that names nothing else.
bool is_narrower_network(const std::vector<NetworkPolicy>& child, const std::vector<NetworkPolicy>& parent) {
  if (child.empty()) return true;
  return !parent.empty() && std::ranges::all_of(parent, [&](const NetworkPolicy& wide) {
    return std::ranges::any_of(child, [&](const NetworkPolicy& narrow) {
      return is_part(narrow.reach, wide.reach) && is_part(narrow.listen, wide.listen);
    });
  });
}

bool is_granted(const Preopen& folder, const std::vector<Preopen>& granted) {
  return std::ranges::any_of(granted, [&](const Preopen& other) {
    return other.host_path == folder.host_path && (folder.read_only || !other.read_only);
  });
}

std::optional<std::string> excess_of_rights(const Capabilities& child, const Capabilities& parent) {
  const ActorRights& rights = child.actor;
  const ActorRights& granted = parent.actor;
  if (rights.spawn && (!granted.spawn || !is_narrower(rights.spawn_only, granted.spawn_only))) {
    return "start other components";
  }
  if (rights.process_control && !granted.process_control) return "control other processes";
  if (rights.storage && (!granted.storage || !is_narrower(rights.bucket_only, granted.bucket_only))) {
    return "use other buckets of the store";
  }
  if (!is_narrower_network(child.network, parent.network)) return "use the network";
  if (child.stdio > parent.stdio) return "write to standard output";
  for (const auto& [name, value] : child.env) {
    if (std::ranges::find(parent.env, std::pair(name, value)) == parent.env.end()) {
      return fmt::format("read the environment variable {}", name);
    }
  }
  for (const Preopen& folder : child.preopens) {
    if (!is_granted(folder, parent.preopens)) return fmt::format("open the folder {}", folder.host_path);
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> excess(const Capabilities& child, const Capabilities& parent) {
  if (std::optional<std::string> right = excess_of_rights(child, parent)) return right;
  std::optional<std::string> found;
  for_each_limit([&](auto limit, const char* more) {
    if (!found && child.*limit > parent.*limit) found = more;
  });
  for_each_actor_limit([&](auto limit, const char* more) {
    if (!found && more != nullptr && child.actor_limits.*limit > parent.actor_limits.*limit) found = more;
  });
  return found;
}

}  // namespace rusm::wasm
