// What the runtime knows of other nodes: which of its processes have to hear of their loss.
#include <utility>
#include <vector>

#include "otp/runtime.h"

namespace rusm::otp {

void Runtime::note_interest(Pid pid, std::uint32_t node) {
  const std::scoped_lock lock(nodes_mutex_);
  interested_[node].insert(pid);
}

void Runtime::drop_interest(Pid pid, std::uint32_t node) noexcept {
  const std::scoped_lock lock(nodes_mutex_);
  const auto it = interested_.find(node);
  if (it == interested_.end()) return;
  it->second.erase(pid);
  if (it->second.empty()) interested_.erase(it);
}

void Runtime::node_up(std::uint32_t node) {
  tell_node_change(node, true);
}

void Runtime::node_down(std::uint32_t node) {
  std::vector<Pid> concerned;
  {
    const std::scoped_lock lock(nodes_mutex_);
    if (const auto it = interested_.find(node); it != interested_.end()) {
      concerned.assign(it->second.begin(), it->second.end());
    }
  }
  for (const Pid pid : concerned) post(pid, make_signal(EnvelopeKind::kNodeDown, Pid(), node));
  tell_node_change(node, false);
}

void Runtime::watch_nodes(Pid watcher) {
  if (!is_alive(watcher)) return;
  {
    const std::scoped_lock lock(nodes_mutex_);
    node_watchers_.insert(watcher);
  }
  post(watcher, make_claim(EnvelopeKind::kClaim, {Claim::Kind::kNodeWatch, std::string()}));
}

void Runtime::tell_node_change(std::uint32_t node, bool up) {
  if (parts_.hook != nullptr) parts_.hook->on_node(node, up);
  const std::scoped_lock lock(nodes_mutex_);
  for (const Pid pid : node_watchers_) send(pid, Message::of(NodeChange{node, up}));
}

}  // namespace rusm::otp
