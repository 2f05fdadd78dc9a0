#include "sim/supervisor_model.h"

#include <algorithm>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <ranges>
#include <utility>
#include <vector>

#include "sim/supervisor_record.h"

namespace rusm::otp::sim {
namespace {

using Kind = ExitReason::Kind;

bool is_failure(const ExitReason& reason) {
  return reason.kind() != Kind::kNormal && reason.kind() != Kind::kShutdown;
}

// Before a restart. It is over at a time that the supervisor draws.
struct Wait {
  Nanoseconds began = 0;
  Nanoseconds length = 0;  // without jitter
  Nanoseconds earliest = 0;
  Nanoseconds latest = 0;
  bool over = false;
};

struct Child {
  ChildSpec spec;
  std::uint64_t number = 0;  // in the order in which children came
  Pid pid = {};
  bool declined = false;
  bool to_run = false;  // with one that could not be started again
  Nanoseconds started = 0;
  Nanoseconds lived = 0;          // its last process
  std::optional<Wait> wait = {};  // now
  Nanoseconds last_wait = 0;      // without jitter
  std::uint64_t wait_number = 0;  // counts when one begins and when one ends
};

// Straight on, as one would tell it: what it waits for is taken from the record, and what it does is looked for there.
class Reference {
 public:
  Reference(const SupervisorSpec& spec, const Life& life) : spec_(spec), life_(life), record_(life) {}

  Verdict judge() {
    if (record_.ended_before_it_began()) return {};
    try {
      try {
        run();
      } catch (const OutOfInputs&) {
        record_.is_over();  // it lives, or was killed
      }
      compare_answers();
    } catch (const Contradiction& contradiction) {
      verdict_.problem = contradiction.text;
    }
    return verdict_;
  }

 private:
  using Place = std::list<Child>::iterator;

  bool is_simple() const { return spec_.strategy == Strategy::kSimpleOneForOne; }

  // ── Children ──

  Child& add(const ChildSpec& spec) { return children_.emplace_back(Child{.spec = spec, .number = ++added_}); }
  void forget(const Child* child) {
    std::erase_if(ended_, [child](const auto& ended) { return ended.first == child; });
    children_.remove_if([child](const Child& one) { return &one == child; });
  }
  Place find(std::uint64_t number) { return std::ranges::find(children_, number, &Child::number); }
  Place find(Pid pid) {
    return std::ranges::find_if(children_, [pid](const Child& child) { return pid && child.pid == pid; });
  }
  // Dynamic children have no ids.
  Place find(const std::string& id) {
    return is_simple() ? children_.end()
                       : std::ranges::find_if(children_, [&](const Child& child) { return child.spec.id == id; });
  }
  static void end_wait(Child& child) {
    if (child.wait) ++child.wait_number;
    child.wait.reset();
    child.to_run = false;
  }

  // ── What it waits for ──

  std::optional<Input> next(Nanoseconds deadline = kNever, const Child* child = nullptr) {
    std::optional<Input> input = record_.next(deadline, child == nullptr ? Pid() : child->pid);
    for (const Child& one : children_) {
      if (one.wait && !one.wait->over && record_.now() > one.wait->latest) {
        throw Contradiction{"by now it should have started " + one.spec.id + " again"};
      }
    }
    return input;
  }

  // Sorts an input into what waits for its turn, unless it is about `about`, which is then returned.
  std::optional<Input> sort(Input input, const Child* about) {
    switch (input.what) {
      case Input::What::kOrderToStop:
        stop_ = input.reason;
        return std::nullopt;
      case Input::What::kRequest:
        requests_.push_back(std::move(input));
        return std::nullopt;
      case Input::What::kDue:
        sort_due(input);
        return std::nullopt;
      case Input::What::kDown: {
        const Place child = find(input.from);
        if (child == children_.end()) return std::nullopt;
        child->pid = Pid();
        child->lived = input.at - child->started;
        if (&*child == about) return input;
        ended_.emplace_back(&*child, input.reason);
        return std::nullopt;
      }
      case Input::What::kReady:
      case Input::What::kDeclined:
        if (about != nullptr && about->pid == input.from) return input;
        return std::nullopt;
    }
    return std::nullopt;
  }

  void sort_due(const Input& input) {
    const Place child = find(input.child);
    if (child == children_.end() || !child->wait || child->wait_number != input.wait) return;  // it was given up
    Wait& wait = *child->wait;
    if (input.at < wait.earliest || input.at > wait.latest) throw Contradiction{"not its time: " + to_string(input)};
    wait.over = true;
    if (input.at < wait.began + wait.length) ++verdict_.waits_shorter;
    if (input.at > wait.began + wait.length + kSameTime) ++verdict_.waits_longer;
    due_.emplace_back(input.child, input.wait);
  }

  // What has come by now, while it lets others run.
  void look() {
    while (std::optional<Input> input = record_.next_before_deed()) (void)sort(std::move(*input), nullptr);
  }

  // ── Start and stop ──

  // Nothing: it went well, or it has to stop.
  std::optional<ExitReason> start(Child& child) {
    child.declined = child.to_run = false;
    std::erase_if(ended_, [&](const auto& ended) { return ended.first == &child; });
    child.pid = record_.has_started(child.spec.id);
    if (!child.pid) return ExitReason::crashed("start", "");
    child.started = record_.now();
    if (!child.spec.reports_ready) return std::nullopt;
    const Nanoseconds deadline = deadline_after(record_.now(), child.spec.start_timeout);
    while (!stop_) {
      const std::optional<Input> input = next(deadline, &child);
      if (!input) {
        kill(child);
        return ExitReason(Kind::kTimeout);
      }
      const std::optional<Input> mine = sort(*input, &child);
      if (!mine) continue;
      if (mine->what == Input::What::kReady) return std::nullopt;
      if (mine->what == Input::What::kDown) return mine->reason;
      child.declined = true;
      stop(child);
      return std::nullopt;
    }
    return std::nullopt;
  }

  bool await_end(Child& child, Nanoseconds deadline) {
    while (child.pid) {
      std::optional<Input> input = next(deadline, &child);
      if (!input) return false;
      (void)sort(std::move(*input), &child);
    }
    return true;
  }

  void kill(Child& child) {
    record_.has_told(child.pid, Deed::What::kKill);
    await_end(child, kNever);
  }

  void stop(Child& child) {
    end_wait(child);
    if (!child.pid) return;
    if (child.spec.shutdown == 0) return kill(child);
    record_.has_told(child.pid, Deed::What::kStop);
    if (!await_end(child, deadline_after(record_.now(), child.spec.shutdown))) kill(child);
  }

  // Each has its own time; those of equal time are killed together.
  void stop_at_once() {
    record_.tells_many();
    std::map<Nanoseconds, std::vector<Child*>> by_patience;
    for (Child& child : children_) {
      if (!child.pid) continue;
      record_.has_told(child.pid, child.spec.shutdown == 0 ? Deed::What::kKill : Deed::What::kStop);
      by_patience[child.spec.shutdown].push_back(&child);
    }
    const Nanoseconds began = record_.now();
    for (const auto& [patience, children] : by_patience) {
      if (patience == 0) continue;
      for (Child* child : children) {
        if (!await_end(*child, deadline_after(began, patience))) record_.has_told(child->pid, Deed::What::kKill);
      }
    }
    for (Child& child : children_) await_end(child, kNever);
  }

  // ── Restarts ──

  bool too_many_restarts() {
    restarts_.push_back(record_.now());
    while (record_.now() - restarts_.front() > spec_.window) restarts_.pop_front();
    if (restarts_.size() <= spec_.restarts_max) return false;
    stop_ = Kind::kShutdown;
    return true;
  }

  static bool starts_again(const Child& child, const ExitReason& reason) {
    return child.spec.restart == Restart::kPermanent ||
           (child.spec.restart == Restart::kTransient && is_failure(reason));
  }

  void handle_end(Child& child, const ExitReason& reason) {
    if (child.pid || child.wait || child.to_run) return;
    if (starts_again(child, reason)) {
      if (too_many_restarts()) return;
      if (spec_.backoff) {
        begin_wait(child, *spec_.backoff);
      } else {
        restart(child);
      }
    } else if (child.spec.restart == Restart::kTemporary || is_simple()) {
      forget(&child);
    }
  }

  void begin_wait(Child& child, const Backoff& backoff) {
    const bool anew = child.last_wait == 0 || child.lived >= backoff.quiet;
    const double longer = static_cast<double>(child.last_wait) * backoff.factor;
    child.last_wait =
        anew ? backoff.first : static_cast<Nanoseconds>(std::min(longer, static_cast<double>(backoff.max)));
    const auto jitter = static_cast<Nanoseconds>(static_cast<double>(child.last_wait) * backoff.jitter);
    const Nanoseconds began = record_.now();
    const Nanoseconds end = began + child.last_wait;
    child.wait = {.began = began,
                  .length = child.last_wait,
                  .earliest = end - jitter - kMicrosecond,
                  .latest = end + jitter + kSameTime};
    ++child.wait_number;
  }

  void handle_due(std::uint64_t number, std::uint64_t wait_number) {
    const Place child = find(number);
    if (child != children_.end() && child->wait && child->wait_number == wait_number) restart(*child);
  }

  // Whether it ended by itself and is to start again, of which nobody has taken notice yet.
  bool has_pending_end(const Child& child) const {
    const auto ended = std::ranges::find_if(ended_, [&](const auto& one) { return one.first == &child; });
    return ended != ended_.end() && starts_again(child, ended->second);
  }

  // Those that are stopped and started with a child, in order, itself included.
  std::vector<Child*> affected_by(const Child& child) {
    std::vector<Child*> affected;
    bool from_here = false;
    for (Child& one : children_) {
      from_here |= &one == &child;
      if (&one == &child || spec_.strategy == Strategy::kOneForAll ||
          (spec_.strategy == Strategy::kRestForOne && from_here)) {
        affected.push_back(&one);
      }
    }
    return affected;
  }

  void restart(Child& child) {
    for (;;) {
      std::vector<Child*> again;
      for (Child* one : std::views::reverse(affected_by(child))) {
        const bool runs = one == &child || one->pid || one->wait || one->to_run || has_pending_end(*one);
        stop(*one);
        if (stop_) return;
        if (one != &child && one->spec.restart == Restart::kTemporary) {
          forget(one);
        } else if (runs) {
          again.push_back(one);
        }
      }
      std::ranges::reverse(again);
      Child* failed = start_again(again);
      if (failed == nullptr || stop_ || too_many_restarts()) return;
      if (spec_.backoff) return begin_wait(*failed, *spec_.backoff);
      look();
      if (stop_) return;
    }
  }

  // Who could not be started, if anybody; it and those after it are to run with the next attempt.
  Child* start_again(const std::vector<Child*>& again) {
    for (auto one = again.begin(); one != again.end(); ++one) {
      const std::optional<ExitReason> failure = start(**one);
      if (stop_) return nullptr;
      if (failure) {
        Child* failed = *one;
        failed->lived = 0;
        for (; one != again.end(); ++one) (*one)->to_run = true;
        return failed;
      }
      if (is_simple() && (*one)->declined) forget(*one);
    }
    return nullptr;
  }

  // ── Requests ──

  void answer(Pid client, std::string text) { answers_[client] = std::move(text); }

  void handle(const Input& input) {
    const Request& request = *input.request;
    switch (request.what) {
      case Request::What::kStart:
        return handle_start(request, input.from);
      case Request::What::kWhich:
        return answer(input.from, answer_text(which()));
      case Request::What::kCount:
        return answer(input.from, answer_text(count()));
      default:
        break;
    }
    const Place place = request.pid ? find(request.pid) : find(request.id);
    if (place == children_.end()) return answer(input.from, "not_found");
    handle_order(request.what, *place, input.from);
  }

  void handle_start(const Request& request, Pid client) {
    const ChildSpec& spec = request.spec;
    const bool valid = spec.start && (request.dynamic || (!spec.id.empty() && spec.shutdown >= 0));
    if (!valid || request.dynamic != is_simple()) return answer(client, "invalid");
    if (find(spec.id) != children_.end()) return answer(client, "exists");
    Child& child = add(spec);
    const std::optional<ExitReason> failure = start(child);
    if (stop_) return;
    answer(client, failure ? "unavailable" : answer_text(detail::Answer{child.pid, {}}));
    if (failure || (child.declined && (is_simple() || spec.restart == Restart::kTemporary))) forget(&child);
  }

  void handle_order(Request::What order, Child& child, Pid client) {
    const bool stopped = !child.pid && !child.wait && !child.to_run;
    if (order == Request::What::kTerminate) {
      stop(child);
      answer(client, "fine");
      if (child.spec.restart == Restart::kTemporary || is_simple()) forget(&child);
    } else if (!stopped) {
      answer(client, "exists");
    } else if (order == Request::What::kRestart) {
      const std::optional<ExitReason> failure = start(child);
      if (stop_) return;
      answer(client, failure ? "unavailable" : answer_text(detail::Answer{child.pid, {}}));
    } else {
      forget(&child);
      answer(client, "fine");
    }
  }

  std::vector<ChildInfo> which() const {
    std::vector<ChildInfo> infos;
    for (const Child& child : children_) {
      const ChildState state = child.pid    ? ChildState::kRunning
                               : child.wait ? ChildState::kWaiting
                                            : ChildState::kStopped;
      infos.push_back({.id = is_simple() ? std::string() : child.spec.id,
                       .pid = child.pid,
                       .state = state,
                       .restart = child.spec.restart});
    }
    return infos;
  }

  ChildCounts count() const {
    const auto active = std::ranges::count_if(children_, [](const Child& child) { return bool(child.pid); });
    const auto waiting = std::ranges::count_if(children_, [](const Child& child) { return bool(child.wait); });
    return {.specs = children_.size(),
            .active = static_cast<std::uint64_t>(active),
            .waiting = static_cast<std::uint64_t>(waiting)};
  }

  void compare_answers() {
    for (const auto& [client, text] : answers_) {
      const auto real = life_.answers.find(client);
      if (real == life_.answers.end()) {
        if (record_.kill_reached_it()) continue;
        throw Contradiction{"it should have answered " + client.to_string() + " " + text};
      }
      if (real->second != text) {
        throw Contradiction{"it answered " + client.to_string() + " " + real->second + ", not " + text};
      }
    }
    for (const auto& [client, text] : life_.answers) {
      if (!answers_.contains(client)) throw Contradiction{"it should not have answered " + client.to_string()};
    }
  }

  // ── From its start to its end ──

  void start_first() {
    for (const ChildSpec& spec : spec_.children) {
      Child& child = add(spec);
      const std::optional<ExitReason> failure = start(child);
      if (stop_) return;
      if (failure) {
        stop_ = ExitReason::crashed("start", spec.id);
        return;
      }
      if (child.declined && spec.restart == Restart::kTemporary) forget(&child);
    }
  }

  template <class T>
  static T take_first(std::deque<T>& queue) {
    T first = std::move(queue.front());
    queue.pop_front();
    return first;
  }

  void run() {
    start_first();
    while (!stop_) {
      if (!ended_.empty()) {
        const auto [child, reason] = take_first(ended_);
        handle_end(*child, reason);
      } else if (!due_.empty()) {
        const auto [child, wait] = take_first(due_);
        handle_due(child, wait);
      } else if (!requests_.empty()) {
        handle(take_first(requests_));
      } else {
        (void)sort(*next(), nullptr);
      }
    }
    // A later order changes nothing.
    const ExitReason reason = *stop_;
    if (is_simple()) {
      stop_at_once();
    } else {
      for (Child& child : std::views::reverse(children_)) stop(child);
    }
    record_.has_ended(reason);
  }

  const SupervisorSpec& spec_;
  const Life& life_;
  Record record_;
  std::list<Child> children_;
  std::uint64_t added_ = 0;
  std::deque<std::pair<Child*, ExitReason>> ended_;
  std::deque<std::pair<std::uint64_t, std::uint64_t>> due_;  // children, and their waits
  std::deque<Input> requests_;
  std::deque<Nanoseconds> restarts_;
  std::optional<ExitReason> stop_;
  std::map<Pid, std::string> answers_;
  Verdict verdict_;
};

}  // namespace

Verdict judge(const SupervisorSpec& spec, const Life& life) {
  return Reference(spec, life).judge();
}

}  // namespace rusm::otp::sim
