#include "sim/model.h"

#include <algorithm>

namespace rusm::otp::sim {
namespace {

using Kind = EnvelopeKind;
using Why = ExitReason::Kind;

std::string_view name_of(Kind kind) {
  switch (kind) {
    case Kind::kBytes:
    case Kind::kValue:
      return "message";
    case Kind::kExit:
      return "EXIT";
    case Kind::kLinkExit:
      return "EXIT of a link";
    case Kind::kDown:
      return "DOWN";
    case Kind::kReply:
      return "reply";
    case Kind::kLink:
      return "link";
    case Kind::kUnlink:
      return "unlink";
    case Kind::kUnlinkAck:
      return "unlink-ack";
    case Kind::kMonitor:
      return "monitor";
    case Kind::kDemonitor:
      return "demonitor";
    default:
      return "other";
  }
}

bool has_reason(Kind kind) {
  return kind == Kind::kExit || kind == Kind::kLinkExit || kind == Kind::kDown;
}

Sent sent_of(const Envelope& envelope) {
  Sent sent{.kind = envelope.kind, .from = envelope.from, .reference = envelope.reference};
  if (has_reason(envelope.kind)) sent.reason = envelope.reason();
  if (envelope.kind == Kind::kBytes || envelope.kind == Kind::kReply) {
    sent.text.assign(reinterpret_cast<const char*>(envelope.payload()), envelope.bytes);
  }
  return sent;
}

// An unlink's id is the business of the two.
bool same(const Sent& a, const Sent& b) {
  const bool numbered = a.kind != Kind::kUnlink && a.kind != Kind::kUnlinkAck;
  return a.kind == b.kind && a.from == b.from && (!numbered || a.reference == b.reference) && a.reason == b.reason &&
         (a.kind == Kind::kDown || a.text == b.text);
}

// Where in a queue `wanted` may be taken from: at the front, or among those of the front's group.
template <class Queue, class Wanted>
typename Queue::iterator find_next(Queue& queue, typename Queue::iterator first, const Wanted& wanted) {
  if (first == queue.end()) return first;
  const int group = first->group;
  auto at = first;
  do {
    if (wanted(*at)) return at;
    ++at;
  } while (group != 0 && at != queue.end() && at->group == group);
  return queue.end();
}

}  // namespace

std::string describe(const Sent& sent) {
  std::string text = std::string(name_of(sent.kind)) + " from " + sent.from.to_string();
  if (sent.reference != 0) text += " ref " + std::to_string(sent.reference);
  if (has_reason(sent.kind)) text += " reason " + sent.reason.to_string();
  if (!sent.text.empty()) text += " \"" + sent.text + "\"";
  return text;
}

void Model::fail(const std::string& what) {
  if (error_.empty()) error_ = "event " + std::to_string(events_) + ": " + what;
}

// Who does something is alive, and not about to end.
Model::Process& Model::doing(Pid pid) {
  ++events_;
  Process& process = processes_[pid];
  if (!process.alive) fail(pid.to_string() + " goes on after its end");
  if (process.ends) fail(pid.to_string() + " goes on, and should end: " + process.ends->to_string());
  return process;
}

// ── The way of a signal ──────────────────────────────────────────────────────────────────────────────────────────────

void Model::post(std::uint32_t at, Pid to, Sent sent) {
  if (!to) return reject(at, to, sent, Why::kNoProc);
  if (to.node() == at) return arrive(to, std::move(sent));
  if (!connected_) return reject(at, to, sent, Why::kNoConnection);
  if (!takes_time_) return arrive(to, std::move(sent));
  const int group = sent.group;
  wires_[to.node()].push_back({.to = to, .sent = std::move(sent), .group = group});
}

void Model::arrive(Pid to, Sent sent) {
  Process& process = processes_[to];
  if (!process.alive) return reject(to.node(), to, sent, Why::kNoProc);
  process.inbox.push_back(std::move(sent));
}

// Nobody is there: who asked for something hears of it.
void Model::reject(std::uint32_t at, Pid to, const Sent& sent, ExitReason::Kind why) {
  const bool request = sent.kind == Kind::kBytes && sent.reference != 0;
  if (sent.kind == Kind::kLink) {
    post(at, sent.from, {.kind = Kind::kLinkExit, .from = to, .reason = why, .group = sent.group});
  } else if (sent.kind == Kind::kMonitor || request) {
    post(at, sent.from,
         {.kind = Kind::kDown, .from = to, .reference = sent.reference, .reason = why, .group = sent.group});
  } else if (sent.kind == Kind::kUnlink) {
    post(at, sent.from, {.kind = Kind::kUnlinkAck, .from = to, .reference = sent.reference, .group = sent.group});
  }
}

void Model::delivered(Pid to, const Envelope& envelope) {
  ++events_;
  auto& wire = wires_[to.node()];
  const Sent real = sent_of(envelope);
  const auto at =
      find_next(wire, wire.begin(), [&](const OnTheWire& next) { return next.to == to && same(next.sent, real); });
  if (at == wire.end()) {
    return fail("over the wire comes to " + to.to_string() + ": " + describe(real) + "; next should be: " +
                (wire.empty() ? "nothing" : describe(wire.front().sent) + " to " + wire.front().to.to_string()));
  }
  const Sent sent = at->sent;
  wire.erase(at);
  arrive(to, sent);
}

void Model::arrived(Pid pid, const Envelope& envelope) {
  ++events_;
  if (envelope.kind == Kind::kClaim || envelope.kind == Kind::kDisclaim) return;  // the registry's own
  if (envelope.kind == Kind::kNodeDown) return lose_node(pid, static_cast<std::uint32_t>(envelope.reference));
  Process& process = processes_[pid];
  const Sent real = sent_of(envelope);
  const auto at = find_next(process.inbox, process.inbox.begin(), [&](const Sent& sent) { return same(sent, real); });
  if (at == process.inbox.end()) {
    return fail(pid.to_string() + " is reached by: " + describe(real) +
                "; next should be: " + (process.inbox.empty() ? "nothing" : describe(process.inbox.front())));
  }
  Sent sent = *at;
  sent.group = 0;
  process.inbox.erase(at);
  act(pid, sent);
}

// ── What a signal does ───────────────────────────────────────────────────────────────────────────────────────────────

void Model::act(Pid pid, const Sent& sent) {
  Process& process = processes_[pid];
  const auto link = process.links.find(sent.from);
  switch (sent.kind) {
    case Kind::kBytes:
      if (sent.reference != 0) process.watched_by.emplace(sent.reference, sent.from);
      process.mailbox.push_back(sent);
      return;
    case Kind::kExit:
      return act_exit(process, pid, sent);
    case Kind::kLinkExit:
      return act_link_exit(process, sent);
    case Kind::kDown:
      return act_down(process, sent);
    case Kind::kReply:
      return act_reply(process, pid, sent);
    case Kind::kLink:
      process.links.emplace(sent.from, 0);
      return;
    case Kind::kUnlink:
      if (link != process.links.end() && link->second == 0) process.links.erase(link);
      return post(pid.node(), sent.from, {.kind = Kind::kUnlinkAck, .from = pid, .reference = sent.reference});
    case Kind::kUnlinkAck:
      if (link != process.links.end() && link->second == sent.reference) process.links.erase(link);
      return;
    case Kind::kMonitor:
      process.watched_by.emplace(sent.reference, sent.from);
      return;
    case Kind::kDemonitor:
      process.watched_by.erase({sent.reference, sent.from});
      return;
    default:
      return fail("the model does not know: " + describe(sent));
  }
}

void Model::die(Process& process, ExitReason reason) {
  if (!process.ends) process.ends = std::move(reason);
}

void Model::act_exit(Process& process, Pid pid, const Sent& sent) {
  if (sent.reason == Why::kKill) {
    die(process, Why::kKilled);
  } else if (process.traps) {
    process.mailbox.push_back(sent);
  } else if (!sent.reason.is_normal() || sent.from == pid) {
    die(process, sent.reason);
  }
}

void Model::act_link_exit(Process& process, const Sent& sent) {
  const auto link = process.links.find(sent.from);
  if (link == process.links.end()) return;
  const bool wanted = link->second == 0;
  process.links.erase(link);
  if (!wanted) return;
  if (process.traps) {
    process.mailbox.push_back(sent);
  } else if (!sent.reason.is_normal()) {
    die(process, sent.reason);
  }
}

void Model::act_down(Process& process, const Sent& sent) {
  const auto monitor = process.monitors.find(sent.reference);
  if (monitor != process.monitors.end()) {
    Sent down = sent;
    down.text = monitor->second.second;
    process.monitors.erase(monitor);
    process.mailbox.push_back(std::move(down));
  } else if (process.call && process.call->reference == sent.reference && !process.call->done()) {
    process.call->failure = sent.reason;
  }
}

void Model::act_reply(Process& process, Pid pid, const Sent& sent) {
  if (!process.call || process.call->reference != sent.reference || process.call->done()) return;
  // One that somebody else gave leaves the server's side of the request behind.
  if (!sent.from) {
    post(pid.node(), process.call->server, {.kind = Kind::kDemonitor, .from = pid, .reference = sent.reference});
  }
  process.call->reply = sent.text;
}

void Model::lose_node(Pid pid, std::uint32_t node) {
  Process& process = processes_[pid];
  const int group = ++groups_;
  for (auto& [peer, unlinking] : process.links) {
    if (peer.node() != node) continue;
    const bool wanted = unlinking == 0;
    if (wanted) unlinking = ++process.unlinks;
    post(pid.node(), peer, {.kind = Kind::kUnlink, .from = pid, .reference = unlinking, .group = group});
    if (!wanted) continue;
    if (process.traps) {
      process.mailbox.push_back({.kind = Kind::kLinkExit, .from = peer, .reason = Why::kNoConnection, .group = group});
    } else {
      die(process, Why::kNoConnection);
    }
  }
  std::vector<Sent> downs;
  for (const auto& [reference, target] : process.monitors) {
    if (target.first && target.first.node() == node) {
      downs.push_back({.kind = Kind::kDown,
                       .from = target.first,
                       .reference = reference,
                       .reason = Why::kNoConnection,
                       .group = group});
    }
  }
  if (process.call && !process.call->done() && process.call->server.node() == node) {
    process.call->failure = Why::kNoConnection;
  }
  for (const Sent& down : downs) act_down(process, down);
  std::erase_if(process.watched_by, [node](const auto& watch) { return watch.second.node() == node; });
}

void Model::lost() {
  ++events_;
  connected_ = false;
  wires_.clear();
}

// What was still in the inbox at the end of its process: what changes links and monitors counts.
void Model::put_aside(Process& process, const Sent& leftover) {
  const auto link = process.links.find(leftover.from);
  if (leftover.kind == Kind::kUnlink && link != process.links.end() && link->second == 0) process.links.erase(link);
  if (leftover.kind == Kind::kLinkExit) process.links.erase(leftover.from);
  if (leftover.kind == Kind::kDemonitor) process.watched_by.erase({leftover.reference, leftover.from});
  if (leftover.kind == Kind::kDown) process.monitors.erase(leftover.reference);
}

void Model::ended(Pid pid, const ExitReason& reason) {
  ++events_;
  Process& process = processes_[pid];
  if (!process.alive) fail(pid.to_string() + " ends twice");
  if (!process.ends) {
    fail(pid.to_string() + " ends without a cause: " + reason.to_string());
  } else if (*process.ends != reason) {
    fail(pid.to_string() + " ends " + reason.to_string() + ", and should " + process.ends->to_string());
  }
  process.alive = false;
  std::erase_if(names_, [pid](const auto& name) { return name.second == pid; });
  const int group = ++groups_;
  for (Sent& leftover : process.inbox) {
    put_aside(process, leftover);
    leftover.group = group;
    reject(pid.node(), pid, leftover, Why::kNoProc);
  }
  for (const auto& [reference, target] : process.monitors) {
    post(pid.node(), target.first, {.kind = Kind::kDemonitor, .from = pid, .reference = reference, .group = group});
  }
  for (const auto& [peer, unlinking] : process.links) {
    if (unlinking == 0)
      post(pid.node(), peer, {.kind = Kind::kLinkExit, .from = pid, .reason = reason, .group = group});
  }
  for (const auto& [reference, watcher] : process.watched_by) {
    post(pid.node(), watcher,
         {.kind = Kind::kDown, .from = pid, .reference = reference, .reason = reason, .group = group});
  }
  process.inbox.clear();
  process.mailbox.clear();
}

// ── What processes do ────────────────────────────────────────────────────────────────────────────────────────────────

void Model::spawn_from(Pid parent, Pid pid, bool link, Reference monitor) {
  Process& by = doing(parent);
  Process& child = processes_[pid];
  if (link) {
    by.links[pid] = 0;
    child.links[parent] = 0;
  }
  if (monitor != 0) {
    by.monitors[monitor] = {pid, std::string()};
    child.watched_by.emplace(monitor, parent);
  }
}

void Model::send(Pid from, Pid to, std::string text) {
  doing(from);
  post(from.node(), to, {.kind = Kind::kBytes, .from = {}, .text = std::move(text)});
}

void Model::link(Pid from, Pid to) {
  Process& process = doing(from);
  if (from == to) return;
  const auto link = process.links.find(to);
  if (link != process.links.end() && link->second == 0) return;
  process.links[to] = 0;
  post(from.node(), to, {.kind = Kind::kLink, .from = from});
}

void Model::unlink(Pid from, Pid to) {
  Process& process = doing(from);
  const auto link = process.links.find(to);
  if (link == process.links.end() || link->second != 0) return;
  link->second = ++process.unlinks;
  post(from.node(), to, {.kind = Kind::kUnlink, .from = from, .reference = process.unlinks});
}

void Model::monitor(Pid from, Pid to, Reference reference, std::string name) {
  doing(from).monitors[reference] = {to, std::move(name)};
  post(from.node(), to, {.kind = Kind::kMonitor, .from = from, .reference = reference});
}

void Model::demonitor(Pid pid, Reference reference) {
  Process& process = doing(pid);
  const auto monitor = process.monitors.find(reference);
  if (monitor != process.monitors.end()) {
    const Pid to = monitor->second.first;
    process.monitors.erase(monitor);
    return post(pid.node(), to, {.kind = Kind::kDemonitor, .from = pid, .reference = reference});
  }
  std::erase_if(process.mailbox,
                [reference](const Sent& sent) { return sent.kind == Kind::kDown && sent.reference == reference; });
}

void Model::exit(Pid from, Pid to, ExitReason reason) {
  doing(from);
  post(from.node(), to, {.kind = Kind::kExit, .from = from, .reason = std::move(reason)});
}

void Model::call(Pid from, Pid to, Reference reference, std::string text) {
  doing(from).call = Call{.reference = reference, .server = to};
  post(from.node(), to, {.kind = Kind::kBytes, .from = from, .reference = reference, .text = std::move(text)});
}

void Model::reply(Pid from, ReplyTo to, std::string text) {
  const bool asked = doing(from).watched_by.erase({to.reference, to.caller}) > 0;
  post(from.node(), to.caller,
       {.kind = Kind::kReply, .from = asked ? from : Pid(), .reference = to.reference, .text = std::move(text)});
}

void Model::abandon(Pid pid) {
  Process& process = processes_[pid];
  const Call call = *process.call;
  process.call.reset();
  post(pid.node(), call.server, {.kind = Kind::kDemonitor, .from = pid, .reference = call.reference});
}

void Model::register_name(Pid by, const std::string& name, Pid pid, bool taken) {
  doing(by);
  const bool may = pid.node() == by.node() && processes_[pid].alive && !names_.contains({by.node(), name});
  if (taken != may)
    fail(by.to_string() + " registers \"" + name + "\" for " + pid.to_string() + (may ? " in vain" : ""));
  if (may) names_[{by.node(), name}] = pid;
}

void Model::unregister_name(Pid by, const std::string& name, bool done) {
  doing(by);
  if ((names_.erase({by.node(), name}) > 0) != done) fail(by.to_string() + " unregisters \"" + name + "\"");
}

void Model::look_up(Pid by, const std::string& name, Pid found) {
  doing(by);
  const auto at = names_.find({by.node(), name});
  const Pid expected = at == names_.end() ? Pid() : at->second;
  if (found != expected) {
    fail("\"" + name + "\" is " + expected.to_string() + ", and " + by.to_string() + " finds " + found.to_string());
  }
}

// ── What processes see ───────────────────────────────────────────────────────────────────────────────────────────────

void Model::slept(Pid pid, Nanoseconds now, Nanoseconds deadline) {
  doing(pid);
  if (now < deadline) fail(pid.to_string() + " wakes before its time");
}

void Model::received(Pid pid, const Message* message, const Wanted& wanted, Nanoseconds now, Nanoseconds deadline) {
  Process& process = doing(pid);
  const auto first = std::ranges::find_if(process.mailbox, wanted);
  if (message == nullptr) {
    if (now < deadline) fail(pid.to_string() + " gives up before its deadline");
    const auto there = [&wanted](const Sent& sent) { return !is_signal(sent.kind) && wanted(sent); };
    const auto waiting = std::ranges::find_if(process.inbox, there);
    if (waiting != process.inbox.end()) fail(pid.to_string() + " gives up beside: " + describe(*waiting));
    if (first != process.mailbox.end()) fail(pid.to_string() + " receives nothing, and should: " + describe(*first));
    return;
  }
  Sent real = sent_of(message->envelope());
  real.text = message->is_down() ? std::string(message->name()) : real.text;
  const auto at = find_next(process.mailbox, first, [&](const Sent& sent) {
    return wanted(sent) && same(sent, real) && sent.text == real.text;
  });
  if (at == process.mailbox.end()) {
    return fail(pid.to_string() + " receives: " + describe(real) +
                "; and should: " + (first == process.mailbox.end() ? "nothing" : describe(*first)));
  }
  process.mailbox.erase(at);
}

void Model::answered(Pid pid, const PendingCall& call, Nanoseconds now, Nanoseconds deadline) {
  Process& process = doing(pid);
  if (!process.call) return fail(pid.to_string() + " gets an answer, and asked nothing");
  const Call expected = *process.call;
  if (!call.done) {
    if (expected.done()) fail(pid.to_string() + " sees no answer, and there is one");
    if (now < deadline) fail(pid.to_string() + " gives up its call before the deadline");
    if (!connected_ && expected.server.node() != pid.node())
      fail(pid.to_string() + " is not told that its call is lost");
    return;  // it is abandoned next
  }
  process.call.reset();
  if (call.reply.has_value() != expected.reply.has_value()) {
    fail(pid.to_string() + (expected.reply ? " gets no reply" : " gets a reply that nobody gave"));
  } else if (call.reply ? call.reply->text() != *expected.reply
                        : !expected.failure || call.failure != *expected.failure) {
    fail(pid.to_string() + " gets another answer than was given");
  }
}

std::vector<Reference> Model::references_of(Pid pid) const {
  std::vector<Reference> references;
  for (const auto& [reference, target] : processes_.at(pid).monitors) references.push_back(reference);
  for (const Sent& sent : processes_.at(pid).mailbox) {
    if (sent.kind == Kind::kDown) references.push_back(sent.reference);
  }
  return references;
}

// Nothing is left between the two nodes.
void Model::check_lost(Pid pid, const Process& process) {
  const auto far = [pid](Pid other) { return other && other.node() != pid.node(); };
  const std::string who = pid.to_string();
  for (const auto& [peer, unlinking] : process.links) {
    if (far(peer)) fail(who + " was not told of the loss of " + peer.to_string() + ", to which it is linked");
  }
  for (const auto& [reference, target] : process.monitors) {
    if (far(target.first)) fail(who + " was not told of the loss of " + target.first.to_string() + ", its monitor's");
  }
  for (const auto& [reference, watcher] : process.watched_by) {
    if (far(watcher)) fail(who + " still knows a monitor of " + watcher.to_string());
  }
  if (process.call && !process.call->done() && far(process.call->server)) {
    fail(who + " still waits for " + process.call->server.to_string());
  }
}

// ── When nothing moves any more ──────────────────────────────────────────────────────────────────────────────────────

void Model::check_rest(const std::function<bool(Pid)>& is_alive) {
  for (const auto& [node, wire] : wires_) {
    if (!wire.empty()) fail("something is left on the wire: " + describe(wire.front().sent));
  }
  for (const auto& [pid, process] : processes_) {
    const std::string who = pid.to_string();
    if (process.alive != is_alive(pid)) fail(who + (process.alive ? " should live" : " should have ended"));
    if (!process.alive) continue;
    if (process.ends) fail(who + " should have ended: " + process.ends->to_string());
    if (!connected_) check_lost(pid, process);
    if (!process.inbox.empty()) fail(who + " was not reached by: " + describe(process.inbox.front()));
    if (!process.mailbox.empty()) fail(who + " did not receive: " + describe(process.mailbox.front()));
    // Rules that no single event could break, whatever the order was.
    const auto alive_there = [this](Pid other) { return processes_.contains(other) && processes_.at(other).alive; };
    for (const auto& [peer, unlinking] : process.links) {
      if (unlinking != 0) {
        fail(who + " waits for an acknowledgement of " + peer.to_string());
      } else if (!alive_there(peer) || !processes_.at(peer).links.contains(pid)) {
        fail(who + " is linked to " + peer.to_string() + ", which is not linked to it");
      }
    }
    for (const auto& [reference, target] : process.monitors) {
      if (!alive_there(target.first) || !processes_.at(target.first).watched_by.contains({reference, pid})) {
        fail(who + " monitors " + target.first.to_string() + ", which does not know");
      }
    }
    for (const auto& [reference, watcher] : process.watched_by) {
      // A request that was received and never answered stays until its sender ends.
      const bool wanted = alive_there(watcher) &&
                          (processes_.at(watcher).monitors.contains(reference) ||
                           (processes_.at(watcher).call && processes_.at(watcher).call->reference == reference));
      if (!wanted) fail(who + " is monitored by " + watcher.to_string() + ", which does not know");
    }
  }
}

}  // namespace rusm::otp::sim
