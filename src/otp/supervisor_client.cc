// Supervisors as others see them: specs, and what they can be asked.
#include <unordered_map>
#include <utility>

#include "otp/match.h"
#include "otp/supervisor.h"
#include "otp/supervisor_messages.h"

namespace rusm::otp {
namespace {

using namespace detail;  // NOLINT(google-build-using-namespace): the messages

Task<Result<Pid>> ask(Self& self, Pid supervisor, Message request) {
  std::expected<Message, ExitReason> reply = co_await call(self, supervisor, std::move(request), kNever);
  if (!reply) {
    co_return fail(ErrorCode::kNotFound, supervisor.to_string(), "the supervisor: " + reply.error().to_string());
  }
  Answer* answer = reply->get_if<Answer>();
  if (answer == nullptr) co_return fail(ErrorCode::kInvalid, supervisor.to_string(), "it is no supervisor");
  if (answer->error) co_return fail(answer->error->first, supervisor.to_string(), std::move(answer->error->second));
  co_return answer->pid;
}

Task<Result<>> order(Self& self, Pid supervisor, OrderRequest request) {
  const Result<Pid> done = co_await ask(self, supervisor, Message::of(std::move(request)));
  if (!done) co_return std::unexpected(done.error());
  co_return Result<>();
}

template <class T, class Request>
Task<Result<T>> inquire(Self& self, Pid supervisor, Request request) {
  std::expected<T, ExitReason> answer = co_await call<T>(self, supervisor, std::move(request), kNever);
  if (!answer) {
    co_return fail(ErrorCode::kNotFound, supervisor.to_string(), "the supervisor: " + answer.error().to_string());
  }
  co_return std::move(*answer);
}

void report_start(Self& self, bool declined) {
  if (self.runtime().info(self.pid())->awaited) self.send(self.parent(), ChildStarted{self.pid(), declined});
}

}  // namespace

Result<> validate(const SupervisorSpec& spec) {
  if (spec.window <= 0) return fail(ErrorCode::kInvalid, "window", "must be longer than 0 ns");
  if (spec.backoff) {
    const Backoff& backoff = *spec.backoff;
    if (backoff.first <= 0 || backoff.max < backoff.first) {
      return fail(ErrorCode::kInvalid, "backoff", "must have 0 < first <= max");
    }
    if (!(backoff.factor >= 1)) return fail(ErrorCode::kInvalid, "backoff.factor", "must be 1 or more");
    if (!(backoff.jitter >= 0 && backoff.jitter < 1)) {
      return fail(ErrorCode::kInvalid, "backoff.jitter", "must be from 0 to less than 1");
    }
  }
  const bool simple = spec.strategy == Strategy::kSimpleOneForOne;
  if (simple && !spec.dynamic) return fail(ErrorCode::kInvalid, "dynamic", "a kSimpleOneForOne needs it");
  if (!simple && spec.dynamic) return fail(ErrorCode::kInvalid, "dynamic", "is for kSimpleOneForOne only");
  if (simple && !spec.children.empty()) {
    return fail(ErrorCode::kInvalid, "children", "a kSimpleOneForOne has none of its own: see dynamic");
  }
  std::unordered_map<std::string, std::size_t> ids;
  for (std::size_t i = 0; i < spec.children.size(); ++i) {
    const ChildSpec& child = spec.children[i];
    const std::string where = "children[" + std::to_string(i) + "]";
    if (child.id.empty()) return fail(ErrorCode::kInvalid, where + ".id", "must not be empty");
    if (!child.start) return fail(ErrorCode::kInvalid, where + ".start", "is missing: see child()");
    if (child.shutdown < 0) return fail(ErrorCode::kInvalid, where + ".shutdown", "must be 0 ns or more, or kNever");
    if (child.start_timeout <= 0)
      return fail(ErrorCode::kInvalid, where + ".start_timeout", "must be longer than 0 ns");
    if (!ids.emplace(child.id, i).second) {
      return fail(ErrorCode::kExists, where + ".id", "\"" + child.id + "\" is in use");
    }
  }
  return {};
}

ChildSpec child(std::string id, std::shared_ptr<BodyMaker> maker, std::vector<std::byte> argument) {
  StartChild start = [maker = std::move(maker), argument = std::move(argument)](
                         Self& supervisor, SpawnOptions options) -> Result<Spawned> {
    Result<BodyPtr> body = maker->make({.bytes = argument, .attachment = {}});
    if (!body) return std::unexpected(body.error());
    return supervisor.runtime().spawn_from(supervisor, std::move(*body), std::move(options));
  };
  return {.id = std::move(id), .start = std::move(start)};
}

ChildSpec child_supervisor(std::string id, SupervisorSpec spec) {
  ChildSpec child_spec = child(std::move(id), supervise, std::move(spec));
  child_spec.shutdown = kNever;
  child_spec.reports_ready = true;
  return child_spec;
}

void ready(Self& self) {
  report_start(self, false);
}

void decline(Self& self) {
  report_start(self, true);
}

Task<Result<Pid>> start_child(Self& self, Pid supervisor, ChildSpec spec) {
  return ask(self, supervisor, Message::local(StartRequest{std::move(spec)}));
}

Task<Result<Pid>> start_child(Self& self, Pid supervisor, Message argument) {
  return ask(self, supervisor, Message::local(StartDynamicRequest{std::make_unique<Message>(std::move(argument))}));
}

Task<Result<>> terminate_child(Self& self, Pid supervisor, std::string id) {
  return order(self, supervisor, {.order = Order::kTerminate, .id = std::move(id), .pid = {}});
}

Task<Result<>> terminate_child(Self& self, Pid supervisor, Pid child) {
  return order(self, supervisor, {.order = Order::kTerminate, .id = {}, .pid = child});
}

Task<Result<Pid>> restart_child(Self& self, Pid supervisor, std::string id) {
  return ask(self, supervisor, Message::of(OrderRequest{.order = Order::kRestart, .id = std::move(id), .pid = {}}));
}

Task<Result<>> delete_child(Self& self, Pid supervisor, std::string id) {
  return order(self, supervisor, {.order = Order::kDelete, .id = std::move(id), .pid = {}});
}

Task<Result<std::vector<ChildInfo>>> which_children(Self& self, Pid supervisor) {
  return inquire<std::vector<ChildInfo>>(self, supervisor, WhichRequest());
}

Task<Result<ChildCounts>> count_children(Self& self, Pid supervisor) {
  return inquire<ChildCounts>(self, supervisor, CountRequest());
}

}  // namespace rusm::otp
