// Guests of the pool and of the overflow: where they go, that they do the same there, and that their slots come back
// clean.
#include <gtest/gtest.h>

#include "wasm/test_node.h"

namespace rusm::wasm {
namespace {

// Ends when its process gets a message, which it never does here.
constexpr std::string_view kIdle = R"((module
  (import "rusm" "receive" (func $receive (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "run") (drop (call $receive (i32.const 0) (i32.const 64))))))";
constexpr std::string_view kQuick =
    R"((module (memory 1) (func (export "run") (i32.store (i32.const 8) (i32.const 7)))))";

EngineOptions one_in_the_pool() {
  return {.guests_max = 40, .pool_max = 1, .workers = 2};
}

otp::ExitReason run_in(TestNode& node, Tier tier, std::string_view core) {
  const auto idle = node.maker(kIdle, Entry::kExport);
  std::vector<otp::Pid> held;
  if (tier == Tier::kOverflow) {
    while (node.engine->slots().pool().used() < node.engine->slots().pool().total()) held.push_back(node.start(*idle));
  }
  const auto maker = node.maker(core, Entry::kExport);
  const std::uint32_t before = node.engine->slots().overflow().used();
  Result<otp::BodyPtr> body = maker->make({});
  EXPECT_EQ(node.engine->slots().overflow().used() - before,
            tier == Tier::kOverflow ? maker->program().needs().overflow : 0);
  const otp::ExitReason reason = node.wait(node.begin_body(std::move(*body), {}));
  for (const otp::Pid pid : held) {
    node.runtime.exit(pid, otp::ExitReason::Kind::kKill);
    node.wait(pid);
  }
  return reason;
}

// Without the address, which only a fault tells.
std::string cause_of(const otp::ExitReason& reason) {
  const std::string text = reason.to_string();
  const std::size_t fault = text.find("memory fault at");
  return fault == std::string::npos ? text : text.substr(0, fault) + text.substr(text.rfind("wasm trap"));
}

TEST(TiersTest, WhatThePoolHasNoRoomForGoesToTheOverflow) {
  TestNode node(one_in_the_pool());
  const auto idle = node.maker(kIdle, Entry::kExport);
  std::vector<otp::Pid> guests;
  for (int i = 0; i < 40; ++i) guests.push_back(node.start(*idle));
  EXPECT_TRUE(eventually([&] { return node.engine->pool_usage().overflow_stacks == 39; }));
  EXPECT_EQ(node.engine->pool_usage().stacks, 1u);
  const Result<otp::BodyPtr> refused = idle->make({});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kLimit);
  EXPECT_NE(refused.error().text.find("max_instances"), std::string::npos);
  node.runtime.kill_all();
  EXPECT_TRUE(node.settles());
}

TEST(TiersTest, WhatWouldTakeTheHostsMemoryIsRefusedByBoth) {
  TestNode node(one_in_the_pool());
  std::string globals = "(module (func (export \"run\"))";
  for (int i = 0; i < 80'000; ++i) globals += "(global (mut i64) (i64.const 1))";
  const Result<std::shared_ptr<Program>> refused =
      Program::from_bytes(*node.engine, nullptr, std::as_bytes(std::span(globals += ")")), "many globals",
                          {.name = "many", .entry = Entry::kExport, .function = "run", .capabilities = {}});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().text.find("bytes which exceeds"), std::string::npos) << refused.error().to_string();
}

TEST(TiersTest, GuestsOfTheOverflowEndAsThoseOfThePoolDo) {
  const std::vector<std::pair<std::string_view, std::string_view>> guests = {
      {"returns", kQuick},
      {"grows", R"((module (memory (export "memory") 1) (func (export "run")
         (i32.store (i32.const 65532) (i32.const 42))
         (if (i32.ne (memory.grow (i32.const 200)) (i32.const 1)) (then (unreachable)))
         (if (i32.ne (i32.load (i32.const 65532)) (i32.const 42)) (then (unreachable)))
         (if (i32.ne (memory.size) (i32.const 201)) (then (unreachable)))
         (i32.store (i32.const 13172732) (i32.const 1)))))"},
      {"traps", R"((module (func (export "run") unreachable)))"},
      {"reads beyond its memory", R"((module (memory 1) (func (export "run") (drop (i32.load (i32.const 65533))))))"},
      {"reads far beyond", R"((module (memory 1) (func (export "run") (drop (i32.load (i32.const -4))))))"},
      {"writes beyond its growth", R"((module (memory 1) (func (export "run")
         (drop (memory.grow (i32.const 1))) (i32.store (i32.const 131072) (i32.const 1)))))"},
      {"copies beyond", R"((module (memory 1) (func (export "run")
         (memory.fill (i32.const 65000) (i32.const 1) (i32.const 65000)))))"},
      {"overflows its stack", R"((module (func $f (export "run") (call $f) (call $f))))"},
      {"grows without end", R"((module (memory 1) (func (export "run")
         (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable)))"},
      {"has data", R"((module (memory 2) (data (i32.const 70000) "here") (func (export "run")
         (if (i32.ne (i32.load8_u (i32.const 70003)) (i32.const 101)) (then unreachable)))))"},
  };
  TestNode node(one_in_the_pool());
  for (const auto& [what, core] : guests) {
    const otp::ExitReason pooled = run_in(node, Tier::kPool, core);
    const otp::ExitReason other = run_in(node, Tier::kOverflow, core);
    EXPECT_EQ(cause_of(other), cause_of(pooled)) << what;
  }
  EXPECT_TRUE(node.settles());
}

}  // namespace
}  // namespace rusm::wasm
