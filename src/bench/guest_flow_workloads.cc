#include "bench/guest_flow_workloads.h"

#include <array>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/histogram.h"
#include "bench/gate.h"
#include "bench/guest_node.h"
#include "otp/routine.h"

namespace rusm::bench {
namespace {

using namespace rusm::otp;  // NOLINT(google-build-using-namespace): this file is about nothing else

// The first message is a pid, to which all others go.
constexpr std::string_view kEchoModule = R"((module
  (import "rusm" "send" (func $send (param i64 i32 i32)))
  (import "rusm" "receive" (func $receive (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "run") (local $peer i64)
    (drop (call $receive (i32.const 64) (i32.const 64)))
    (local.set $peer (i64.load (i32.const 64)))
    (loop $again
      (call $send (local.get $peer) (i32.const 64) (call $receive (i32.const 64) (i32.const 64)))
      (br $again)))))";

constexpr std::string_view kEchoComponent = R"((component
  (import "rusm:runtime/actor@0.1.0" (instance $actor
    (export "send" (func (param "to" u64) (param "message" (list u8))))
    (export "receive" (func (result (list u8))))))
  (core module $libc
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
  (core func $send (canon lower (func $actor "send") (memory $memory)))
  (core func $receive (canon lower (func $actor "receive") (memory $memory) (realloc $realloc)))
  (core module $m
    (import "libc" "memory" (memory 1))
    (import "rusm" "send" (func $send (param i64 i32 i32)))
    (import "rusm" "receive" (func $receive (param i32)))
    (func (export "run") (local $peer i64)
      (call $receive (i32.const 0))
      (local.set $peer (i64.load (i32.const 64)))
      (loop $again
        (call $receive (i32.const 0))
        (call $send (local.get $peer) (i32.const 64) (i32.load (i32.const 4)))
        (br $again))))
  (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "rusm" (instance
    (export "send" (func $send)) (export "receive" (func $receive))))))
  (func (export "run") (canon lift (core func $i "run")))))";

constexpr std::string_view kSpins = R"((module (func (export "run") (loop $again (br $again)))))";

Message pid_message(Pid pid) {
  std::array<std::byte, sizeof(std::uint64_t)> bytes{};
  const std::uint64_t raw = pid.raw();
  std::memcpy(bytes.data(), &raw, sizeof(raw));
  return Message::of_bytes(bytes);
}

struct RoundTrips {
  std::uint64_t count = 0;
  Histogram times;
};

Routine echo(Self& self) {
  for (;;) {
    const Message message = co_await receive(self);
    if (const Pid* from = message.get_if<Pid>()) self.send(*from, Message::of(self.pid()));
  }
}

Routine asks(Self& self, Pid partner, Nanoseconds until, RoundTrips* trips, std::shared_ptr<Gate> gate) {
  const Clock& clock = self.runtime().clock();
  for (Nanoseconds now = clock.now(); now < until;) {
    self.send(partner, Message::of(self.pid()));
    (void)co_await receive(self);
    const Nanoseconds then = now;
    now = clock.now();
    trips->times.record(static_cast<std::uint64_t>(now - then));
    ++trips->count;
  }
  gate->arrive();
}

Routine asks_guest(Self& self, Pid guest, Nanoseconds until, RoundTrips* trips, std::shared_ptr<Gate> gate) {
  const Clock& clock = self.runtime().clock();
  constexpr std::array<std::byte, 8> kBall{};
  self.send(guest, pid_message(self.pid()));
  for (Nanoseconds now = clock.now(); now < until;) {
    self.send(guest, Message::of_bytes(kBall));
    (void)co_await receive(self);
    const Nanoseconds then = now;
    now = clock.now();
    trips->times.record(static_cast<std::uint64_t>(now - then));
    ++trips->count;
  }
  gate->arrive();
}

Measurement rate(const GuestNode& node, double count, const char* unit, Nanoseconds start, const Histogram& each) {
  return {.value = count * 1e9 / static_cast<double>(node.clock().now() - start),
          .unit = unit,
          .p50_ns = each.percentile(0.5),
          .p99_ns = each.percentile(0.99),
          .workers = node.runtime().workers()};
}

Result<Measurement> round_trips(const Options& options, std::string_view wasm) {
  RoundTrips trips;  // outlives the node, which ends its processes
  auto node = GuestNode::open(options, {{.wasm = wasm, .cpu_max = kNever}});
  if (!node) return std::unexpected(std::move(node.error()));
  const Result<Pid> guest = (*node)->spawn();
  if (!guest) return std::unexpected(guest.error());
  const auto gate = std::make_shared<Gate>(1);
  const Nanoseconds start = (*node)->clock().now();
  (*node)->runtime().spawn(asks_guest, *guest, start + options.span(), &trips, gate);
  gate->wait();
  return rate(**node, 2.0 * static_cast<double>(trips.count), "messages/s", start, trips.times);
}

constexpr std::string_view kCompressor = "build/release/guests/compress.wasm";

// ── Streams ──

// Its first message is the pid of the reader.
constexpr std::string_view kWriter = R"((module
  (import "rusm" "receive" (func $receive (param i32 i32) (result i32)))
  (import "rusm" "stream_open" (func $open (param i64) (result i64)))
  (import "rusm" "stream_write" (func $write (param i64 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "run") (local $stream i64)
    (drop (call $receive (i32.const 64) (i32.const 64)))
    (local.set $stream (call $open (i64.load (i32.const 64))))
    (i64.store (i32.const 1024) (i64.const 7))
    (loop $again
      (br_if $again (i32.eqz (call $write (local.get $stream) (i32.const 1024) (i32.const 65536))))))))";
// Its first message is a pid, to which it sends the count of bytes after every 256 chunks; a chunk with other contents
// traps.
constexpr std::string_view kReader = R"((module
  (import "rusm" "receive" (func $receive (param i32 i32) (result i32)))
  (import "rusm" "send" (func $send (param i64 i32 i32)))
  (import "rusm" "stream_accept" (func $accept (result i64)))
  (import "rusm" "stream_read" (func $read (param i64 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "run") (local $stream i64) (local $peer i64) (local $chunks i64) (local $bytes i64)
    (drop (call $receive (i32.const 64) (i32.const 64)))
    (local.set $peer (i64.load (i32.const 64)))
    (local.set $stream (call $accept))
    (loop $again
      (i64.store (i32.const 1024) (i64.const 0))
      (local.set $bytes (i64.add (local.get $bytes)
        (i64.extend_i32_u (call $read (local.get $stream) (i32.const 1024) (i32.const 65536)))))
      (if (i64.ne (i64.load (i32.const 1024)) (i64.const 7)) (then unreachable))
      (local.set $chunks (i64.add (local.get $chunks) (i64.const 1)))
      (if (i64.eqz (i64.and (local.get $chunks) (i64.const 255)))
        (then
          (i64.store (i32.const 64) (local.get $bytes))
          (call $send (local.get $peer) (i32.const 64) (i32.const 8))))
      (br $again)))))";

struct Flow {
  std::uint64_t bytes = 0;
  Nanoseconds spent = 0;
};

// Counts from the first report on; ends early when the reader does.
Routine counts(Self& self, Pid reader, Pid writer, Nanoseconds span, Flow* flow, std::shared_ptr<Gate> gate) {
  const Clock& clock = self.runtime().clock();
  (void)self.monitor(reader);
  self.send(reader, pid_message(self.pid()));
  self.send(writer, pid_message(reader));
  std::uint64_t first = 0;
  for (Nanoseconds start = 0; flow->spent < span;) {
    const Message message = co_await receive(self);
    const std::span<const std::byte> report = message.bytes();
    if (report.size() != sizeof(first)) break;
    std::uint64_t total = 0;
    std::memcpy(&total, report.data(), sizeof(total));
    if (first == 0) {
      first = total;
      start = clock.now();
    }
    flow->bytes = total - first;
    flow->spent = clock.now() - start;
  }
  gate->arrive();
}

}  // namespace

Result<Measurement> guest_rtt(const Options& options) {
  return round_trips(options, kEchoModule);
}

Result<Measurement> component_rtt(const Options& options) {
  return round_trips(options, kEchoComponent);
}

Result<Measurement> wasm_stream(const Options& options) {
  Flow flow;  // outlives the node
  auto node = GuestNode::open(options, {{.wasm = kReader, .cpu_max = kNever}, {.wasm = kWriter, .cpu_max = kNever}});
  if (!node) return std::unexpected(std::move(node.error()));
  const Result<Pid> reader = (*node)->spawn(0);
  if (!reader) return std::unexpected(reader.error());
  const Result<Pid> writer = (*node)->spawn(1);
  if (!writer) return std::unexpected(writer.error());
  const auto gate = std::make_shared<Gate>(1);
  Runtime& runtime = (*node)->runtime();
  runtime.spawn(counts, *reader, *writer, options.span(), &flow, gate);
  gate->wait();
  if (flow.spent < options.span()) return fail(ErrorCode::kInternal, "bench guest", "the reader ended before its time");
  return Measurement{.value = static_cast<double>(flow.bytes) * 1e3 / static_cast<double>(flow.spent),
                     .unit = "MB/s",
                     .workers = runtime.workers()};
}

Result<Measurement> wasm_compute(const Options& options) {
  const std::string path = options.component.empty() ? std::string(kCompressor) : options.component;
  std::ifstream file(path, std::ios::binary);
  const std::string wasm((std::istreambuf_iterator<char>(file)), {});
  if (!file || wasm.empty()) {
    return fail(ErrorCode::kIo, path,
                "cannot be read: `cmake --build build/release --target guest_compress` makes it, or name a module that "
                "exports run with --component");
  }
  auto node = GuestNode::open(options, {{.wasm = wasm, .cpu_max = kNever}});
  if (!node) return std::unexpected(std::move(node.error()));
  Histogram times;
  const Clock& clock = (*node)->clock();
  const Nanoseconds start = clock.now();
  std::uint64_t count = 0;
  for (Nanoseconds now = start; now < start + options.span(); ++count) {
    const Result<Pid> guest = (*node)->spawn();
    if (!guest) return std::unexpected(guest.error());
    (*node)->runtime().wait_until_empty(kNever);
    const Nanoseconds then = now;
    now = clock.now();
    times.record(static_cast<std::uint64_t>(now - then));
  }
  return rate(**node, 3600.0 * static_cast<double>(count), "runs/h", start, times);
}

Result<Measurement> fairness_guests(const Options& options) {
  RoundTrips trips;
  auto node = GuestNode::open(options, {{.wasm = kSpins, .cpu_max = kNever}});
  if (!node) return std::unexpected(std::move(node.error()));
  Runtime& runtime = (*node)->runtime();
  for (unsigned i = 0; i < 2 * runtime.workers(); ++i) {
    if (Result<Pid> spinner = (*node)->spawn(); !spinner) return std::unexpected(std::move(spinner.error()));
  }
  const auto gate = std::make_shared<Gate>(1);
  const Nanoseconds start = (*node)->clock().now();
  runtime.spawn(asks, runtime.spawn(echo), start + options.span(), &trips, gate);
  gate->wait();
  return rate(**node, static_cast<double>(trips.count), "round trips/s", start, trips.times);
}

}  // namespace rusm::bench
