// Every call at the last bytes of the guest's stack: it succeeds, or the guest ends with a full stack. The host
// functions have room of their own.
#include <gtest/gtest.h>

#include "base/test_folder.h"
#include "hostcalls/world.h"

namespace rusm::hostcalls {
namespace {

constexpr std::uint32_t kDepthAtMost = 1u << 20;

bool fits(World& world, std::uint32_t depth) {
  Program program{.calls = {}, .depth = depth, .scratch = usual_scratch()};
  const Outcome outcome = world.run(program);
  EXPECT_EQ(outcome.problem, "") << depth;
  EXPECT_TRUE(outcome.reason.has_value());
  return outcome.reason && outcome.reason->is_normal();
}

// The deepest that a guest can recurse.
std::uint32_t deepest(World& world) {
  std::uint32_t fitting = 0;
  std::uint32_t beyond = kDepthAtMost;
  while (fitting + 1 < beyond) {
    const std::uint32_t depth = fitting + (beyond - fitting) / 2;
    (fits(world, depth) ? fitting : beyond) = depth;
  }
  return fitting;
}

void call_deep_down(const Calls& calls) {
  const TestFolder folder;
  World world(calls, folder.path());
  const std::uint32_t bottom = deepest(world);
  ASSERT_GT(bottom, 1000u);
  ASSERT_LT(bottom, kDepthAtMost - 1);
  std::size_t full = 0;
  std::size_t others = 0;
  for (std::size_t call = 0; call < calls.all().size(); ++call) {
    for (const std::uint32_t above : {0u, 1u, 2u, 4u, 8u, 16u, 64u}) {
      Program program{.calls = {}, .depth = bottom - above, .scratch = usual_scratch()};
      program.calls.push_back({.call = call, .args = {}});
      // Most take a text or a handle: the first argument is the scratch, or 0 where that would be a pid.
      for (const std::string& type : calls.all()[call].params) {
        const bool is_first = program.calls.back().args.empty();
        program.calls.back().args.push_back(
            type == "i32" && is_first ? Argument{.kind = Argument::Kind::kScratch, .value = 0} : Argument{.value = 8});
      }
      const Outcome outcome = world.run(program);
      ASSERT_EQ(outcome.problem, "") << above << " above the bottom: " << program.to_string(calls);
      const bool is_full = outcome.reason && outcome.reason->crash_kind() == "stack";
      full += is_full ? 1 : 0;
      others += is_full ? 0 : 1;
    }
  }
  // Both sides of the edge were there.
  EXPECT_GT(full, calls.all().size() / 2);
  EXPECT_GT(others, calls.all().size() / 2);
}

TEST(StackTest, OfModules) {
  call_deep_down(Calls::of_modules());
}

TEST(StackTest, OfComponents) {
  call_deep_down(Calls::of_components());
}

}  // namespace
}  // namespace rusm::hostcalls
