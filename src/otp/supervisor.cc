// The supervisor's body is one coroutine. Whatever it awaits, it receives messages one by one and sorts them (take):
// ends of children and requests wait in queues of their own until the present work is done, the answers that the work
// waits for are noted at their child, and the end of its own parent makes it stop. So nothing is searched for in the
// mailbox, and many children start and stop in linear time.
#include "otp/supervisor.h"

#include <algorithm>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cmath>
#include <deque>
#include <map>
#include <ranges>
#include <unordered_map>
#include <utility>
#include <variant>

#include "otp/match.h"
#include "otp/supervisor_messages.h"

namespace rusm::otp {
namespace {

using namespace detail;  // NOLINT(google-build-using-namespace): the messages
using Kind = ExitReason::Kind;

struct RestartDue {
  std::uint64_t child = 0;
  std::uint64_t wait = 0;
};

struct Child {
  ChildSpec spec;
  ChildState state = ChildState::kStopped;
  Pid pid = {};
  bool answered = false;  // ready() or decline() came
  bool declined = false;
  std::optional<ExitReason> ended = {};  // while somebody waits for it
  Nanoseconds started = 0;
  Nanoseconds wait = 0;           // of the last back-off
  std::uint64_t wait_number = 0;  // a wait that was given up does not restart it
};

struct Ended {
  std::uint64_t child;
  ExitReason reason;
};

bool is_failure(const ExitReason& reason) {
  return reason.kind() != Kind::kNormal && reason.kind() != Kind::kShutdown;
}

class Supervisor {
 public:
  Supervisor(Self& self, SupervisorSpec spec) : self_(self), spec_(std::move(spec)) {}

  Task<> run();

 private:
  using Number = std::uint64_t;  // of a child, in the order of their first start

  Child& at(Number number) { return children_.at(number); }
  bool is_dynamic() const { return spec_.strategy == Strategy::kSimpleOneForOne; }
  Number add(ChildSpec spec);
  void forget(Number number);
  void lose(Child& child);

  void take(Message message);
  void take_down(const Down& down);
  // One more message, or until `deadline`; false when it has passed.
  Task<bool> take_next(Nanoseconds deadline = kNever);

  // What went wrong, or nothing. Nothing as well when it declined, or its supervisor has to stop.
  Task<std::optional<ExitReason>> start(Number number);
  std::optional<ExitReason> launch(Number number, Child& child);
  Task<std::optional<ExitReason>> wait_until_started(Number number);
  // The child lives no more when it returns.
  Task<> stop(Number number);
  Task<> stop_all();
  Task<> start_first();

  Task<> handle_end(Ended ended);
  enum class Alone : std::uint8_t { kNotAlone, kDone, kFailed };
  Alone restart_alone(const Ended& ended);
  Task<> restart(Number number);
  Task<> restart_now(Number number);
  Task<bool> start_again(std::vector<Number> numbers);
  std::vector<Number> affected_by(Number number) const;
  static bool starts_again(const Child& child, const ExitReason& reason);
  bool take_pending_end(Number number);
  bool note_restart();
  Nanoseconds next_wait(Child& child);
  void report(std::string_view what, const Child& child, const ExitReason& reason);

  Task<> handle(Message request);
  Task<> handle_start(ReplyTo to, ChildSpec spec);
  Task<> handle_order(ReplyTo to, const OrderRequest& order);
  void answer(ReplyTo to, Pid pid) { self_.reply(to, Message::of(Answer{pid, {}})); }
  void refuse(ReplyTo to, ErrorCode code, std::string text) {
    self_.reply(to, Message::of(Answer{Pid(), std::pair(code, std::move(text))}));
  }
  std::vector<ChildInfo> which() const;
  ChildCounts count() const;

  Self& self_;
  const SupervisorSpec spec_;
  std::map<Number, Child> children_;
  Number next_number_ = 1;
  std::unordered_map<std::string, Number> by_id_;
  boost::unordered_flat_map<Pid, std::pair<Number, Child*>, std::hash<Pid>> by_pid_;  // of those that live
  std::uint64_t alive_ = 0;
  std::uint64_t waiting_ = 0;
  std::deque<Nanoseconds> restarts_;  // within the window
  std::deque<Ended> ended_;
  std::deque<RestartDue> due_;
  std::deque<Message> requests_;
  std::optional<ExitReason> stop_;
};

// ── Children ─────────────────────────────────────────────────────────────────────────────────────────────────────────

Supervisor::Number Supervisor::add(ChildSpec spec) {
  const Number number = next_number_++;
  if (!spec.id.empty()) by_id_[spec.id] = number;
  children_.emplace(number, Child{.spec = std::move(spec)});
  return number;
}

void Supervisor::forget(Number number) {
  const auto child = children_.find(number);
  if (child == children_.end()) return;
  if (!child->second.spec.id.empty()) by_id_.erase(child->second.spec.id);
  if (child->second.state == ChildState::kWaiting) --waiting_;
  children_.erase(child);
}

// It lives no more.
void Supervisor::lose(Child& child) {
  by_pid_.erase(child.pid);
  child.pid = Pid();
  child.state = ChildState::kStopped;
  --alive_;
}

// ── What comes in ────────────────────────────────────────────────────────────────────────────────────────────────────

void Supervisor::take(Message message) {
  if (message.is_request()) {
    requests_.push_back(std::move(message));
    return;
  }
  if (message.is_exit()) {
    // A child's end is told by its monitor.
    if (is_order_to_stop(message, self_.parent())) stop_ = message.reason();
    return;
  }
  match(
      message, [this](const Down& down) { take_down(down); },
      [this](const ChildStarted& started) {
        const auto found = by_pid_.find(started.child);
        if (found == by_pid_.end()) return;
        Child& child = *found->second.second;
        child.answered = true;
        child.declined = started.declined;
      },
      [this](const RestartDue& due) { due_.push_back(due); });
}

void Supervisor::take_down(const Down& down) {
  const auto found = by_pid_.find(down.from);
  if (found == by_pid_.end()) return;
  const auto [number, there] = found->second;
  Child& child = *there;
  const bool awaited = child.state != ChildState::kRunning;
  lose(child);
  if (awaited) {
    child.ended = down.reason;
  } else {
    ended_.push_back({number, down.reason});
  }
}

Task<bool> Supervisor::take_next(Nanoseconds deadline) {
  if (deadline == kNever) {
    take(co_await receive(self_));
    co_return true;
  }
  const Nanoseconds left = deadline - self_.runtime().clock().now();
  auto message = co_await receive_for(self_, std::max<Nanoseconds>(left, 0));
  if (message) take(std::move(*message));
  co_return message.has_value();
}

// ── Start and stop ───────────────────────────────────────────────────────────────────────────────────────────────────

// Makes its process. What went wrong, or nothing.
std::optional<ExitReason> Supervisor::launch(Number number, Child& child) {
  SpawnOptions options;
  options.label = child.spec.id;
  options.name = child.spec.name;
  options.parent = self_.pid();
  options.link = options.monitor = true;
  options.awaited = child.spec.reports_ready;
  const Result<Spawned> spawned = child.spec.start(self_, std::move(options));
  if (!spawned) return ExitReason::crashed("start", spawned.error().to_string());
  if (!spawned->pid) {
    const bool taken = !child.spec.name.empty() && self_.runtime().whereis(child.spec.name);
    return ExitReason::crashed(
        "start", taken ? "the name \"" + child.spec.name + "\" is taken" : "there is no room for another process");
  }
  child.pid = spawned->pid;
  if (spec_.backoff) child.started = self_.runtime().clock().now();
  child.answered = child.declined = false;
  child.ended.reset();
  by_pid_[child.pid] = {number, &child};
  ++alive_;
  child.state = ChildState::kRunning;
  return std::nullopt;
}

Task<std::optional<ExitReason>> Supervisor::start(Number number) {
  Child& child = at(number);
  if (std::optional<ExitReason> failure = launch(number, child)) co_return failure;
  if (!child.spec.reports_ready) co_return std::nullopt;
  child.state = ChildState::kStarting;
  co_return co_await wait_until_started(number);
}

Task<std::optional<ExitReason>> Supervisor::wait_until_started(Number number) {
  Child& child = at(number);
  const Nanoseconds deadline = deadline_after(self_.runtime().clock().now(), child.spec.start_timeout);
  bool in_time = true;
  while (!child.answered && !child.ended && !stop_ && in_time) in_time = co_await take_next(deadline);
  if (stop_) co_return std::nullopt;
  if (child.answered && !child.declined) {
    if (!child.ended) {
      child.state = ChildState::kRunning;
    } else {
      ended_.push_back({number, *std::exchange(child.ended, std::nullopt)});  // ready, and then it ended
    }
    co_return std::nullopt;
  }
  if (child.declined) {
    co_await stop(number);
    co_return std::nullopt;
  }
  if (child.ended) co_return *child.ended;
  self_.exit(child.pid, Kind::kKill);
  while (!child.ended) co_await take_next();
  co_return ExitReason(Kind::kTimeout);
}

Task<> Supervisor::stop(Number number) {
  Child& child = at(number);
  if (child.state == ChildState::kWaiting) {
    child.state = ChildState::kStopped;
    ++child.wait_number;
    --waiting_;
  }
  if (!child.pid) co_return;
  child.state = ChildState::kStopping;
  child.ended.reset();
  const Nanoseconds patience = child.spec.shutdown;
  self_.exit(child.pid, patience == 0 ? Kind::kKill : Kind::kShutdown);
  const Nanoseconds deadline = patience == 0 ? kNever : deadline_after(self_.runtime().clock().now(), patience);
  bool in_time = true;
  while (!child.ended && in_time) in_time = co_await take_next(deadline);
  if (!child.ended) {
    self_.exit(child.pid, Kind::kKill);
    while (!child.ended) co_await take_next();
  }
  const bool asked_for = !is_failure(*child.ended) || (patience == 0 && child.ended->kind() == Kind::kKilled);
  if (!asked_for) report("did not stop as it should", child, *child.ended);
  child.ended.reset();
}

// In the reverse order of their start; of kSimpleOneForOne, which has no order, all at once.
Task<> Supervisor::stop_all() {
  if (is_dynamic()) {
    Nanoseconds patience = 0;
    for (auto& [number, child] : children_) {
      if (!child.pid) continue;
      child.state = ChildState::kStopping;
      patience = std::max(patience, child.spec.shutdown);
      self_.exit(child.pid, child.spec.shutdown == 0 ? Kind::kKill : Kind::kShutdown);
    }
    const Nanoseconds deadline = deadline_after(self_.runtime().clock().now(), patience);
    while (alive_ > 0 && co_await take_next(deadline)) {
    }
    for (const auto& [pid, number] : by_pid_) self_.exit(pid, Kind::kKill);
    while (alive_ > 0) co_await take_next();
    co_return;
  }
  std::vector<Number> numbers;
  for (const auto& [number, child] : children_) numbers.push_back(number);
  for (const Number number : std::views::reverse(numbers)) co_await stop(number);
}

// ── Restarts ─────────────────────────────────────────────────────────────────────────────────────────────────────────

// False when there were too many.
bool Supervisor::note_restart() {
  const Nanoseconds now = self_.runtime().clock().now();
  restarts_.push_back(now);
  while (now - restarts_.front() > spec_.window) restarts_.pop_front();
  if (restarts_.size() <= spec_.restarts_max) return true;
  if (Log* log = self_.runtime().log()) {
    log->warn("supervisor", "too many restarts: it stops",
              {{"pid", self_.pid().to_string()}, {"restarts", std::to_string(restarts_.size())}});
  }
  stop_ = Kind::kShutdown;
  return false;
}

bool Supervisor::starts_again(const Child& child, const ExitReason& reason) {
  return child.spec.restart == Restart::kPermanent || (child.spec.restart == Restart::kTransient && is_failure(reason));
}

// Whether it has ended, is to start again, and nobody has seen to that yet: whoever starts it now does.
bool Supervisor::take_pending_end(Number number) {
  const auto ended = std::ranges::find(ended_, number, &Ended::child);
  if (ended == ended_.end() || !starts_again(at(number), ended->reason)) return false;
  ended_.erase(ended);
  return true;
}

// The common case, in which nothing else is affected and nothing is waited for, without any coroutine.
Supervisor::Alone Supervisor::restart_alone(const Ended& ended) {
  if ((spec_.strategy != Strategy::kOneForOne && !is_dynamic()) || spec_.backoff) return Alone::kNotAlone;
  const auto found = children_.find(ended.child);
  if (found == children_.end()) return Alone::kNotAlone;
  Child& child = found->second;
  const bool simple = child.state == ChildState::kStopped && !child.spec.reports_ready;
  if (!simple || !starts_again(child, ended.reason)) return Alone::kNotAlone;
  if (is_failure(ended.reason)) report("ended", child, ended.reason);
  if (!note_restart()) return Alone::kDone;
  const std::optional<ExitReason> failure = launch(ended.child, child);
  if (failure) report("could not be started again", child, *failure);
  return failure ? Alone::kFailed : Alone::kDone;
}

Task<> Supervisor::handle_end(Ended ended) {
  const auto found = children_.find(ended.child);
  // It may have been started again, or forgotten, by what was done since.
  if (found == children_.end() || found->second.state != ChildState::kStopped) co_return;
  Child& child = found->second;
  if (is_failure(ended.reason)) report("ended", child, ended.reason);
  if (starts_again(child, ended.reason)) {
    co_await restart(ended.child);
  } else if (child.spec.restart == Restart::kTemporary || is_dynamic()) {
    forget(ended.child);
  }
}

Nanoseconds Supervisor::next_wait(Child& child) {
  const Backoff& backoff = *spec_.backoff;
  const bool quiet = self_.runtime().clock().now() - child.started >= backoff.quiet;
  const double wait =
      child.wait == 0 || quiet ? static_cast<double>(backoff.first) : static_cast<double>(child.wait) * backoff.factor;
  child.wait = static_cast<Nanoseconds>(std::min(wait, static_cast<double>(backoff.max)));
  const double part = static_cast<double>(self_.runtime().entropy().next_u64() >> 11) * 0x1p-53;  // 0 to 1
  return static_cast<Nanoseconds>(static_cast<double>(child.wait) * (1 + backoff.jitter * (2 * part - 1)));
}

Task<> Supervisor::restart(Number number) {
  if (!note_restart()) co_return;
  if (!spec_.backoff) co_return co_await restart_now(number);
  Child& child = at(number);
  child.state = ChildState::kWaiting;
  ++waiting_;
  self_.send_after(next_wait(child), self_.pid(), Message::of(RestartDue{number, ++child.wait_number}));
}

// The children that are to be stopped and started with this one, in order, itself included.
std::vector<Supervisor::Number> Supervisor::affected_by(Number number) const {
  std::vector<Number> affected;
  if (spec_.strategy == Strategy::kOneForOne || is_dynamic()) return {number};
  for (const auto& [other, child] : children_) {
    if (spec_.strategy == Strategy::kOneForAll || other >= number) affected.push_back(other);
  }
  return affected;
}

Task<> Supervisor::restart_now(Number number) {
  for (;;) {
    std::vector<Number> affected = affected_by(number);
    std::vector<Number> again;
    for (const Number other : std::views::reverse(affected)) {
      const bool ran =
          at(other).pid || other == number || at(other).state == ChildState::kWaiting || take_pending_end(other);
      co_await stop(other);
      if (stop_) co_return;
      if (other != number && at(other).spec.restart == Restart::kTemporary) {
        forget(other);
      } else if (ran) {
        again.push_back(other);
      }
    }
    std::ranges::reverse(again);
    if (co_await start_again(std::move(again)) || stop_ || !children_.contains(number)) co_return;
    if (!note_restart()) co_return;
  }
}

// False when one could not be started; it and those after it are then stopped.
Task<bool> Supervisor::start_again(std::vector<Number> numbers) {
  for (const Number number : numbers) {
    const std::optional<ExitReason> failure = co_await start(number);
    if (stop_) co_return true;
    if (failure) {
      report("could not be started again", at(number), *failure);
      // It and those after it are to run: marked as such for the next attempt.
      for (const Number later : numbers) {
        if (later < number) continue;
        at(later).state = ChildState::kWaiting;
        ++waiting_;
      }
      co_return false;
    }
  }
  co_return true;
}

void Supervisor::report(std::string_view what, const Child& child, const ExitReason& reason) {
  if (Log* log = self_.runtime().log()) {
    log->warn("supervisor", "a child " + std::string(what),
              {{"pid", self_.pid().to_string()}, {"child", child.spec.id}, {"reason", reason.to_string()}});
  }
}

// ── The body ─────────────────────────────────────────────────────────────────────────────────────────────────────────

Task<> Supervisor::start_first() {
  for (const ChildSpec& spec : spec_.children) {
    const Number number = add(spec);
    const std::optional<ExitReason> failure = co_await start(number);
    if (stop_) co_return;
    if (failure) {
      stop_ = ExitReason::crashed("start", "child \"" + spec.id + "\" could not be started: " + failure->to_string());
      co_return;
    }
    if (at(number).declined && spec.restart == Restart::kTemporary) forget(number);
  }
}

Task<> Supervisor::run() {
  self_.trap_exit(true);
  co_await start_first();
  if (!stop_) ready(self_);
  while (!stop_) {
    if (!ended_.empty()) {
      Ended ended = std::move(ended_.front());
      ended_.pop_front();
      const Number number = ended.child;
      const Alone alone = restart_alone(ended);
      if (alone == Alone::kNotAlone) co_await handle_end(std::move(ended));
      if (alone == Alone::kFailed) co_await restart(number);
    } else if (!due_.empty()) {
      const RestartDue due = due_.front();
      due_.pop_front();
      const auto child = children_.find(due.child);
      if (child == children_.end() || child->second.state != ChildState::kWaiting ||
          child->second.wait_number != due.wait) {
        continue;
      }
      co_await restart_now(due.child);
    } else if (!requests_.empty()) {
      Message request = std::move(requests_.front());
      requests_.pop_front();
      co_await handle(std::move(request));
    } else {
      take(co_await receive(self_));
    }
  }
  const ExitReason reason = *stop_;
  co_await stop_all();
  co_await end(self_, reason);
}

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
    ChildSpec spec = is_dynamic() ? spec_.dynamic(*dynamic->argument) : ChildSpec();
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
  const bool stopped = at(number).state == ChildState::kStopped;
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

}  // namespace

Routine supervise(Self& self, SupervisorSpec spec) {
  if (const Result<> fine = validate(spec); !fine) {
    co_await end(self, ExitReason::crashed("spec", fine.error().to_string()));
  }
  Supervisor supervisor(self, std::move(spec));
  co_await supervisor.run();
}

}  // namespace rusm::otp
