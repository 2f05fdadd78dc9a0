#include "sim/supervisor_worlds.h"

#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "sim/supervisor_model.h"
#include "sim/supervisor_watcher.h"
#include "spec/fixture.h"

namespace rusm::otp::sim {
namespace {

using Kind = ExitReason::Kind;
using spec::World;

// What a child does with its life; drawn at each start.
struct Fate {
  enum class Start { kReady, kLateReady, kCrash, kHang, kDecline };
  enum class Order { kObeys, kTakesTime, kIgnores };  // an order to stop
  Start start = Start::kReady;
  Order order = Order::kObeys;
  Nanoseconds until_ready = 0;
  Nanoseconds lifetime = kNever;
  Nanoseconds until_stop = 0;
  ExitReason reason = {};
};

// One supervisor's spec, and what is under it.
struct Tree {
  SupervisorSpec spec;
  std::vector<std::unique_ptr<Tree>> under;  // of children that are supervisors themselves
};

struct Families {
  World& world;
  SupervisorWatcher& watcher;
  std::map<Pid, const Tree*> trees = {};  // of each supervisor
  Tree more = {};                         // under it: of children that were asked for
  std::uint64_t wanted = 0;               // dynamic children

  std::uint64_t below(std::uint64_t n) { return world.random().below(n); }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  // Some steps of 10 ms, so that they do not meet the deadlines of specs.
  Nanoseconds some_time(std::uint64_t steps) { return static_cast<Nanoseconds>(below(steps)) * 10 * kMillisecond; }

  ExitReason some_reason() {
    switch (below(4)) {
      case 0:
        return Kind::kNormal;
      case 1:
        return Kind::kShutdown;
      case 2:
        return ExitReason::crashed("test", "broken");
      default:
        return ExitReason::other("enough");
    }
  }

  Fate draw() {
    Fate fate;
    if (one_in(6)) fate.start = static_cast<Fate::Start>(1 + below(4));
    if (fate.start == Fate::Start::kHang && one_in(2)) fate.start = Fate::Start::kLateReady;
    if (one_in(4)) fate.order = static_cast<Fate::Order>(1 + below(2));
    fate.until_ready = some_time(30);
    fate.lifetime = one_in(2) ? kNever : some_time(200);
    fate.until_stop = some_time(60);
    fate.reason = some_reason();
    return fate;
  }

  // Ignores everything for so long, but for its supervisor's end.
  static Task<> linger(Self& self, Nanoseconds span) {
    const Nanoseconds until = deadline_after(self.runtime().clock().now(), span);
    for (;;) {
      const Nanoseconds now = self.runtime().clock().now();
      if (now >= until) co_return;
      const auto message = co_await receive_for(self, until == kNever ? kNever : until - now);
      if (message && message->kind() == EnvelopeKind::kLinkExit) co_await end(self, message->reason());
    }
  }

  static Routine worker(Self& self, Fate fate) {
    if (fate.order != Fate::Order::kObeys) self.trap_exit(true);
    switch (fate.start) {
      case Fate::Start::kReady:
        break;
      case Fate::Start::kLateReady:
        co_await linger(self, fate.until_ready);
        break;
      case Fate::Start::kCrash:
        co_await end(self, fate.reason);
        break;
      case Fate::Start::kHang:
        co_await linger(self, kNever);
        break;
      case Fate::Start::kDecline:
        decline(self);
        co_await linger(self, fate.until_ready);
        co_return;
    }
    ready(self);
    const Nanoseconds until = deadline_after(self.runtime().clock().now(), fate.lifetime);
    for (;;) {
      const Nanoseconds now = self.runtime().clock().now();
      if (now >= until) co_await end(self, fate.reason);
      const auto message = co_await receive_for(self, until == kNever ? kNever : until - now);
      if (message && message->kind() == EnvelopeKind::kLinkExit) co_await end(self, message->reason());
      if (!message || !message->is_exit() || fate.order == Fate::Order::kIgnores) continue;
      co_await linger(self, fate.until_stop);
      co_await end(self, one_in_two(until) ? ExitReason(Kind::kShutdown) : message->reason());
    }
  }
  static bool one_in_two(Nanoseconds n) { return (n / (10 * kMillisecond)) % 2 == 0; }

  // ── Specs ──

  std::unique_ptr<Tree> draw_tree(int depth) {
    auto tree = std::make_unique<Tree>();
    SupervisorSpec& spec = tree->spec;
    spec.strategy = static_cast<Strategy>(below(4));
    spec.restarts_max = static_cast<std::uint32_t>(below(6));
    spec.window = static_cast<Nanoseconds>(1 + below(3)) * kSecond + 5 * kMillisecond;
    if (one_in(3)) spec.backoff = draw_backoff();
    if (spec.strategy == Strategy::kSimpleOneForOne) {
      spec.dynamic = dynamic_child_of;
      return tree;
    }
    const std::uint64_t children = 1 + below(4);
    for (std::uint64_t i = 0; i < children; ++i) spec.children.push_back(draw_child(*tree, letter(i), depth));
    return tree;
  }

  Backoff draw_backoff() {
    Backoff backoff;
    backoff.first = 10 * kMillisecond + some_time(30);
    backoff.max = backoff.first * static_cast<Nanoseconds>(1 + below(8));
    backoff.factor = 1 + 0.5 * static_cast<double>(below(4));
    backoff.jitter = 0.25 * static_cast<double>(below(3));
    backoff.quiet = some_time(100) + 5 * kMillisecond;
    return backoff;
  }

  static std::string letter(std::uint64_t i) { return std::string(1, static_cast<char>('a' + i)); }

  ChildSpec draw_child(Tree& tree, const std::string& id, int depth) {
    ChildSpec spec{.id = id, .start = {}};
    spec.restart = static_cast<Restart>(one_in(2) ? 0 : below(3));
    spec.shutdown = one_in(4) ? 0 : one_in(4) ? kNever : (1 + some_time(40)) + 5 * kMillisecond;
    spec.reports_ready = one_in(2);
    if (!one_in(3)) spec.start_timeout = some_time(40) + 5 * kMillisecond;
    Tree* under = nullptr;
    if (depth > 0 && one_in(3)) {
      under = tree.under.emplace_back(draw_tree(depth - 1)).get();
      spec.shutdown = kNever;
      spec.start_timeout = kNever;
      spec.reports_ready = true;
    } else if (spec.shutdown == kNever || spec.start_timeout == kNever) {
      spec.shutdown = 1005 * kMillisecond;  // somebody has to end who ignores it
      spec.start_timeout = 905 * kMillisecond;
    }
    spec.start = starter(id, under);
    return spec;
  }

  // Fails now and then.
  StartChild starter(const std::string& name, const Tree* under) {
    return [this, name, under](Self& supervisor, SpawnOptions options) -> Result<Spawned> {
      Spawned spawned;
      if (!one_in(25)) {
        Runtime& runtime = supervisor.runtime();
        spawned = under == nullptr ? runtime.spawn_from(supervisor, std::move(options), worker, draw())
                                   : runtime.spawn_from(supervisor, std::move(options), supervise, under->spec);
        if (under != nullptr) adopt(spawned.pid, *under);
      }
      watcher.note_start(supervisor.pid(), name, spawned.pid);
      if (!spawned.pid) return fail(ErrorCode::kIo, "disk", "is full");
      return spawned;
    };
  }

  static ChildSpec dynamic_child_of(const Message& argument) {
    const Wanted* wanted = argument.get_if<Wanted>();
    if (wanted == nullptr) throw std::invalid_argument("of such an argument nothing is made");
    ChildSpec spec = wanted->spec;
    spec.id.clear();
    return spec;
  }

  void adopt(Pid supervisor, const Tree& tree) {
    watcher.note_supervisor(supervisor);
    trees[supervisor] = &tree;
  }

  // ── Requests ──

  static Routine asks(Self& self, Pid supervisor, Request request) {
    switch (request.what) {
      case Request::What::kStart: {
        Message argument = request.spec.start ? Message::local(Wanted{request.spec}) : Message::of_text("nonsense");
        request.dynamic ? (void)co_await start_child(self, supervisor, std::move(argument))
                        : (void)co_await start_child(self, supervisor, std::move(request.spec));
        break;
      }
      case Request::What::kTerminate:
        request.pid ? (void)co_await terminate_child(self, supervisor, request.pid)
                    : (void)co_await terminate_child(self, supervisor, request.id);
        break;
      case Request::What::kRestart:
        (void)co_await restart_child(self, supervisor, request.id);
        break;
      case Request::What::kDelete:
        (void)co_await delete_child(self, supervisor, request.id);
        break;
      case Request::What::kWhich:
        (void)co_await which_children(self, supervisor);
        break;
      case Request::What::kCount:
        (void)co_await count_children(self, supervisor);
        break;
    }
  }

  Request draw_request(Pid supervisor) {
    const bool simple = trees.at(supervisor)->spec.strategy == Strategy::kSimpleOneForOne;
    Request request{.what = static_cast<Request::What>(below(6)), .id = letter(below(6))};
    if (simple && one_in(2)) request.what = Request::What::kStart;
    if (request.what == Request::What::kStart) {
      request.dynamic = simple != one_in(20);
      const std::string name = simple ? "#" + std::to_string(++wanted) : request.id;
      request.spec = draw_child(more, name, 1);
      if (one_in(15)) request.spec.start = nullptr;
      if (!simple && one_in(15)) request.spec.shutdown = -1;
    }
    if (request.what == Request::What::kTerminate && (simple || one_in(3))) request.pid = some_child_of(supervisor);
    return request;
  }

  // Mostly one that lives.
  Pid some_child_of(Pid supervisor) {
    std::vector<Pid> children;
    for (const auto& [child, parent] : watcher.parents()) {
      if (parent == supervisor && (world.here().is_alive(child) || one_in(8))) children.push_back(child);
    }
    return children.empty() ? Pid() : children[below(children.size())];
  }

  void ask(Pid supervisor) {
    const Pid client = world.here().spawn(asks, supervisor, draw_request(supervisor));
    watcher.note_client(client, supervisor);
  }

  // ── Who is there ──

  // Empty when nobody is.
  Pid anybody() {
    const std::vector<Pid> all = world.here().processes();
    return all.empty() ? Pid() : all[below(all.size())];
  }
  Pid any_supervisor() {
    std::vector<Pid> all = world.here().processes();
    std::erase_if(all, [&](Pid pid) { return !watcher.is_supervisor(pid); });
    return all.empty() ? Pid() : all[below(all.size())];
  }
};

// Lets so much time pass, timer by timer.
void pass(World& world, Nanoseconds span) {
  const Nanoseconds until = world.clock().now() + span;
  world.run();
  while (world.here().next_timer() <= until) {
    world.clock().advance_to(world.here().next_timer());
    world.run();
  }
  world.clock().advance_to(until);
  world.run();
}

// Lets time go on, by pieces, and does something to somebody between them.
void disturb(Families& families, Pid root, int times) {
  World& world = families.world;
  for (int i = 0; i < times && world.here().is_alive(root); ++i) {
    pass(world, families.some_time(60) + kMillisecond);
    const Pid asked = families.any_supervisor();
    for (std::uint64_t requests = asked ? families.below(4) : 0; requests > 0; --requests) families.ask(asked);
    const Pid victim = families.anybody();
    if (families.one_in(3) || families.watcher.is_client(victim)) continue;
    const bool is_supervisor = families.watcher.is_supervisor(victim);
    if (families.one_in(3) && !is_supervisor) {
      world.here().exit(victim, families.one_in(2) ? ExitReason(Kind::kKill) : families.some_reason());
    } else if (families.one_in(8) && victim != root) {
      world.here().exit(victim, Kind::kKill);
    } else if (families.one_in(12) && victim != root) {
      world.here().exit(victim, families.some_reason());  // from outside: an order to a supervisor too
    }
  }
}

}  // namespace

SupervisorRun run_supervisors(std::uint64_t seed) {
  SupervisorWatcher watcher;
  World world(seed, false, &watcher);
  watcher.world = &world;
  Families families{world, watcher};
  const std::unique_ptr<Tree> tree = families.draw_tree(2);
  const Pid root = world.here().spawn(
      [](Self& self, Families* all, const Tree* top) -> Routine {
        all->adopt(self.pid(), *top);
        return supervise(self, top->spec);
      },
      &families, tree.get());
  disturb(families, root, 16);
  world.here().exit(root, Kind::kShutdown);
  world.run_out();

  SupervisorRun run{.supervisors = watcher.lives().size()};
  for (const auto& [pid, life] : watcher.lives()) {
    const Verdict verdict = judge(families.trees.at(pid)->spec, life);
    run.deeds += life.deeds.size();
    run.answers += life.answers.size();
    run.waits_shorter += verdict.waits_shorter;
    run.waits_longer += verdict.waits_longer;
    if (verdict.problem.empty()) continue;
    run.problem = "supervisor " + pid.to_string() + ": " + verdict.problem + "\n  what reached it:";
    for (const Input& input : life.inputs) run.problem += "\n    " + to_string(input);
    run.problem += "\n  what it did:";
    for (const Deed& deed : life.deeds) run.problem += "\n    " + to_string(deed);
    return run;
  }
  if (const std::size_t left = world.here().process_count(); left != 0) {
    run.problem = std::to_string(left) + " processes live on after their root";
  }
  return run;
}

}  // namespace rusm::otp::sim
