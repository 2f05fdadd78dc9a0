#include "bench/live_workloads.h"

#include <algorithm>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/histogram.h"
#include "bench/gate.h"
#include "bench/guest_node.h"
#include "bench/resident.h"
#include "otp/routine.h"

namespace rusm::bench {
namespace {

constexpr std::uint32_t kIdleGuests = 20'000;
constexpr std::uint32_t kLiveGuests = 100'000;
// Who does not answer for so long never will.
constexpr Nanoseconds kPatience = 30 * kSecond;

// Both answer whoever's pid a message holds, with their own, and wait again.
constexpr std::string_view kModule = R"((module
  (import "rusm" "own_pid" (func $own_pid (result i64)))
  (import "rusm" "send" (func $send (param i64 i32 i32)))
  (import "rusm" "receive" (func $receive (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "run") (local $peer i64)
    (loop $again
      (drop (call $receive (i32.const 64) (i32.const 64)))
      (local.set $peer (i64.load (i32.const 64)))
      (i64.store (i32.const 64) (call $own_pid))
      (call $send (local.get $peer) (i32.const 64) (i32.const 8))
      (br $again)))))";
constexpr std::string_view kComponent = R"((component
  (import "rusm:runtime/actor@0.1.0" (instance $actor
    (export "own-pid" (func (result u64)))
    (export "send" (func (param "to" u64) (param "message" (list u8))))
    (export "receive" (func (result (list u8))))))
  (core module $libc
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
  (core func $own-pid (canon lower (func $actor "own-pid")))
  (core func $send (canon lower (func $actor "send") (memory $memory)))
  (core func $receive (canon lower (func $actor "receive") (memory $memory) (realloc $realloc)))
  (core module $m
    (import "libc" "memory" (memory 1))
    (import "rusm" "own-pid" (func $own-pid (result i64)))
    (import "rusm" "send" (func $send (param i64 i32 i32)))
    (import "rusm" "receive" (func $receive (param i32)))
    (func (export "run") (local $peer i64)
      (loop $again
        (call $receive (i32.const 0))
        (local.set $peer (i64.load (i32.const 64)))
        (i64.store (i32.const 64) (call $own-pid))
        (call $send (local.get $peer) (i32.const 64) (i32.const 8))
        (br $again))))
  (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "rusm" (instance
    (export "own-pid" (func $own-pid)) (export "send" (func $send)) (export "receive" (func $receive))))))
  (func (export "run") (canon lift (core func $i "run")))))";

// Of this process: the field of /proc/self/status, in bytes.
std::uint64_t status_bytes(std::string_view field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field)) return std::stoull(line.substr(field.size() + 1)) * 1024;
  }
  return 0;
}

std::uint64_t mappings() {
  std::ifstream maps("/proc/self/maps");
  std::uint64_t lines = 0;
  for (std::string line; std::getline(maps, line);) ++lines;
  return lines;
}

struct Round {
  const std::vector<otp::Pid>* guests;
  Histogram round_trips;
  std::uint64_t answers = 0;
};

// Asks the guests in turn: each once, or until the time is over.
otp::Routine asks(otp::Self& self, Round* round, Nanoseconds until, std::shared_ptr<Gate> gate) {
  const Clock& clock = self.runtime().clock();
  const std::uint64_t own = self.pid().raw();
  for (std::uint64_t i = 0; until == kNever ? i < round->guests->size() : clock.now() < until; ++i) {
    const Nanoseconds start = clock.now();
    self.send((*round->guests)[i % round->guests->size()], otp::Message::of_bytes(std::as_bytes(std::span(&own, 1))));
    if (!co_await otp::receive_for(self, kPatience)) break;
    round->round_trips.record(static_cast<std::uint64_t>(clock.now() - start));
    ++round->answers;
  }
  gate->arrive();
}

Round ask(otp::Runtime& runtime, const std::vector<otp::Pid>& guests, Nanoseconds until) {
  Round round{.guests = &guests, .round_trips = {}};
  const auto gate = std::make_shared<Gate>(1);
  runtime.spawn(asks, &round, until, gate);
  gate->wait();
  return round;
}

Result<std::vector<otp::Pid>> start(GuestNode& node, std::uint32_t count) {
  std::vector<otp::Pid> guests;
  guests.reserve(count);
  while (guests.size() < count) {
    const Result<otp::Pid> guest = node.spawn();
    if (!guest) return std::unexpected(guest.error());
    guests.push_back(*guest);
  }
  return guests;
}

}  // namespace

Result<Measurement> hold_guests(const Options& options, const Held& held) {
  const std::string_view wasm = held.is_component ? kComponent : kModule;
  auto opened = GuestNode::open(options, {{.wasm = wasm, .cpu_max = kNever}}, nullptr, held.engine);
  if (!opened) return std::unexpected(std::move(opened.error()));
  GuestNode& node = **opened;
  const Clock& clock = node.clock();
  otp::Runtime& runtime = node.runtime();
  const std::uint64_t resident = resident_bytes();
  const std::uint64_t tables = status_bytes("VmPTE:");
  const Nanoseconds begin = clock.now();
  Result<std::vector<otp::Pid>> guests = start(node, held.guests);
  if (!guests) return std::unexpected(std::move(guests.error()));
  const Round first = ask(runtime, *guests, kNever);
  const auto spent = static_cast<double>(clock.now() - begin);
  const Round second = ask(runtime, *guests, clock.now() + options.span());
  const std::uint64_t resident_after = resident_bytes();
  const std::uint64_t tables_after = status_bytes("VmPTE:");
  const std::uint64_t maps = mappings();
  const std::uint64_t pooled = node.engine().slots().pool().used();
  const bool all_live = first.answers == held.guests && runtime.process_count() >= held.guests;
  if (!all_live || second.answers == 0) {
    return fail(ErrorCode::kInternal, "bench guest", "a guest does not answer, or ended before its time");
  }
  const auto each = [&](std::uint64_t before, std::uint64_t after) {
    return (after - std::min(before, after)) / held.guests;
  };
  return Measurement{
      .value = static_cast<double>(each(resident, resident_after)),
      .unit = "bytes/guest",
      .p50_ns = second.round_trips.percentile(0.5),
      .p99_ns = second.round_trips.percentile(0.99),
      .workers = runtime.workers(),
      .more = {{"page_table_bytes", each(tables, tables_after)},
               {"guests", held.guests},
               {"pooled", pooled},
               {"mappings", maps},
               {"starts_per_second", static_cast<std::uint64_t>(held.guests * 1e9 / spent)}},
  };
}

Result<Measurement> module_idle_memory(const Options& options) {
  return hold_guests(options, {.is_component = false, .guests = kIdleGuests});
}

Result<Measurement> component_idle_memory(const Options& options) {
  return hold_guests(options, {.is_component = true, .guests = kIdleGuests});
}

Result<Measurement> module_idle_memory_64k(const Options& options) {
  return hold_guests(options, {.is_component = false, .guests = kIdleGuests, .engine = {.stack_bytes = 64 << 10}});
}

Result<Measurement> live_guests(const Options& options) {
  Result<Measurement> measured = hold_guests(options, {.is_component = false, .guests = kLiveGuests});
  if (!measured) return measured;
  measured->more.insert(measured->more.begin(), {"bytes_per_guest", static_cast<std::uint64_t>(measured->value)});
  measured->value = kLiveGuests;
  measured->unit = "guests";
  return measured;
}

}  // namespace rusm::bench
