#include "otp/application.h"

#include <algorithm>
#include <chrono>
#include <unordered_map>
#include <unordered_set>

#include "otp/match.h"
#include "otp/supervisor_messages.h"

namespace rusm::otp {
namespace {

using Kind = ExitReason::Kind;
using Numbers = std::unordered_map<std::string, std::size_t>;

std::string named(const std::string& name) {
  return "application \"" + name + "\"";
}

// Puts `number` and before it what it needs. `trail`: those that are waiting for what they need.
Result<> order_from(std::size_t number, const std::vector<ApplicationSpec>& all, const Numbers& numbers,
                    std::vector<std::size_t>* trail, std::vector<std::size_t>* order) {
  const ApplicationSpec& spec = all[number];
  const auto has = [number](const std::vector<std::size_t>& some) {
    return std::ranges::find(some, number) != some.end();
  };
  if (has(*order)) return {};
  if (has(*trail)) {
    std::string circle;
    for (const std::size_t n : *trail) circle += all[n].name + " needs ";
    return fail(ErrorCode::kInvalid, named(spec.name), "needs itself in the end: " + circle + spec.name);
  }
  trail->push_back(number);
  for (const std::string& need : spec.needs) {
    const auto found = numbers.find(need);
    if (found == numbers.end()) {
      return fail(ErrorCode::kNotFound, named(spec.name), "needs \"" + need + "\", which is not among those to start");
    }
    if (Result<> fine = order_from(found->second, all, numbers, trail, order); !fine) return fine;
  }
  trail->pop_back();
  order->push_back(number);
  return {};
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "\"" : ", \"") + word + "\"";
  return text;
}

Result<SupervisorSpec> tree_of(const ApplicationSpec& spec) {
  Result<SupervisorSpec> tree = spec.tree(spec.settings);
  if (!tree) {
    return fail(tree.error().code, named(spec.name), tree.error().to_string());
  }
  if (const std::vector<std::string> unread = spec.settings.unread(); !unread.empty()) {
    const std::vector<std::string> known = spec.settings.keys_read();
    return fail(ErrorCode::kInvalid, named(spec.name),
                "knows no setting " + joined(unread) + (known.empty() ? "" : "; it has " + joined(known)));
  }
  if (const Result<> fine = validate(*tree); !fine) {
    return fail(fine.error().code, named(spec.name), fine.error().to_string());
  }
  return tree;
}

struct Started {
  Pid root;  // empty: there is none
  std::optional<ExitReason> failure;
};

// Starts the root and waits with it until it stands. Until then the two are linked, so that whoever kills this one
// leaves nothing behind.
Routine start_root(Self& self, std::promise<Started> promise, std::shared_ptr<std::promise<ExitReason>> end,
                   SupervisorSpec spec, Nanoseconds timeout) {
  SpawnOptions options{.label = "applications", .parent = self.pid(), .link = true, .monitor = true, .awaited = true};
  options.on_exit = [end](Pid, const ExitReason& reason) { end->set_value(reason); };
  self.trap_exit(true);
  const Spawned root = self.runtime().spawn_from(self, std::move(options), supervise, std::move(spec));
  if (!root.pid) {
    promise.set_value({Pid(), ExitReason::limit("processes", "there are too many")});
    co_return;
  }
  std::optional<Message> message =
      co_await receive_if_for(self, timeout, [](const Message& m) { return !m.is_exit(); });
  Started started{root.pid, std::nullopt};
  if (!message) started.failure = Kind::kTimeout;
  if (message && message->is_down()) started = {Pid(), message->reason()};
  self.unlink(root.pid);
  promise.set_value(std::move(started));
}

// Who lives of `known` and of all that is below them; what is found is added to `known`.
std::vector<Pid> tree_below(Runtime& runtime, std::unordered_set<Pid>* known) {
  std::vector<Pid> alive;
  for (bool grew = true; grew;) {
    grew = false;
    alive.clear();
    for (const Pid pid : runtime.processes()) {
      const std::optional<ProcessInfo> info = runtime.info(pid);
      if (!info) continue;
      if (known->contains(info->parent)) grew |= known->insert(pid).second;
      if (known->contains(pid)) alive.push_back(pid);
    }
  }
  return alive;
}

// Kills `root` and all that is below it, and waits until nothing of it lives. What is started again meanwhile is found
// in the next round, and who started it is dead by then.
void kill_tree(Runtime& runtime, Pid root) {
  std::unordered_set<Pid> known{root};
  for (;;) {
    const std::vector<Pid> alive = tree_below(runtime, &known);
    if (alive.empty()) return;
    for (const Pid pid : alive) runtime.exit(pid, Kind::kKill);
    for (const Pid pid : alive) (void)runtime.wait_for(pid, kNever);
  }
}

}  // namespace

const Settings::Value* Settings::find(std::string_view key) const {
  if (!read_.contains(key)) read_.emplace(key);
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

const char* Settings::type_name(const Value& value) {
  static constexpr const char* kNames[] = {"true or false", "a whole number", "a number", "a text"};
  return kNames[value.index()];
}

std::vector<std::string> Settings::unread() const {
  std::vector<std::string> keys;
  for (const auto& [key, value] : values_) {
    if (!read_.contains(key)) keys.push_back(key);
  }
  return keys;
}

Result<SupervisorSpec> application_tree(std::vector<ApplicationSpec> applications) {
  Numbers numbers;
  for (std::size_t i = 0; i < applications.size(); ++i) {
    const ApplicationSpec& spec = applications[i];
    if (spec.name.empty()) return fail(ErrorCode::kInvalid, "applications[" + std::to_string(i) + "]", "has no name");
    if (!spec.tree) return fail(ErrorCode::kInvalid, named(spec.name), "has no tree");
    if (!numbers.emplace(spec.name, i).second) return fail(ErrorCode::kExists, named(spec.name), "is there twice");
  }
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < applications.size(); ++i) {
    std::vector<std::size_t> trail;
    if (const Result<> fine = order_from(i, applications, numbers, &trail, &order); !fine) {
      return std::unexpected(fine.error());
    }
  }
  SupervisorSpec root{.restarts_max = 0};
  for (const std::size_t number : order) {
    const ApplicationSpec& spec = applications[number];
    Result<SupervisorSpec> tree = tree_of(spec);
    if (!tree) return tree;
    ChildSpec child = child_supervisor(spec.name, std::move(*tree));
    child.restart = spec.permanent ? Restart::kPermanent : Restart::kTemporary;
    root.children.push_back(std::move(child));
  }
  return root;
}

Result<Applications> Applications::start(Runtime& runtime, std::vector<ApplicationSpec> applications,
                                         Nanoseconds timeout) {
  Result<SupervisorSpec> spec = application_tree(std::move(applications));
  if (!spec) return std::unexpected(spec.error());
  std::promise<Started> promise;
  std::future<Started> future = promise.get_future();
  Started started{Pid(), Kind::kKilled};
  auto end = std::make_shared<std::promise<ExitReason>>();
  End ended = end->get_future().share();
  if (runtime.spawn(start_root, std::move(promise), std::move(end), std::move(*spec), timeout)) {
    try {
      started = future.get();
    } catch (const std::future_error&) {
      // Whoever was to say it was killed, and its root with it.
    }
  }
  if (!started.failure) return Applications(runtime, started.root, std::move(ended));
  const bool late = started.failure->kind() == Kind::kTimeout;
  if (started.root) (void)Applications(runtime, started.root, std::move(ended)).stop();
  return fail(late ? ErrorCode::kTimeout : ErrorCode::kUnavailable, "applications", started.failure->to_string());
}

Applications::~Applications() {
  if (root_) (void)stop();
}

std::optional<ExitReason> Applications::wait(Nanoseconds timeout) {
  if (timeout == kNever) return end_.get();
  if (end_.wait_for(std::chrono::nanoseconds(timeout)) != std::future_status::ready) return std::nullopt;
  return end_.get();
}

Result<> Applications::stop(Nanoseconds timeout) {
  const Pid root = std::exchange(root_, Pid());
  runtime_->exit(root, Kind::kShutdown);
  if (wait(timeout)) return {};
  kill_tree(*runtime_, root);
  return fail(ErrorCode::kTimeout, "applications", "did not stop in time and were killed");
}

}  // namespace rusm::otp
