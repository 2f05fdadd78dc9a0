#include "sim/supervisor_watcher.h"

#include <utility>
#include <vector>

#include "otp/supervisor_process.h"

namespace rusm::otp::sim {
namespace {

using Kind = ExitReason::Kind;

template <class T>
const T* value_in(const Envelope& envelope) {
  return envelope.type == &kPayloadType<T> ? reinterpret_cast<const T*>(envelope.payload()) : nullptr;
}

std::optional<Request> request_in(const Envelope& envelope) {
  if (const auto* start = value_in<detail::StartRequest>(envelope)) {
    return Request{.what = Request::What::kStart, .spec = start->spec};
  }
  if (const auto* start = value_in<detail::StartDynamicRequest>(envelope)) {
    const auto* wanted = start->argument->get_if<Wanted>();
    return Request{.what = Request::What::kStart, .dynamic = true, .spec = wanted ? wanted->spec : ChildSpec()};
  }
  if (const auto* order = value_in<detail::OrderRequest>(envelope)) {
    using What = Request::What;
    static constexpr What kOrders[] = {What::kTerminate, What::kRestart, What::kDelete};
    return Request{.what = kOrders[static_cast<int>(order->order)], .id = order->id, .pid = order->pid};
  }
  if (value_in<detail::WhichRequest>(envelope)) return Request{.what = Request::What::kWhich};
  if (value_in<detail::CountRequest>(envelope)) return Request{.what = Request::What::kCount};
  return std::nullopt;
}

}  // namespace

void SupervisorWatcher::on_arrival(Pid to, const Envelope& envelope) noexcept {
  if (const auto life = lives_.find(to); life != lives_.end()) note_input(life->second, envelope);
  if (const auto parent = parents_.find(to); parent != parents_.end()) note_order(parent->second, to, envelope);
  if (envelope.kind == EnvelopeKind::kReply) note_answer(to, envelope);
}

void SupervisorWatcher::on_exit(Pid pid, const ExitReason& reason, std::string_view) noexcept {
  const auto life = lives_.find(pid);
  if (life != lives_.end()) life->second.deeds.push_back({.what = Deed::What::kEnd, .at = now(), .reason = reason});
}

void SupervisorWatcher::note_supervisor(Pid supervisor) {
  lives_[supervisor].began = now();
}

void SupervisorWatcher::note_start(Pid supervisor, const std::string& name, Pid child) {
  if (child) parents_[child] = supervisor;
  lives_.at(supervisor).deeds.push_back({.what = Deed::What::kStart, .at = now(), .name = name, .child = child});
}

void SupervisorWatcher::note_input(Life& life, const Envelope& envelope) {
  Input input{.at = now(), .deeds_before = life.deeds.size(), .from = envelope.from};
  const auto parent = parents_.find(envelope.from);
  switch (envelope.kind) {
    case EnvelopeKind::kDown:
      input.reason = envelope.reason();
      break;
    case EnvelopeKind::kExit:
    case EnvelopeKind::kLinkExit:
      if (envelope.reason().kind() == Kind::kKill) life.kill_reached_it = true;
      // Ends of children come as links' EXIT too, and mean nothing.
      if (parent != parents_.end() && &lives_.at(parent->second) == &life) return;
      input.what = Input::What::kOrderToStop;
      input.reason = envelope.reason();
      break;
    case EnvelopeKind::kValue:
      if (const auto* started = value_in<detail::ChildStarted>(envelope)) {
        input.what = started->declined ? Input::What::kDeclined : Input::What::kReady;
        input.from = started->child;
      } else if (const auto* due = value_in<detail::RestartDue>(envelope)) {
        input.what = Input::What::kDue;
        input.child = due->child;
        input.wait = due->wait;
      } else if (auto request = request_in(envelope)) {
        input.what = Input::What::kRequest;
        input.request = std::move(request);
      } else {
        return;
      }
      break;
    default:
      return;
  }
  life.inputs.push_back(std::move(input));
}

void SupervisorWatcher::note_order(Pid supervisor, Pid child, const Envelope& envelope) {
  if (envelope.kind != EnvelopeKind::kExit || envelope.from != supervisor) return;
  std::vector<Deed>& deeds = lives_.at(supervisor).deeds;
  // Its last orders may arrive after its end.
  if (!deeds.empty() && deeds.back().what == Deed::What::kEnd) return;
  const bool kill = envelope.reason().kind() == Kind::kKill;
  deeds.push_back({.what = kill ? Deed::What::kKill : Deed::What::kStop, .at = now(), .child = child});
}

void SupervisorWatcher::note_answer(Pid client, const Envelope& envelope) {
  const auto asked = clients_.find(client);
  if (asked == clients_.end()) return;
  std::string text;
  if (const auto* answer = value_in<detail::Answer>(envelope)) {
    text = answer_text(*answer);
  } else if (const auto* children = value_in<std::vector<ChildInfo>>(envelope)) {
    text = answer_text(*children);
  } else if (const auto* counts = value_in<ChildCounts>(envelope)) {
    text = answer_text(*counts);
  }
  lives_.at(asked->second).answers[client] = std::move(text);
}

}  // namespace rusm::otp::sim
