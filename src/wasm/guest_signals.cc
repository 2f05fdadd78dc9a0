// GuestActor's part of links, monitors and exit signals, and what it tells a guest of itself: rusm:runtime@0.2.0.
#include <fmt/format.h>

#include "otp/runtime.h"
#include "wasm/bridge.h"
#include "wasm/guest_actor.h"

namespace rusm::wasm {
namespace {

using Kind = otp::ExitReason::Kind;

// How far up a process's parents are looked for.
constexpr int kGenerationsMax = 64;
// Exit signals to processes that live, from a guest without the right to control them: one that traps them and does
// not receive them would hold them all.
constexpr std::uint32_t kSignalsMax = 1000;
// Of the texts of such a signal.
constexpr std::size_t kSignalTextBytesMax = 256;

rusm_reason_kind raw_kind(Kind kind) noexcept {
  switch (kind) {
    case Kind::kNormal:
      return RUSM_REASON_KIND_NORMAL;
    case Kind::kShutdown:
      return RUSM_REASON_KIND_SHUTDOWN;
    case Kind::kKilled:
      return RUSM_REASON_KIND_KILLED;
    case Kind::kNoProc:
      return RUSM_REASON_KIND_NOPROC;
    case Kind::kNoConnection:
      return RUSM_REASON_KIND_NOCONNECTION;
    case Kind::kCrashed:
      return RUSM_REASON_KIND_CRASHED;
    case Kind::kTimeout:
      return RUSM_REASON_KIND_TIMEOUT;
    case Kind::kLimit:
      return RUSM_REASON_KIND_LIMIT;
    case Kind::kOther:
      return RUSM_REASON_KIND_OTHER;
    case Kind::kKill:
      break;
  }
  return RUSM_REASON_KIND_KILL;
}

otp::ExitReason own_words(const rusm_reason& reason, std::size_t bytes_max) {
  std::string what(cut(text_of(reason.what), bytes_max));
  std::string text(cut(text_of(reason.text), bytes_max));
  if (reason.kind == RUSM_REASON_KIND_CRASHED) return otp::ExitReason::crashed(std::move(what), std::move(text));
  if (reason.kind == RUSM_REASON_KIND_LIMIT) return otp::ExitReason::limit(std::move(what), std::move(text));
  return otp::ExitReason::other(std::move(text));
}

std::uint64_t span_or_none(Nanoseconds span) noexcept {
  return span == kNever ? UINT64_MAX : static_cast<std::uint64_t>(span);
}

rusm_limits limits_of(const Capabilities& capabilities) noexcept {
  const ActorLimits& limits = capabilities.actor_limits;
  return {.memory_bytes = capabilities.memory_bytes_max,
          .cpu_ns = span_or_none(capabilities.cpu_max),
          .lifetime_ns = span_or_none(capabilities.wall_max),
          .mailbox_bytes = limits.mailbox_bytes_max,
          .message_bytes = limits.message_bytes_max,
          .timer_bytes = limits.timer_bytes_max,
          .chunk_bytes = limits.chunk_bytes_max,
          .mailbox_messages = limits.mailbox_messages_max,
          .timers = limits.timers_max,
          .streams = limits.streams_max,
          .names = limits.names_max,
          .monitors = limits.monitors_max,
          .children = limits.children_max,
          .keys = limits.keys_max,
          .processes = limits.processes_max};
}

}  // namespace

rusm_reason to_reason(const otp::ExitReason& reason) noexcept {
  return {.kind = raw_kind(reason.kind()), .what = to_bytes(reason.crash_kind()), .text = to_bytes(reason.text())};
}

otp::ExitReason from_reason(const rusm_reason& reason, std::size_t bytes_max) {
  switch (reason.kind) {
    case RUSM_REASON_KIND_NORMAL:
      return {};
    case RUSM_REASON_KIND_SHUTDOWN:
      return Kind::kShutdown;
    case RUSM_REASON_KIND_KILLED:
      return Kind::kKilled;
    case RUSM_REASON_KIND_NOPROC:
      return Kind::kNoProc;
    case RUSM_REASON_KIND_NOCONNECTION:
      return Kind::kNoConnection;
    case RUSM_REASON_KIND_TIMEOUT:
      return Kind::kTimeout;
    case RUSM_REASON_KIND_KILL:
      return Kind::kKill;
    default:
      return own_words(reason, bytes_max);
  }
}

// ── Whom a guest may end ─────────────────────────────────────────────────────────────────────────────────────────────

// Whether this process started `target`, or one that started it did, as long as all between them live.
bool GuestActor::is_descendant(otp::Pid target) const noexcept {
  for (int i = 0; i < kGenerationsMax && target; ++i) {
    const std::optional<otp::ProcessInfo> info = runtime_.info(target);
    if (!info) return false;
    if (info->parent == pid_) return true;
    target = info->parent;
  }
  return false;
}

// By a link or an exit signal. A process of this node that is gone harms nobody.
bool GuestActor::may_end(otp::Pid target) const noexcept {
  if (rights().process_control || is_self(target)) return true;
  if (target.node() == runtime_.node() && !runtime_.is_alive(target)) return true;
  return is_descendant(target);
}

// Each is one until what it brings was received.
bool GuestActor::has_monitor_room() {
  const auto is_full = [&] { return more().monitors.size() + more_->links.size() >= limits().monitors_max; };
  if (is_full()) forget_ended_links();
  return !is_full();
}

// Nobody hears of a peer's normal end who does not trap exits.
void GuestActor::forget_ended_links() {
  (void)self_->drain();
  boost::unordered_flat_set<otp::Pid, std::hash<otp::Pid>> waiting;
  for (const otp::Envelope* at = self_->mailbox_head(); at != nullptr; at = at->next) {
    if (at->kind == otp::EnvelopeKind::kLinkExit) waiting.insert(at->from);
  }
  boost::unordered::erase_if(more_->links,
                             [&](otp::Pid peer) { return !self_->is_linked(peer) && !waiting.contains(peer); });
}

// Exit signals take no room in the mailbox. Each child may send some: who starts more has to have received them.
rusm_call GuestActor::hears_too_much() {
  if (!self_->traps_exit()) return RUSM_CALL_OK;
  (void)self_->drain();
  std::uint32_t count = 0;
  for (const otp::Envelope* at = self_->mailbox_head(); at != nullptr; at = at->next) {
    if (++count > limits().mailbox_messages_max) {
      return limit("mailbox",
                   fmt::format("more than {} messages and signals are in the mailbox", limits().mailbox_messages_max));
    }
  }
  return RUSM_CALL_OK;
}

rusm_call GuestActor::watch(otp::Pid target, std::uint64_t* monitor) noexcept {
  if (!rights().spawn && !rights().process_control) {
    return refuse(fmt::format("monitor denied: {} needs allow-spawn or allow-process-control", program_.name()));
  }
  if (!has_monitor_room()) return monitors_are_full();
  *monitor = self_->monitor(target);
  more().monitors.insert(*monitor);
  return RUSM_CALL_OK;
}

rusm_call GuestActor::monitors_are_full() {
  return limit("monitors",
               fmt::format("{} processes are monitored or linked, and no more are allowed", limits().monitors_max));
}

rusm_call GuestActor::demonitor(std::uint64_t monitor) noexcept {
  if (!more_ || more_->monitors.erase(monitor) == 0) return RUSM_CALL_NONE;
  (void)self_->drain();
  self_->demonitor(monitor);
  return RUSM_CALL_OK;
}

rusm_call GuestActor::link(otp::Pid target) noexcept {
  if (is_self(target) || self_->is_linked(target)) return RUSM_CALL_OK;
  if (!may_end(target)) {
    return refuse(
        fmt::format("link denied: {} needs allow-process-control for what it did not start: its end would "
                    "be that process's end",
                    program_.name()));
  }
  // One link brings one EXIT: without this a process that is gone could be linked to again and again.
  if (more().links.contains(target)) forget_ended_links();
  if (more_->links.contains(target)) {
    return refuse(fmt::format("link refused: the end of process {} has not been received", target.to_string()));
  }
  if (!has_monitor_room()) return monitors_are_full();
  more().links.insert(target);
  self_->link(target);
  return RUSM_CALL_OK;
}

// Whoever started it keeps the link that it made: a child that its supervisor does not know would outlive it.
void GuestActor::unlink(otp::Pid target) noexcept {
  if (target == self_->parent() && (!more_ || !more_->links.contains(target))) return;
  (void)self_->drain();
  self_->unlink(target);
  self_->drop_link_exits(target);
  if (more_) more_->links.erase(target);
}

bool GuestActor::trap_exit(bool on) noexcept {
  const bool before = self_->traps_exit();
  self_->trap_exit(on);
  return before;
}

rusm_call GuestActor::exit(const rusm_reason& reason) noexcept {
  otp::ExitReason why = from_reason(reason, otp::ExitReason::kShortBytes);
  if (why.kind() == Kind::kKill) why = Kind::kKilled;
  more().ended_itself = true;
  return end(std::move(why));
}

bool GuestActor::has_signal_room(otp::Pid target) {
  if (rights().process_control || !runtime_.is_alive(target)) return true;
  More& more = this->more();
  if (more.signals >= kSignalsMax) {
    boost::unordered::erase_if(more.signalled, [&](const auto& entry) {
      if (runtime_.is_alive(entry.first)) return false;
      more.signals -= entry.second;
      return true;
    });
  }
  if (more.signals >= kSignalsMax) return false;
  ++more.signalled[target];
  ++more.signals;
  return true;
}

rusm_call GuestActor::send_exit(otp::Pid target, const rusm_reason& reason) noexcept {
  const otp::ExitReason why = from_reason(reason, kSignalTextBytesMax);
  if (is_self(target) && (!self_->traps_exit() || why.kind() == Kind::kKill)) return exit(reason);
  // Along a link only what the other can trap.
  const bool may = may_end(target);
  if (!may && (!self_->is_linked(target) || why.kind() == Kind::kKill)) {
    return refuse(
        fmt::format("exit denied: {} needs allow-process-control for what it did not start and is not "
                    "linked to",
                    program_.name()));
  }
  if (target.node() == runtime_.node() && !runtime_.is_alive(target)) return RUSM_CALL_OK;
  if (why.kind() != Kind::kKill && !has_signal_room(target)) {
    return refuse(fmt::format("exit denied: {} exit signals went to processes that still live", kSignalsMax));
  }
  self_->exit(target, why);
  return RUSM_CALL_OK;
}

// ── What it is ───────────────────────────────────────────────────────────────────────────────────────────────────────

std::span<const std::byte> GuestActor::argument() const noexcept {
  return more_ ? std::span<const std::byte>(more_->argument) : std::span<const std::byte>();
}

void GuestActor::self_info(rusm_self_info* info) noexcept {
  const otp::ProcessInfo known = runtime_.info(pid_).value_or(otp::ProcessInfo{});
  const std::span<const rusm_bytes> names = show_names(pid_);
  more_->label = known.label;
  info->pid = {.id = pid_.raw(), .incarnation = 0};
  info->has_parent = static_cast<bool>(known.parent);
  info->parent = {.id = known.parent.raw(), .incarnation = 0};
  info->component = to_bytes(program_.name());
  info->has_label = !known.label.empty();
  info->label = to_bytes(more_->label);
  info->names = names.data();
  info->name_count = names.size();
  info->links = self_->link_count();
  info->monitors = self_->monitor_count();
  info->trap_exit = self_->traps_exit();
  info->mailbox_depth = known.mailbox_length;
  info->mailbox_bytes = known.mailbox_bytes;
  info->limits = limits_of(program_.capabilities());
}

}  // namespace rusm::wasm
