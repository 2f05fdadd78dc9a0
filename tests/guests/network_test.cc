// What a guest may reach through wasi:sockets: network.wasm tries, and says what it was told.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "one_answer.h"
#include "wasm/test_node.h"

namespace rusm::wasm {
namespace {

using ::testing::HasSubstr;

class NetworkTest : public testing::Test {
 protected:
  // Runs the guest with its words, three by three, and gives back the lines that it wrote.
  std::string run(std::vector<std::string> words, std::vector<std::string> reach,
                  std::vector<std::string> listen = {}) {
    TestNode node;
    Capabilities may;
    may.args = {"network"};
    may.args.insert(may.args.end(), words.begin(), words.end());
    NetworkPolicy policy;
    for (const std::string& rule : reach) policy.reach.push_back(*NetworkRule::parse(rule));
    for (const std::string& rule : listen) policy.listen.push_back(*NetworkRule::parse_listen(rule));
    if (!policy.empty()) may.network = {policy};
    std::ifstream file(RUSM_GUEST_DIR "/network.wasm", std::ios::binary);
    EXPECT_TRUE(file);
    std::ostringstream bytes;
    bytes << file.rdbuf();
    const otp::ExitReason reason = node.wait(node.start(*node.maker(bytes.str(), Entry::kCommand, may)));
    EXPECT_TRUE(reason.is_normal()) << reason.to_string();
    EXPECT_TRUE(node.settles());
    hit_ = node.engine->limits_hit();
    return node.lines.text();
  }

  std::string here(std::uint16_t port) const { return "127.0.0.1:" + std::to_string(port); }

  OneAnswer server_{""};
  LimitsHit hit_;
};

TEST_F(NetworkTest, WithoutARightThereIsNothing) {
  const std::string said = run({"connect", here(server_.port()), "-", "lookup", "localhost", "-", "listen",
                                "127.0.0.1:0", "-", "send", here(server_.port()), "-"},
                               {});
  EXPECT_THAT(said, testing::Not(HasSubstr(": ok")));
  EXPECT_THAT(said, HasSubstr("connect " + here(server_.port()) + ": access-denied"));
}

TEST_F(NetworkTest, OnlyTheAddressAndPortThatAreNamed) {
  const std::string said = run({"connect",
                                here(server_.port()),
                                "-",
                                "connect",
                                here(1),
                                "-",
                                "connect",
                                "127.0.0.2:80",
                                "-",
                                "connect",
                                "10.0.0.1:80",
                                "-",
                                "connect",
                                "[::1]:80",
                                "-",
                                "send",
                                here(server_.port()),
                                "-",
                                "send",
                                here(9),
                                "-",
                                "lookup",
                                "localhost",
                                "-",
                                "bind",
                                "127.0.0.1:0",
                                "-",
                                "listen",
                                "0.0.0.0:0",
                                "-"},
                               {here(server_.port())});
  EXPECT_THAT(said, HasSubstr("connect " + here(server_.port()) + ": ok"));
  EXPECT_THAT(said, HasSubstr("send " + here(server_.port()) + ": ok"));
  for (const char* refused :
       {"connect 127.0.0.1:1:", "connect 127.0.0.2:80:", "connect 10.0.0.1:80:", "connect [::1]:80:",
        "send 127.0.0.1:9:", "lookup localhost:", "bind 127.0.0.1:0:", "listen 0.0.0.0:0:"}) {
    EXPECT_THAT(said, HasSubstr(refused + std::string(" access-denied")));
  }
  EXPECT_GE(hit_[Limit::kAddress], 6u);
  EXPECT_EQ(hit_[Limit::kName], 1u);
}

TEST_F(NetworkTest, EveryPublicAddressIsNotThisMachine) {
  const std::string said = run(
      {"connect", here(server_.port()), "-", "connect", "169.254.169.254:80", "-", "connect", "[::ffff:127.0.0.1]:80",
       "-", "connect", "[fd00:ec2::254]:80", "-", "named", "localhost", std::to_string(server_.port())},
      {"*", "0.0.0.0/0", "[::]/0"});
  EXPECT_THAT(said, testing::Not(HasSubstr(": ok")));
  EXPECT_THAT(said, HasSubstr("named localhost: access-denied"));
}

TEST_F(NetworkTest, ANameOpensWhatItsLookUpGave) {
  const std::string port = std::to_string(server_.port());
  const std::string said =
      run({"connect", here(server_.port()), "-", "named", "localhost", port, "connect", "127.0.0.1:1", "-"},
          {"localhost:" + port});
  EXPECT_THAT(said, HasSubstr("connect " + here(server_.port()) + ": access-denied")) << "nobody had looked it up";
  EXPECT_THAT(said, HasSubstr("named localhost: ok"));
  EXPECT_THAT(said, HasSubstr("connect 127.0.0.1:1: access-denied")) << "the name has one port";
}

TEST_F(NetworkTest, WhatIsNoNameIsRefused) {
  const std::string longest(256, 'a');
  const std::string said = run({"lookup", longest, "-", "lookup", "b\u00fccher.example", "-", "lookup", "a b", "-",
                                "lookup", "127.0.0.1", "-", "lookup", "[::1]", "-"},
                               {"*"});
  for (const std::string& refused : {longest, std::string("b\u00fccher.example"), std::string("a b")}) {
    EXPECT_THAT(said, HasSubstr("lookup " + refused + ": invalid-argument"));
  }
  EXPECT_THAT(said, HasSubstr("lookup 127.0.0.1: ok"));
  EXPECT_THAT(said, HasSubstr("lookup [::1]: ok"));
}

TEST_F(NetworkTest, ListeningIsARightOfItsOwn) {
  const std::string said =
      run({"listen", "127.0.0.1:0", "-", "listen", "0.0.0.0:0", "-", "connect", here(server_.port()), "-"}, {},
          {"127.0.0.1"});
  EXPECT_THAT(said, HasSubstr("listen 127.0.0.1:0: ok"));
  EXPECT_THAT(said, HasSubstr("listen 0.0.0.0:0: access-denied"));
  EXPECT_THAT(said, HasSubstr("connect " + here(server_.port()) + ": access-denied"));
}

}  // namespace
}  // namespace rusm::wasm
