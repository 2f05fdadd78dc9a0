#include "wasm/actor_rights.h"

#include <algorithm>

#include "wasm/capability_limits.h"

namespace rusm::wasm {
namespace {

// The names that are in both, where an empty list means every name. `any`: whether there is one.
std::vector<std::string> common(const std::vector<std::string>& parent, const std::vector<std::string>& child,
                                bool* any) {
  *any = true;
  if (parent.empty()) return child;
  if (child.empty()) return parent;
  std::vector<std::string> both;
  for (const std::string& name : child) {
    if (std::ranges::find(parent, name) != parent.end()) both.push_back(name);
  }
  *any = !both.empty();
  return both;
}

}  // namespace

bool ActorRights::may_spawn(std::string_view component) const noexcept {
  return spawn && (spawn_only.empty() || std::ranges::find(spawn_only, component) != spawn_only.end());
}

bool ActorRights::may_store(std::string_view bucket) const noexcept {
  return storage && (bucket_only.empty() || std::ranges::find(bucket_only, bucket) != bucket_only.end());
}

ActorRights ActorRights::intersect(const ActorRights& parent, const ActorRights& child) {
  ActorRights both;
  both.spawn_only = common(parent.spawn_only, child.spawn_only, &both.spawn);
  both.spawn &= parent.spawn && child.spawn;
  both.process_control = parent.process_control && child.process_control;
  both.bucket_only = common(parent.bucket_only, child.bucket_only, &both.storage);
  both.storage &= parent.storage && child.storage;
  return both;
}

ActorLimits ActorLimits::intersect(const ActorLimits& parent, const ActorLimits& child) {
  ActorLimits both;
  for_each_actor_limit([&](auto limit, const char*) { both.*limit = std::min(parent.*limit, child.*limit); });
  return both;
}

}  // namespace rusm::wasm
