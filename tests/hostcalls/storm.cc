#include "hostcalls/storm.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <fstream>
#include <memory>
#include <random>
#include <stdexcept>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/entropy.h"
#include "base/test_folder.h"
#include "base/test_wait.h"
#include "hostcalls/program.h"
#include "hostcalls/world.h"
#include "kv/memory_kv_store.h"
#include "otp/routine.h"
#include "otp/runtime.h"
#include "wasm/engine.h"
#include "wasm/guest_factory.h"
#include "wasm/program.h"

namespace rusm::hostcalls {
namespace {

using Kind = otp::ExitReason::Kind;

constexpr std::size_t kAtOnce = 48;  // guests of one parent
constexpr std::uint64_t kComponentsIn = 16;

std::uint64_t resident_bytes() {
  std::uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages >> pages;
  return pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

template <class T>
T value_of(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().to_string());
  return std::move(*result);
}

wasm::Capabilities capabilities() {
  wasm::Capabilities small;
  small.memory_bytes_max = 2 << 20;
  small.cpu_max = 5 * kMillisecond;
  small.wall_max = 5 * kMillisecond;  // those that wait for ever end soon
  small.resources_max = 64;
  small.log_bytes_max = 0;
  small.actor_limits.processes_max = World::kFew;
  small.actor_limits.message_bytes_max = World::kMessageBytesMax;
  small.actor_limits.streams_max = World::kFew;
  small.actor_limits.timers_max = World::kFew;
  small.actor_limits.monitors_max = World::kFew;
  small.actor_limits.names_max = World::kFew;
  // No control of processes: who has it guesses its parent's pid before long, and kills it.
  small.actor = {.spawn = true, .spawn_only = {}, .process_control = false, .storage = true, .bucket_only = {}};
  return small;
}

// What all parents share. Threads: any thread, but for the constructor.
struct Shared {
  Shared(const Calls& of_modules, const Calls& of_components, const StormOptions& storm)
      : modules(of_modules),
        components(of_components),
        options(storm),
        engine(
            value_of(wasm::Engine::open({.guests_max = 256, .memory_bytes_max = 4 << 20, .workers = storm.workers}))),
        runtime({.workers = storm.workers}, {.clock = clock, .entropy = entropy, .reactors = reactors}),
        factory(runtime, {.store = &store}) {
    add("module", modules.guest());
    add("component", components.guest());
  }
  void add(const std::string& name, std::string_view wasm) {
    auto program = value_of(wasm::Program::from_bytes(
        *engine, nullptr, std::as_bytes(std::span(wasm)), name,
        {.name = name, .entry = wasm::Entry::kExport, .function = "run", .capabilities = capabilities()}));
    if (!factory.add(std::move(program))) throw std::runtime_error(name);
  }
  void complain(std::string text) {
    const std::lock_guard lock(mutex);
    if (problem.empty()) problem = std::move(text);
  }

  const Calls& modules;
  const Calls& components;
  const StormOptions options;
  SystemClock clock;
  SystemEntropy entropy;
  otp::QuietReactorFactory reactors;
  std::unique_ptr<wasm::Engine> engine;
  kv::MemoryKvStore store{{.store_bytes_max = 64 << 10}};  // full before long, so that it does not grow
  std::atomic<std::uint64_t> ended{0};
  std::array<std::atomic<std::uint64_t>, 16> ends{};  // by kind
  std::atomic<std::uint64_t> exits{0};
  std::atomic<std::uint64_t> downs{0};
  std::atomic<std::uint64_t> resident_warm{0};
  std::mutex mutex;
  std::string problem;  // guarded by mutex
  otp::Runtime runtime;
  wasm::GuestFactory factory;
};

// What a parent still waits for of one guest.
struct Child {
  bool exit = false;
  bool down = false;
  std::optional<otp::ExitReason> reason;  // as it was heard of first
};
using Children = std::unordered_map<std::uint64_t, Child>;

// A program of a few calls at random, which ends at random: those that are to trap or to exit do so among them.
Program random_program(const Calls& calls, std::mt19937_64& random) {
  std::array<std::uint8_t, 48> bytes;
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
  if (random() % 4096 != 0 && bytes[1] == 0xa7) bytes[1] = 0;  // running for ever costs the time of all others
  Program program = from_bytes(calls, {bytes.data(), 4 + random() % 44}, {0, UINT64_MAX, 1});
  program.rounds = 1;
  program.report_to = 0;
  return program;
}

bool begin_child(otp::Self& self, Shared& shared, std::mt19937_64& random, Children& children) {
  const bool is_component = random() % kComponentsIn == 0;
  otp::BodyMaker& maker = *shared.factory.find(is_component ? "component" : "module");
  Result<otp::BodyPtr> body = maker.make({});
  if (!body) return false;
  otp::SpawnOptions options;
  const std::uint64_t bound = random() % 3;
  options.link = bound != 1;
  options.monitor = bound != 0;
  const Child child{.exit = options.link, .down = options.monitor, .reason = {}};
  maker.limit(options);
  const otp::Spawned spawned = shared.runtime.spawn_from(self, std::move(*body), std::move(options));
  if (!spawned.pid) return false;
  children.emplace(spawned.pid.raw(), child);
  const Program program = random_program(is_component ? shared.components : shared.modules, random);
  self.send(spawned.pid, otp::Message::of_text(program.encode()));
  return true;
}

void hear(Shared& shared, Children& children, const otp::Message& message) {
  if (!message.is_exit() && !message.is_down()) return;  // what guests send
  const auto found = children.find(message.from().raw());
  if (found == children.end()) return shared.complain("an end is heard of twice, or of nobody's guest");
  Child& child = found->second;
  bool& expected = message.is_exit() ? child.exit : child.down;
  if (!expected) shared.complain("an end is heard of that nobody asked for");
  expected = false;
  (message.is_exit() ? shared.exits : shared.downs).fetch_add(1);
  const otp::ExitReason reason = message.reason();
  if (child.reason && *child.reason != reason) shared.complain("link and monitor hear of different ends");
  if (!is_documented(reason)) shared.complain(reason.to_string());
  child.reason = reason;
  if (child.exit || child.down) return;
  shared.ends[static_cast<std::size_t>(reason.kind())].fetch_add(1);
  children.erase(found);
  if (shared.ended.fetch_add(1) == shared.options.guests / 10) shared.resident_warm = resident_bytes();
}

void kill_somebody(otp::Self& self, std::mt19937_64& random, const Children& children) {
  auto victim = children.begin();
  std::advance(victim, static_cast<std::ptrdiff_t>(random() % std::min<std::size_t>(children.size(), 4)));
  self.exit(otp::Pid::from_raw(victim->first), Kind::kKill);
}

otp::Routine parent(otp::Self& self, Shared* shared, std::uint64_t seed, std::uint64_t guests) {
  self.trap_exit(true);
  std::mt19937_64 random(seed);
  Children children;
  while (guests > 0 || !children.empty()) {
    while (guests > 0 && children.size() < kAtOnce && begin_child(self, *shared, random, children)) --guests;
    if (children.empty()) {
      co_await otp::yield(self);  // others have taken all slots
      continue;
    }
    if (random() % 4 == 0) kill_somebody(self, random, children);
    const otp::Message message = co_await otp::receive(self);
    hear(*shared, children, message);
  }
}

std::string left(Shared& shared) {
  otp::Runtime& runtime = shared.runtime;
  runtime.kill_all();
  if (!runtime.wait_until_empty(30 * kSecond)) return fmt::format("{} processes are left", runtime.process_count());
  const auto nothing_runs = [&] {
    const rusm_pool_usage pool = shared.engine->pool_usage();
    return shared.engine->slots().used() == 0 &&
           pool.component_instances + pool.core_instances + pool.memories + pool.tables + pool.stacks == 0;
  };
  if (!eventually(nothing_runs))
    return fmt::format("{} slots are left, or what they hold", shared.engine->slots().used());
  if (!runtime.names().empty()) return "a name is left";
  if (!runtime.groups().empty()) return "a group is left";
  const otp::Counters counters = runtime.counters();
  if (counters.spawns != counters.exits) return fmt::format("{} spawns, {} exits", counters.spawns, counters.exits);
  return "";
}

}  // namespace

std::string StormResult::to_string() const {
  return fmt::format(
      R"({{"guests":{},"seconds":{:.1f},"us_per_guest":{:.1f},"normal":{},"crashed":{},"killed":{},"limits":{},"codes":{},)"
      R"("exits_heard":{},"downs_heard":{},"rss_warm_kib":{},"rss_end_kib":{},"problem":"{}"}})",
      guests, seconds, seconds * 1e6 / static_cast<double>(guests), normal, crashed, killed, limits, codes, exits,
      downs, resident_warm >> 10, resident_end >> 10, problem);
}

StormResult storm(const Calls& modules, const Calls& components, StormOptions options) {
  Shared shared(modules, components, options);
  const auto start = std::chrono::steady_clock::now();
  std::vector<otp::Pid> parents;
  for (unsigned i = 0; i < options.workers; ++i) {
    const std::uint64_t share = options.guests / options.workers + (i < options.guests % options.workers ? 1 : 0);
    parents.push_back(shared.runtime.spawn(parent, &shared, options.seed * 1000 + i, share));
  }
  for (const otp::Pid pid : parents) shared.runtime.wait_for(pid, kNever);
  StormResult result;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  result.guests = shared.ended;
  result.resident_warm = shared.resident_warm;
  result.resident_end = resident_bytes();
  const auto ends = [&](Kind kind) { return shared.ends[static_cast<std::size_t>(kind)].load(); };
  result.normal = ends(Kind::kNormal);
  result.crashed = ends(Kind::kCrashed);
  result.killed = ends(Kind::kKilled);
  result.limits = ends(Kind::kLimit);
  result.codes = ends(Kind::kOther);
  result.exits = shared.exits;
  result.downs = shared.downs;
  result.problem = left(shared);
  if (result.guests != options.guests) result.problem = "not every end was heard of";
  const std::lock_guard lock(shared.mutex);
  if (!shared.problem.empty()) result.problem = shared.problem;
  return result;
}

}  // namespace rusm::hostcalls
