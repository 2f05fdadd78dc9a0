#include "app/node.h"

#include <gtest/gtest.h>

#include "base/test_folder.h"
#include "base/test_wait.h"

namespace rusm::app {
namespace {

// What rusm.toml says when it says nothing is what the server does when nobody tells it anything.
TEST(ServeOptionsTest, DefaultsOfTheFileAreThoseOfTheServer) {
  const serve::ServeOptions defaults;
  const serve::ServeOptions options = *to_serve_options(ServeConfig(), defaults.admission.in_flight_max);
  EXPECT_EQ(options.connections_max, defaults.connections_max);
  EXPECT_EQ(options.admission.in_flight_max, defaults.admission.in_flight_max);
  EXPECT_EQ(options.admission.waiting_max, defaults.admission.waiting_max);
  EXPECT_EQ(options.admission.waiting_per_client_max, defaults.admission.waiting_per_client_max);
  EXPECT_EQ(options.head.line_bytes_max, defaults.head.line_bytes_max);
  EXPECT_EQ(options.head.head_bytes_max, defaults.head.head_bytes_max);
  EXPECT_EQ(options.head.headers_max, defaults.head.headers_max);
  EXPECT_EQ(options.body_bytes_max, defaults.body_bytes_max);
  EXPECT_EQ(options.unread_body_bytes_max, defaults.unread_body_bytes_max);
  EXPECT_EQ(options.header_timeout, defaults.header_timeout);
  EXPECT_EQ(options.idle_timeout, defaults.idle_timeout);
  EXPECT_EQ(options.queue_timeout, defaults.queue_timeout);
  EXPECT_EQ(options.request_timeout, defaults.request_timeout);
  EXPECT_EQ(options.body_timeout, defaults.body_timeout);
  EXPECT_EQ(options.half_closed_timeout, defaults.half_closed_timeout);
  EXPECT_EQ(options.linger_timeout, defaults.linger_timeout);
  EXPECT_EQ(options.retry_after_s, defaults.retry_after_s);
}

TEST(ServeOptionsTest, OneComponentTakesEveryRequest) {
  ServeConfig config;
  config.component = "hello";
  const serve::ServeOptions options = *to_serve_options(config, 77);
  ASSERT_EQ(options.routes.size(), 1u);
  EXPECT_EQ(options.routes[0].pattern, "/*");
  EXPECT_EQ(options.routes[0].handler, "hello");
  EXPECT_EQ(options.admission.in_flight_max, 77u);
}

TEST(NodeTest, NothingToServeIsAnError) {
  const SystemClock clock;
  SystemEntropy entropy;
  Log log({.level = LogLevel::kOff}, clock);
  const EnvironmentLookup environment = [](std::string_view) { return std::nullopt; };
  const Node::StartResult node =
      Node::start({}, {.clock = clock, .entropy = entropy, .log = log, .environment = environment});
  ASSERT_FALSE(node);
  ASSERT_EQ(node.error().size(), 1u);
  EXPECT_EQ(node.error()[0].code, ErrorCode::kInvalid);
}

// Writes to the store, says so by a name, and fails at its first message.
constexpr const char* kResident = R"((module
  (import "rusm" "kv_set" (func $kv_set (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "rusm" "register" (func $register (param i32 i32) (result i32)))
  (import "rusm" "receive" (func $receive (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "stored")
  (func (export "run")
    (if (call $kv_set (i32.const 0) (i32.const 6) (i32.const 0) (i32.const 6) (i32.const 0) (i32.const 6))
      (then unreachable))
    (drop (call $register (i32.const 0) (i32.const 6)))
    (drop (call $receive (i32.const 8) (i32.const 8)))
    unreachable)))";

// A node of the configuration `text`, whose files are in `folder`.
struct World {
  Node::StartResult start(const TestFolder& folder, std::string_view text) {
    ConfigResult config = parse_config(text, folder / "rusm.toml");
    if (!config) return std::unexpected(std::move(config.error()));
    return Node::start(std::move(*config),
                       {.clock = clock, .entropy = entropy, .log = log, .environment = environment});
  }

  const SystemClock clock;
  SystemEntropy entropy;
  Log log{{.level = LogLevel::kOff}, clock};
  const EnvironmentLookup environment = [](std::string_view) { return std::nullopt; };
};

TEST(NodeTest, AResidentComponentIsStartedAgainAndKeepsItsName) {
  const TestFolder folder;
  write_file(folder.path() / "service.wat", kResident);
  World world;
  const Node::StartResult node = world.start(folder, R"(
[node]
control = false
store = "store"
[engine]
max_instances = 16
code_cache = false
[components.service]
source = "service.wat"
resident = true
capability = "keeper"
[capabilities.keeper]
allow-storage = true
)");
  ASSERT_TRUE(node) << node.error()[0].to_string();
  otp::Runtime& runtime = (*node)->runtime();
  ASSERT_TRUE(eventually([&] { return bool(runtime.whereis("stored")); }));
  const otp::Pid first = runtime.whereis("service");
  EXPECT_EQ(runtime.whereis("stored"), first);
  runtime.send(first, otp::Message::of_text("fail"));
  EXPECT_TRUE(eventually([&] {
    const otp::Pid now = runtime.whereis("stored");
    return now && now != first && now == runtime.whereis("service");
  }));
}

TEST(NodeTest, ResidentsForWhichThereIsNoRoomAreAnErrorAtTheStart) {
  const TestFolder folder;
  write_file(folder.path() / "service.wat", kResident);
  std::string text = "[node]\ncontrol = false\n[engine]\nmax_instances = 1\ncode_cache = false\n";
  for (const char* name : {"one", "other"}) {
    text += "[components." + std::string(name) + "]\nsource = \"service.wat\"\nresident = true\n";
  }
  World world;
  const Node::StartResult node = world.start(folder, text);
  ASSERT_FALSE(node);
  EXPECT_NE(node.error()[0].to_string().find("need 2 instances and the engine has 1"), std::string::npos)
      << node.error()[0].to_string();
}

}  // namespace
}  // namespace rusm::app
