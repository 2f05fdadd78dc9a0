#include "spec/fixture.h"

#include <algorithm>

#include "base/assert.h"

namespace rusm::otp::spec {
namespace {

struct Order {
  Act act;
};

constexpr std::uint32_t kHere = 1;
constexpr std::uint32_t kThere = 2;

}  // namespace

std::string describe(const Message& message) {
  if (message.is_bytes()) return std::string(message.text());
  if (message.is_exit()) return "EXIT " + message.reason().to_string();
  if (message.is_down()) return "DOWN " + message.reason().to_string();
  return "value";
}

namespace {

bool fits(std::string_view line, std::string_view pattern) {
  if (!pattern.ends_with('*')) return line == pattern;
  return line.starts_with(pattern.substr(0, pattern.size() - 1));
}

}  // namespace

Script& Script::expect(std::string line) {
  strict_ = true;
  expected_.push_back(std::move(line));
  return *this;
}

Script& Script::allow(std::string line) {
  allowed_.push_back(std::move(line));
  return *this;
}

Script& Script::disallow(std::string line) {
  disallowed_.push_back(std::move(line));
  return *this;
}

std::string Script::receive(const std::string& line) {
  const auto fits_line = [&line](const std::string& pattern) { return fits(line, pattern); };
  if (std::ranges::any_of(disallowed_, fits_line)) return "\"" + line + "\" is not allowed";
  if (!expected_.empty() && fits_line(expected_.front())) {
    expected_.pop_front();
    return {};
  }
  if (!strict_ || std::ranges::any_of(allowed_, fits_line)) return {};
  return "\"" + line + "\" comes, and expected is " +
         (expected_.empty() ? std::string("nothing") : "\"" + expected_.front() + "\"");
}

World::World(std::uint64_t seed, bool two_nodes, EventHook* hook)
    : seed_(seed), entropy_(seed), hook_(hook), random_(seed * 2 + 1) {
  const RuntimeParts parts{.clock = clock_, .entropy = entropy_, .reactors = reactors_, .hook = hook_};
  nodes_.push_back(
      std::make_unique<Runtime>(RuntimeOptions{.node = two_nodes ? kHere : 0, .deterministic_seed = seed}, parts));
  if (two_nodes) add_there();
}

// Between the nodes of every other world things take their time.
void World::add_there() {
  const RuntimeParts parts{.clock = clock_, .entropy = entropy_, .reactors = reactors_, .hook = hook_};
  nodes_.push_back(std::make_unique<Runtime>(
      RuntimeOptions{.node = kThere, .deterministic_seed = seed_ + links_.size() + 1}, parts));
  const auto delivery = links_take_time(seed_) ? MemoryLink::Delivery::kOnDemand : MemoryLink::Delivery::kAtOnce;
  links_.push_back(std::make_unique<MemoryLink>(there(), delivery));
  links_.push_back(std::make_unique<MemoryLink>(here(), delivery));
  here().set_remote(links_[links_.size() - 2].get());
  there().set_remote(links_.back().get());
}

World::~World() {
  for (const auto& [pid, script] : scripts_) {
    EXPECT_THAT(script.missing(), testing::IsEmpty()) << pid.to_string() << " did not receive what was expected";
  }
  for (const auto& link : links_) link->cut();
}

Pid World::puppet(Runtime& on) {
  return on.spawn_with(options(), perform, this);
}

Spawned World::puppet_from(Self& parent, bool link, bool monitor) {
  SpawnOptions how = options();
  how.link = link;
  how.monitor = monitor;
  return parent.runtime().spawn_from(parent, std::move(how), perform, this);
}

Spawned World::stillborn_from(Self& parent, bool link, bool monitor, ExitReason reason) {
  SpawnOptions how = options();
  how.link = link;
  how.monitor = monitor;
  return parent.runtime().spawn_from(parent, std::move(how), die_at_once, std::move(reason));
}

void World::tell(Pid puppet, Act act) {
  runtime_of(puppet).send(puppet, Message::local(Order{std::move(act)}));
}

void World::tell_end(Pid puppet, ExitReason reason) {
  tell(puppet, [reason](Self& self) { self.end(reason); });
}

void World::send(Pid from, Pid to, std::string text) {
  tell(from, [to, text = std::move(text)](Self& self) { self.send(to, Message::of_text(text)); });
}

bool World::step() {
  // One of the nodes runs a process, or one of the links hands something over.
  const std::size_t last_links = links_.size() < 2 ? 0 : links_.size() - 2;
  const std::size_t choices = nodes_.size() + links_.size() - last_links;
  const std::size_t first = random_.below(choices);
  for (std::size_t i = 0; i < choices; ++i) {
    const std::size_t at = (first + i) % choices;
    if (at < nodes_.size() ? nodes_[at]->step() : deliver(at - nodes_.size(), last_links)) return true;
  }
  return false;
}

bool World::deliver(std::size_t direction, std::size_t last_links) {
  MemoryLink& link = *links_[last_links + direction];
  const auto [to, envelope] = link.next();
  if (tell_delivery_ && envelope != nullptr) tell_delivery_(to, *envelope);
  return link.deliver_one();
}

void World::step_there_meanwhile() {
  if (!two_nodes()) return;
  for (std::uint64_t n = random_.below(8); n > 0; --n) there().step();
}

void World::go_on_around(const Runtime& busy) {
  if (!two_nodes()) return;
  Runtime& other = &busy == &here() ? there() : here();
  for (std::uint64_t n = random_.below(6); n > 0; --n) {
    const std::uint64_t choice = random_.below(3);
    choice == 2 ? other.step() : deliver(choice, links_.size() - 2);
  }
}

void World::run() {
  constexpr int kStepsMax = 10'000'000;
  for (int steps = 0; step(); ++steps) RUSM_ASSERT(steps < kStepsMax, "the world never comes to rest");
}

void World::run_out() {
  for (;;) {
    run();
    Nanoseconds due = kNever;
    for (const auto& node : nodes_) due = std::min(due, node->next_timer());
    if (due == kNever) return;
    clock_.advance_to(due);
  }
}

void World::disconnect() {
  for (const auto& link : links_) link->cut();
  here().node_down(kThere);
  there().node_down(kHere);
}

void World::restart_there() {
  for (const auto& link : links_) link->cut();
  here().node_down(kThere);
  here().set_remote(nullptr);
  nodes_.pop_back();
  add_there();
  here().node_up(kThere);
  there().node_up(kHere);
}

std::string World::end_of(Pid puppet) const {
  const auto it = ends_.find(puppet);
  return it == ends_.end() ? std::string() : it->second;
}

std::size_t World::process_count() const {
  std::size_t count = 0;
  for (const auto& node : nodes_) count += node->process_count();
  return count;
}

Routine World::perform(Self& self, World* world) {
  for (;;) {
    Message message = co_await receive(self);
    if (auto* order = message.get_if<Order>()) {
      order->act(self);
    } else {
      std::string line = describe(message);
      if (const auto script = world->scripts_.find(self.pid()); script != world->scripts_.end()) {
        EXPECT_EQ(script->second.receive(line), "") << "at " << self.pid().to_string();
      }
      world->note(self.pid(), std::move(line));
    }
  }
}

Routine World::die_at_once(Self& self, ExitReason reason) {
  co_await end(self, std::move(reason));
}

SpawnOptions World::options() {
  return {.on_exit = [this](Pid pid, const ExitReason& reason) {
    EXPECT_FALSE(ends_.contains(pid)) << pid.to_string() << " ended twice";
    ends_[pid] = reason.to_string();
  }};
}

Runtime& World::runtime_of(Pid pid) {
  return two_nodes() && pid.node() == kThere ? there() : here();
}

void for_seeds(On where, const std::function<void(World&)>& test, int seeds) {
  for (const bool two_nodes : {false, true}) {
    if (two_nodes && where == On::kOneNode) return;
    for (int seed = 1; seed <= seeds; ++seed) {
      SCOPED_TRACE(testing::Message() << "seed " << seed << (two_nodes ? ", two nodes" : ", one node"));
      World world(static_cast<std::uint64_t>(seed), two_nodes);
      test(world);
      if (testing::Test::HasFailure()) return;
    }
  }
}

}  // namespace rusm::otp::spec
