// What the spec tests stand on: one node or two joined ones in deterministic mode, and puppets: processes that do what
// the test tells them and write down what they receive.
//
//   for_seeds(On::kOneNodeAndTwo, [](World& w) {
//     const Pid a = w.puppet(w.here());
//     const Pid b = w.puppet(w.there());
//     w.tell(a, [b](Self& self) { self.link(b); });
//     w.run();
//     …
//   });
//
// A seed chooses which process runs next and for how long, and when what is on its way between the nodes arrives; what
// is told in one call is done in one go, what is told in several calls may be interrupted between them.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "otp/routine.h"
#include "otp/runtime.h"

namespace rusm::otp::spec {

#ifdef RUSM_SANITIZED
inline constexpr int kSeeds = 60;
inline constexpr int kManySeeds = 150;
#else
inline constexpr int kSeeds = 300;
inline constexpr int kManySeeds = 1000;
#endif

using Act = std::move_only_function<void(Self&)>;
using Lines = std::vector<std::string>;

// "text" for messages of bytes, "EXIT reason" and "DOWN reason" for signals, "value" for other values.
std::string describe(const Message& message);

// What a puppet is to receive from now on, line by line as describe() writes it; a * at the end stands for any rest.
// Held against each message when it is received, and against the world's end.
class Script {
 public:
  // This, after all that was expected before. What is neither expected nor allowed fails from now on.
  Script& expect(std::string line);
  // This too, at any time and any number of times.
  Script& allow(std::string line);
  // Not this, whatever else is allowed.
  Script& disallow(std::string line);

  // What is wrong with receiving this; empty when nothing is.
  std::string receive(const std::string& line);
  // What was expected and has not come.
  const std::deque<std::string>& missing() const { return expected_; }

 private:
  bool strict_ = false;
  std::deque<std::string> expected_;
  std::vector<std::string> allowed_;
  std::vector<std::string> disallowed_;
};

class World {
 public:
  // `hook`: of both nodes.
  World(std::uint64_t seed, bool two_nodes, EventHook* hook = nullptr);
  ~World();

  // Two runtimes when the world has two nodes, else the same one twice.
  Runtime& here() { return *nodes_.front(); }
  Runtime& there() { return *nodes_.back(); }
  bool two_nodes() const { return nodes_.size() == 2; }
  // What goes from node to node takes its time.
  static bool links_take_time(std::uint64_t seed) { return seed % 2 == 0; }
  // Told, from now on, what a link hands over, before it does.
  using TellDelivery = std::function<void(Pid to, const Envelope& envelope)>;
  void on_delivery(TellDelivery tell) { tell_delivery_ = std::move(tell); }
  SimulatedClock& clock() { return clock_; }
  Random& random() { return random_; }

  // A process that does what it is told and records every other message.
  Pid puppet(Runtime& on);
  // The same, linked to or monitored by `parent`, in whose step this is called.
  Spawned puppet_from(Self& parent, bool link, bool monitor);
  // A puppet that ends in its very first step, with `reason`.
  Spawned stillborn_from(Self& parent, bool link, bool monitor, ExitReason reason);
  // Orders are done in the order in which they were told.
  void tell(Pid puppet, Act act);
  // Ends it with `reason` as if its body had asked for it; kNormal lets the body return.
  void tell_end(Pid puppet, ExitReason reason);

  // Steps until nothing is runnable; time stands still.
  void run();
  // The same, but moves the clock on to every deadline, until none is left.
  void run_out();
  // Runs one step; false when nothing is runnable.
  bool step();
  // In the middle of a step of a puppet of here(): the other node goes on for a while, as another thread would. With
  // one node nothing happens.
  void step_there_meanwhile();
  // In the middle of a step of a process of `busy`: the other node and the links go on for a while.
  void go_on_around(const Runtime& busy);

  void send(Pid from, Pid to, std::string text);  // told to `from`
  // Cuts the connection between the two nodes, and tells them; what was on its way is lost.
  void disconnect();
  // Another incarnation of there(): the old one ends, and a new one of the same number is connected.
  void restart_there();

  // What `puppet` has received so far, in order; also after its end.
  const Lines& seen(Pid puppet) { return seen_[puppet]; }
  void note(Pid puppet, std::string line) { seen_[puppet].push_back(std::move(line)); }
  Script& script(Pid puppet) { return scripts_[puppet]; }
  // Why it ended; empty while it lives.
  std::string end_of(Pid puppet) const;
  bool alive(Pid puppet) const { return !ends_.contains(puppet); }
  std::size_t process_count() const;

 private:
  static Routine perform(Self& self, World* world);
  static Routine die_at_once(Self& self, ExitReason reason);
  SpawnOptions options();
  void add_there();
  bool deliver(std::size_t direction, std::size_t last_links);
  Runtime& runtime_of(Pid pid);

  const std::uint64_t seed_;
  SimulatedClock clock_;
  SeededEntropy entropy_;
  QuietReactorFactory reactors_;
  EventHook* const hook_;
  Random random_;
  TellDelivery tell_delivery_;
  std::map<Pid, Lines> seen_;
  std::map<Pid, Script> scripts_;
  std::map<Pid, std::string> ends_;
  std::vector<std::unique_ptr<MemoryLink>> links_;
  std::vector<std::unique_ptr<Runtime>> nodes_;  // first to go: their processes use the rest
};

enum class On { kOneNode, kOneNodeAndTwo };

// Runs `test` in a fresh world for each seed until one fails; says which.
void for_seeds(On where, const std::function<void(World&)>& test, int seeds = kSeeds);

// A runtime with threads for the same behaviour under real races.
struct ThreadedNode {
  explicit ThreadedNode(unsigned workers) : runtime({.workers = workers}, {clock, entropy, reactors}) {}
  // Waits until nothing is alive. False after a minute.
  bool wait_until_empty() { return runtime.wait_until_empty(60 * kSecond); }
  SystemClock clock;
  SystemEntropy entropy;
  QuietReactorFactory reactors;
  Runtime runtime;
};

// Lets a test wait for `count` arrivals from processes. Threads: any thread.
class Gate {
 public:
  explicit Gate(std::int64_t count) : left_(count) {}
  void arrive() {
    if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) left_.notify_all();
  }
  void wait() const {
    for (std::int64_t left = left_.load(); left > 0; left = left_.load()) left_.wait(left);
  }
  bool open() const { return left_.load() <= 0; }

 private:
  std::atomic<std::int64_t> left_;
};

}  // namespace rusm::otp::spec
