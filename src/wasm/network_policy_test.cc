#include "wasm/network_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rusm::wasm {
namespace {

using ::testing::HasSubstr;
using Kind = NetworkRule::Kind;

NetworkRule rule(std::string_view text) {
  Result<NetworkRule> parsed = NetworkRule::parse(text);
  EXPECT_TRUE(parsed.has_value()) << text << ": " << parsed.error().to_string();
  return parsed.value_or(NetworkRule());
}

std::string refusal(std::string_view text) {
  const Result<NetworkRule> parsed = NetworkRule::parse(text);
  EXPECT_FALSE(parsed.has_value()) << text;
  return parsed ? std::string() : parsed.error().to_string();
}

TEST(NetworkPolicyTest, Names) {
  EXPECT_EQ(rule("Api.Example.com:443"),
            (NetworkRule{.kind = Kind::kHost, .host = "api.example.com", .port_first = 443, .port_last = 443}));
  EXPECT_EQ(rule("example.com."), (NetworkRule{.kind = Kind::kHost, .host = "example.com"}));
  EXPECT_EQ(rule("*.example.com:8000-8999"),
            (NetworkRule{.kind = Kind::kSubdomains, .host = "example.com", .port_first = 8000, .port_last = 8999}));
  EXPECT_EQ(rule("db:*"), (NetworkRule{.kind = Kind::kHost, .host = "db"}));
  EXPECT_EQ(rule("*"), NetworkRule());
  EXPECT_EQ(rule("*:443").port_last, 443);
}

TEST(NetworkPolicyTest, Networks) {
  const NetworkRule v4 = rule("10.0.0.0/8:5432");
  EXPECT_EQ(v4.kind, Kind::kNetwork);
  EXPECT_EQ(v4.prefix_bits, 104);
  EXPECT_EQ(v4.address, (std::array<std::uint8_t, 16>{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 0}));
  EXPECT_EQ(v4.port_first, 5432);
  EXPECT_EQ(rule("192.0.2.7").prefix_bits, 128);
  EXPECT_EQ(rule("0.0.0.0/0").prefix_bits, 96);
  for (const std::string_view same : {"[fd00::]/8:80", "[fd00::/8]:80"}) {
    const NetworkRule v6 = rule(same);
    EXPECT_EQ(v6.prefix_bits, 8) << same;
    EXPECT_EQ(v6.address[0], 0xfd) << same;
    EXPECT_EQ(v6.port_first, 80) << same;
  }
  EXPECT_EQ(rule("fd00::/8").prefix_bits, 8);
  EXPECT_EQ(rule("::1").prefix_bits, 128);
  EXPECT_EQ(rule("[::1]:80").port_last, 80);
}

TEST(NetworkPolicyTest, WhatIsWrongIsSaid) {
  EXPECT_THAT(refusal("10.0.0.1/8"), HasSubstr("goes on beyond its 8 bits"));
  EXPECT_THAT(refusal("10.0.0.0/33"), HasSubstr("0 to 32"));
  EXPECT_THAT(refusal("[::]/129"), HasSubstr("0 to 128"));
  EXPECT_THAT(refusal("10.0.0.0/"), HasSubstr("how many bits"));
  EXPECT_THAT(refusal("10.0.0"), HasSubstr("neither a name nor an address"));
  EXPECT_THAT(refusal("0x7f000001"), HasSubstr("neither a name nor an address"));
  EXPECT_THAT(refusal("2130706433"), HasSubstr("neither a name nor an address"));
  EXPECT_THAT(refusal("example.com/8"), HasSubstr("no address"));
  EXPECT_THAT(refusal("[example.com]:80"), HasSubstr("no address"));
  EXPECT_THAT(refusal("[::1"), HasSubstr("expected HOST:PORT"));
  EXPECT_THAT(refusal("[127.0.0.1]:80"), HasSubstr("no address"));
  for (const std::string_view port : {"a:", "a:0", "a:65536", "a:-1", "a:9-8", "a:80 ", "a:80-", "a:http"}) {
    EXPECT_THAT(refusal(port), HasSubstr("after the colon")) << port;
  }
  for (const std::string_view name : {"", ":80", "a..b", "*.", "a.*.b", "https://h", "a b", "user@a"}) {
    EXPECT_FALSE(NetworkRule::parse(name)) << name;
  }
  EXPECT_THAT(refusal("b\xc3\xbc"
                      "cher.example"),
              HasSubstr("xn--"));
  EXPECT_FALSE(NetworkRule::parse(std::string(300, 'a')));
}

TEST(NetworkPolicyTest, ListeningNamesAddresses) {
  EXPECT_TRUE(NetworkRule::parse_listen("127.0.0.1:8080"));
  EXPECT_TRUE(NetworkRule::parse_listen("*:8080"));
  EXPECT_FALSE(NetworkRule::parse_listen("localhost:8080"));
  EXPECT_FALSE(NetworkRule::parse_listen("*.example.com"));
}

}  // namespace
}  // namespace rusm::wasm
