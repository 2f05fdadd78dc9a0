// Links, monitors and exit signals: what a process does on its own side, and what a signal does when it arrives.
//
// A link is an entry on both sides, an unlink a signal with an id that the peer acknowledges, as in OTP. While an
// unlink is under way the entry stays with its id: link exits and link requests that crossed it are ignored, and a new
// link() makes it an ordinary link again.
#include <utility>
#include <vector>

#include "otp/process.h"
#include "otp/runtime.h"

namespace rusm::otp {

void Process::link(Pid to) {
  if (to == pid()) return;
  std::uint64_t* unlinking = detail().links.find(to);
  if (unlinking != nullptr && *unlinking == 0) return;
  detail().links.put(to, 0);
  meet(to);
  charge();
  runtime_->post(to, make_signal(EnvelopeKind::kLink, pid(), 0));
}

void Process::unlink(Pid to) {
  if (!detail_) return;
  std::uint64_t* unlinking = detail_->links.find(to);
  if (unlinking == nullptr || *unlinking != 0) return;
  *unlinking = ++detail_->unlink_ids;
  charge();
  runtime_->post(to, make_signal(EnvelopeKind::kUnlink, pid(), *unlinking));
}

bool Process::is_linked(Pid peer) const noexcept {
  const std::uint64_t* unlinking = detail_ ? detail_->links.find(peer) : nullptr;
  return unlinking != nullptr && *unlinking == 0;
}

std::uint32_t Process::link_count() const noexcept {
  std::uint32_t count = 0;
  if (detail_) {
    for (const auto& [peer, unlinking] : detail_->links) count += unlinking == 0 ? 1 : 0;
  }
  return count;
}

std::uint32_t Process::monitor_count() const noexcept {
  return detail_ ? static_cast<std::uint32_t>(detail_->watching.size()) : 0;
}

void Process::drop_link_exits(Pid peer) noexcept {
  const auto is_one = [peer](const Envelope* at) { return at->kind == EnvelopeKind::kLinkExit && at->from == peer; };
  Envelope* previous = nullptr;
  for (Envelope* at = mailbox_head_; at != nullptr;) {
    Envelope* const next = at->next;
    if (is_one(at)) {
      take(previous, at).reset();
    } else {
      previous = at;
    }
    at = next;
  }
  previous = nullptr;
  for (Envelope* at = detail_ ? detail_->stash_head : nullptr; at != nullptr;) {
    Envelope* const next = at->next;
    if (is_one(at)) {
      drop_stashed(previous, at);
    } else {
      previous = at;
    }
    at = next;
  }
}

void Process::drop_stashed(Envelope* previous, Envelope* at) noexcept {
  (previous == nullptr ? detail_->stash_head : previous->next) = at->next;
  if (detail_->stash_tail == at) detail_->stash_tail = previous;
  Envelope::destroy(at);
}

Reference Process::monitor(Pid target) {
  const Reference reference = runtime_->make_reference();
  detail().watching.put(reference, target);
  meet(target);
  charge();
  runtime_->post(target, make_signal(EnvelopeKind::kMonitor, pid(), reference));
  return reference;
}

Reference Process::monitor(std::string_view name) {
  const Pid target = runtime_->whereis(name);
  const Reference reference = runtime_->make_reference();
  ProcessDetail& ours = detail();
  ours.watching.put(reference, target);
  if (!ours.watched_names) ours.watched_names = std::make_unique<SmallMap<Reference, std::string>>();
  ours.watched_names->put(reference, std::string(name));
  charge();
  runtime_->post(target, make_signal(EnvelopeKind::kMonitor, pid(), reference));
  return reference;
}

void Process::demonitor(Reference reference) {
  if (!detail_) return;
  if (detail_->watched_names) detail_->watched_names->erase(reference);
  if (const Pid* target = detail_->watching.find(reference)) {
    const Pid to = *target;
    detail_->watching.erase(reference);
    charge();
    runtime_->post(to, make_signal(EnvelopeKind::kDemonitor, pid(), reference));
    return;
  }
  // It has fired: the DOWN may be in the mailbox, or put aside.
  const auto find_down = [reference](Envelope* at, Envelope** previous) {
    while (at != nullptr && !(at->kind == EnvelopeKind::kDown && at->reference == reference)) {
      *previous = std::exchange(at, at->next);
    }
    return at;
  };
  Envelope* previous = nullptr;
  if (Envelope* down = find_down(mailbox_head_, &previous)) {
    take(previous, down).reset();
  } else if (previous = nullptr; (down = find_down(detail_->stash_head, &previous)) != nullptr) {
    drop_stashed(previous, down);
  }
}

void Process::exit(Pid target, ExitReason reason) noexcept {
  charge();
  runtime_->post(target, make_exit_signal(EnvelopeKind::kExit, pid(), 0, std::move(reason)));
}

// ── Requests ───────────────────────────────────────────────────────────────────────────────────────────────────────
//
// A request is a message that the server's side takes for a monitor as well, so that whoever asked hears of the
// server's end. A reply is a signal: it goes to the call that waits for it and never to the mailbox, however long that
// is; when no call of its reference waits any more, it vanishes. A reply by the process that was asked removes the
// monitor on the way (and says so by its sender's pid), any other is followed by a demonitor.

void Process::ask(PendingCall& call, Pid server, Message request) noexcept {
  call.reference = runtime_->make_reference();
  call.server = server;
  ProcessDetail& ours = detail();
  call.next = ours.calls;
  if (call.next != nullptr) call.next->previous = &call;
  ours.calls = &call;
  meet(server);
  EnvelopePtr envelope = std::move(request).release_plain();
  envelope->from = pid();
  envelope->reference = call.reference;
  charge();
  runtime_->post(server, std::move(envelope));
}

void Process::abandon(PendingCall& call) noexcept {
  settle_call(call);
  runtime_->post(call.server, make_signal(EnvelopeKind::kDemonitor, pid(), call.reference));
}

void Process::reply(ReplyTo to, Message answer) noexcept {
  EnvelopePtr envelope = std::move(answer).release();
  envelope->kind = EnvelopeKind::kReply;
  envelope->reference = to.reference;
  const bool ours = detail_ && detail_->watched_by.erase({to.reference, to.caller});
  envelope->from = ours ? pid() : Pid();
  charge();
  runtime_->post(to.caller, std::move(envelope));
}

PendingCall* Process::find_call(Reference reference) noexcept {
  PendingCall* call = detail_ ? detail_->calls : nullptr;
  while (call != nullptr && call->reference != reference) call = call->next;
  return call;
}

void Process::settle_call(PendingCall& call) noexcept {
  (call.previous == nullptr ? detail_->calls : call.previous->next) = call.next;
  if (call.next != nullptr) call.next->previous = call.previous;
  call.next = call.previous = nullptr;
  call.done = true;
}

// ── What a signal does ─────────────────────────────────────────────────────────────────────────────────────────────

void Process::act(EnvelopePtr signal) noexcept {
  const Pid from = signal->from;
  const Reference reference = signal->reference;
  switch (signal->kind) {
    case EnvelopeKind::kExit:
      return on_exit_signal(std::move(signal));
    case EnvelopeKind::kLinkExit:
      return on_link_exit(std::move(signal));
    case EnvelopeKind::kDown:
      // Only a monitor that is still wanted becomes a message.
      if (detail_ && detail_->watching.erase(reference)) {
        append(with_name(std::move(signal)).release());
      } else if (PendingCall* call = find_call(reference)) {
        call->failure = signal->reason();
        settle_call(*call);
      }
      return;
    case EnvelopeKind::kReply:
      if (PendingCall* call = find_call(reference)) {
        if (!from) runtime_->post(call->server, make_signal(EnvelopeKind::kDemonitor, pid(), reference));
        signal->kind = signal->type == nullptr ? EnvelopeKind::kBytes : EnvelopeKind::kValue;
        signal->reference = 0;
        call->reply.emplace(std::move(signal));
        settle_call(*call);
      }
      return;
    case EnvelopeKind::kLink:
      if (detail().links.find(from) == nullptr) detail_->links.put(from, 0);
      meet(from);
      return;
    case EnvelopeKind::kUnlink:
      if (detail_) {
        const std::uint64_t* unlinking = detail_->links.find(from);
        if (unlinking != nullptr && *unlinking == 0) detail_->links.erase(from);
      }
      runtime_->post(from, make_signal(EnvelopeKind::kUnlinkAck, pid(), reference));
      return;
    case EnvelopeKind::kUnlinkAck:
      if (detail_) {
        const std::uint64_t* unlinking = detail_->links.find(from);
        if (unlinking != nullptr && *unlinking == reference) detail_->links.erase(from);
      }
      return;
    case EnvelopeKind::kMonitor:
      watch_us({reference, from});
      return;
    case EnvelopeKind::kNodeDown:
      return on_node_down(static_cast<std::uint32_t>(reference));
    case EnvelopeKind::kDemonitor:
      if (detail_) detail_->watched_by.erase({reference, from});
      return;
    case EnvelopeKind::kClaim: {
      // Overtaken by the end of what it tells of, it would stay for good.
      const Claim& claim = claim_of(*signal);
      if (runtime_->holds(pid(), claim)) detail().claims.put(claim, {});
      return;
    }
    case EnvelopeKind::kDisclaim: {
      const Claim& claim = claim_of(*signal);
      if (detail_ && !runtime_->holds(pid(), claim)) detail_->claims.erase(claim);
      return;
    }
    case EnvelopeKind::kLimit:
      return end(signal->reason());
    case EnvelopeKind::kBytes:
    case EnvelopeKind::kValue:
      return;  // not signals
  }
}

// A DOWN of a monitor by name tells that name.
EnvelopePtr Process::with_name(EnvelopePtr down) noexcept {
  std::string* name = detail_->watched_names ? detail_->watched_names->find(down->reference) : nullptr;
  if (name == nullptr) return down;
  EnvelopePtr named(Envelope::create(EnvelopeKind::kDown, sizeof(NamedReason)));
  named->from = down->from;
  named->reference = down->reference;
  new (named->payload()) NamedReason{down->reason(), std::move(*name)};
  named->type = &kPayloadType<NamedReason>;
  detail_->watched_names->erase(down->reference);
  return named;
}

void Process::watch_us(Watch watch) {
  detail().watched_by.put(watch, {});
  meet(watch.watcher);
}

void Process::meet(Pid other) {
  const std::uint32_t node = other.node();
  if (node == runtime_->node() || !other || detail().nodes.find(node) != nullptr) return;
  detail_->nodes.put(node, {});
  runtime_->note_interest(pid(), node);
}

// All that was between us and processes of that node is over. Should the node be there again already, what came into
// being since then ends as well, and on both sides: a link is given up as unlink() does, whose entry stays until the
// other side acknowledges, or is found to be gone.
void Process::on_node_down(std::uint32_t node) noexcept {
  if (!detail_) return;
  constexpr auto kLost = ExitReason::Kind::kNoConnection;
  std::vector<std::pair<Pid, std::uint64_t>> links;
  for (const auto& [peer, unlinking] : detail_->links) {
    if (peer.node() == node) links.emplace_back(peer, unlinking);
  }
  for (const auto& [peer, unlinking] : links) {
    const std::uint64_t id = unlinking != 0 ? unlinking : ++detail_->unlink_ids;
    detail_->links.put(peer, id);
    runtime_->post(peer, make_signal(EnvelopeKind::kUnlink, pid(), id));
    if (unlinking != 0) continue;
    if (trap_exit_) {
      append(make_exit_signal(EnvelopeKind::kLinkExit, peer, 0, kLost).release());
    } else {
      end(kLost);
    }
  }
  std::vector<std::pair<Reference, Pid>> monitors;
  for (const auto& [reference, target] : detail_->watching) {
    if (target.node() == node && target) monitors.emplace_back(reference, target);
  }
  for (PendingCall* call = detail_->calls; call != nullptr; call = call->next) {
    if (call->server.node() == node) monitors.emplace_back(call->reference, call->server);
  }
  for (const auto& [reference, target] : monitors) {
    runtime_->post(target, make_signal(EnvelopeKind::kDemonitor, pid(), reference));
    act(make_exit_signal(EnvelopeKind::kDown, target, reference, kLost));
  }
  std::vector<Watch> watchers;
  for (const auto& [watch, none] : detail_->watched_by) {
    if (watch.watcher.node() == node) watchers.push_back(watch);
  }
  for (const Watch& watch : watchers) detail_->watched_by.erase(watch);
}

void Process::on_exit_signal(EnvelopePtr signal) noexcept {
  const ExitReason& reason = signal->reason();
  if (reason.kind() == ExitReason::Kind::kKill) return end(ExitReason::Kind::kKilled);
  if (trap_exit_) {
    append(signal.release());
  } else if (!reason.is_normal() || signal->from == pid()) {
    end(reason);
  }
}

void Process::on_link_exit(EnvelopePtr signal) noexcept {
  const std::uint64_t* unlinking = detail_ ? detail_->links.find(signal->from) : nullptr;
  if (unlinking == nullptr) return;
  const bool wanted = *unlinking == 0;
  detail_->links.erase(signal->from);
  if (!wanted) return;
  if (trap_exit_) {
    append(signal.release());
  } else if (!signal->reason().is_normal()) {
    end(signal->reason());
  }
}

}  // namespace rusm::otp
