// Core modules that import the module rusm.
#include <gtest/gtest.h>

#include "wasm/test_actors.h"

namespace rusm::wasm {
namespace {

using Kind = otp::ExitReason::Kind;

// A module with the imports that these tests need. `functions` has $run, which is exported.
std::string module(std::string_view functions) {
  return R"((module
  (import "rusm" "own_pid" (func $own_pid (result i64)))
  (import "rusm" "send" (func $send (param i64 i32 i32)))
  (import "rusm" "receive" (func $receive (param i32 i32) (result i32)))
  (import "rusm" "receive_timeout" (func $receive_timeout (param i32 i32 i64) (result i32)))
  (import "rusm" "send_after" (func $send_after (param i64 i64 i32 i32) (result i64)))
  (import "rusm" "cancel_timer" (func $cancel_timer (param i64) (result i32)))
  (import "rusm" "stash" (func $stash (param i32 i32)))
  (import "rusm" "unstash" (func $unstash))
  (import "rusm" "list_processes" (func $list_processes (param i32 i32) (result i32)))
  (import "rusm" "is_alive" (func $is_alive (param i64) (result i32)))
  (import "rusm" "kill" (func $kill (param i64) (result i32)))
  (import "rusm" "register" (func $register (param i32 i32) (result i32)))
  (import "rusm" "unregister" (func $unregister (param i32 i32) (result i32)))
  (import "rusm" "whereis" (func $whereis (param i32 i32) (result i64)))
  (import "rusm" "set_label" (func $set_label (param i32 i32)))
  (import "rusm" "notify" (func $notify))
  (import "rusm" "spawn" (func $spawn (param i32 i32) (result i64)))
  (import "rusm" "monitor" (func $monitor (param i64)))
  (import "rusm" "last_error" (func $last_error (param i32 i32) (result i32)))
  (import "rusm" "log" (func $log (param i32 i32 i32)))
  (import "rusm" "register_tag" (func $register_tag (param i32 i32)))
  (import "rusm" "whereis_tag" (func $whereis_tag (param i32 i32 i32 i32) (result i32)))
  (import "rusm" "stream_open" (func $stream_open (param i64) (result i64)))
  (import "rusm" "stream_write" (func $stream_write (param i64 i32 i32) (result i32)))
  (import "rusm" "stream_close" (func $stream_close (param i64)))
  (import "rusm" "stream_accept" (func $stream_accept (result i64)))
  (import "rusm" "stream_read" (func $stream_read (param i64 i32 i32) (result i32)))
  (import "rusm" "kv_get" (func $kv_get (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "rusm" "kv_set" (func $kv_set (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "rusm" "kv_delete" (func $kv_delete (param i32 i32 i32 i32) (result i32)))
  (import "rusm" "kv_exists" (func $kv_exists (param i32 i32 i32 i32) (result i32)))
  (import "rusm" "kv_list" (func $kv_list (param i32 i32 i32 i32) (result i32)))
  (import "rusm" "supervise" (func $supervise (param i32 i32 i32 i32 i32) (result i64)))
  (import "rusm" "info" (func $info (param i64 i32 i32) (result i32)))
  (import "rusm" "watch" (func $watch (param i64) (result i64)))
  (import "rusm" "demonitor" (func $demonitor (param i64) (result i32)))
  (import "rusm" "link" (func $link (param i64) (result i32)))
  (import "rusm" "unlink" (func $unlink (param i64)))
  (import "rusm" "trap_exit" (func $trap_exit (param i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "control") (data (i32.const 80) "things") (data (i32.const 96) "\ff\fe\fd")
  (func $control (result i64) (call $whereis (i32.const 64) (i32.const 7)))
  (func $check (param i32) (if (i32.eqz (local.get 0)) (then unreachable)))
)" + std::string(functions) +
         R"((export "run" (func $run))))";
}

otp::ExitReason run(ActorNode& node, std::string_view functions, Capabilities capabilities = {}) {
  static int number = 0;
  const std::string name = "module" + std::to_string(++number);
  node.add(name, module(functions), std::move(capabilities));
  return node.wait(node.begin(name));
}

TEST(GuestModuleTest, ALongMessageIsKeptUntilItWasTakenWhole) {
  ActorNode node;
  node.add("reader", module(R"((func $run
    (call $check (i32.eq (call $receive (i32.const 200) (i32.const 4)) (i32.const 10)))
    (call $check (i32.eq (i32.load (i32.const 200)) (i32.const 0x64636261)))
    (call $check (i32.eq (call $receive (i32.const 200) (i32.const 0)) (i32.const 10)))
    (call $check (i32.eq (call $receive_timeout (i32.const 200) (i32.const 10) (i64.const 0)) (i32.const 10)))
    (call $send (call $control) (i32.const 200) (i32.const 10))
    (call $check (i32.eq (call $receive (i32.const 200) (i32.const 100)) (i32.const 6)))
    (call $check (i32.eq (call $receive_timeout (i32.const 200) (i32.const 8) (i64.const 3)) (i32.const -1)))))"));
  const otp::Pid reader = node.begin("reader");
  node.tell(reader, "abcdefghij");
  node.tell(reader, "second");
  const otp::ExitReason reason = node.wait(reader);
  EXPECT_TRUE(reason.is_normal()) << reason.to_string() << reason.backtrace();
  EXPECT_EQ(node.reported(1)[0], "abcdefghij");
}

TEST(GuestModuleTest, NamesTimersAndStash) {
  ActorNode node;
  const otp::ExitReason reason = run(node, R"((func $run (local $timer i64)
    (call $notify)
    (call $set_label (i32.const 80) (i32.const 6))
    (call $check (call $register (i32.const 80) (i32.const 6)))
    (call $check (i32.eqz (call $register (i32.const 80) (i32.const 6))))
    (call $check (i64.eq (call $whereis (i32.const 80) (i32.const 6)) (call $own_pid)))
    (call $check (call $unregister (i32.const 80) (i32.const 6)))
    (call $check (i64.eq (call $whereis (i32.const 80) (i32.const 6)) (i64.const -1)))
    (call $check (call $is_alive (call $own_pid)))
    (call $check (i32.eqz (call $is_alive (call $control))))
    (call $check (i32.eqz (call $kill (call $control))))
    (call $check (i32.eq (call $list_processes (i32.const 200) (i32.const 4)) (i32.const 1)))
    (call $check (i64.eq (i64.load (i32.const 200)) (call $own_pid)))
    (call $register_tag (i32.const 80) (i32.const 6))
    (call $check (i32.eq (call $whereis_tag (i32.const 80) (i32.const 6) (i32.const 200) (i32.const 0)) (i32.const 1)))
    (local.set $timer (call $send_after (call $own_pid) (i64.const 60000) (i32.const 80) (i32.const 6)))
    (call $check (call $cancel_timer (local.get $timer)))
    (call $check (i32.eqz (call $cancel_timer (local.get $timer))))
    (drop (call $send_after (call $own_pid) (i64.const 1) (i32.const 80) (i32.const 6)))
    (call $check (i32.eq (call $receive (i32.const 200) (i32.const 10)) (i32.const 6)))
    (call $stash (i32.const 200) (i32.const 6))
    (call $check (i32.eq (call $receive_timeout (i32.const 300) (i32.const 10) (i64.const 0)) (i32.const -1)))
    (call $unstash)
    (call $check (i32.eq (call $receive (i32.const 300) (i32.const 10)) (i32.const 6)))
    (call $log (i32.const 2) (i32.const 80) (i32.const 6))))");
  EXPECT_TRUE(reason.is_normal()) << reason.to_string() << reason.backtrace();
  EXPECT_NE(node.lines.text().find(" things "), std::string::npos) << node.lines.text();
}

TEST(GuestModuleTest, AStreamToItself) {
  ActorNode node;
  const otp::ExitReason reason = run(node, R"((func $run (local $out i64) (local $in i64)
    (call $check (i64.eq (call $stream_open (i64.const 99)) (i64.const -1)))
    (local.set $out (call $stream_open (call $own_pid)))
    (call $check (i32.eqz (call $stream_write (local.get $out) (i32.const 64) (i32.const 7))))
    (call $stream_close (local.get $out))
    (call $check (i32.eq (call $stream_write (local.get $out) (i32.const 64) (i32.const 7)) (i32.const -1)))
    (local.set $in (call $stream_accept))
    (call $check (i32.eq (call $stream_read (local.get $in) (i32.const 200) (i32.const 3)) (i32.const 7)))
    (call $check (i32.eq (call $stream_read (local.get $in) (i32.const 200) (i32.const 7)) (i32.const 7)))
    (call $check (i64.eq (i64.load32_u (i32.const 200)) (i64.load32_u (i32.const 64))))
    (call $check (i32.eq (call $stream_read (local.get $in) (i32.const 200) (i32.const 7)) (i32.const -1)))))");
  EXPECT_TRUE(reason.is_normal()) << reason.to_string() << reason.backtrace();
}

TEST(GuestModuleTest, EachStreamKeepsItsChunk) {
  ActorNode node;
  const otp::ExitReason reason = run(node, R"((func $stream (param $at i32) (result i64) (local $out i64)
    (local.set $out (call $stream_open (call $own_pid)))
    (call $check (i32.eqz (call $stream_write (local.get $out) (local.get $at) (i32.const 6))))
    (call $stream_accept))
  (func $run (local $one i64) (local $other i64)
    (local.set $one (call $stream (i32.const 64)))
    (local.set $other (call $stream (i32.const 80)))
    (call $check (i32.eq (call $stream_read (local.get $one) (i32.const 200) (i32.const 3)) (i32.const 6)))
    (call $check (i32.eq (call $stream_read (local.get $other) (i32.const 300) (i32.const 3)) (i32.const 6)))
    (call $check (i32.eq (call $stream_read (local.get $one) (i32.const 200) (i32.const 6)) (i32.const 6)))
    (call $check (i32.eq (call $stream_read (local.get $other) (i32.const 300) (i32.const 6)) (i32.const 6)))
    (call $check (i32.eq (i32.load (i32.const 200)) (i32.load (i32.const 64))))
    (call $check (i32.eq (i32.load (i32.const 300)) (i32.load (i32.const 80))))))");
  EXPECT_TRUE(reason.is_normal()) << reason.to_string() << reason.backtrace();
}

TEST(GuestModuleTest, AStashedDownTakesRoom) {
  ActorNode node;
  Capabilities small;
  small.actor.spawn = true;
  small.actor_limits.mailbox_bytes_max = 4096;
  const otp::ExitReason reason = run(node, R"((func $run (loop $again
    (call $monitor (i64.const 99))
    (call $stash (i32.const 200) (call $receive (i32.const 200) (i32.const 100)))
    (br $again))))",
                                     small);
  EXPECT_EQ(reason.kind(), Kind::kLimit) << reason.to_string();
  EXPECT_EQ(reason.crash_kind(), "mailbox");
}

TEST(GuestModuleTest, TheNameOfAResidentIsNobodysToTake) {
  ActorNode node;
  node.factory.reserve_name("things");
  const otp::ExitReason reason = run(node, R"((func $run
    (call $check (i32.eqz (call $register (i32.const 80) (i32.const 6))))
    (call $check (call $register (i32.const 80) (i32.const 5)))))");
  EXPECT_TRUE(reason.is_normal()) << reason.to_string() << reason.backtrace();
}

TEST(GuestModuleTest, NobodyFreesTheNameOfAResident) {
  ActorNode node;
  node.factory.reserve_name("things");
  ASSERT_TRUE(node.runtime.register_name("things", node.control).has_value());
  Capabilities control;
  control.actor.process_control = true;
  const otp::ExitReason reason = run(node, R"((func $run
    (call $check (i32.eqz (call $unregister (i32.const 80) (i32.const 6))))
    (call $check (call $unregister (i32.const 64) (i32.const 7)))))",
                                     control);
  EXPECT_TRUE(reason.is_normal()) << reason.to_string() << reason.backtrace();
  EXPECT_EQ(node.runtime.whereis("things"), node.control);
}

TEST(GuestModuleTest, SupervisorsLinksAndMonitors) {
  ActorNode node;
  Capabilities spawner;
  spawner.actor.spawn = true;
  node.add("things", module(R"((func $run
    (drop (call $receive (i32.const 200) (i32.const 100)))))"));
  node.add("boss", module(R"((func $run (local $supervisor i64) (local $child i64) (local $monitor i64)
    (call $check (i32.eqz (call $trap_exit (i32.const 1))))
    (call $check (call $trap_exit (i32.const 1)))
    (i32.store (i32.const 300) (i32.const 6)) (i64.store (i32.const 304) (i64.load (i32.const 80)))
    (local.set $supervisor (call $supervise (i32.const 0) (i32.const 300) (i32.const 10) (i32.const 0) (i32.const 0)))
    (call $check (i64.gt_s (local.get $supervisor) (i64.const 0)))
    (local.set $child (call $spawn (i32.const 80) (i32.const 6)))
    (call $check (i32.eqz (call $link (local.get $child))))
    (local.set $monitor (call $watch (local.get $child)))
    (call $check (i32.eq (call $info (call $own_pid) (i32.const 400) (i32.const 100)) (i32.const 32)))
    (call $check (i64.eq (i64.load (i32.const 400)) (call $own_pid)))
    (call $check (i32.eq (i32.load (i32.const 408)) (i32.const 2)))
    (call $check (i32.eq (i32.load (i32.const 412)) (i32.const 1)))
    (call $check (i32.eq (i32.load (i32.const 420)) (i32.const 3)))
    (call $check (i32.eq (i32.load (i32.const 424)) (i32.const 4)))
    (call $check (i32.eq (call $info (local.get $child) (i32.const 400) (i32.const 100)) (i32.const -1)))
    (call $unlink (local.get $child))
    (call $check (call $demonitor (local.get $monitor)))
    (call $check (i32.eqz (call $demonitor (local.get $monitor))))
    (call $check (i32.eqz (call $link (local.get $supervisor))))
    (call $send (call $control) (i32.const 80) (i32.const 6))
    (call $send (call $control) (i32.const 500) (call $receive (i32.const 500) (i32.const 100)))))"),
           spawner);
  const otp::Pid boss = node.begin("boss");
  EXPECT_EQ(node.reported(1)[0], "things");
  // The first exit that it hears of is that of its supervisor, which somebody kills.
  for (const otp::Pid pid : node.runtime.processes()) {
    if (node.runtime.info(pid)->label == "supervisor of boss") node.runtime.exit(pid, Kind::kKill);
  }
  const std::string text = node.reported(2)[1];
  EXPECT_TRUE(text.starts_with(R"({"__exit":")") && text.ends_with(R"(","reason":"killed"})")) << text;
  EXPECT_TRUE(node.wait(boss).is_normal());
}

TEST(GuestModuleTest, WhatAModuleMayNotHasAText) {
  ActorNode node;
  const otp::ExitReason reason = run(node, R"((func $run
    (i32.store (i32.const 300) (i32.const 6)) (i64.store (i32.const 304) (i64.load (i32.const 80)))
    (call $check (i64.eq (i64.const -2)
      (call $supervise (i32.const 0) (i32.const 300) (i32.const 10) (i32.const 0) (i32.const 0))))
    (call $send (call $control) (i32.const 200) (call $last_error (i32.const 200) (i32.const 1000)))
    (call $check (i32.eq (call $link (call $control)) (i32.const -2)))
    (call $send (call $control) (i32.const 200) (call $last_error (i32.const 200) (i32.const 1000)))
    (call $check (i64.eq (call $watch (call $control)) (i64.const -2)))
    (call $check (i32.eqz (call $demonitor (i64.const 1))))
    (call $check (i32.eq (call $info (call $control) (i32.const 200) (i32.const 100)) (i32.const -1)))))");
  EXPECT_TRUE(reason.is_normal()) << reason.to_string() << reason.backtrace();
  const std::vector<std::string> texts = node.reported(2);
  EXPECT_NE(texts[0].find("supervise denied"), std::string::npos) << texts[0];
  EXPECT_NE(texts[1].find("link denied"), std::string::npos) << texts[1];
}

constexpr std::string_view kStore = R"((func $run
  (call $check (i32.eq (call $kv_get (i32.const 80) (i32.const 6) (i32.const 64) (i32.const 7) (i32.const 200)
    (i32.const 100)) (i32.const -1)))
  (call $check (i32.eqz (call $kv_set (i32.const 80) (i32.const 6) (i32.const 64) (i32.const 7) (i32.const 80)
    (i32.const 5))))
  (call $check (i32.eq (call $kv_get (i32.const 80) (i32.const 6) (i32.const 64) (i32.const 7) (i32.const 200)
    (i32.const 2)) (i32.const 5)))
  (call $check (i32.eq (i32.load16_u (i32.const 200)) (i32.load16_u (i32.const 80))))
  (call $check (call $kv_exists (i32.const 80) (i32.const 6) (i32.const 64) (i32.const 7)))
  (call $check (i32.eq (call $kv_list (i32.const 80) (i32.const 6) (i32.const 200) (i32.const 100)) (i32.const 11)))
  (call $check (i32.eq (i32.load (i32.const 200)) (i32.const 7)))
  (call $check (i32.eq (call $kv_delete (i32.const 80) (i32.const 6) (i32.const 64) (i32.const 7)) (i32.const 1)))
  (call $check (i32.eqz (call $kv_delete (i32.const 80) (i32.const 6) (i32.const 64) (i32.const 7))))))";

TEST(GuestModuleTest, TheStore) {
  ActorNode node;
  Capabilities storage;
  storage.actor.storage = true;
  const otp::ExitReason reason = run(node, kStore, storage);
  EXPECT_TRUE(reason.is_normal()) << reason.to_string() << reason.backtrace();
}

TEST(GuestModuleTest, AnAnswerOfTheStoreIsNotHeldWhileAGuestWaits) {
  const auto engine = open_engine();
  kv::MemoryKvStore store;
  ASSERT_TRUE(store.set("things", "control", std::string(1 << 20, 'x')).has_value());
  Capabilities storage;
  storage.actor.storage = true;
  const Result<std::shared_ptr<Program>> program = Program::from_bytes(
      *engine, nullptr, bytes_of(module(R"((func $run
        (call $check (i32.eq (call $kv_get (i32.const 80) (i32.const 6) (i32.const 64) (i32.const 7) (i32.const 200)
          (i32.const 8)) (i32.const 0x100000)))
        (call $check (i32.eq (call $kv_list (i32.const 80) (i32.const 6) (i32.const 200) (i32.const 100)) (i32.const 11)))
        (call $set_label (i32.const 80) (i32.const 6))
        (drop (call $receive (i32.const 200) (i32.const 0)))))")),
      "test", {.name = "guest", .entry = Entry::kExport, .function = "run", .capabilities = storage});
  ASSERT_TRUE(program.has_value()) << program.error().to_string();
  SystemClock clock;
  SeededEntropy entropy(1);
  otp::QuietReactorFactory reactors;
  // One thread: what a guest that waits holds can be looked at.
  otp::Runtime runtime({.deterministic_seed = 1}, {.clock = clock, .entropy = entropy, .reactors = reactors});
  GuestMaker maker(*program, runtime, {.store = &store});
  Result<otp::BodyPtr> body = maker.make({});
  ASSERT_TRUE(body.has_value()) << body.error().to_string();
  const GuestActor& actor = static_cast<GuestBody&>(**body).actor();
  const otp::Pid pid = runtime.spawn_body(std::move(*body));
  runtime.run_until_idle();
  ASSERT_EQ(runtime.info(pid).value().label, "things") << "it has its answers, and waits";
  EXPECT_EQ(actor.held_bytes(), 0u);
}

TEST(GuestModuleTest, WhatIsRefusedHasAText) {
  ActorNode node;
  const otp::ExitReason reason = run(node, R"((func $run
    (call $check (i64.eq (call $spawn (i32.const 80) (i32.const 6)) (i64.const -2)))
    (call $send (call $control) (i32.const 200) (call $last_error (i32.const 200) (i32.const 1000)))
    (call $check (i32.eq (call $kv_exists (i32.const 80) (i32.const 6) (i32.const 64) (i32.const 7)) (i32.const -2)))
    (call $send (call $control) (i32.const 200) (call $last_error (i32.const 200) (i32.const 1000)))))");
  EXPECT_TRUE(reason.is_normal()) << reason.to_string() << reason.backtrace();
  const std::vector<std::string> texts = node.reported(2);
  EXPECT_NE(texts[0].find("allow-spawn"), std::string::npos) << texts[0];
  EXPECT_NE(texts[1].find("allow-storage"), std::string::npos) << texts[1];
}

TEST(GuestModuleTest, WhatIsNoPointerAndNoTextEndsTheGuest) {
  ActorNode node;
  const char* abuses[] = {
      "(func $run (call $send (i64.const 1) (i32.const 65530) (i32.const 7)))",
      "(func $run (call $send (i64.const 1) (i32.const -1) (i32.const -1)))",
      "(func $run (drop (call $register (i32.const 96) (i32.const 3))))",
      "(func $run (call $log (i32.const 9) (i32.const 96) (i32.const 3)))",
      "(func $run (drop (call $list_processes (i32.const 65530) (i32.const 4))))",
      "(func $run (drop (call $stream_write (i64.const 1) (i32.const -1) (i32.const 1))))",
      "(func $run (drop (call $kv_set (i32.const -1) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) "
      "(i32.const 0))))",
      // A list whose last name is cut short, or has no whole length, or is no text.
      "(func $run (drop (call $supervise (i32.const 0) (i32.const 64) (i32.const 11) (i32.const 0) (i32.const 0))))",
      "(func $run (drop (call $supervise (i32.const 0) (i32.const 64) (i32.const 3) (i32.const 0) (i32.const 0))))",
      "(func $run (i32.store (i32.const 92) (i32.const 3)) (drop (call $supervise (i32.const 0) (i32.const 92) "
      "(i32.const 7) (i32.const 0) (i32.const 0))))",
      "(func $run (drop (call $info (call $own_pid) (i32.const 65530) (i32.const 40))))",
      "(func $run (drop (call $whereis_tag (i32.const 64) (i32.const -1) (i32.const 0) (i32.const 0))))",
      "(func $run (drop (call $send_after (i64.const 1) (i64.const -1) (i32.const 65536) (i32.const 1))))",
      "(func $run (call $send (call $own_pid) (i32.const 0) (i32.const 9)) "
      "(drop (call $receive (i32.const 65530) (i32.const 9))))",
  };
  for (const char* abuse : abuses) {
    const otp::ExitReason reason = run(node, abuse);
    EXPECT_EQ(reason.kind(), Kind::kCrashed) << abuse << ": " << reason.to_string();
  }
}

TEST(GuestModuleTest, ANameThatNobodyOffersIsAClearError) {
  TestNode node;
  const Result<std::shared_ptr<Program>> program = Program::from_bytes(
      *node.engine, nullptr, bytes_of(R"((module (import "rusm" "fork" (func)) (func (export "run"))))"), "test",
      {.name = "guest", .entry = Entry::kExport, .function = "run", .capabilities = {}});
  ASSERT_FALSE(program.has_value());
  EXPECT_NE(program.error().text.find("rusm.fork"), std::string::npos) << program.error().to_string();
}

}  // namespace
}  // namespace rusm::wasm
