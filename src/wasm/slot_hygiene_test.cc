// What a guest leaves in its memory, its tables and its globals the next tenant of its slots never sees.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "wasm/test_node.h"

namespace rusm::wasm {
namespace {

// Looks at everything that it has, grown parts included, traps when it finds what it did not put there, and then leaves
// canaries everywhere. `data`: of its image.
std::string spoiler(std::string_view data, std::string_view entry) {
  return fmt::format(R"((module
  (memory 2) (data (i32.const 0) "{}")
  (table $table 8 funcref)
  (global $global (mut i64) (i64.const 7))
  (func $canary) (elem declare func $canary)
  (func $look (local $at i32)
    (if (i64.ne (global.get $global) (i64.const 7)) (then unreachable))
    (if (i32.lt_s (table.grow $table (ref.null func) (i32.const 100)) (i32.const 0)) (then unreachable))
    (loop $next
      (if (i32.eqz (ref.is_null (table.get $table (local.get $at)))) (then unreachable))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (table.size $table))))
    (if (i32.lt_s (memory.grow (i32.const 30)) (i32.const 0)) (then unreachable))
    (local.set $at (i32.const 64))
    (loop $next
      (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then unreachable))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $next (i32.lt_u (local.get $at) (i32.mul (memory.size) (i32.const 65536))))))
  (func $spoil
    (global.set $global (i64.const 0x6563616E617279))
    (table.fill $table (i32.const 0) (ref.func $canary) (table.size $table))
    (memory.fill (i32.const 0) (i32.const 0xa5) (i32.mul (memory.size) (i32.const 65536))))
  (func $run (call $look) (call $spoil))
  {}))",
                     data, entry);
}

constexpr std::string_view kRun = R"((func (export "run") (call $run)))";

// Of two core modules with a memory each, so that it takes two slots.
std::string two_memories(std::string_view data) {
  return fmt::format(R"((component (core module $a {} (core module $b {}
    (core instance $ia (instantiate $a)) (core instance $ib (instantiate $b))
    (func (export "run") (canon lift (core func $ib "run")))))",
                     spoiler(data, "(start $run)").substr(7), spoiler(data, kRun).substr(7));
}

struct Mode {
  std::string_view name;
  Tier tier = Tier::kPool;
  std::uint32_t slots = 1;
  std::uint64_t keep_resident_bytes = 64 << 10;
  bool zero_stacks = false;
};

class SlotHygieneTest : public testing::TestWithParam<Mode> {
 protected:
  // With exactly the slots of one guest, beside the pool that one who waits fills when it is the overflow's turn.
  EngineOptions options() const {
    const Mode& mode = GetParam();
    const bool overflows = mode.tier == Tier::kOverflow;
    return {.guests_max = overflows ? 1 + mode.slots : mode.slots,
            .pool_max = overflows ? 1 : mode.slots,
            .keep_resident_bytes = mode.keep_resident_bytes,
            .workers = 2,
            .zero_stacks = mode.zero_stacks};
  }
  std::string guest(std::string_view data) const {
    return GetParam().slots == 1 ? spoiler(data, kRun) : two_memories(data);
  }
};

TEST_P(SlotHygieneTest, NoTenantSeesWhatAnotherLeft) {
  TestNode node(options());
  const auto idle = node.maker(R"((module (import "rusm" "receive" (func $receive (param i32 i32) (result i32)))
    (memory (export "memory") 1) (func (export "run") (drop (call $receive (i32.const 0) (i32.const 8))))))",
                               Entry::kExport);
  std::uint32_t held = 0;
  if (GetParam().tier == Tier::kOverflow) {
    ASSERT_TRUE(node.start(*idle));
    held = 1;
  }
  const std::shared_ptr<GuestMaker> makers[] = {node.maker(guest("one"), Entry::kExport),
                                                node.maker(guest("another"), Entry::kExport)};
  for (int round = 0; round < 8; ++round) {
    // Each twice in a row: with an image of its own in the slot, and with another's.
    const std::shared_ptr<GuestMaker>& maker = makers[round / 2 % 2];
    ASSERT_TRUE(maker);
    ASSERT_EQ(maker->program().needs().in(GetParam().tier), GetParam().slots);
    const otp::ExitReason reason = node.wait(node.start(*maker));
    ASSERT_TRUE(reason.is_normal()) << "round " << round << ": " << reason.to_string() << reason.backtrace();
    ASSERT_TRUE(eventually([&] { return node.engine->slots().used() == held; }));
  }
  node.runtime.kill_all();
  EXPECT_TRUE(node.settles());
}

// The guest that looks does find what is there.
TEST(SlotHygieneControlTest, TheCanariesAreFound) {
  TestNode node;
  const auto found = [&](std::string_view spoil) {
    std::string twice = spoiler("one", R"((func (export "run") (call $run) (call $look)))");
    const std::size_t at = twice.find("(func $spoil");
    const std::size_t end = twice.find("(func $run");
    return node.wait(
        node.start(*node.maker(twice.replace(at, end - at, fmt::format("(func $spoil {})", spoil)), Entry::kExport)));
  };
  EXPECT_TRUE(found("").is_normal());
  EXPECT_FALSE(found("(global.set $global (i64.const 1))").is_normal());
  EXPECT_FALSE(found("(table.set $table (i32.const 50) (ref.func $canary))").is_normal());
  EXPECT_FALSE(found("(i32.store8 (i32.const 2000007) (i32.const 1))").is_normal());
  EXPECT_FALSE(found("(i32.store8 (i32.const 64) (i32.const 1))").is_normal());
}

constexpr Mode kModes[] = {
    {.name = "Pool"},
    {.name = "PoolKeepsNothing", .keep_resident_bytes = 0},
    {.name = "PoolKeepsAll", .keep_resident_bytes = 16 << 20},
    {.name = "PoolZeroesStacks", .zero_stacks = true},
    {.name = "PoolZeroesStacksAndKeepsAll", .keep_resident_bytes = 16 << 20, .zero_stacks = true},
    {.name = "SeveralSlots", .slots = 2},
    {.name = "SeveralSlotsKeepNothing", .slots = 2, .keep_resident_bytes = 0},
    {.name = "Overflow", .tier = Tier::kOverflow},
    {.name = "OverflowKeepsNothing", .tier = Tier::kOverflow, .keep_resident_bytes = 0},
    {.name = "OverflowZeroesStacks", .tier = Tier::kOverflow, .zero_stacks = true},
    {.name = "SeveralSlotsOfTheOverflow", .tier = Tier::kOverflow, .slots = 2},
};

INSTANTIATE_TEST_SUITE_P(Modes, SlotHygieneTest, testing::ValuesIn(kModes),
                         [](const testing::TestParamInfo<Mode>& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace rusm::wasm
