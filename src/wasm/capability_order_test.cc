#include "wasm/capability_order.h"

#include <gtest/gtest.h>

#include "wasm/capability_limits.h"

namespace rusm::wasm {
namespace {

TEST(CapabilityOrderTest, TheDefaultMayNothingMoreThanAnything) {
  EXPECT_EQ(excess({}, {}), std::nullopt);
  Capabilities rich;
  rich.network = {{.reach = {NetworkRule()}, .listen = {}}};
  rich.actor = {.spawn = true, .spawn_only = {}, .process_control = true, .storage = true, .bucket_only = {}};
  rich.env = {{"A", "1"}};
  EXPECT_EQ(excess({}, rich), std::nullopt);
  EXPECT_EQ(excess(rich, rich), std::nullopt);
}

template <class Change>
std::optional<std::string> with(Change change) {
  Capabilities child;
  change(child);
  return excess(child, {});
}

TEST(CapabilityOrderTest, EachRightAndLimitIsLookedAt) {
  EXPECT_TRUE(with([](Capabilities& c) { c.network = {{.reach = {NetworkRule()}, .listen = {}}}; }));
  EXPECT_TRUE(with([](Capabilities& c) { c.actor.spawn = true; }));
  EXPECT_TRUE(with([](Capabilities& c) { c.actor.process_control = true; }));
  EXPECT_TRUE(with([](Capabilities& c) { c.actor.storage = true; }));
  EXPECT_TRUE(with([](Capabilities& c) { c.stdio = Stdio::kInherit; }));
  EXPECT_TRUE(with([](Capabilities& c) { c.env = {{"A", "1"}}; }));
  EXPECT_TRUE(with([](Capabilities& c) { c.preopens = {{.host_path = "/a", .guest_path = "/"}}; }));
  EXPECT_TRUE(with([](Capabilities& c) { ++c.memory_bytes_max; }));
  EXPECT_TRUE(with([](Capabilities& c) { ++c.table_elements_max; }));
  EXPECT_TRUE(with([](Capabilities& c) { c.cpu_max = kNever; }));
  EXPECT_TRUE(with([](Capabilities& c) { ++c.hostcall_bytes_max; }));
  EXPECT_TRUE(with([](Capabilities& c) { ++c.resources_max; }));
  EXPECT_TRUE(with([](Capabilities& c) { ++c.http_fields_bytes_max; }));
  EXPECT_TRUE(with([](Capabilities& c) { ++c.random_bytes_max; }));
  EXPECT_TRUE(with([](Capabilities& c) { ++c.log_bytes_max; }));
  EXPECT_TRUE(with([](Capabilities& c) { ++c.log_bytes_per_second; }));
  EXPECT_TRUE(with([](Capabilities& c) { ++c.http_timeout_max; }));
  EXPECT_TRUE(with([](Capabilities& c) { ++c.actor_limits.mailbox_bytes_max; }));
  EXPECT_TRUE(with([](Capabilities& c) { ++c.actor_limits.timers_max; }));
  EXPECT_TRUE(with([](Capabilities& c) { ++c.actor_limits.streams_max; }));
  EXPECT_TRUE(with([](Capabilities& c) { ++c.actor_limits.keys_max; }));
}

TEST(CapabilityOrderTest, NoLimitOfProcessesIsForgotten) {
  // Whoever adds one has to change this line, and so comes by.
  [[maybe_unused]] const auto [a, b, c, d, e, f, g, h, i, j, k, l] = ActorLimits();
  int visited = 0;
  for_each_actor_limit([&](auto, const char*) { ++visited; });
  EXPECT_EQ(visited, 12);
}

TEST(CapabilityOrderTest, NamesAreParts) {
  const auto spawns = [](std::vector<std::string> names) {
    Capabilities capabilities;
    capabilities.actor = {.spawn = true, .spawn_only = std::move(names), .bucket_only = {}};
    return capabilities;
  };
  EXPECT_EQ(excess(spawns({"a"}), spawns({"a", "b"})), std::nullopt);
  EXPECT_EQ(excess(spawns({"a"}), spawns({})), std::nullopt);
  EXPECT_TRUE(excess(spawns({}), spawns({"a"})));
  EXPECT_TRUE(excess(spawns({"c"}), spawns({"a", "b"})));
  EXPECT_TRUE(spawns({"a"}).actor.may_spawn("a"));
  EXPECT_FALSE(spawns({"a"}).actor.may_spawn("b"));
  EXPECT_TRUE(spawns({}).actor.may_spawn("b"));
  EXPECT_FALSE(Capabilities().actor.may_spawn("b"));
}

TEST(CapabilityOrderTest, AFolderThatMayBeWrittenIsMoreThanOneThatMayBeRead) {
  const auto folder = [](bool read_only) {
    Capabilities capabilities;
    capabilities.preopens = {{.host_path = "/data", .guest_path = "/", .read_only = read_only}};
    return capabilities;
  };
  EXPECT_EQ(excess(folder(true), folder(false)), std::nullopt);
  EXPECT_TRUE(excess(folder(false), folder(true)));
}

}  // namespace
}  // namespace rusm::wasm
