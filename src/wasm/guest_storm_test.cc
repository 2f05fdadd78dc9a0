// Guests that make calls at random, killed at random: nothing is left of them, and no wait is for ever.
#include <gtest/gtest.h>

#include <random>

#include "wasm/test_actors.h"

namespace rusm::wasm {
namespace {

// Registers nothing for good and waits for nothing longer than a millisecond, but in streams, to itself. Every call
// that can be made without another component is among its choices. `"seed"` is put into its memory by the first
// message.
constexpr std::string_view kStorm = R"((module
  (import "rusm" "own_pid" (func $own_pid (result i64)))
  (import "rusm" "send" (func $send (param i64 i32 i32)))
  (import "rusm" "receive" (func $receive (param i32 i32) (result i32)))
  (import "rusm" "receive_timeout" (func $receive_timeout (param i32 i32 i64) (result i32)))
  (import "rusm" "send_after" (func $send_after (param i64 i64 i32 i32) (result i64)))
  (import "rusm" "cancel_timer" (func $cancel_timer (param i64) (result i32)))
  (import "rusm" "stash" (func $stash (param i32 i32)))
  (import "rusm" "unstash" (func $unstash))
  (import "rusm" "monitor" (func $monitor (param i64)))
  (import "rusm" "register" (func $register (param i32 i32) (result i32)))
  (import "rusm" "unregister" (func $unregister (param i32 i32) (result i32)))
  (import "rusm" "register_tag" (func $register_tag (param i32 i32)))
  (import "rusm" "unregister_tag" (func $unregister_tag (param i32 i32)))
  (import "rusm" "whereis_tag" (func $whereis_tag (param i32 i32 i32 i32) (result i32)))
  (import "rusm" "stream_open" (func $stream_open (param i64) (result i64)))
  (import "rusm" "stream_write" (func $stream_write (param i64 i32 i32) (result i32)))
  (import "rusm" "stream_close" (func $stream_close (param i64)))
  (import "rusm" "stream_accept" (func $stream_accept (result i64)))
  (import "rusm" "stream_read" (func $stream_read (param i64 i32 i32) (result i32)))
  (import "rusm" "kv_set" (func $kv_set (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "rusm" "kv_get" (func $kv_get (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "rusm" "spawn" (func $spawn (param i32 i32) (result i64)))
  (memory (export "memory") 2)
  (data (i32.const 64) "storm")
  (global $state (mut i64) (i64.const 0))
  (func $random (result i64)
    (global.set $state (i64.xor (global.get $state) (i64.shl (global.get $state) (i64.const 13))))
    (global.set $state (i64.xor (global.get $state) (i64.shr_u (global.get $state) (i64.const 7))))
    (global.set $state (i64.xor (global.get $state) (i64.shl (global.get $state) (i64.const 17))))
    (global.get $state))
  (func $bytes (result i32) (i32.wrap_i64 (i64.and (call $random) (i64.const 0x3ff))))
  (func $somebody (result i64)
    (if (i32.eqz (call $whereis_tag (i32.const 64) (i32.const 5) (i32.const 4096) (i32.const 1)))
      (then (return (call $own_pid))))
    (i64.load (i32.const 4096)))
  (func $pipe (local $out i64) (local $in i64)
    (local.set $out (call $stream_open (call $own_pid)))
    (if (i64.eq (local.get $out) (i64.const -1)) (then (return)))
    (drop (call $stream_write (local.get $out) (i32.const 0) (call $bytes)))
    (local.set $in (call $stream_accept))
    (if (i64.lt_u (call $random) (i64.const 0x8000000000000000)) (then (call $stream_close (local.get $out))))
    (drop (call $stream_write (local.get $out) (i32.const 0) (i32.const 9)))
    (drop (call $stream_read (local.get $in) (i32.const 8192) (i32.const 5)))
    (call $stream_close (local.get $in))
    (call $stream_close (local.get $out)))
  (func $step
    (block $9 (block $8 (block $7 (block $6 (block $5 (block $4 (block $3 (block $2 (block $1 (block $0
      (br_table $0 $1 $2 $3 $4 $5 $6 $7 $8 $9 (i32.wrap_i64 (i64.rem_u (call $random) (i64.const 10)))))
      (call $send (call $somebody) (i32.const 0) (call $bytes)) (return))
      (drop (call $receive_timeout (i32.const 8192) (i32.const 100) (i64.const 1))) (return))
      (if (i64.eqz (i64.rem_u (call $random) (i64.const 10)))
        (then (drop (call $send_after (call $somebody) (i64.const 1) (i32.const 0) (call $bytes))))
        (else (drop (call $cancel_timer (call $send_after (call $own_pid) (i64.const 9) (i32.const 0) (call $bytes))))))
      (return))
      (drop (call $receive_timeout (i32.const 8192) (i32.const 2000) (i64.const 0)))
      (call $stash (i32.const 8192) (call $bytes)) (call $unstash) (return))
      (call $monitor (call $somebody)) (return))
      (drop (call $register (i32.const 64) (i32.const 5))) (drop (call $unregister (i32.const 64) (i32.const 5))) (return))
      (call $register_tag (i32.const 64) (i32.const 5)) (return))
      (call $unregister_tag (i32.const 64) (i32.const 5)) (return))
      (call $pipe) (return))
      (drop (call $kv_set (i32.const 64) (i32.const 5) (i32.const 64) (i32.const 1) (i32.const 0) (call $bytes)))
      (drop (call $kv_get (i32.const 64) (i32.const 5) (i32.const 64) (i32.const 1) (i32.const 8192) (i32.const 9)))
      (drop (call $spawn (i32.const 64) (i32.const 4))))
  (func (export "run")
    (drop (call $receive (i32.const 0) (i32.const 8)))
    (global.set $state (i64.load (i32.const 0)))
    (call $register_tag (i32.const 64) (i32.const 5))
    (loop $again (call $step) (br $again)))))";

TEST(GuestStormTest, NothingIsLeftOfGuestsThatAreKilledAnywhere) {
  ActorNode node({.guests_max = 400, .workers = 2});
  Capabilities capabilities;
  capabilities.actor_limits.processes_max = 4;
  capabilities.cpu_max = kNever;
  capabilities.actor = {.spawn = true, .spawn_only = {}, .storage = true, .bucket_only = {}};
  node.add("storm", kStorm, capabilities);
  node.add("stor", kStorm, capabilities);  // what they spawn, which waits for a message
  std::mt19937_64 random(7);
  std::vector<otp::Pid> alive;
  int killed = 0;
  while (killed < 300) {
    while (alive.size() < 12) {
      const otp::Pid pid = node.begin("storm");
      if (!pid) return;
      const std::uint64_t seed = random() | 1;
      node.tell(pid, std::string_view(reinterpret_cast<const char*>(&seed), sizeof(seed)));
      alive.push_back(pid);
    }
    const std::size_t at = random() % alive.size();
    // It runs for a while: until some thousand more messages went to and fro.
    const std::uint64_t enough = node.runtime.counters().sends + random() % 300;
    EXPECT_TRUE(eventually([&] { return node.runtime.counters().sends >= enough; })) << "they all wait";
    node.runtime.exit(alive[at], otp::ExitReason::Kind::kKill);
    const otp::ExitReason reason = node.wait(alive[at]);
    EXPECT_EQ(reason.kind(), otp::ExitReason::Kind::kKilled) << reason.to_string() << reason.backtrace();
    alive[at] = alive.back();
    alive.pop_back();
    ++killed;
    // Their children wait for ever, and take slots of the engine.
    for (const otp::Pid pid : node.runtime.processes()) {
      if (const auto info = node.runtime.info(pid); info && info->label == "stor") {
        node.runtime.exit(pid, otp::ExitReason::Kind::kKill);
      }
    }
  }
}

}  // namespace
}  // namespace rusm::wasm
