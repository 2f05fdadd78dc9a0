// What the system refuses is an error of the one guest that needed it; the node goes on.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "wasm/code_cache.h"
#include "wasm/test_node.h"

namespace rusm::wasm {
namespace {

constexpr std::string_view kIdle = R"((module (import "rusm" "receive" (func $receive (param i32 i32) (result i32)))
  (memory (export "memory") 1) (func (export "run") (drop (call $receive (i32.const 0) (i32.const 8))))))";
constexpr std::string_view kSmall =
    R"((module (memory 1) (func (export "run") (i32.store (i32.const 8) (i32.const 7)))))";
// Its memory has a size of which none was there before.
constexpr std::string_view kLarge =
    R"((module (memory 500) (func (export "run") (i32.store (i32.const 8) (i32.const 7)))))";
constexpr std::string_view kGrows = R"((module (memory 1)
  (func (export "run") (if (i32.ne (memory.grow (i32.const 400)) (i32.const -1)) (then unreachable)))))";

#ifndef RUSM_SANITIZED  // its shadow needs all the addresses

// One without slots in the pool: all that starts goes to the overflow.
struct FullNode {
  FullNode() : node({.guests_max = 200, .pool_max = 1, .memory_bytes_max = 64 << 20, .workers = 2}) {
    node.start(*node.maker(kIdle, Entry::kExport));
  }
  std::string run(GuestMaker& maker) { return node.wait(node.start(maker)).to_string(); }

  TestNode node;
};

rlim_t mapped_bytes() {
  rlim_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * 4096;
}

void limit_addresses(rlim_t bytes) {
  rlimit limit{};
  getrlimit(RLIMIT_AS, &limit);
  limit.rlim_cur = bytes;
  setrlimit(RLIMIT_AS, &limit);
}

// The rest runs in processes of their own: their limits are not ours.
class EngineFaultsDeathTest : public testing::Test {
 protected:
  EngineFaultsDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
  static void finish() { std::_Exit(testing::Test::HasFailure() ? 1 : 0); }
};

TEST_F(EngineFaultsDeathTest, WithoutAddressesASpawnFailsAndTheNodeGoesOn) {
  const auto body = [] {
    FullNode full;
    const auto small = full.node.maker(kSmall, Entry::kExport);
    const auto large = full.node.maker(kLarge, Entry::kExport);
    const auto grows = full.node.maker(kGrows, Entry::kExport);
    EXPECT_EQ(full.run(*small), "normal");
    limit_addresses(mapped_bytes() + (1 << 30));
    const std::string refused = full.run(*large);
    EXPECT_TRUE(refused.starts_with("limit (instances)")) << refused;
    EXPECT_NE(refused.find("the system refuses memory: Cannot allocate memory"), std::string::npos) << refused;
    EXPECT_EQ(full.run(*grows), "normal") << "it is told -1";
    EXPECT_EQ(full.run(*small), "normal") << "what was there is there";
    limit_addresses(RLIM_INFINITY);
    EXPECT_EQ(full.run(*large), "normal");
    EXPECT_NE(full.run(*grows), "normal");
    finish();
  };
  EXPECT_EXIT(body(), testing::ExitedWithCode(0), "");
}

TEST_F(EngineFaultsDeathTest, ANodeWithFewAddressesRunsBothTiers) {
  const auto body = [] {
    limit_addresses(rlim_t{16} << 30);
    FullNode full;
    const auto large = full.node.maker(kLarge, Entry::kExport);
    const auto idle = full.node.maker(kIdle, Entry::kExport);
    EXPECT_EQ(full.run(*large), "normal");
    // Until nothing is left: what does not begin says so, and the others live.
    int refused = 0;
    for (int i = 0; i < 300; ++i) refused += idle->make({}).has_value() ? 0 : 1;
    EXPECT_EQ(refused, 0) << "a body that is not started gives its slots back";
    std::vector<otp::Pid> live;
    while (true) {
      Result<otp::BodyPtr> made = idle->make({});
      if (!made) break;
      live.push_back(full.node.begin_body(std::move(*made), {}));
    }
    EXPECT_EQ(live.size(), 199u);
    full.node.runtime.kill_all();
    EXPECT_TRUE(full.node.settles());
    finish();
  };
  EXPECT_EXIT(body(), testing::ExitedWithCode(0), "");
}

TEST_F(EngineFaultsDeathTest, AnEngineThatHasNoRoomAtAllDoesNotStart) {
  const auto body = [] {
    limit_addresses(mapped_bytes() + (100 << 20));
    const auto engine = Engine::open({.guests_max = 10, .memory_bytes_max = 1 << 30});
    EXPECT_FALSE(engine.has_value());
    if (!engine) EXPECT_NE(engine.error().text.find("ulimit -v"), std::string::npos) << engine.error().text;
    finish();
  };
  EXPECT_EXIT(body(), testing::ExitedWithCode(0), "");
}

#endif

// The code for the overflow cannot be made: those who wait for it are told, and the pool's guests run on.
TEST(EngineFaultsTest, CodeThatCannotBeMadeIsAnErrorOfThoseWhoNeedIt) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "engine_faults_test" /
                                       std::to_string(static_cast<unsigned>(getpid()));
  SystemEntropy entropy;
  EngineOptions options{.guests_max = 20, .pool_max = 1, .workers = 2};
  std::filesystem::create_directories(folder);
  const auto load = [&](TestNode& node, const CodeCache& cache) {
    return std::make_shared<GuestMaker>(
        *Program::from_bytes(*node.engine, &cache, bytes_of(kIdle), "test",
                             {.name = "guest", .entry = Entry::kExport, .function = "run", .capabilities = {}}),
        node.runtime);
  };
  {
    TestNode node(options);
    load(node, *CodeCache::open(folder / "code", *node.engine, entropy));
  }
  options.compile_time_max = 0;
  TestNode node(options);
  const CodeCache cache = *CodeCache::open(folder / "code", *node.engine, entropy);
  const std::shared_ptr<GuestMaker> maker = load(node, cache);
  const otp::Pid pooled = node.start(*maker);
  std::vector<otp::Pid> others;
  for (int i = 0; i < 10; ++i) others.push_back(node.start(*maker));
  for (const otp::Pid other : others) {
    const std::string reason = node.wait(other).to_string();
    EXPECT_NE(reason.find("test:"), std::string::npos) << reason;
    EXPECT_NE(reason.find("compil"), std::string::npos) << reason;
  }
  EXPECT_TRUE(node.runtime.is_alive(pooled));
  node.runtime.kill_all();
  EXPECT_TRUE(node.settles());
  std::filesystem::remove_all(folder);
}

// Who waits for code can be killed, and nobody wakes it after that.
TEST(EngineFaultsTest, WhoWaitsForCodeCanBeKilled) {
  TestNode node({.guests_max = 50, .pool_max = 1, .workers = 2});
  for (int round = 0; round < 20; ++round) {
    const auto idle = node.maker(kIdle, Entry::kExport);
    for (int i = 0; i < 50; ++i) node.start(*idle);
    node.runtime.kill_all();
    ASSERT_TRUE(node.settles());
  }
}

}  // namespace
}  // namespace rusm::wasm
