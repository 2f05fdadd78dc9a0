#include "hostcalls/world.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <thread>

#include "otp/routine.h"
#include "wasm/program.h"

namespace rusm::hostcalls {
namespace {

using Kind = otp::ExitReason::Kind;

constexpr std::string_view kOther = R"((module
  (import "rusm" "receive" (func $receive (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "run") (loop $again (drop (call $receive (i32.const 0) (i32.const 0))) (br $again)))))";
constexpr std::string_view kEnds = R"((module (func (export "run"))))";

// No guest waits longer.
constexpr Nanoseconds kWall = 3600 * kSecond;
// How long a file access of the engine's own threads may take until the guest's time is moved on.
constexpr std::chrono::microseconds kForeignThreads{300};
constexpr int kTurnsMax = 100'000;

otp::Routine collect(otp::Self& self, std::vector<std::string>* reports) {
  for (;;) {
    const otp::Message message = co_await otp::receive(self);
    reports->emplace_back(message.text());
  }
}

otp::Routine ends(otp::Self&) {
  co_return;
}

template <class T>
T value_of(Result<T> result, std::string_view what) {
  if (!result) throw std::runtime_error(fmt::format("{}: {}", what, result.error().to_string()));
  return std::move(*result);
}

std::unique_ptr<wasm::Engine> open_engine() {
  return value_of(wasm::Engine::open({.guests_max = 16, .memory_bytes_max = 4 << 20, .workers = 1}), "engine");
}

wasm::Capabilities capabilities_of(Profile profile, const std::filesystem::path& folder) {
  wasm::Capabilities small;
  small.memory_bytes_max = 2 << 20;
  small.table_elements_max = 1000;
  small.cpu_max = 150 * kMillisecond;
  small.hostcall_bytes_max = 256 << 10;
  small.resources_max = 32;
  small.http_fields_bytes_max = 4096;
  small.random_bytes_max = 4096;
  small.wall_max = kWall;
  small.log_bytes_max = 4096;
  small.http_requests_max = 2;
  small.actor_limits = {.processes_max = World::kFew,
                        .mailbox_messages_max = 6,
                        .mailbox_bytes_max = 8 << 20,  // a stream counts for one MiB
                        .message_bytes_max = World::kMessageBytesMax,
                        .timers_max = World::kFew,
                        .timer_bytes_max = 4096,
                        .streams_max = World::kFew,
                        .chunk_bytes_max = World::kChunkBytesMax,
                        .names_max = World::kFew,
                        .monitors_max = World::kFew,
                        .children_max = World::kFew,
                        .keys_max = World::kFew};
  if (profile == Profile::kNothing) return small;
  small.actor = {.spawn = true, .spawn_only = {}, .process_control = true, .storage = true, .bucket_only = {}};
  small.args = {"caller", "word"};
  small.env = {{"NAME", "value"}};
  small.preopens.push_back({.host_path = folder.string(), .guest_path = "/files", .read_only = false});
  return small;
}

std::string name_of(Profile profile) {
  return profile == Profile::kAll ? "all" : "nothing";
}

bool is_limit(std::string_view name) {
  constexpr std::array kLimits = {"memory",  "tables", "cpu",     "time",  "instances", "message",
                                  "mailbox", "timers", "streams", "chunk", "names",     "monitors"};
  return std::ranges::find(kLimits, name) != kLimits.end();
}

}  // namespace

bool is_documented(const otp::ExitReason& reason) {
  switch (reason.kind()) {
    case Kind::kNormal:
    case Kind::kKilled:
    case Kind::kShutdown:      // of a supervisor that it is linked to
    case Kind::kNoProc:        // linked itself to nobody
    case Kind::kNoConnection:  // or to a process of a node that is not there
      return true;
    case Kind::kCrashed:
      return reason.crash_kind() == "trap" || reason.crash_kind() == "stack" || reason.crash_kind() == "host";
    case Kind::kLimit:
      return is_limit(reason.crash_kind());
    default:
      return reason.to_string().find("exited with code") != std::string::npos;
  }
}

std::uint64_t Outcome::reg(std::size_t number) const {
  std::uint64_t value = 0;
  if (report) std::memcpy(&value, report->data() + (number % kRegisters) * sizeof(value), sizeof(value));
  return value;
}

std::uint64_t Outcome::word(std::size_t scratch_at) const {
  std::uint64_t value = 0;
  const std::size_t at = kRegisters * sizeof(value) + scratch_at;
  if (report && at + sizeof(value) <= report->size()) std::memcpy(&value, report->data() + at, sizeof(value));
  return value;
}

void World::Ends::on_exit(otp::Pid, const otp::ExitReason& reason, std::string_view label) noexcept {
  if (reason.kind() == Kind::kCrashed || reason.kind() == Kind::kLimit) ++crashes;
  if (reason.kind() == Kind::kCrashed && reason.crash_kind() == "panic") ++panics;
  // A guest's supervisor is linked to it and ends with its reason; the limit is the guest's.
  if (label.starts_with("supervisor of ")) return;
  if (reason.kind() == Kind::kCrashed && reason.crash_kind() == "stack") ++limits[wasm::Limit::kStack];
  if (reason.kind() != Kind::kLimit) return;
  for (std::size_t i = 0; i < wasm::kLimits; ++i) {
    if (wasm::name_of(static_cast<wasm::Limit>(i)) == reason.crash_kind()) ++limits.counts[i];
  }
}

// What counted before a run.
struct World::Before {
  otp::Counters counters;
  wasm::LimitsHit limits;
  wasm::LimitsHit seen;
  std::uint64_t crashes;
  std::uint64_t panics;
};

World::World(Calls calls, std::filesystem::path folder)
    : calls_(std::move(calls)),
      folder_(std::move(folder)),
      engine_(open_engine()),
      runtime_({.processes_max = 4096, .deterministic_seed = 1},
               {.clock = clock_, .entropy = entropy_, .reactors = reactors_, .hook = &ends_}),
      factory_(runtime_, {.store = &store_}) {
  factory_.reserve_name("reserved");
  for (const Profile profile : {Profile::kNothing, Profile::kAll}) add(name_of(profile), calls_.guest(), profile);
  add("other", kOther, Profile::kNothing);
  add("control", kEnds, Profile::kNothing);  // a name that the scratch holds, too: what spawn finds
  begin();
}

World::~World() {
  clean();
}

void World::add(const std::string& name, std::string_view wasm, Profile profile) {
  auto program = value_of(wasm::Program::from_bytes(*engine_, nullptr, std::as_bytes(std::span(wasm)), name,
                                                    {.name = name,
                                                     .entry = wasm::Entry::kExport,
                                                     .function = "run",
                                                     .capabilities = capabilities_of(profile, folder_)}),
                          name);
  if (!factory_.add(std::move(program))) throw std::runtime_error(name + " is there already");
}

// The processes that are there before each program.
void World::begin() {
  gone_ = runtime_.spawn(ends);
  while (runtime_.step()) {
  }
  control_ = runtime_.spawn_with({.name = "control"}, collect, &reports_);
  otp::SpawnOptions options;
  options.name = "other";
  other_ = runtime_.spawn_body(value_of(factory_.find("other")->make({}), "other"), std::move(options));
}

std::vector<std::uint64_t> World::pids() const {
  return {control_.raw(), other_.raw(), gone_.raw(), 0, UINT64_MAX};
}

bool World::settle(Run run, otp::Pid guest, const bool& ended) {
  for (std::uint32_t turns = 1; turns < kTurnsMax; ++turns) {
    bool ran = runtime_.step();
    const auto until = std::chrono::steady_clock::now() + kForeignThreads;
    while (!ran && !ended && std::chrono::steady_clock::now() < until) {
      std::this_thread::yield();
      ran = runtime_.step();
    }
    if (turns == run.kill_after) runtime_.exit(guest, Kind::kKill);
    if (ran) continue;
    if (ended) return false;
    const Nanoseconds next = runtime_.next_timer();
    if (next == kNever) return true;
    clock_.advance_to(next);
  }
  return true;
}

void World::clean() {
  runtime_.kill_all();
  for (;;) {
    while (runtime_.step()) {
    }
    const Nanoseconds next = runtime_.next_timer();
    if (next == kNever) return;
    clock_.advance_to(next);
  }
}

std::string World::check(const Before& before, const Outcome& outcome) {
  if (outcome.reason && !is_documented(*outcome.reason)) {
    return fmt::format("ended as nobody documents: {}", outcome.reason->to_string());
  }
  if (ends_.panics != before.panics) return "a panic: a defect of the bridge";
  if (const std::size_t left = runtime_.processes().size(); left != 0)
    return fmt::format("{} processes are left", left);
  if (!runtime_.names().empty()) return fmt::format("the name {} is left", runtime_.names().front().first);
  if (!runtime_.groups().empty()) return fmt::format("the group {} is left", runtime_.groups().front());
  if (engine_->slots().used() != 0) return fmt::format("{} slots are left", engine_->slots().used());
  const rusm_pool_usage pool = engine_->pool_usage();
  if (pool.component_instances + pool.core_instances + pool.memories + pool.tables + pool.stacks != 0) {
    return "an instance is left in the pool";
  }
  const otp::Counters now = runtime_.counters();
  if (now.spawns - before.counters.spawns != now.exits - before.counters.exits) {
    return fmt::format("{} spawns, {} exits", now.spawns - before.counters.spawns, now.exits - before.counters.exits);
  }
  if (now.crashes - before.counters.crashes != ends_.crashes - before.crashes) return "crashes are not counted right";
  const wasm::LimitsHit limits = engine_->limits_hit();
  for (std::size_t i = 0; i < wasm::kLimits; ++i) {
    const auto limit = static_cast<wasm::Limit>(i);
    const std::uint64_t counted = limits.counts[i] - before.limits.counts[i];
    const std::uint64_t ended = ends_.limits.counts[i] - before.seen.counts[i];
    // Those that were linked to it end with the same reason, and are not counted.
    if (is_limit(wasm::name_of(limit)) && counted > ended && limit != wasm::Limit::kInstances) {
      return fmt::format("the limit {} ended {} guests, and was counted {} times", wasm::name_of(limit), ended,
                         counted);
    }
  }
  return "";
}

Outcome World::run(const Program& program, Run run) {
  // Those who are there already end with this program.
  const Before before{.counters = runtime_.counters(),
                      .limits = engine_->limits_hit(),
                      .seen = ends_.limits,
                      .crashes = ends_.crashes,
                      .panics = ends_.panics};
  const std::uint64_t there = runtime_.process_count();
  Outcome outcome;
  bool ended = false;
  otp::SpawnOptions options;
  options.label = name_of(run.profile);
  options.on_exit = [&](otp::Pid, const otp::ExitReason& reason) {
    outcome.reason = reason;
    ended = true;
  };
  const auto maker = factory_.find(options.label);
  maker->limit(options);
  const otp::Pid guest = runtime_.spawn_body(value_of(maker->make({}), "guest"), std::move(options));
  runtime_.send(guest, otp::Message::of_text(program.encode()));
  if (settle(run, guest, ended)) outcome.reason.reset();
  const bool waits = !ended;
  clean();
  if (waits) outcome.reason.reset();
  if (!reports_.empty() && program.report_to == control_.raw()) {
    for (std::string& report : reports_) {
      if (report.size() == kRegisters * 8 + kScratchBytes) outcome.report = std::move(report);
    }
  }
  reports_.clear();
  Before counted = before;
  counted.counters.exits += there;
  outcome.problem = check(counted, outcome);
  begin();
  return outcome;
}

}  // namespace rusm::hostcalls
