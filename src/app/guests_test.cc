#include "app/guests.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rusm::app {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

class GuestsTest : public ::testing::Test {
 protected:
  SystemClock clock_;
  std::string log_text_;
  Log log_{{}, clock_, [this](std::string_view lines) { log_text_ += lines; }};
};

// A capability is what is written there and nothing else.
TEST_F(GuestsTest, SandboxedGrantsNothing) {
  const Environment environment([](std::string_view) { return std::optional<std::string>("value"); });
  const wasm::Capabilities sandboxed = to_capabilities(builtin_capability("sandboxed"), environment, log_);
  EXPECT_THAT(sandboxed.network, IsEmpty());
  EXPECT_EQ(sandboxed.stdio, wasm::Stdio::kNone);
  EXPECT_THAT(sandboxed.env, IsEmpty());
  EXPECT_THAT(sandboxed.preopens, IsEmpty());
  EXPECT_EQ(sandboxed.memory_bytes_max, 64u << 20);
  EXPECT_EQ(sandboxed.cpu_max, 10 * kSecond);
}

TEST_F(GuestsTest, GrantsWhatIsWritten) {
  const Environment environment(
      [](std::string_view name) { return name == "TOKEN" ? std::optional<std::string>("secret") : std::nullopt; });
  CapabilityConfig config = builtin_capability("trusted");
  config.env = {"TOKEN", "MODE=fast", "GONE"};
  config.preopen = {{.host = "data", .guest = "/data", .read_only = true}};
  const wasm::Capabilities capabilities = to_capabilities(config, environment, log_);
  EXPECT_THAT(capabilities.network, ElementsAre(wasm::NetworkPolicy{.reach = {wasm::NetworkRule()}, .listen = {}}));
  EXPECT_EQ(capabilities.stdio, wasm::Stdio::kLog);
  EXPECT_EQ(capabilities.cpu_max, kNever);
  EXPECT_THAT(capabilities.env, ElementsAre(Pair("TOKEN", "secret"), Pair("MODE", "fast")));
  ASSERT_EQ(capabilities.preopens.size(), 1u);
  EXPECT_TRUE(capabilities.preopens[0].read_only);
  log_.flush();
  EXPECT_THAT(log_text_, HasSubstr("variables=GONE"));
}

TEST_F(GuestsTest, LimitsOfTheFileAreThoseOfTheGuest) {
  const Environment environment([](std::string_view) { return std::optional<std::string>(); });
  const wasm::Capabilities defaults;
  const wasm::Capabilities sandboxed = to_capabilities(builtin_capability("sandboxed"), environment, log_);
  EXPECT_EQ(sandboxed.wall_max, defaults.wall_max);
  EXPECT_EQ(sandboxed.table_elements_max, defaults.table_elements_max);
  EXPECT_EQ(sandboxed.resources_max, defaults.resources_max);
  EXPECT_EQ(sandboxed.log_bytes_max, defaults.log_bytes_max);
  EXPECT_EQ(sandboxed.log_bytes_per_second, defaults.log_bytes_per_second);
  EXPECT_EQ(sandboxed.http_requests_max, defaults.http_requests_max);
  EXPECT_EQ(sandboxed.http_timeout_max, defaults.http_timeout_max);
  CapabilityConfig config;
  config.max_time_ms = 1500;
  config.network = {"api.example.com:443"};
  config.network_listen = {"127.0.0.1:80"};
  const wasm::Capabilities capabilities = to_capabilities(config, environment, log_);
  EXPECT_EQ(capabilities.wall_max, 1500 * kMillisecond);
  ASSERT_EQ(capabilities.network.size(), 1u);
  EXPECT_EQ(capabilities.network[0].reach[0].host, "api.example.com");
  EXPECT_EQ(capabilities.network[0].listen[0].port_first, 80);
}

TEST_F(GuestsTest, TheEngineHoldsTheLargestMemoryInUse) {
  Config config;
  config.capabilities = {builtin_capability("sandboxed"), builtin_capability("trusted")};
  config.components = {{.name = "a", .capability = "sandboxed", .source = {}}};
  EXPECT_EQ(to_engine_options(config).memory_bytes_max, 64u << 20);
  config.components.push_back({.name = "b", .capability = "trusted", .source = {}});
  EXPECT_EQ(to_engine_options(config).memory_bytes_max, 1024u << 20);
  config.engine.max_memory_mb = 100;
  EXPECT_EQ(to_engine_options(config).memory_bytes_max, 100u << 20);
}

TEST_F(GuestsTest, EngineDefaultsOfTheFileAreThoseOfTheEngine) {
  const wasm::EngineOptions defaults;
  const wasm::EngineOptions options = to_engine_options(Config());
  EXPECT_EQ(options.guests_max, defaults.guests_max);
  EXPECT_EQ(options.pool_max, defaults.pool_max);
  EXPECT_EQ(options.slot_core_instances, defaults.slot_core_instances);
  EXPECT_EQ(options.slot_tables, defaults.slot_tables);
  EXPECT_EQ(options.table_elements_max, defaults.table_elements_max);
  EXPECT_EQ(options.warm_slots_max, defaults.warm_slots_max);
  EXPECT_EQ(options.stack_bytes, defaults.stack_bytes);
  EXPECT_EQ(options.keep_resident_bytes, defaults.keep_resident_bytes);
  EXPECT_EQ(options.slice, defaults.slice);
  EXPECT_EQ(options.blocking_threads, defaults.blocking_threads);
  EXPECT_EQ(options.zero_stacks, defaults.zero_stacks);
  EXPECT_EQ(options.compile_threads, defaults.compile_threads);
  EXPECT_EQ(options.compile_time_max, defaults.compile_time_max);
  EXPECT_EQ(options.compile_function_bytes_max, defaults.compile_function_bytes_max);
  EXPECT_EQ(options.core_dumps_folder, defaults.core_dumps_folder);
  EXPECT_EQ(options.core_dumps_bytes_max, defaults.core_dumps_bytes_max);
}

TEST_F(GuestsTest, CacheFolder) {
  const auto with = [](std::string xdg, std::string home) {
    return [xdg, home](std::string_view name) -> std::optional<std::string> {
      const std::string& value = name == "XDG_CACHE_HOME" ? xdg : home;
      return value.empty() ? std::nullopt : std::optional(value);
    };
  };
  EXPECT_EQ(default_code_cache_dir(with("/xdg", "/h")), "/xdg/rusm/code");
  EXPECT_EQ(default_code_cache_dir(with("relative", "/h")), "/h/.cache/rusm/code");
  EXPECT_EQ(default_code_cache_dir(with("", "")), "");
}

TEST_F(GuestsTest, FoldersThatCannotBeOpenedAreNamed) {
  CapabilityConfig config;
  config.preopen = {{.host = "/proc", .guest = "/p"}};
  EXPECT_TRUE(check_folders(config));
  config.preopen.push_back({.host = "/nonexistent", .guest = "/n"});
  const Result<> missing = check_folders(config);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(missing.error().where, "/nonexistent");
  config.preopen[1].host = "/proc/version";
  EXPECT_EQ(check_folders(config).error().code, ErrorCode::kInvalid);
}

}  // namespace
}  // namespace rusm::app
