// What a supervisor is asked.
#include <utility>

#include "otp/supervisor_process.h"

namespace rusm::otp::detail {

// ── Requests ─────────────────────────────────────────────────────────────────────────────────────────────────────────

Task<> Supervisor::handle(Message request) {
  const ReplyTo to = request.reply_to();
  if (auto* start = request.get_if<StartRequest>()) {
    if (is_dynamic()) {
      co_return refuse(to, ErrorCode::kInvalid,
                       "start_child: the children of a kSimpleOneForOne come from an argument");
    }
    co_await handle_start(to, std::move(start->spec));
  } else if (auto* dynamic = request.get_if<StartDynamicRequest>()) {
    ChildSpec spec = is_dynamic() ? call_dynamic(*dynamic->argument) : ChildSpec();
    if (!spec.start) {
      co_return refuse(to, ErrorCode::kInvalid, "start_child: the supervisor makes no child of such an argument");
    }
    co_await handle_start(to, std::move(spec));
  } else if (const auto* order = request.get_if<OrderRequest>()) {
    co_await handle_order(to, *order);
  } else if (request.get_if<WhichRequest>() != nullptr) {
    self_.reply(to, Message::of(which()));
  } else if (request.get_if<CountRequest>() != nullptr) {
    self_.reply(to, Message::of(count()));
  } else {
    refuse(to, ErrorCode::kInvalid, "a supervisor does not know this request");
  }
}

Task<> Supervisor::handle_start(ReplyTo to, ChildSpec spec) {
  const bool dynamic = is_dynamic();
  if (!dynamic) {
    if (Result<> fine = validate({.children = {spec}}); !fine) {
      co_return refuse(to, fine.error().code, fine.error().to_string());
    }
    if (by_id_.contains(spec.id)) co_return refuse(to, ErrorCode::kExists, "id: \"" + spec.id + "\" is in use");
  }
  const Number number = add(std::move(spec));
  const std::optional<ExitReason> failure = co_await start(number);
  if (stop_) co_return;
  const Child& child = at(number);
  if (failure) {
    refuse(to, ErrorCode::kUnavailable, "the child could not be started: " + failure->to_string());
    co_return forget(number);
  }
  const bool declined = child.declined;
  answer(to, child.pid);
  if (declined && (dynamic || child.spec.restart == Restart::kTemporary)) forget(number);
}

Task<> Supervisor::handle_order(ReplyTo to, const OrderRequest& order) {
  Number number = 0;
  if (const auto by_id = by_id_.find(order.id); by_id != by_id_.end()) number = by_id->second;
  if (const auto by_pid = by_pid_.find(order.pid); by_pid != by_pid_.end()) number = by_pid->second.first;
  if (number == 0) {
    co_return refuse(to, ErrorCode::kNotFound,
                     "there is no child " + (order.pid ? order.pid.to_string() : "\"" + order.id + "\""));
  }
  const bool stopped = at(number).state == ChildState::kStopped && !at(number).to_run;
  switch (order.order) {
    case Order::kTerminate:
      co_await stop(number);
      answer(to, Pid());
      if (at(number).spec.restart == Restart::kTemporary || is_dynamic()) forget(number);
      co_return;
    case Order::kRestart: {
      if (!stopped) co_return refuse(to, ErrorCode::kExists, "the child runs, or waits for its restart");
      const std::optional<ExitReason> failure = co_await start(number);
      if (stop_) co_return;
      if (failure) {
        co_return refuse(to, ErrorCode::kUnavailable, "the child could not be started: " + failure->to_string());
      }
      co_return answer(to, at(number).pid);
    }
    case Order::kDelete:
      if (!stopped)
        co_return refuse(to, ErrorCode::kExists, "the child runs, or waits for its restart: terminate it first");
      forget(number);
      co_return answer(to, Pid());
  }
}

std::vector<ChildInfo> Supervisor::which() const {
  std::vector<ChildInfo> infos;
  for (const auto& [number, child] : children_) {
    infos.push_back({.id = child.spec.id, .pid = child.pid, .state = child.state, .restart = child.spec.restart});
  }
  return infos;
}

ChildCounts Supervisor::count() const {
  return {.specs = children_.size(), .active = alive_, .waiting = waiting_};
}

}  // namespace rusm::otp::detail
