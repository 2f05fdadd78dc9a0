#include "wasm/capabilities.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/test_folder.h"

namespace rusm::wasm {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

NetworkPolicy reach(std::string_view rule) {
  return {.reach = {*NetworkRule::parse(rule)}, .listen = {}};
}

TEST(CapabilitiesTest, TheDefaultGrantsNoRight) {
  const Capabilities none;
  EXPECT_THAT(none.network, IsEmpty());
  EXPECT_THAT(none.env, IsEmpty());
  EXPECT_THAT(none.preopens, IsEmpty());
  EXPECT_TRUE(none.to_grants());
}

TEST(CapabilitiesTest, TheLesserOfTwoLimitsCounts) {
  Capabilities parent;
  parent.memory_bytes_max = 1;
  parent.cpu_max = kNever;
  parent.wall_max = 5 * kSecond;
  parent.stdio = Stdio::kNone;
  Capabilities child;
  child.memory_bytes_max = 2;
  child.cpu_max = 3;
  child.http_requests_max = 0;
  child.log_bytes_per_second = 7;
  child.stdio = Stdio::kInherit;
  for (const Capabilities& both : {Capabilities::intersect(parent, child), Capabilities::intersect(child, parent)}) {
    EXPECT_EQ(both.memory_bytes_max, 1u);
    EXPECT_EQ(both.cpu_max, 3);
    EXPECT_EQ(both.wall_max, 5 * kSecond);
    EXPECT_EQ(both.http_requests_max, 0u);
    EXPECT_EQ(both.log_bytes_per_second, 7u);
    EXPECT_EQ(both.stdio, Stdio::kNone);
  }
}

TEST(CapabilitiesTest, ANetworkHasToBeAllowedByBoth) {
  Capabilities parent;
  Capabilities child;
  child.network = {reach("*")};
  EXPECT_THAT(Capabilities::intersect(parent, child).network, IsEmpty());
  EXPECT_THAT(Capabilities::intersect(child, parent).network, IsEmpty());
  parent.network = {reach("api.example.com:443")};
  const Capabilities both = Capabilities::intersect(parent, child);
  EXPECT_THAT(both.network, ElementsAre(reach("api.example.com:443"), reach("*")));
  EXPECT_THAT(Capabilities::intersect(both, child).network, ElementsAre(reach("api.example.com:443"), reach("*")))
      << "what is there already is not added again";
  EXPECT_TRUE(both.to_grants());
}

TEST(CapabilitiesTest, VariablesHaveToBeTheSame) {
  Capabilities parent;
  parent.env = {{"TOKEN", "secret"}, {"MODE", "fast"}};
  Capabilities child;
  child.env = {{"TOKEN", "secret"}, {"MODE", "slow"}, {"HOME", "/"}};
  child.args = {"--all"};
  const Capabilities both = Capabilities::intersect(parent, child);
  EXPECT_THAT(both.env, ElementsAre(Pair("TOKEN", "secret")));
  EXPECT_THAT(both.args, ElementsAre("--all"));
}

TEST(CapabilitiesTest, FoldersLieWithinTheParents) {
  const auto folder = [](std::string path, bool read_only) {
    return Preopen{.host_path = std::move(path), .guest_path = "/x", .read_only = read_only};
  };
  Capabilities parent;
  parent.preopens = {folder("/nonexistent/data", false), folder("/nonexistent/public/", true)};
  const auto kept = [&](std::string path, bool read_only) {
    Capabilities child;
    child.preopens = {folder(std::move(path), read_only)};
    return Capabilities::intersect(parent, child).preopens;
  };
  ASSERT_EQ(kept("/nonexistent/data/sub", false).size(), 1u);
  EXPECT_FALSE(kept("/nonexistent/data/sub", false)[0].read_only);
  EXPECT_TRUE(kept("/nonexistent/data", true)[0].read_only);
  ASSERT_EQ(kept("/nonexistent/public/a", false).size(), 1u);
  EXPECT_TRUE(kept("/nonexistent/public/a", false)[0].read_only);
  EXPECT_EQ(kept("/nonexistent/public", true).size(), 1u);
  for (const char* outside : {"/nonexistent/database", "/nonexistent", "/", "/nonexistent/data/../secret",
                              "/nonexistent/data/sub/../../other"}) {
    EXPECT_THAT(kept(outside, true), IsEmpty()) << outside;
  }
}

TEST(CapabilitiesTest, TheFolderThatWasLookedAtIsTheOneThatIsOpened) {
  namespace fs = std::filesystem;
  const TestFolder folder;
  const fs::path root = fs::canonical(folder.path());
  fs::create_directories(root / "data" / "sub");
  fs::create_directory_symlink(root / "data" / "sub", root / "link");
  fs::create_directory_symlink("/", root / "data" / "out");
  const auto kept = [&](const fs::path& path) {
    Capabilities parent;
    parent.preopens = {{.host_path = (root / "data").string(), .guest_path = "/"}};
    Capabilities child;
    child.preopens = {{.host_path = path.string(), .guest_path = "/"}};
    return Capabilities::intersect(parent, child).preopens;
  };
  ASSERT_EQ(kept(root / "link").size(), 1u);
  EXPECT_EQ(kept(root / "link")[0].host_path, (root / "data" / "sub").string());
  EXPECT_THAT(kept(root / "data" / "out"), IsEmpty());
}

}  // namespace
}  // namespace rusm::wasm
