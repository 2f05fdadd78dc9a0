#include "wasm/engine.h"

#include <gtest/gtest.h>

namespace rusm::wasm {
namespace {

constexpr MachineLimits kDebian = {.ram_bytes = std::uint64_t{8} << 30, .map_count_max = 65'530, .cores = 2};

TEST(EngineTest, DerivesItsSizesFromTheMachine) {
  EXPECT_EQ(kDebian.guests_by_maps(), 12'106u);
  EXPECT_EQ((MachineLimits{.map_count_max = 100}).guests_by_maps(), 1u);
  const auto derived = [](MachineLimits machine) {
    return (*Engine::open({}, nullptr, machine))->options().guests_max;
  };
  EXPECT_EQ(derived(kDebian), Engine::kGuestsDefaultMax);
  EXPECT_EQ(derived({.ram_bytes = 512 << 20, .map_count_max = 65'530, .cores = 1}), 512u);
  EXPECT_EQ(derived({.ram_bytes = std::uint64_t{8} << 30, .map_count_max = 10'000, .cores = 1}), 1000u);
}

TEST(EngineTest, RefusesMoreGuestsThanThereAreMappingsFor) {
  const auto engine = Engine::open({.guests_max = 20'000}, nullptr, kDebian);
  ASSERT_FALSE(engine.has_value());
  EXPECT_EQ(engine.error().code, ErrorCode::kInvalid);
  EXPECT_NE(engine.error().text.find("at most 12106 guests"), std::string::npos) << engine.error().text;
}

TEST(EngineTest, AGuestThatTakesMoreTakesMoreSlots) {
  const auto engine = *Engine::open({.guests_max = 20}, nullptr, kDebian);
  const auto needed = [&](std::uint32_t core_instances, std::uint32_t memories, std::uint32_t tables) {
    return engine->slots_needed({.is_component = true,
                                 .entries = 0,
                                 .core_instances = core_instances,
                                 .memories = memories,
                                 .tables = tables,
                                 .memory_bytes_initial = 0});
  };
  EXPECT_EQ(needed(0, 0, 0), 1u);
  EXPECT_EQ(needed(4, 1, 2), 1u);
  EXPECT_EQ(needed(11, 1, 2), 3u);
  EXPECT_EQ(needed(1, 2, 0), 2u);
  EXPECT_EQ(needed(1, 1, 7), 3u);
  EXPECT_EQ(needed(1, 33, 0), 0u) << "more than any component may take";
  EXPECT_EQ(needed(1, 21, 0), 0u) << "more than there is";
}

}  // namespace
}  // namespace rusm::wasm
