#include "wasm/capability_order.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

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

// Without processes_max: what a child starts counts in its parent's family.
std::optional<std::string> excess_of_actor_limits(const ActorLimits& child, const ActorLimits& parent) {
  if (child.mailbox_messages_max > parent.mailbox_messages_max || child.mailbox_bytes_max > parent.mailbox_bytes_max) {
    return "have a larger mailbox";
  }
  if (child.message_bytes_max > parent.message_bytes_max) return "send longer messages";
  if (child.timers_max > parent.timers_max || child.timer_bytes_max > parent.timer_bytes_max) {
    return "have more timers";
  }
  if (child.streams_max > parent.streams_max || child.chunk_bytes_max > parent.chunk_bytes_max) {
    return "have more streams, or longer chunks";
  }
  if (child.names_max > parent.names_max) return "have more names";
  if (child.monitors_max > parent.monitors_max) return "monitor more processes";
  if (child.children_max > parent.children_max) return "supervise more children";
  if (child.keys_max > parent.keys_max) return "list more keys";
  return std::nullopt;
}

}  // namespace

std::optional<std::string> excess(const Capabilities& child, const Capabilities& parent) {
  if (std::optional<std::string> right = excess_of_rights(child, parent)) return right;
  if (child.memory_bytes_max > parent.memory_bytes_max) return "use more memory";
  if (child.table_elements_max > parent.table_elements_max) return "use more of tables";
  if (child.cpu_max > parent.cpu_max) return "use more CPU time";
  if (child.wall_max > parent.wall_max) return "live longer";
  if (child.http_requests_max > parent.http_requests_max) return "send more requests at once";
  if (child.hostcall_bytes_max > parent.hostcall_bytes_max) return "pass more bytes in a call";
  if (child.resources_max > parent.resources_max) return "hold more resources";
  if (child.http_fields_bytes_max > parent.http_fields_bytes_max) return "hold longer header fields";
  if (child.random_bytes_max > parent.random_bytes_max) return "take more random bytes in a call";
  if (child.log_bytes_max > parent.log_bytes_max || child.log_bytes_per_second > parent.log_bytes_per_second) {
    return "write more to the log";
  }
  if (child.http_timeout_max > parent.http_timeout_max) return "wait longer for answers";
  return excess_of_actor_limits(child.actor_limits, parent.actor_limits);
}

}  // namespace rusm::wasm
