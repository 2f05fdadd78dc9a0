#include "otp/supervisor.h"

#include <algorithm>
#include <cmath>
#include <ranges>
#include <utility>

#include "otp/supervisor_process.h"

namespace rusm::otp {
namespace detail {

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
  ++forgotten_;
}

// It lives no more.
void Supervisor::lose(Child& child) {
  by_pid_.erase(child.pid);
  child.pid = Pid();
  child.state = ChildState::kStopped;
  if (spec_.backoff) child.lived = self_.runtime().clock().now() - child.started;
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
      message, [this](Down& down) { take_down(down); },
      [this](const ChildStarted& started) {
        const auto found = by_pid_.find(started.child);
        if (found == by_pid_.end()) return;
        Child& child = *found->second.second;
        child.answered = true;
        child.declined = started.declined;
      },
      [this](const RestartDue& due) { due_.push_back(due); });
}

void Supervisor::take_down(Down& down) {
  const auto found = by_pid_.find(down.from);
  if (found == by_pid_.end()) return;
  const auto [number, there] = found->second;
  Child& child = *there;
  const bool awaited = child.state != ChildState::kRunning;
  lose(child);
  if (awaited) {
    child.ended = std::move(down.reason);
  } else {
    note_end(number, child, std::move(down.reason));
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

// What a spec does is its author's; what it throws is an error like any other.
Result<Spawned> Supervisor::call_start(const ChildSpec& spec, SpawnOptions options) {
  try {
    return spec.start(self_, std::move(options));
  } catch (...) {
    return fail(ErrorCode::kInternal, spec.id, reason_of_current_exception().to_string());
  }
}

ChildSpec Supervisor::call_dynamic(const Message& argument) {
  try {
    return spec_.dynamic(argument);
  } catch (...) {
    return ChildSpec();
  }
}

// Makes its process. What went wrong, or nothing.
std::optional<ExitReason> Supervisor::launch(Number number, Child& child) {
  child.to_run = false;
  SpawnOptions options;
  options.label = child.spec.id;
  options.name = child.spec.name;
  options.parent = self_.pid();
  options.link = options.monitor = true;
  options.awaited = child.spec.reports_ready;
  const Result<Spawned> spawned = call_start(child.spec, std::move(options));
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
  child.unseen.reset();
  ++child.incarnation;
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
      note_end(number, child, *std::exchange(child.ended, std::nullopt));  // ready, and then it ended
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
  child.to_run = false;
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
  if (is_dynamic()) co_return co_await stop_at_once();
  std::vector<Number> numbers;
  for (const auto& [number, child] : children_) numbers.push_back(number);
  for (const Number number : std::views::reverse(numbers)) co_await stop(number);
}

// Each has its own time for it.
Task<> Supervisor::stop_at_once() {
  const Nanoseconds now = self_.runtime().clock().now();
  std::vector<std::pair<Nanoseconds, Pid>> to_kill;  // when, if it still lives
  for (auto& [number, child] : children_) {
    if (!child.pid) continue;
    child.state = ChildState::kStopping;
    const Nanoseconds patience = child.spec.shutdown;
    self_.exit(child.pid, patience == 0 ? Kind::kKill : Kind::kShutdown);
    if (patience != 0 && patience != kNever) to_kill.emplace_back(deadline_after(now, patience), child.pid);
  }
  std::ranges::sort(to_kill, {}, [](const auto& one) { return one.first; });
  for (const auto& [deadline, pid] : to_kill) {
    while (by_pid_.contains(pid) && co_await take_next(deadline)) {
    }
    if (by_pid_.contains(pid)) self_.exit(pid, Kind::kKill);
  }
  while (alive_ > 0) co_await take_next();
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

void Supervisor::note_end(Number number, Child& child, ExitReason reason) {
  child.unseen = std::move(reason);
  ended_.push_back({number, child.incarnation, &child, forgotten_});
}

// Thousands may end at once, whose places in the tree are in no cache.
Child* Supervisor::still_ended(const Ended& ended) {
  Child* child = ended.child;
  if (ended.forgotten != forgotten_) {
    const auto found = children_.find(ended.number);
    if (found == children_.end()) return nullptr;
    child = &found->second;
  }
  const bool still = child->state == ChildState::kStopped && child->incarnation == ended.incarnation && child->unseen;
  return still ? child : nullptr;
}

Child* Supervisor::settle_end(const Ended& ended) {
  Child* const child = still_ended(ended);
  if (child == nullptr) return nullptr;
  const ExitReason reason = *std::exchange(child->unseen, std::nullopt);
  if (is_failure(reason)) report("ended", *child, reason);
  if (!starts_again(*child, reason)) {
    if (child->spec.restart == Restart::kTemporary || is_dynamic()) forget(ended.number);
    return nullptr;
  }
  if (!note_restart()) return nullptr;
  if (!spec_.backoff) return child;
  restart_later(ended.number);
  return nullptr;
}

// The common case, in which nothing else is affected and nothing is waited for, without any coroutine.
Supervisor::Alone Supervisor::start_alone(Number number, Child& child) {
  if ((spec_.strategy != Strategy::kOneForOne && !is_dynamic()) || child.spec.reports_ready) return Alone::kNotAlone;
  const std::optional<ExitReason> failure = launch(number, child);
  if (failure) report("could not be started again", child, *failure);
  return failure ? Alone::kFailed : Alone::kDone;
}

Nanoseconds Supervisor::next_wait(Child& child) {
  const Backoff& backoff = *spec_.backoff;
  const bool quiet = child.lived >= backoff.quiet;
  const double wait =
      child.wait == 0 || quiet ? static_cast<double>(backoff.first) : static_cast<double>(child.wait) * backoff.factor;
  child.wait = static_cast<Nanoseconds>(std::min(wait, static_cast<double>(backoff.max)));
  const double part = static_cast<double>(self_.runtime().entropy().next_u64() >> 11) * 0x1p-53;  // 0 to 1
  return static_cast<Nanoseconds>(static_cast<double>(child.wait) * (1 + backoff.jitter * (2 * part - 1)));
}

void Supervisor::restart_later(Number number) {
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
      const Child& child = at(other);
      const bool ran = child.pid || other == number || child.state == ChildState::kWaiting || child.to_run ||
                       (child.unseen && starts_again(child, *child.unseen));
      co_await stop(other);
      if (stop_) co_return;
      if (other != number && at(other).spec.restart == Restart::kTemporary) {
        forget(other);
      } else if (ran) {
        again.push_back(other);
      }
    }
    std::ranges::reverse(again);
    const std::optional<Number> failed = co_await start_again(std::move(again));
    if (!failed || stop_ || !note_restart()) co_return;
    if (spec_.backoff) co_return restart_later(*failed);
    co_await look_up();
    if (stop_ || !children_.contains(number)) co_return;
  }
}

// Between attempts that fail at once, of which there may be many: others run meanwhile, and it hears of what has come.
Task<> Supervisor::look_up() {
  co_await yield(self_);
  while (std::optional<Message> message = self_.try_receive()) take(std::move(*message));
}

// Who could not be started, if anybody; it and those after it are then stopped, and to run with the next attempt.
Task<std::optional<Supervisor::Number>> Supervisor::start_again(std::vector<Number> numbers) {
  for (const Number number : numbers) {
    const std::optional<ExitReason> failure = co_await start(number);
    if (stop_) co_return std::nullopt;
    if (failure) {
      report("could not be started again", at(number), *failure);
      at(number).lived = 0;
      for (const Number later : numbers) {
        if (later < number) continue;
        at(later).to_run = true;
        at(later).unseen.reset();
      }
      co_return number;
    }
    if (is_dynamic() && at(number).declined) forget(number);
  }
  co_return std::nullopt;
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
      const Ended ended = ended_.front();
      ended_.pop_front();
      Child* const child = settle_end(ended);
      if (child == nullptr) continue;
      const Alone alone = start_alone(ended.number, *child);
      if (alone == Alone::kDone) continue;
      if (alone == Alone::kFailed) {
        if (!note_restart()) continue;
        co_await look_up();
        if (stop_ || !children_.contains(ended.number)) continue;
      }
      co_await restart_now(ended.number);
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

}  // namespace detail

Routine supervise(Self& self, SupervisorSpec spec) {
  if (const Result<> fine = validate(spec); !fine) {
    co_await end(self, ExitReason::crashed("spec", fine.error().to_string()));
  }
  detail::Supervisor supervisor(self, std::move(spec));
  co_await supervisor.run();
}

}  // namespace rusm::otp
