#include "bench/actor_workloads.h"

#include <array>
#include <chrono>
#include <cstring>
#include <string_view>
#include <thread>

#include "bench/guest_node.h"
#include "bench/guest_workloads.h"

namespace rusm::bench {
namespace {

constexpr std::string_view kActor = R"((component
  (import "rusm:runtime/actor@0.1.0" (instance $actor (export "own-pid" (func (result u64)))))
  (core func $own-pid (canon lower (func $actor "own-pid")))
  (core module $m
    (import "rusm" "own-pid" (func $own-pid (result i64)))
    (memory (export "memory") 17) (data (i32.const 1024) "hello")
    (func (export "run") (i64.store (i32.const 4096) (call $own-pid))))
  (core instance $i (instantiate $m (with "rusm" (instance (export "own-pid" (func $own-pid))))))
  (func (export "run") (canon lift (core func $i "run")))))";

// Both send what they receive back to the pid in front of it, and put their own there.
constexpr std::string_view kPingComponent = R"((component
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
    (func (export "run") (local $own i64) (local $peer i64)
      (local.set $own (call $own-pid))
      (loop $again
        (call $receive (i32.const 0))
        (local.set $peer (i64.load (i32.const 64)))
        (i64.store (i32.const 64) (local.get $own))
        (call $send (local.get $peer) (i32.const 64) (i32.load (i32.const 4)))
        (br $again))))
  (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "rusm" (instance
    (export "own-pid" (func $own-pid)) (export "send" (func $send)) (export "receive" (func $receive))))))
  (func (export "run") (canon lift (core func $i "run")))))";

constexpr std::string_view kPingModule = R"((module
  (import "rusm" "own_pid" (func $own_pid (result i64)))
  (import "rusm" "send" (func $send (param i64 i32 i32)))
  (import "rusm" "receive" (func $receive (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "run") (local $own i64) (local $peer i64) (local $length i32)
    (local.set $own (call $own_pid))
    (loop $again
      (local.set $length (call $receive (i32.const 64) (i32.const 64)))
      (local.set $peer (i64.load (i32.const 64)))
      (i64.store (i32.const 64) (local.get $own))
      (call $send (local.get $peer) (i32.const 64) (local.get $length))
      (br $again)))))";

constexpr std::size_t kMessageBytes = 16;
constexpr unsigned kManyPairs = 4;

Result<> begin_pair(GuestNode& node) {
  const Result<otp::Pid> one = node.spawn();
  if (!one) return std::unexpected(one.error());
  const Result<otp::Pid> other = node.spawn();
  if (!other) return std::unexpected(other.error());
  std::array<std::byte, kMessageBytes> ball{};
  const std::uint64_t peer = other->raw();
  std::memcpy(ball.data(), &peer, sizeof(peer));
  node.runtime().send(*one, otp::Message::of_bytes(ball));
  return {};
}

Result<Measurement> exchange(const Options& options, std::string_view wasm, unsigned pairs) {
  auto node = GuestNode::open(options, {{.wasm = wasm, .cpu_max = kNever}});
  if (!node) return std::unexpected(std::move(node.error()));
  otp::Runtime& runtime = (*node)->runtime();
  const Clock& clock = (*node)->clock();
  for (unsigned i = 0; i < pairs; ++i) {
    if (Result<> begun = begin_pair(**node); !begun) return std::unexpected(std::move(begun.error()));
  }
  const Nanoseconds start = clock.now();
  const std::uint64_t before = runtime.counters().sends;
  std::this_thread::sleep_for(std::chrono::nanoseconds(options.span()));
  const std::uint64_t sent = runtime.counters().sends - before;
  const auto span = static_cast<double>(clock.now() - start);
  if (runtime.process_count() != std::size_t{2} * pairs) {
    return fail(ErrorCode::kInternal, "bench guest", "a guest ended before its time");
  }
  return Measurement{
      .value = static_cast<double>(sent) * 1e9 / span, .unit = "messages/s", .workers = runtime.workers()};
}

}  // namespace

Result<Measurement> actor_component_spawn(const Options& options) {
  return spawn_guests(options, kActor);
}

Result<Measurement> component_pingpong(const Options& options) {
  return exchange(options, kPingComponent, 1);
}

Result<Measurement> module_pingpong(const Options& options) {
  return exchange(options, kPingModule, 1);
}

Result<Measurement> component_pingpong_many(const Options& options) {
  return exchange(options, kPingComponent, kManyPairs);
}

Result<Measurement> module_pingpong_many(const Options& options) {
  return exchange(options, kPingModule, kManyPairs);
}

}  // namespace rusm::bench
