#include "sim/supervisor_worlds.h"

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "otp/match.h"
#include "sim/supervisor_model.h"
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

struct Tree;

// One supervisor's spec and what is under it.
struct Tree {
  SupervisorSpec spec;
  std::map<std::string, std::unique_ptr<Tree>> under;  // children that are supervisors themselves
};

// Watches the node, and writes each supervisor's life.
class Watcher final : public EventHook {
 public:
  bool traces_arrivals() const noexcept override { return true; }
  void on_arrival(Pid to, const Envelope& envelope) noexcept override {
    if (const auto found = lives.find(to); found != lives.end()) note_input(found->second, envelope);
    if (const auto order = parents.find(to); order != parents.end()) note_order(order->second, to, envelope);
    if (envelope.kind == EnvelopeKind::kReply) note_answer(to, envelope);
  }
  void on_exit(Pid pid, const ExitReason& reason, std::string_view) noexcept override {
    const auto found = lives.find(pid);
    if (found != lives.end()) found->second.deeds.push_back({.what = Deed::What::kEnd, .reason = reason});
  }

  World* world = nullptr;
  std::map<Pid, Life> lives;
  std::map<Pid, const Tree*> trees;
  std::map<Pid, Pid> parents;  // of children: their supervisors
  std::map<Pid, Pid> clients;  // who asks: whom

 private:
  void note_input(Life& life, const Envelope& envelope) {
    Input input{.at = world->clock().now(), .deeds_before = life.deeds.size(), .from = envelope.from};
    const auto parent = parents.find(envelope.from);
    switch (envelope.kind) {
      case EnvelopeKind::kDown:
        input.reason = envelope.reason();
        break;
      case EnvelopeKind::kExit:
      case EnvelopeKind::kLinkExit:
        if (envelope.reason().kind() == Kind::kKill) life.kill_reached_it = true;
        // Ends of children come as links' EXIT too, and mean nothing.
        if (parent != parents.end() && &lives.at(parent->second) == &life) return;
        input.what = Input::What::kOrderToStop;
        input.reason = envelope.reason();
        break;
      case EnvelopeKind::kValue:
        if (envelope.type == &kPayloadType<detail::ChildStarted>) {
          const auto& started = *reinterpret_cast<const detail::ChildStarted*>(envelope.payload());
          input.what = started.declined ? Input::What::kDeclined : Input::What::kReady;
          input.from = started.child;
        } else if (envelope.type == &kPayloadType<detail::OrderRequest>) {
          input.what = Input::What::kRequest;
          input.request = *reinterpret_cast<const detail::OrderRequest*>(envelope.payload());
        } else {
          return;
        }
        break;
      default:
        return;
    }
    life.inputs.push_back(std::move(input));
  }

  void note_order(Pid supervisor, Pid child, const Envelope& envelope) {
    if (envelope.kind != EnvelopeKind::kExit || envelope.from != supervisor) return;
    std::vector<Deed>& deeds = lives.at(supervisor).deeds;
    // Its last orders may arrive after its end.
    if (!deeds.empty() && deeds.back().what == Deed::What::kEnd) return;
    const bool kill = envelope.reason().kind() == Kind::kKill;
    deeds.push_back({.what = kill ? Deed::What::kKill : Deed::What::kStop, .child = child});
  }

  void note_answer(Pid client, const Envelope& envelope) {
    const auto asked = clients.find(client);
    if (asked == clients.end() || envelope.type != &kPayloadType<detail::Answer>) return;
    const auto& answer = *reinterpret_cast<const detail::Answer*>(envelope.payload());
    lives.at(asked->second).answers.emplace_back(answer.error ? rusm::name_of(answer.error->first) : "fine");
  }
};

struct Families {
  World& world;
  Watcher& watcher;
  std::uint64_t starts = 0;

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

  std::unique_ptr<Tree> draw_tree(int depth) {
    auto tree = std::make_unique<Tree>();
    tree->spec.strategy = static_cast<Strategy>(below(3));
    tree->spec.restarts_max = static_cast<std::uint32_t>(below(6));
    tree->spec.window = static_cast<Nanoseconds>(1 + below(3)) * kSecond + 5 * kMillisecond;
    const std::uint64_t children = 1 + below(4);
    for (std::uint64_t i = 0; i < children; ++i) {
      ChildSpec spec{.id = std::string(1, static_cast<char>('a' + i)), .start = {}};
      spec.restart = static_cast<Restart>(one_in(2) ? 0 : below(3));
      spec.shutdown = one_in(4) ? 0 : one_in(4) ? kNever : (1 + some_time(40)) + 5 * kMillisecond;
      spec.reports_ready = one_in(2);
      if (!one_in(3)) spec.start_timeout = some_time(40) + 5 * kMillisecond;
      if (depth > 0 && one_in(3)) {
        tree->under[spec.id] = draw_tree(depth - 1);
        spec.shutdown = kNever;
        spec.reports_ready = true;
      } else if (spec.shutdown == kNever || spec.start_timeout == kNever) {
        spec.shutdown = 1005 * kMillisecond;  // somebody has to end who ignores it
        spec.start_timeout = 905 * kMillisecond;
      }
      tree->spec.children.push_back(std::move(spec));
    }
    for (ChildSpec& spec : tree->spec.children) spec.start = starter(*tree, spec.id);
    return tree;
  }

  StartChild starter(Tree& tree, const std::string& id) {
    const auto under = tree.under.find(id);
    Tree* below_it = under == tree.under.end() ? nullptr : under->second.get();
    return [this, id, below_it](Self& supervisor, SpawnOptions options) -> Result<Spawned> {
      Life& life = watcher.lives.at(supervisor.pid());
      ++starts;
      if (one_in(25)) {
        life.deeds.push_back({.what = Deed::What::kStart, .id = id});
        return fail(ErrorCode::kIo, "disk", "is full");
      }
      Spawned spawned;
      if (below_it != nullptr) {
        spawned = supervisor.runtime().spawn_from(supervisor, std::move(options), supervise, below_it->spec);
        adopt(spawned.pid, *below_it);
      } else {
        spawned = supervisor.runtime().spawn_from(supervisor, std::move(options), worker, draw());
      }
      watcher.parents[spawned.pid] = supervisor.pid();
      watcher.lives.at(supervisor.pid()).deeds.push_back({.what = Deed::What::kStart, .id = id, .child = spawned.pid});
      return spawned;
    };
  }

  void adopt(Pid supervisor, const Tree& tree) {
    watcher.lives[supervisor].began = world.clock().now();
    watcher.trees[supervisor] = &tree;
  }

  // Somebody who is there at that moment; empty when nobody is.
  Pid anybody() {
    const std::vector<Pid> all = world.here().processes();
    return all.empty() ? Pid() : all[below(all.size())];
  }

  static Routine asks(Self& self, Pid supervisor, detail::OrderRequest request) {
    (void)co_await call(self, supervisor, Message::of(std::move(request)), kNever);
  }
  // One request at a time, as the answers of several would not arrive in their order.
  void ask(Pid supervisor) {
    for (const auto& [client, asked] : watcher.clients) {
      if (asked == supervisor && world.here().is_alive(client)) return;
    }
    detail::OrderRequest request{.order = static_cast<detail::Order>(below(3)), .id = {}, .pid = {}};
    request.id = std::string(1, static_cast<char>('a' + below(5)));
    const Pid client = world.here().spawn(asks, supervisor, std::move(request));
    watcher.clients[client] = supervisor;
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
    const Pid victim = families.anybody();
    if (families.one_in(2) && families.watcher.lives.contains(victim)) families.ask(victim);
    if (families.one_in(3) || families.watcher.clients.contains(victim)) continue;
    if (families.one_in(3) && !families.watcher.lives.contains(victim)) {
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
  Watcher watcher;
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
  disturb(families, root, 12);
  world.here().exit(root, Kind::kShutdown);
  world.run_out();

  SupervisorRun run{.problem = {}, .supervisors = watcher.lives.size()};
  for (const auto& [pid, life] : watcher.lives) {
    run.deeds += life.deeds.size();
    const std::string wrong = judge(watcher.trees.at(pid)->spec, life);
    if (wrong.empty()) continue;
    run.problem = "supervisor " + pid.to_string() + ": " + wrong + "\n  what reached it:";
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
