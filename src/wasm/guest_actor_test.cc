// Components that import rusm:runtime, as text: what the published crate does not reach, and what guests abuse.
#include "wasm/guest_actor.h"

#include <gtest/gtest.h>

#include "wasm/test_actors.h"

namespace rusm::wasm {
namespace {

using Kind = otp::ExitReason::Kind;

// A component with the whole of the actor interface lowered into one core module, whose memory gets what is lifted at
// 4096. `core`: its functions; `$run` is exported.
std::string actor_component(std::string_view core) {
  return R"((component
  (import "rusm:runtime/actor@0.1.0" (instance $actor
    (export "own-pid" (func (result u64)))
    (export "send" (func (param "to" u64) (param "message" (list u8))))
    (export "receive" (func (result (list u8))))
    (export "receive-timeout" (func (param "timeout-ms" u64) (result (option (list u8)))))
    (export "stash" (func (param "message" (list u8))))
    (export "send-after" (func (param "to" u64) (param "delay-ms" u64) (param "message" (list u8)) (result u64)))
    (export "spawn" (func (param "component" string) (result (result u64 (error string)))))
    (export "monitor" (func (param "target" u64)))
    (export "kill" (func (param "target" u64) (result bool)))
    (export "register" (func (param "name" string) (result bool)))
    (export "whereis" (func (param "name" string) (result (option u64))))))
  (import "rusm:runtime/streams@0.1.0" (instance $streams
    (export "stream-open" (func (param "to" u64) (result (option u64))))
    (export "stream-write" (func (param "handle" u64) (param "chunk" (list u8)) (result bool)))
    (export "stream-close" (func (param "handle" u64)))
    (export "stream-accept" (func (result u64)))
    (export "stream-read" (func (param "handle" u64) (result (option (list u8)))))))
  (import "rusm:runtime/pg@0.1.0" (instance $pg (export "register-tag" (func (param "tag" string)))))
  (core module $libc
    (memory (export "memory") 2)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
  (core func $own-pid (canon lower (func $actor "own-pid")))
  (core func $send (canon lower (func $actor "send") (memory $memory)))
  (core func $receive (canon lower (func $actor "receive") (memory $memory) (realloc $realloc)))
  (core func $receive-timeout (canon lower (func $actor "receive-timeout") (memory $memory) (realloc $realloc)))
  (core func $stash (canon lower (func $actor "stash") (memory $memory)))
  (core func $send-after (canon lower (func $actor "send-after") (memory $memory)))
  (core func $spawn (canon lower (func $actor "spawn") (memory $memory) (realloc $realloc)))
  (core func $monitor (canon lower (func $actor "monitor")))
  (core func $kill (canon lower (func $actor "kill")))
  (core func $register (canon lower (func $actor "register") (memory $memory)))
  (core func $whereis (canon lower (func $actor "whereis") (memory $memory)))
  (core func $stream-open (canon lower (func $streams "stream-open") (memory $memory)))
  (core func $stream-write (canon lower (func $streams "stream-write") (memory $memory)))
  (core func $stream-close (canon lower (func $streams "stream-close")))
  (core func $stream-accept (canon lower (func $streams "stream-accept")))
  (core func $stream-read (canon lower (func $streams "stream-read") (memory $memory) (realloc $realloc)))
  (core func $register-tag (canon lower (func $pg "register-tag") (memory $memory)))
  (core module $m
    (import "libc" "memory" (memory 2))
    (import "rusm" "own-pid" (func $own-pid (result i64)))
    (import "rusm" "send" (func $send (param i64 i32 i32)))
    (import "rusm" "receive" (func $receive (param i32)))
    (import "rusm" "receive-timeout" (func $receive-timeout (param i64 i32)))
    (import "rusm" "stash" (func $stash (param i32 i32)))
    (import "rusm" "send-after" (func $send-after (param i64 i64 i32 i32) (result i64)))
    (import "rusm" "spawn" (func $spawn (param i32 i32 i32)))
    (import "rusm" "monitor" (func $monitor (param i64)))
    (import "rusm" "kill" (func $kill (param i64) (result i32)))
    (import "rusm" "register" (func $register (param i32 i32) (result i32)))
    (import "rusm" "whereis" (func $whereis (param i32 i32 i32)))
    (import "rusm" "stream-open" (func $stream-open (param i64 i32)))
    (import "rusm" "stream-write" (func $stream-write (param i64 i32 i32) (result i32)))
    (import "rusm" "stream-close" (func $stream-close (param i64)))
    (import "rusm" "stream-accept" (func $stream-accept (result i64)))
    (import "rusm" "stream-read" (func $stream-read (param i64 i32)))
    (import "rusm" "register-tag" (func $register-tag (param i32 i32)))
    (data (i32.const 64) "control") (data (i32.const 80) "echo") (data (i32.const 96) "\ff\fe\fd")
    (func $control (result i64) (call $whereis (i32.const 64) (i32.const 7) (i32.const 16)) (i64.load (i32.const 24)))
)" + std::string(core) +
         R"((export "run" (func $run)))
  (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "rusm" (instance
    (export "own-pid" (func $own-pid)) (export "send" (func $send)) (export "receive" (func $receive))
    (export "receive-timeout" (func $receive-timeout)) (export "stash" (func $stash))
    (export "send-after" (func $send-after)) (export "spawn" (func $spawn)) (export "monitor" (func $monitor))
    (export "kill" (func $kill)) (export "register" (func $register)) (export "whereis" (func $whereis))
    (export "stream-open" (func $stream-open)) (export "stream-write" (func $stream-write))
    (export "stream-close" (func $stream-close)) (export "stream-accept" (func $stream-accept)) (export "stream-read" (func $stream-read))
    (export "register-tag" (func $register-tag))))))
  (func (export "run") (canon lift (core func $i "run")))))";
}

// Answers each message, whose first eight bytes are a pid, to that pid.
constexpr std::string_view kEcho = R"((func $run
  (drop (call $register (i32.const 80) (i32.const 4)))
  (loop $again
    (call $receive (i32.const 0))
    (call $send (i64.load (i32.load (i32.const 0))) (i32.load (i32.const 0)) (i32.load (i32.const 4)))
    (br $again))))";

// Sends its pid and "ping" to "echo", and what comes back to "control".
constexpr std::string_view kAsk = R"((func $run
  (i64.store (i32.const 200) (call $own-pid)) (i32.store (i32.const 208) (i32.const 0x676e6970))
  (call $whereis (i32.const 80) (i32.const 4) (i32.const 16))
  (call $send (i64.load (i32.const 24)) (i32.const 200) (i32.const 12))
  (call $receive (i32.const 0))
  (call $send (call $control) (i32.add (i32.load (i32.const 0)) (i32.const 8))
    (i32.sub (i32.load (i32.const 4)) (i32.const 8)))))";

otp::Routine ask_echo(otp::Self& self, otp::Pid echo, Reports* reports) {
  for (int round = 0; round < 1000; ++round) {
    std::string question(8, '\0');
    const std::uint64_t own = self.pid().raw();
    std::memcpy(question.data(), &own, sizeof(own));
    question += std::to_string(round);
    self.send(echo, otp::Message::of_text(question));
    const otp::Message answer = co_await otp::receive(self);
    if (answer.text() != question) reports->add("wrong answer");
  }
  reports->add("done");
}

TEST(GuestActorTest, AGuestAndANativeProcessTalk) {
  ActorNode node;
  node.add("echo", actor_component(kEcho));
  const otp::Pid echo = node.begin("echo");
  EXPECT_TRUE(eventually([&] { return node.runtime.whereis("echo") == echo; }));
  node.runtime.spawn(ask_echo, echo, &node.reports);
  EXPECT_EQ(node.reported(1)[0], "done");
}

TEST(GuestActorTest, TwoGuestsTalk) {
  ActorNode node;
  node.add("echo", actor_component(kEcho));
  node.add("ask", actor_component(kAsk));
  node.begin("echo");
  EXPECT_TRUE(eventually([&] { return bool(node.runtime.whereis("echo")); }));
  EXPECT_TRUE(node.wait(node.begin("ask")).is_normal());
  EXPECT_EQ(node.reported(1)[0], "ping");
}

TEST(GuestActorTest, AGuestThatWaitsCanBeKilled) {
  ActorNode node;
  node.add("waits", actor_component("(func $run (call $receive (i32.const 0)))"));
  node.add("accepts", actor_component("(func $run (drop (call $stream-accept)))"));
  for (const char* name : {"waits", "accepts"}) {
    const otp::Pid pid = node.begin(name);
    EXPECT_TRUE(eventually([&] { return node.runtime.info(pid)->state == otp::ProcessInfo::State::kWaiting; }));
    node.runtime.wake(pid);  // without cause: it asks again
    node.runtime.exit(pid, Kind::kKill);
    EXPECT_EQ(node.wait(pid).kind(), Kind::kKilled) << name;
  }
}

TEST(GuestActorTest, AGuestThatKillsItselfWasKilled) {
  ActorNode node;
  node.add("kills", actor_component("(func $run (drop (call $kill (call $own-pid))) unreachable)"));
  EXPECT_EQ(node.wait(node.begin("kills")).kind(), Kind::kKilled);
}

// What a guest may not have more of ends it with the name of the limit.
TEST(GuestActorTest, LimitsAreExitReasons) {
  ActorNode node;
  Capabilities small;
  small.actor_limits = {.mailbox_bytes_max = 4096,
                        .message_bytes_max = 1000,
                        .timers_max = 10,
                        .timer_bytes_max = 100,
                        .streams_max = 10,
                        .chunk_bytes_max = 100,
                        .names_max = 5,
                        .monitors_max = 10};
  small.actor.spawn = true;
  const std::pair<std::string, std::string> cases[] = {
      {"message", "(func $run (call $send (i64.const 1) (i32.const 0) (i32.const 1001)))"},
      {"timers", R"((func $run (loop $again
         (drop (call $send-after (i64.const 1) (i64.const 60000) (i32.const 0) (i32.const 1))) (br $again))))"},
      {"timers", R"((func $run
         (drop (call $send-after (i64.const 1) (i64.const 60000) (i32.const 0) (i32.const 101)))))"},
      {"streams", R"((func $run (loop $again (call $stream-open (call $control) (i32.const 32)) (br $again))))"},
      {"chunk", R"((func $run (call $stream-open (call $control) (i32.const 32))
         (drop (call $stream-write (i64.load (i32.const 40)) (i32.const 0) (i32.const 101)))))"},
      {"monitors", "(func $run (loop $again (call $monitor (call $control)) (br $again)))"},
      {"names", R"((func $run (local $i i32) (loop $again
         (i32.store (i32.const 300) (i32.add (i32.load (i32.const 300)) (i32.const 1)))
         (call $register-tag (i32.const 300) (i32.const 4)) (br $again))))"},
      {"mailbox", R"((func $run (loop $again (call $stash (i32.const 0) (i32.const 900)) (br $again))))"},
  };
  int number = 0;
  for (const auto& [limit, core] : cases) {
    const std::string name = "case" + std::to_string(++number);
    node.add(name, actor_component(core), small);
    const otp::ExitReason reason = node.wait(node.begin(name));
    EXPECT_EQ(reason.kind(), Kind::kLimit) << limit << ": " << reason.to_string();
    EXPECT_EQ(reason.crash_kind(), limit) << reason.to_string();
  }
}

TEST(GuestActorTest, AMailboxThatIsFullShedsAndItsGuestLives) {
  ActorNode node;
  Capabilities small;
  small.actor_limits.mailbox_messages_max = 10;
  // Takes a stream first, so that the messages stay in the mailbox, and then counts them.
  node.add("slow", actor_component(R"((func $run (local $n i64)
    (drop (call $stream-accept))
    (loop $again
      (call $receive-timeout (i64.const 0) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then (local.set $n (i64.add (local.get $n) (i64.const 1))) (br $again))))
    (i64.store (i32.const 200) (local.get $n))
    (call $send (call $control) (i32.const 200) (i32.const 1))))"),
           small);
  const otp::Pid slow = node.begin("slow");
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(node.runtime.try_send(slow, otp::Message::of_text("x")));
  EXPECT_FALSE(node.runtime.try_send(slow, otp::Message::of_text("x")));
  EXPECT_TRUE(eventually([&] { return node.runtime.info(slow)->state == otp::ProcessInfo::State::kWaiting; }));
  node.runtime.exit(slow, Kind::kNormal);  // no cause to end: it waits on
  EXPECT_FALSE(node.runtime.try_send(slow, otp::Message::of_text("x"))) << "what it did not receive keeps its place";
}

otp::Routine receive_nothing(otp::Self& self) {
  co_await otp::receive_if(self, [](const otp::Message&) { return false; });
}

// A timer's message takes room as any other.
TEST(GuestActorTest, TimersFillNoMailboxBeyondItsBound) {
  ActorNode node;
  node.add("floods", actor_component(R"((func $run (local $i i32)
    (call $whereis (i32.const 80) (i32.const 4) (i32.const 16))
    (loop $again
      (drop (call $send-after (i64.load (i32.const 24)) (i64.const 0) (i32.const 0) (i32.const 8)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (i32.const 500))))
    (call $receive (i32.const 0))))"));
  const otp::Pid victim = node.runtime.spawn_with({.name = "echo", .mailbox_messages_max = 10}, receive_nothing);
  const otp::Pid floods = node.begin("floods");
  EXPECT_TRUE(eventually([&] { return node.runtime.counters().sheds == 490; })) << node.runtime.counters().sheds;
  EXPECT_EQ(node.runtime.info(victim)->mailbox_length, 10u);
  EXPECT_TRUE(node.runtime.is_alive(floods));
}

// What was written into closed streams waits at whoever does not read it: it is still its writer's.
TEST(GuestActorTest, StreamsThatWereClosedAndAreNotReadCount) {
  ActorNode node;
  Capabilities small;
  small.actor_limits.streams_max = 10;
  node.add("writes", actor_component(R"((func $run
    (call $whereis (i32.const 80) (i32.const 4) (i32.const 16))
    (loop $again
      (call $stream-open (i64.load (i32.const 24)) (i32.const 32))
      (if (i32.eqz (i32.load8_u (i32.const 32))) (then unreachable))
      (if (i32.eqz (call $stream-write (i64.load (i32.const 40)) (i32.const 0) (i32.const 100))) (then unreachable))
      (call $stream-close (i64.load (i32.const 40)))
      (br $again))))"),
           small);
  const otp::Pid reader = node.runtime.spawn_with({.name = "echo"}, receive_nothing);
  const otp::ExitReason reason = node.wait(node.begin("writes"));
  EXPECT_EQ(reason.crash_kind(), "streams") << reason.to_string();
  EXPECT_TRUE(node.runtime.is_alive(reader));
}

// What is dropped is a stream for which there is no room; its writer sees it, and the guest that accepts lives.
TEST(GuestActorTest, AStreamBeyondTheLimitIsRefused) {
  ActorNode node;
  Capabilities small;
  small.actor_limits.streams_max = 2;
  node.add("accepts", actor_component("(func $run (loop $again (drop (call $stream-accept)) (br $again)))"), small);
  const otp::Pid accepts = node.begin("accepts");
  std::vector<otp::StreamWriter> writers;
  for (int i = 0; i < 5; ++i) {
    otp::StreamEnds ends = otp::open_stream(node.runtime);
    EXPECT_TRUE(node.runtime.try_send(accepts, otp::Message::local(std::move(ends.reader))));
    writers.push_back(std::move(ends.writer));
  }
  EXPECT_TRUE(
      eventually([&] { return writers[2].reader_gone() && writers[3].reader_gone() && writers[4].reader_gone(); }));
  EXPECT_FALSE(writers[0].reader_gone() || writers[1].reader_gone());
  EXPECT_TRUE(node.runtime.is_alive(accepts));
}

TEST(GuestActorTest, StreamsThatNobodyAcceptsFillTheMailbox) {
  ActorNode node;
  const otp::Pid waits = node.runtime.spawn_with({.mailbox_bytes_max = 3 << 20}, receive_nothing);
  int taken = 0;
  while (taken < 10 && node.runtime.try_send(waits, otp::Message::local(otp::open_stream(node.runtime).reader)))
    ++taken;
  EXPECT_EQ(taken, 2);
}

struct Abuse {
  const char* what;
  const char* core;
};

// Pointers, lengths and texts that are none end the guest, and nothing else notices.
TEST(GuestActorTest, WhatIsNoPointerAndNoTextEndsTheGuest) {
  ActorNode node;
  Capabilities capabilities;
  capabilities.actor.spawn = true;
  const Abuse abuses[] = {
      {"a message outside", "(func $run (call $send (i64.const 1) (i32.const 131000) (i32.const 1000)))"},
      {"a length that wraps", "(func $run (call $send (i64.const 1) (i32.const 16) (i32.const -1)))"},
      {"a chunk outside", "(func $run (drop (call $stream-write (i64.const 1) (i32.const -8) (i32.const 16))))"},
      {"a stash outside", "(func $run (call $stash (i32.const -1) (i32.const 2)))"},
      {"a timer outside",
       "(func $run (drop (call $send-after (i64.const 1) (i64.const 1) (i32.const -1) (i32.const 2))))"},
      {"a name outside", "(func $run (drop (call $register (i32.const -16) (i32.const 17))))"},
      {"a name that is no UTF-8", "(func $run (drop (call $register (i32.const 96) (i32.const 3))))"},
      {"a tag that is no UTF-8", "(func $run (call $register-tag (i32.const 96) (i32.const 3)))"},
      {"a component that is no UTF-8", "(func $run (call $spawn (i32.const 96) (i32.const 3) (i32.const 0)))"},
      {"an answer outside", "(func $run (call $whereis (i32.const 64) (i32.const 7) (i32.const -4)))"},
  };
  int number = 0;
  for (const Abuse& abuse : abuses) {
    const std::string name = "abuse" + std::to_string(++number);
    node.add(name, actor_component(abuse.core), capabilities);
    const otp::ExitReason reason = node.wait(node.begin(name));
    EXPECT_EQ(reason.kind(), Kind::kCrashed) << abuse.what << ": " << reason.to_string();
  }
}

// Handles and pids that never were are no error.
TEST(GuestActorTest, WhatIsNobodysIsNothing) {
  ActorNode node;
  node.add("nothing", actor_component(R"((func $run
    (call $send (i64.const -1) (i32.const 0) (i32.const 8))
    (call $monitor (i64.const -1))
    (if (call $kill (i64.const 12345)) (then unreachable))
    (if (call $stream-write (i64.const 99) (i32.const 0) (i32.const 8)) (then unreachable))
    (call $stream-read (i64.const -1) (i32.const 0)) (if (i32.load8_u (i32.const 0)) (then unreachable))
    (call $stream-open (i64.const 77) (i32.const 0)) (if (i32.load8_u (i32.const 0)) (then unreachable))
    (call $whereis (i32.const 80) (i32.const 4) (i32.const 0)) (if (i32.load8_u (i32.const 0)) (then unreachable))
    (if (call $register (i32.const 0) (i32.const 0)) (then unreachable))
    (call $register-tag (i32.const 0) (i32.const 0))
    (if (call $register (i32.const 1000) (i32.const 300)) (then unreachable))
    (call $spawn (i32.const 80) (i32.const 4) (i32.const 0))
    (if (i32.eqz (i32.load8_u (i32.const 0))) (then unreachable))))"));
  const otp::ExitReason reason = node.wait(node.begin("nothing"));
  EXPECT_TRUE(reason.is_normal()) << reason.to_string() << "\n" << reason.backtrace();
}

otp::Routine trap_exits(otp::Self& self, otp::Pid guest, Reports* reports) {
  self.trap_exit(true);
  self.link(guest);
  self.send(guest, otp::Message::of_text("go"));
  const otp::Message exit = co_await otp::receive(self);
  reports->add(exit.reason().to_string());
}

TEST(GuestActorTest, LinksHearHowAGuestEnded) {
  ActorNode node;
  node.add("fails", actor_component("(func $run (call $receive (i32.const 0)) unreachable)"));
  const otp::Pid guest = node.begin("fails");
  node.runtime.spawn(trap_exits, guest, &node.reports);
  EXPECT_NE(node.reported(1)[0].find("crashed (trap)"), std::string::npos) << node.reports.all()[0];
}

}  // namespace
}  // namespace rusm::wasm
