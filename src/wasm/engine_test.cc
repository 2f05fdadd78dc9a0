#include "wasm/engine.h"

#include <gtest/gtest.h>

namespace rusm::wasm {
namespace {

constexpr MachineLimits kDebian = {.ram_bytes = std::uint64_t{8} << 30, .map_count_max = 65'530, .cores = 2};

EngineOptions sizes(EngineOptions options, const MachineLimits& machine) {
  Result<EngineOptions> sized = Engine::sized(std::move(options), machine);
  EXPECT_TRUE(sized.has_value()) << sized.error().to_string();
  return *std::move(sized);
}

std::string refusal(EngineOptions options, const MachineLimits& machine) {
  const Result<EngineOptions> sized = Engine::sized(std::move(options), machine);
  if (sized) return "none";
  EXPECT_EQ(sized.error().code, ErrorCode::kInvalid);
  return sized.error().text;
}

TEST(EngineTest, DerivesItsSizesFromTheMachine) {
  EXPECT_EQ(kDebian.pool_by_maps(), 12'106u);
  EXPECT_EQ((MachineLimits{.map_count_max = 100}).pool_by_maps(), 1u);
  const EngineOptions derived = sizes({}, kDebian);
  EXPECT_EQ(derived.pool_max, Engine::kPoolDefaultMax);
  EXPECT_EQ(derived.guests_max, Engine::kPoolDefaultMax + 65'536);
  EXPECT_EQ(sizes({}, {.ram_bytes = 512 << 20, .map_count_max = 65'530}).pool_max, 512u);
  EXPECT_EQ(sizes({}, {.ram_bytes = 512 << 20, .map_count_max = 65'530}).guests_max, 512u + 4096);
  EXPECT_EQ(sizes({}, {.ram_bytes = std::uint64_t{8} << 30, .map_count_max = 10'000}).pool_max, 1000u);
  EXPECT_EQ(sizes({.guests_max = 100}, kDebian).pool_max, 100u) << "the pool comes first";
  EXPECT_EQ(sizes({.guests_max = 100, .pool_max = 10}, kDebian).pool_max, 10u);
  EXPECT_EQ(sizes({.pool_max = 100}, kDebian).guests_max, 100u + 65'536);
}

TEST(EngineTest, OverflowsAreBoundedWhereGuardsTakeMappings) {
  MachineLimits old = kDebian;
  old.guards_are_free = false;
  EXPECT_EQ(sizes({}, old).guests_max, 4000u + (65'530 - 5000 - 4000 * 5) / 2);
  EXPECT_NE(refusal({.guests_max = 100'000}, old).find("at most 20265 more"), std::string::npos);
}

TEST(EngineTest, AnAddressSpaceThatIsRationedHasAPoolOfItsSize) {
  MachineLimits rationed = kDebian;
  rationed.address_space_bytes = std::uint64_t{16} << 30;
  const EngineOptions options = sizes({.memory_bytes_max = 64 << 20}, rationed);
  EXPECT_EQ(options.pool_max, 125u);
  EXPECT_GT(options.guests_max, options.pool_max + 900);
  rationed.address_space_bytes = 64 << 20;
  EXPECT_NE(refusal({.memory_bytes_max = 64 << 20}, rationed).find("ulimit -v"), std::string::npos);
}

TEST(EngineTest, RefusesAPoolForWhichThereAreNotEnoughMappings) {
  const auto engine = Engine::open({.pool_max = 20'000}, nullptr, kDebian);
  ASSERT_FALSE(engine.has_value());
  EXPECT_EQ(engine.error().code, ErrorCode::kInvalid);
  EXPECT_NE(engine.error().text.find("at most 12106 guests"), std::string::npos) << engine.error().text;
}

TEST(EngineTest, AGuestThatTakesMoreTakesMoreSlots) {
  const auto needed = [](EngineOptions options, std::uint32_t core_instances, std::uint32_t memories,
                         std::uint32_t tables) {
    const auto engine = *Engine::open(options, nullptr, kDebian);
    const SlotNeeds needs = engine->slots_needed({.is_component = true,
                                                  .entries = 0,
                                                  .core_instances = core_instances,
                                                  .memories = memories,
                                                  .tables = tables,
                                                  .memory_bytes_initial = 0});
    return std::pair(needs.pool, needs.overflow);
  };
  using Needs = std::pair<std::uint32_t, std::uint32_t>;
  const EngineOptions pooled{.guests_max = 20};
  EXPECT_EQ(needed(pooled, 0, 0, 0), Needs(1, 0));
  EXPECT_EQ(needed(pooled, 4, 1, 2), Needs(1, 0));
  EXPECT_EQ(needed(pooled, 11, 1, 2), Needs(3, 0));
  EXPECT_EQ(needed(pooled, 1, 2, 0), Needs(2, 0));
  EXPECT_EQ(needed(pooled, 1, 1, 7), Needs(3, 0));
  EXPECT_EQ(needed(pooled, 1, 21, 0), Needs(0, 0)) << "more than there is";
  const EngineOptions both{.guests_max = 60, .pool_max = 20};
  EXPECT_EQ(needed(both, 1, 2, 0), Needs(2, 2));
  EXPECT_EQ(needed(both, 1, 21, 0), Needs(0, 21)) << "more than the pool has";
  EXPECT_EQ(needed(both, 1, 33, 0), Needs(0, 33)) << "more than the pool gives to one component";
  EXPECT_EQ(needed(both, 1, 41, 0), Needs(0, 0));
  EXPECT_EQ(needed({.guests_max = 20, .slot_core_instances = 1}, 4, 1, 2), Needs(4, 0));
}

}  // namespace
}  // namespace rusm::wasm
