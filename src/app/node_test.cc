#include "app/node.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace rusm::app
