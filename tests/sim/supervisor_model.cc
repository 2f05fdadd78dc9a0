#include "sim/supervisor_model.h"

#include <algorithm>
#include <list>
#include <ranges>

namespace rusm::otp::sim {
namespace {

using Kind = ExitReason::Kind;

constexpr Nanoseconds kSameTime = 3 * kMillisecond;  // timers are late by less

struct OutOfInputs {};
struct Contradiction {
  std::string text;
};

bool is_failure(const ExitReason& reason) {
  return reason.kind() != Kind::kNormal && reason.kind() != Kind::kShutdown;
}

struct Child {
  ChildSpec spec;
  Pid pid = {};
  bool declined = false;
  bool to_run = false;  // it could not be started again, and is to be
};

// Straight on, as one would tell it: what it waits for is taken from the inputs, what it does is looked for in the
// deeds.
class Reference {
 public:
  Reference(const SupervisorSpec& spec, const Life& life) : spec_(spec), life_(life), now_(life.began) {
    for (const Input& input : life.inputs) inputs_.push_back(input);
    for (const Deed& deed : life.deeds) deeds_.push_back(deed);
  }

  std::string judge() {
    if (ended_before_it_began()) return {};
    try {
      try {
        run();
      } catch (const OutOfInputs&) {
        // It lives, or was killed.
        if (!deeds_.empty() && deeds_.front().what == Deed::What::kEnd) accept_kill();
      }
      if (!deeds_.empty()) throw Contradiction{"it should not have done: " + to_string(deeds_.front())};
      compare_answers();
    } catch (const Contradiction& contradiction) {
      return contradiction.text;
    }
    return {};
  }

 private:
  // An exit signal came before its first step, in which it begins to trap them.
  bool ended_before_it_began() const {
    return deeds_.size() == 1 && deeds_.front().what == Deed::What::kEnd && !inputs_.empty() &&
           inputs_.front().what == Input::What::kOrderToStop && deeds_.front().reason == inputs_.front().reason;
  }

  using Place = std::list<Child>::iterator;

  void accept_kill() {
    if (deeds_.front().reason.kind() != Kind::kKilled || !life_.kill_reached_it) {
      throw Contradiction{"it should not have ended: " + to_string(deeds_.front())};
    }
    done();
  }

  void compare_answers() {
    for (std::size_t i = 0; i < std::min(answers_.size(), life_.answers.size()); ++i) {
      if (life_.answers[i] == answers_[i]) continue;
      throw Contradiction{"request " + std::to_string(i) + " was answered " + life_.answers[i] + ", not " +
                          answers_[i]};
    }
    if (life_.answers.size() == answers_.size() || life_.kill_reached_it) return;
    throw Contradiction{std::to_string(life_.answers.size()) + " requests were answered, and should have been " +
                        std::to_string(answers_.size())};
  }

  // ── What it waits for ──

  // The next input; nothing when the deadline, after which `child` is killed, passes first. What comes at the same time
  // may be first or last, and its killing tells.
  std::optional<Input> next(Nanoseconds deadline = kNever, const Child* child = nullptr) {
    if (inputs_.empty()) {
      // Time goes on when nothing happens, so a deadline passes.
      if (deadline == kNever || killed_first()) throw OutOfInputs();
      now_ = deadline;
      return std::nullopt;
    }
    const Nanoseconds at = inputs_.front().at;
    if (deadline != kNever && at >= deadline) {
      const bool killed =
          !deeds_.empty() && deeds_.front().what == Deed::What::kKill && deeds_.front().child == child->pid;
      if (at - deadline > kSameTime || killed) {
        now_ = std::max(now_, deadline);
        return std::nullopt;
      }
    }
    now_ = std::max(now_, at);
    Input input = inputs_.front();
    inputs_.pop_front();
    return input;
  }

  bool killed_first() const { return life_.kill_reached_it && deeds_.size() == 1; }

  // Sorts an input into what waits for its turn, unless it is about `about`, which is then returned.
  std::optional<Input> sort(Input input, const Child* about) {
    switch (input.what) {
      case Input::What::kOrderToStop:
        stop_ = input.reason;
        return std::nullopt;
      case Input::What::kRequest:
        requests_.push_back(*input.request);
        return std::nullopt;
      case Input::What::kDown: {
        const Place child = find(input.from);
        if (child == children_.end()) return std::nullopt;
        child->pid = Pid();
        if (&*child == about) return input;
        ended_.push_back({&*child, input.reason});
        return std::nullopt;
      }
      default:
        if (about != nullptr && about->pid == input.from) return input;
        return std::nullopt;
    }
  }

  Place find(Pid pid) {
    return std::ranges::find_if(children_, [pid](const Child& child) { return pid && child.pid == pid; });
  }
  Place find(const std::string& id) {
    return std::ranges::find_if(children_, [&](const Child& child) { return child.spec.id == id; });
  }

  // What has come by now, while it lets others run.
  void look() {
    while (!inputs_.empty() && inputs_.front().deeds_before <= deeds_done_) (void)sort(*next(), nullptr);
  }

  // ── What it does ──

  void done() {
    deeds_.pop_front();
    ++deeds_done_;
  }

  // Nothing: it went well, or it has to stop.
  std::optional<ExitReason> start(Child& child) {
    child.to_run = child.declined = false;
    std::erase_if(ended_, [&](const auto& ended) { return ended.first == &child; });
    if (deeds_.empty()) throw Contradiction{"it should have started " + child.spec.id};
    const Deed deed = deeds_.front();
    if (deed.what == Deed::What::kEnd && life_.kill_reached_it) throw OutOfInputs();
    if (deed.what != Deed::What::kStart || deed.id != child.spec.id) {
      throw Contradiction{"it should have started " + child.spec.id + ", and did: " + to_string(deed)};
    }
    done();
    if (!deed.child) return ExitReason::crashed("start", "");
    child.pid = deed.child;
    if (!child.spec.reports_ready) return std::nullopt;
    const Nanoseconds deadline = deadline_after(now_, child.spec.start_timeout);
    while (!stop_) {
      const std::optional<Input> input = next(deadline, &child);
      if (!input) {
        tell(child, Deed::What::kKill);
        await_end(child, kNever);
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

  // An exit signal from it; none reaches a child that is dead by then.
  void tell(const Child& child, Deed::What what) {
    if (!deeds_.empty() && deeds_.front().what == what && deeds_.front().child == child.pid) return done();
    const auto end = std::ranges::find_if(
        inputs_, [&](const Input& input) { return input.what == Input::What::kDown && input.from == child.pid; });
    if (end != inputs_.end() && end->at - now_ > kSameTime) {
      throw Contradiction{"it should have sent an exit signal to " + child.pid.to_string()};
    }
  }

  bool await_end(Child& child, Nanoseconds deadline) {
    while (child.pid) {
      const std::optional<Input> input = next(deadline, &child);
      if (!input) return false;
      (void)sort(*input, &child);
    }
    return true;
  }

  void stop(Child& child) {
    child.to_run = false;
    if (!child.pid) return;
    if (child.spec.shutdown == 0) {
      tell(child, Deed::What::kKill);
      await_end(child, kNever);
      return;
    }
    tell(child, Deed::What::kStop);
    if (await_end(child, deadline_after(now_, child.spec.shutdown))) return;
    tell(child, Deed::What::kKill);
    await_end(child, kNever);
  }

  bool too_many_restarts() {
    restarts_.push_back(now_);
    while (now_ - restarts_.front() > spec_.window) {
      restarts_.pop_front();
    }
    if (restarts_.size() <= spec_.restarts_max) return false;
    stop_ = Kind::kShutdown;
    return true;
  }

  static bool starts_again(const Child& child, const ExitReason& reason) {
    return child.spec.restart == Restart::kPermanent ||
           (child.spec.restart == Restart::kTransient && is_failure(reason));
  }

  void forget(const Child* child) {
    std::erase_if(ended_, [child](const auto& ended) { return ended.first == child; });
    children_.remove_if([child](const Child& one) { return &one == child; });
  }

  void handle_end(Child& child, const ExitReason& reason) {
    if (child.pid || child.to_run) return;
    if (starts_again(child, reason)) {
      if (!too_many_restarts()) restart(child);
    } else if (child.spec.restart == Restart::kTemporary) {
      forget(&child);
    }
  }

  // Whether it ended by itself and is to start again, of which nobody has taken notice yet.
  bool has_pending_end(const Child& child) const {
    const auto ended = std::ranges::find_if(ended_, [&](const auto& one) { return one.first == &child; });
    return ended != ended_.end() && starts_again(child, ended->second);
  }

  void restart(Child& child) {
    const std::string id = child.spec.id;
    for (;;) {
      std::vector<Child*> again;
      std::vector<Child*> affected;
      bool from_here = false;
      for (Child& one : children_) {
        from_here |= &one == &child;
        if (&one == &child || spec_.strategy == Strategy::kOneForAll ||
            (spec_.strategy == Strategy::kRestForOne && from_here)) {
          affected.push_back(&one);
        }
      }
      for (Child* one : std::views::reverse(affected)) {
        const bool to_run = one == &child || one->pid || one->to_run || has_pending_end(*one);
        stop(*one);
        if (stop_) return;
        if (one != &child && one->spec.restart == Restart::kTemporary) {
          forget(one);
        } else if (to_run) {
          again.push_back(one);
        }
      }
      std::ranges::reverse(again);
      bool all = true;
      for (Child* one : again) {
        if (!all) {
          one->to_run = true;
          continue;
        }
        const std::optional<ExitReason> failure = start(*one);
        if (stop_) return;
        if (failure) {
          all = false;
          one->to_run = true;
        }
      }
      if (all || too_many_restarts()) return;
      look();
      if (stop_) return;
    }
  }

  void answer(const char* text) { answers_.emplace_back(text); }

  void handle(const detail::OrderRequest& request) {
    const Place place = find(request.id);
    if (place == children_.end()) return answer("not_found");
    Child& child = *place;
    const bool stopped = !child.pid && !child.to_run;
    switch (request.order) {
      case detail::Order::kTerminate:
        stop(child);
        answer("fine");
        if (child.spec.restart == Restart::kTemporary) forget(&child);
        return;
      case detail::Order::kRestart: {
        if (!stopped) return answer("exists");
        const std::optional<ExitReason> failure = start(child);
        if (stop_) return;
        return answer(failure ? "unavailable" : "fine");
      }
      case detail::Order::kDelete:
        if (!stopped) return answer("exists");
        forget(&child);
        return answer("fine");
    }
  }

  void start_first() {
    for (const ChildSpec& spec : spec_.children) {
      Child& child = children_.emplace_back(Child{.spec = spec});
      const std::optional<ExitReason> failure = start(child);
      if (stop_) return;
      if (failure) {
        stop_ = ExitReason::crashed("start", spec.id);
        return;
      }
      if (child.declined && spec.restart == Restart::kTemporary) forget(&child);
    }
  }

  void run() {
    start_first();
    while (!stop_) {
      if (!ended_.empty()) {
        const auto ended = ended_.front();
        ended_.pop_front();
        handle_end(*ended.first, ended.second);
      } else if (!requests_.empty()) {
        const detail::OrderRequest request = requests_.front();
        requests_.pop_front();
        handle(request);
      } else {
        (void)sort(*next(), nullptr);
      }
    }
    // A later order changes nothing.
    const ExitReason reason = *stop_;
    for (Child& child : std::views::reverse(children_)) stop(child);
    if (deeds_.empty()) throw Contradiction{"it should have ended: " + reason.to_string()};
    const Deed deed = deeds_.front();
    if (deed.reason.kind() == Kind::kKilled && life_.kill_reached_it) return accept_kill();
    if (deed.what != Deed::What::kEnd || deed.reason.kind() != reason.kind()) {
      throw Contradiction{"it should have ended: " + reason.to_string() + ", and did: " + to_string(deed)};
    }
    if (reason.crash_kind() == "start" &&
        deed.reason.text().find("\"" + std::string(reason.text()) + "\"") == std::string_view::npos) {
      throw Contradiction{"its reason should name " + std::string(reason.text()) + ": " + deed.reason.to_string()};
    }
    done();
  }

  const SupervisorSpec& spec_;
  const Life& life_;
  std::deque<Input> inputs_;
  std::deque<Deed> deeds_;
  std::size_t deeds_done_ = 0;
  Nanoseconds now_;
  std::list<Child> children_;
  std::deque<std::pair<Child*, ExitReason>> ended_;
  std::deque<detail::OrderRequest> requests_;
  std::deque<Nanoseconds> restarts_;
  std::optional<ExitReason> stop_;
  std::vector<std::string> answers_;
};

}  // namespace

std::string to_string(const Deed& deed) {
  switch (deed.what) {
    case Deed::What::kStart:
      return "start " + deed.id + (deed.child ? " as " + deed.child.to_string() : " in vain");
    case Deed::What::kStop:
      return "stop " + deed.child.to_string();
    case Deed::What::kKill:
      return "kill " + deed.child.to_string();
    case Deed::What::kEnd:
      return "end: " + deed.reason.to_string();
  }
  return {};
}

std::string to_string(const Input& input) {
  const std::string at = "at " + std::to_string(input.at / kMillisecond) + " ms: ";
  switch (input.what) {
    case Input::What::kDown:
      return at + input.from.to_string() + " ended: " + input.reason.to_string();
    case Input::What::kReady:
      return at + input.from.to_string() + " is ready";
    case Input::What::kDeclined:
      return at + input.from.to_string() + " declined";
    case Input::What::kOrderToStop:
      return at + "told to stop: " + input.reason.to_string();
    case Input::What::kRequest:
      static constexpr const char* kOrders[] = {"terminate ", "restart ", "delete "};
      return at + kOrders[static_cast<int>(input.request->order)] + input.request->id;
  }
  return {};
}

std::string judge(const SupervisorSpec& spec, const Life& life) {
  return Reference(spec, life).judge();
}

}  // namespace rusm::otp::sim
