// Random programs, from seeds: whatever a guest calls, the node lives and nothing is left. tests/fuzz/fuzz_hostcalls
// does the same with programs that libFuzzer looks for.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "base/test_folder.h"
#include "hostcalls/world.h"

namespace rusm::hostcalls {
namespace {

constexpr std::uint32_t kSeeds = 2000;

// RUSM_HOSTCALLS_SEEDS says how many by hand.
std::uint32_t seeds() {
  const char* wanted = std::getenv("RUSM_HOSTCALLS_SEEDS");
  return wanted == nullptr ? kSeeds : static_cast<std::uint32_t>(std::strtoul(wanted, nullptr, 10));
}

std::vector<std::uint8_t> random_bytes(std::mt19937_64& random) {
  std::vector<std::uint8_t> bytes(3 + random() % 120);
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
  return bytes;
}

void run_seeds(World& world, std::uint32_t count) {
  std::uint64_t normal = 0;
  std::uint64_t crashed = 0;
  std::uint64_t limits = 0;
  for (std::uint32_t seed = 1; seed <= count; ++seed) {
    std::mt19937_64 random(seed);
    const Program program = from_bytes(world.calls(), random_bytes(random), world.pids());
    const Run run{.profile = random() % 4 == 0 ? Profile::kNothing : Profile::kAll,
                  .kill_after = random() % 4 == 0 ? static_cast<std::uint32_t>(1 + random() % 20) : 0};
    const Outcome outcome = world.run(program, run);
    ASSERT_EQ(outcome.problem, "") << "seed " << seed << ": " << program.to_string(world.calls());
    if (!outcome.reason) continue;
    normal += outcome.reason->is_normal() ? 1 : 0;
    crashed += outcome.reason->kind() == otp::ExitReason::Kind::kCrashed ? 1 : 0;
    limits += outcome.reason->kind() == otp::ExitReason::Kind::kLimit ? 1 : 0;
  }
  // They reach what they are about: calls that succeed, and those that end a guest in each way.
  EXPECT_GT(normal, count / 40);
  EXPECT_GT(crashed, count / 40);
  EXPECT_GT(limits, 0u);
}

TEST(RandomCallsTest, OfModules) {
  const TestFolder folder;
  World world(Calls::of_modules(), folder.path());
  run_seeds(world, seeds());
}

TEST(RandomCallsTest, OfComponents) {
  const TestFolder folder;
  World world(Calls::of_components(), folder.path());
  run_seeds(world, seeds());
}

}  // namespace
}  // namespace rusm::hostcalls
