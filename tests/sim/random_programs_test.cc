// Random programs: processes that spawn, link, unlink, monitor, demonitor, trap, exit, kill, send and receive as a seed
// says, on one node and on two. What each of them sees is held against these invariants:
//
// 1. A monitor that was not removed fires exactly once when its target has ended, and not before. Its reason is the one
//    with which the target ended, or noproc. After demonitor() its DOWN is never received.
// 2. An EXIT of a link comes from a process that has ended, with its reason or noproc, and not more often than there
//    were calls that linked the two. After unlink() none comes that was not in the mailbox already.
// 3. The messages of one sender arrive in order without a gap, and all before its DOWN or EXIT.
// 4. Each end has a cause: the process itself, an exit signal sent to it, or a linked process that ended so.
// 5. When all is quiet, both sides of every link agree.
// 6. After all have been killed nothing is left: no process, no frame, no timer that wakes anyone.
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "spec/fixture.h"

namespace rusm::otp {
namespace {

using spec::On;
using spec::World;
using Kind = ExitReason::Kind;

#ifdef RUSM_SANITIZED
constexpr int kSeeds = 100;
#else
constexpr int kSeeds = 400;
#endif
constexpr std::size_t kActorsMax = 40;
constexpr int kFirstActors = 6;
constexpr int kOperations = 80;

struct Text {
  Pid from;
  int number;
};

struct Command {
  std::move_only_function<void(Self&)> act;
};

struct Monitored {
  Pid target;
  bool removed = false;
  int downs = 0;
};

// What one actor did and saw.
struct Actor {
  std::map<Reference, Monitored> monitors;
  std::map<Pid, int> link_calls;
  std::map<Pid, int> link_exits;
  std::set<Pid> silenced;  // unlinked, and no EXIT of it was in the mailbox then
  std::map<Pid, int> sent;
  std::map<Pid, int> received;
  std::set<std::string> causes;  // reasons that it gave itself or was sent
  bool ended = false;
  ExitReason end;
};

// Sums over all worlds.
struct Seen {
  int processes = 0;
  int texts = 0;
  int downs = 0;
  int link_exits = 0;
  int silenced = 0;
};

class Simulation {
 public:
  explicit Simulation(World& world) : world_(world), random_(world.random().next()) {}

  void run();
  void add_to(Seen& seen) const;

  // ── For the actors ──
  Actor& of(Pid pid) { return actors_[pid]; }
  // Half the time the process beside it, so that some pairs have much to do with each other.
  Pid other_for(Pid pid);
  // Steps the other node while this one is in the middle of a step, as another thread would.
  void run_other_node(Self& self);
  bool may_spawn() const { return pids_.size() < kActorsMax; }
  Pid spawn(Runtime& on);
  Spawned spawn_from(Self& parent, bool link, bool monitor);
  ExitReason new_reason() { return ExitReason::other("reason " + std::to_string(++reasons_)); }
  Random& random() { return random_; }
  World& world() { return world_; }
  int& frames() { return frames_; }
  void received(Self& self, Message message, bool in_order);

 private:
  SpawnOptions options();
  void add(Pid pid);
  void received_last_of(Actor& actor, Pid ended, const ExitReason& reason, const char* what);
  void check_monitors();
  void check_links();
  void check_causes();
  bool has_cause(Pid pid, const Actor& actor);
  void check_agreement();
  std::vector<Pid> living();
  void tell(Pid pid, std::move_only_function<void(Self&)> act);

  World& world_;
  Random random_;
  std::map<Pid, Actor> actors_;
  std::vector<Pid> pids_;
  std::map<Pid, std::size_t> numbers_;  // in pids_
  bool nested_ = false;
  int reasons_ = 0;
  int frames_ = 0;
};

struct Frame {
  explicit Frame(int& count) : count_(count) { ++count_; }
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;
  ~Frame() { --count_; }
  int& count_;
};

bool exit_waits(Self& self, Pid from) {
  for (const Envelope* at = self.mailbox_head(); at != nullptr; at = at->next) {
    if (at->kind == EnvelopeKind::kLinkExit && at->from == from) return true;
  }
  return false;
}

void link(Self& self, Simulation& sim, Pid to) {
  Actor& actor = sim.of(self.pid());
  ++actor.link_calls[to];
  actor.silenced.erase(to);
  self.link(to);
}

void unlink(Self& self, Simulation& sim, Pid from) {
  Actor& actor = sim.of(self.pid());
  self.unlink(from);
  // Where the other side asks for links too, one of its requests may be on the way.
  if (!exit_waits(self, from) && sim.of(from).link_calls[self.pid()] == 0) actor.silenced.insert(from);
}

void demonitor(Self& self, Simulation& sim) {
  auto& monitors = sim.of(self.pid()).monitors;
  if (monitors.empty()) return;
  auto it = monitors.begin();
  std::advance(it, static_cast<std::ptrdiff_t>(sim.random().below(monitors.size())));
  self.demonitor(it->first);
  it->second.removed = true;
}

void send_exit(Self& self, Simulation& sim, Pid to) {
  const std::uint64_t dice = sim.random().below(4);
  if (dice == 0) {
    sim.of(to).causes.insert("killed");
    self.exit(to, Kind::kKill);
  } else if (dice == 1) {
    if (to == self.pid()) sim.of(to).causes.insert("normal");
    self.exit(to, Kind::kNormal);
  } else {
    const ExitReason reason = sim.new_reason();
    sim.of(to).causes.insert(reason.to_string());
    self.exit(to, reason);
  }
}

void send_text(Self& self, Simulation& sim, Pid to) {
  const int number = sim.of(self.pid()).sent[to]++;
  self.send(to, Message::of(Text{self.pid(), number}));
}

void spawn(Self& self, Simulation& sim) {
  if (!sim.may_spawn()) return;
  const std::uint64_t how = sim.random().below(5);
  if (how == 4) {
    sim.spawn(sim.random().below(2) == 0 ? sim.world().here() : sim.world().there());
    return;
  }
  sim.spawn_from(self, how % 2 == 1, how / 2 == 1);
}

// Crosses what the other side does meanwhile.
void link_and_unlink(Self& self, Simulation& sim, Pid other) {
  for (std::uint64_t i = 2 + sim.random().below(3); i > 0; --i) {
    sim.random().below(2) == 0 ? link(self, sim, other) : unlink(self, sim, other);
    if (sim.random().below(2) == 0) sim.run_other_node(self);
  }
}

// One that does not wait.
void operate(Self& self, Simulation& sim) {
  const Pid other = sim.other_for(self.pid());
  Actor& actor = sim.of(self.pid());
  switch (sim.random().below(14)) {
    case 0:
      return spawn(self, sim);
    case 1:
    case 2:
      return link(self, sim, other);
    case 3:
      return unlink(self, sim, other);
    case 9:
      return link_and_unlink(self, sim, other);
    case 4:
    case 5:
      actor.monitors[self.monitor(other)] = {.target = other};
      return;
    case 6:
      return demonitor(self, sim);
    case 7:
      return self.trap_exit(sim.random().below(4) != 0);
    case 8:
      if (sim.random().below(3) == 0) send_exit(self, sim, other);
      return;
    case 10:
      return sim.run_other_node(self);
    default:
      for (std::uint64_t i = sim.random().below(6); i > 0; --i) send_text(self, sim, other);
      return;
  }
}

Task<> await_something(Self& self, Simulation& sim) {
  switch (sim.random().below(6)) {
    case 0:
      co_await yield(self);
      break;
    case 1:
      co_await sleep(self, static_cast<Nanoseconds>(sim.random().below(kMillisecond)));
      break;
    case 2: {
      const Pid from = sim.other_for(self.pid());
      auto message = co_await receive_if_for(self, 100 * kMicrosecond, [from](const Message& m) {
        const Text* text = m.get_if<Text>();
        return text != nullptr && text->from == from;
      });
      if (message) sim.received(self, std::move(*message), false);
      break;
    }
    default: {
      const auto span = static_cast<Nanoseconds>(sim.random().below(2) * sim.random().below(kMillisecond));
      while (auto message = co_await receive_for(self, span)) {
        sim.received(self, std::move(*message), true);
        if (sim.random().below(2) == 0) break;
      }
      break;
    }
  }
}

Task<> end_somehow(Self& self, Simulation& sim) {
  Actor& actor = sim.of(self.pid());
  sim.run_other_node(self);  // what comes in now finds it ended
  if (sim.random().below(2) == 0) {
    ExitReason reason = sim.random().below(4) == 0 ? ExitReason(Kind::kKill) : sim.new_reason();
    actor.causes.insert(reason.to_string());
    co_await end(self, std::move(reason));
  }
  actor.causes.insert(ExitReason::crashed("exception", "std::runtime_error: simulated").to_string());
  throw std::runtime_error("simulated");
}

Routine act(Self& self, Simulation* sim) {
  const Frame frame(sim->frames());
  self.trap_exit(sim->random().below(3) != 0);
  for (int i = 0; i < kOperations; ++i) {
    operate(self, *sim);
    if (sim->random().below(2) == 0) co_await await_something(self, *sim);
    if (sim->random().below(200) == 0) co_await end_somehow(self, *sim);
    if (sim->random().below(300) == 0) {
      sim->of(self.pid()).causes.insert("normal");
      co_return;
    }
  }
  for (;;) sim->received(self, co_await receive(self), true);
}

// ── Simulation ───────────────────────────────────────────────────────────────────────────────────────────────────────

SpawnOptions Simulation::options() {
  return {.on_exit = [this](Pid pid, const ExitReason& reason) {
    Actor& actor = of(pid);
    EXPECT_FALSE(actor.ended) << pid.to_string() << " ended twice";
    actor.ended = true;
    actor.end = reason;
  }};
}

Pid Simulation::other_for(Pid pid) {
  const Pid any = pids_[random_.below(pids_.size())];
  if (random_.below(2) == 0) return any;
  const std::size_t beside = numbers_.at(pid) ^ 1;
  return beside < pids_.size() ? pids_[beside] : any;
}

void Simulation::run_other_node(Self& self) {
  if (!world_.two_nodes() || nested_) return;
  nested_ = true;
  Runtime& other = &self.runtime() == &world_.here() ? world_.there() : world_.here();
  for (std::uint64_t i = random_.below(5); i > 0; --i) other.step();
  nested_ = false;
}

void Simulation::add(Pid pid) {
  numbers_[pid] = pids_.size();
  pids_.push_back(pid);
  (void)of(pid);
}

Pid Simulation::spawn(Runtime& on) {
  const Pid pid = on.spawn_with(options(), act, this);
  add(pid);
  return pid;
}

Spawned Simulation::spawn_from(Self& parent, bool link_it, bool monitor_it) {
  SpawnOptions how = options();
  how.link = link_it;
  how.monitor = monitor_it;
  const Spawned spawned = parent.runtime().spawn_from(parent, std::move(how), act, this);
  add(spawned.pid);
  Actor& actor = of(parent.pid());
  if (link_it) {
    ++actor.link_calls[spawned.pid];
    ++of(spawned.pid).link_calls[parent.pid()];
  }
  if (monitor_it) actor.monitors[spawned.reference] = {.target = spawned.pid};
  return spawned;
}

void Simulation::received(Self& self, Message message, bool in_order) {
  Actor& actor = of(self.pid());
  if (Command* command = message.get_if<Command>()) return command->act(self);
  if (const Text* text = message.get_if<Text>()) {
    EXPECT_EQ(text->number, actor.received[text->from]++) << "out of order, lost or doubled";
    return;
  }
  const Pid from = message.from();
  const ExitReason reason = message.reason();
  if (message.is_down()) {
    const auto it = actor.monitors.find(message.reference());
    ASSERT_NE(it, actor.monitors.end()) << "a DOWN of somebody else's monitor";
    EXPECT_FALSE(it->second.removed) << "a DOWN after its demonitor";
    EXPECT_EQ(it->second.target, from);
    ++it->second.downs;
    if (in_order) received_last_of(actor, from, reason, "DOWN");
  } else if (message.envelope().kind == EnvelopeKind::kLinkExit) {
    ++actor.link_exits[from];
    EXPECT_FALSE(actor.silenced.contains(from) && of(from).link_calls[self.pid()] == 0) << "an EXIT after unlink";
    if (in_order) received_last_of(actor, from, reason, "EXIT");
  } else {
    EXPECT_EQ(message.envelope().kind, EnvelopeKind::kExit);
  }
}

void Simulation::received_last_of(Actor& actor, Pid ended, const ExitReason& reason, const char* what) {
  // Its end is reported after its links and monitors were told; until then nobody else runs on its node.
  const Actor& other = of(ended);
  ASSERT_TRUE(other.ended) << what << " of a process that lives";
  EXPECT_TRUE(reason == other.end || reason == Kind::kNoProc) << what << " says " << reason.to_string();
  for (const auto& [pid, mine] : actors_) {
    if (&mine != &actor) continue;
    const auto sent = other.sent.find(pid);
    EXPECT_EQ(actor.received[ended], sent == other.sent.end() ? 0 : sent->second) << what << " overtook a message";
  }
}

void Simulation::check_monitors() {
  for (const auto& [pid, actor] : actors_) {
    for (const auto& [reference, monitored] : actor.monitors) {
      EXPECT_LE(monitored.downs, 1) << "a monitor fired twice";
      if (actor.ended || monitored.removed) continue;
      EXPECT_EQ(monitored.downs, of(monitored.target).ended || monitored.target == Pid() ? 1 : 0)
          << pid.to_string() << " watching " << monitored.target.to_string();
    }
  }
}

void Simulation::check_links() {
  for (auto& [pid, actor] : actors_) {
    for (const auto& [from, exits] : actor.link_exits) {
      EXPECT_LE(exits, actor.link_calls[from] + of(from).link_calls[pid]) << "more EXITs than links";
    }
  }
}

bool Simulation::has_cause(Pid pid, const Actor& actor) {
  const std::string end = actor.end.to_string();
  if (actor.causes.contains(end)) return true;
  const auto linked = [&](Pid peer) {
    return (actor.link_calls.contains(peer) && actor.link_calls.at(peer) > 0) || of(peer).link_calls[pid] > 0;
  };
  for (const Pid peer : pids_) {
    if (!of(peer).ended || !linked(peer) || actor.end.is_normal()) continue;
    if (actor.end == of(peer).end || actor.end == Kind::kNoProc) return true;
  }
  return false;
}

void Simulation::check_causes() {
  for (const Pid pid : pids_) {
    const Actor& actor = of(pid);
    if (actor.ended)
      EXPECT_TRUE(has_cause(pid, actor)) << pid.to_string() << " ended for no reason: " << actor.end.to_string();
  }
}

std::vector<Pid> Simulation::living() {
  std::vector<Pid> pids;
  for (const Pid pid : pids_) {
    if (!of(pid).ended) pids.push_back(pid);
  }
  return pids;
}

void Simulation::tell(Pid pid, std::move_only_function<void(Self&)> act) {
  Runtime& runtime = pid.node() == world_.here().node() ? world_.here() : world_.there();
  runtime.send(pid, Message::local(Command{std::move(act)}));
}

// One side links or unlinks once more; the other's end must then be an EXIT or none, whoever ends. It could not be if
// the two did not agree, for a link that one side believes in is not asked for again.
void Simulation::check_agreement() {
  for (const Pid pid : living()) tell(pid, [](Self& self) { self.trap_exit(true); });
  world_.run_out();
  for (std::vector<Pid> pids = living(); pids.size() >= 2; pids = living()) {
    const Pid one = pids[random_.below(pids.size())];
    Pid two = other_for(one);
    if (two == one || of(two).ended) two = pids.front() == one ? pids.back() : pids.front();
    const bool linked = random_.below(2) == 0;
    tell(one, [this, linked, two](Self& self) { linked ? link(self, *this, two) : unlink(self, *this, two); });
    world_.run_out();
    const bool one_ends = random_.below(2) == 0;
    const Pid ends = one_ends ? one : two;
    const Pid sees = one_ends ? two : one;
    const int before = of(sees).link_exits[ends];
    of(ends).causes.insert("killed");
    world_.here().exit(ends, Kind::kKill);
    world_.run_out();
    EXPECT_EQ(of(sees).link_exits[ends] - before, linked ? 1 : 0) << "the two sides of a link disagreed";
  }
}

void Simulation::run() {
  for (int i = 0; i < kFirstActors; ++i) spawn(i % 2 == 0 ? world_.here() : world_.there());
  world_.run_out();
  check_monitors();
  check_links();
  check_agreement();
  check_monitors();
  check_links();
  check_causes();
  for (Runtime* runtime : {&world_.here(), &world_.there()}) runtime->kill_all();
  world_.run();
  EXPECT_EQ(world_.process_count(), 0u);
  EXPECT_EQ(frames_, 0) << "a frame outlived its process";
  world_.run_out();
  EXPECT_FALSE(world_.step());
}

void Simulation::add_to(Seen& seen) const {
  seen.processes += static_cast<int>(pids_.size());
  for (const auto& [pid, actor] : actors_) {
    for (const auto& [from, count] : actor.received) seen.texts += count;
    for (const auto& [reference, monitored] : actor.monitors) seen.downs += monitored.downs;
    for (const auto& [from, count] : actor.link_exits) seen.link_exits += count;
    seen.silenced += static_cast<int>(actor.silenced.size());
  }
}

TEST(Simulation, RandomProgramsKeepTheInvariants) {
  Seen seen;
  spec::for_seeds(
      On::kOneNodeAndTwo,
      [&seen](World& world) {
        Simulation simulation(world);
        simulation.run();
        simulation.add_to(seen);
      },
      kSeeds);
  // That the programs do what the invariants are about, in each world many times.
  EXPECT_GT(seen.processes, 2 * kSeeds * 10);
  EXPECT_GT(seen.texts, 2 * kSeeds * 100);
  EXPECT_GT(seen.downs, 2 * kSeeds * 30);
  EXPECT_GT(seen.link_exits, 2 * kSeeds * 30);
  EXPECT_GT(seen.silenced, 2 * kSeeds * 10);
}

}  // namespace
}  // namespace rusm::otp
