#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "http/exchange.h"
#include "http/headers.h"
#include "otp/runtime.h"

namespace rusm::http {
namespace {

TEST(HeaderNames, CaseDoesNotMatter) {
  EXPECT_TRUE(equal_names("Content-Length", "content-LENGTH"));
  EXPECT_FALSE(equal_names("Content-Length", "Content-Lengt"));
  EXPECT_FALSE(equal_names("a[", "a{")) << "only letters have case";
}

TEST(HeaderNames, AreTokens) {
  EXPECT_TRUE(is_valid_name("!#$%&'*+-.^_`|~09azAZ"));
  for (const std::string_view name : {"", "a b", "a:", "(a)", "a\r", "a\n", "\x7f", "\xc3\xa4", "a\t"}) {
    EXPECT_FALSE(is_valid_name(name)) << name;
  }
  EXPECT_FALSE(is_valid_name(std::string_view("a\0", 2)));
}

TEST(HeaderValues, CannotEndTheLine) {
  EXPECT_TRUE(is_valid_value(""));
  EXPECT_TRUE(is_valid_value("a\tb \xc3\xa4 ~"));
  for (int c = 0; c < 0x20; ++c) {
    const char text[] = {'a', static_cast<char>(c), 'b'};
    EXPECT_EQ(is_valid_value(std::string_view(text, 3)), c == '\t') << c;
  }
  EXPECT_FALSE(is_valid_value("\x7f"));
}

TEST(HeaderList, KeepsOrderCaseAndRepetition) {
  HeaderList list;
  list.reserve_bytes(10);
  for (int i = 0; i < 20; ++i) list.add("X-" + std::to_string(i), "value " + std::to_string(i));
  list.add("x-3", "again");
  ASSERT_EQ(list.size(), 21u);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(list[static_cast<std::size_t>(i)].name, "X-" + std::to_string(i));
    EXPECT_EQ(list[static_cast<std::size_t>(i)].value, "value " + std::to_string(i));
  }
  EXPECT_EQ(list.find("x-3"), "value 3") << "the first";
  EXPECT_EQ(list.find("x-20"), std::nullopt);
  HeaderList copy = list;
  list.clear();
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.bytes(), 0u);
  EXPECT_EQ(copy[20].value, "again");
}

class Exchanges : public testing::Test {
 protected:
  Ref<Exchange> make() { return make_ref<Exchange>(runtime_, RequestHead(), kNever); }

  SimulatedClock clock_;
  SeededEntropy entropy_{1};
  otp::QuietReactorFactory reactors_;
  otp::Runtime runtime_{{.deterministic_seed = 1}, {.clock = clock_, .entropy = entropy_, .reactors = reactors_}};
};

TEST_F(Exchanges, TheFirstAnswerWins) {
  const Ref<Exchange> exchange = make();
  EXPECT_EQ(exchange->response(), nullptr);
  EXPECT_EQ(exchange->failure(), nullptr);
  EXPECT_TRUE(exchange->respond({.status = 201, .headers = {}}));
  EXPECT_FALSE(exchange->respond({.status = 500, .headers = {}}));
  EXPECT_FALSE(exchange->fail("too late"));
  ASSERT_NE(exchange->response(), nullptr);
  EXPECT_EQ(exchange->response()->status, 201);
  EXPECT_EQ(exchange->failure(), nullptr);
}

TEST_F(Exchanges, AFailureIsAnAnswerToo) {
  const Ref<Exchange> exchange = make();
  EXPECT_TRUE(exchange->fail("no upstream"));
  EXPECT_FALSE(exchange->respond({}));
  ASSERT_NE(exchange->failure(), nullptr);
  EXPECT_EQ(*exchange->failure(), "no upstream");
  EXPECT_EQ(exchange->response(), nullptr);
}

TEST_F(Exchanges, AmongThreadsExactlyOneAnswerWins) {
  for (int round = 0; round < 200; ++round) {
    const Ref<Exchange> exchange = make();
    std::atomic<int> winners{0};
    std::atomic<int> status{0};
    {
      std::vector<std::jthread> threads;
      for (int i = 0; i < 3; ++i) {
        threads.emplace_back([&, i] {
          if (exchange->respond({.status = static_cast<std::uint16_t>(200 + i), .headers = {}})) {
            winners.fetch_add(1);
            status.store(200 + i);
          }
        });
      }
    }
    EXPECT_EQ(winners.load(), 1);
    ASSERT_NE(exchange->response(), nullptr);
    EXPECT_EQ(exchange->response()->status, status.load());
  }
}

TEST_F(Exchanges, AnAnswerIsSeenWholeByTheServer) {
  const Ref<Exchange> exchange = make();
  std::jthread handler([&] {
    ResponseHead head;
    for (int i = 0; i < 50; ++i) head.headers.add("x-" + std::to_string(i), std::string(50, 'v'));
    exchange->respond(std::move(head));
  });
  const ResponseHead* head = nullptr;
  while ((head = exchange->response()) == nullptr) std::this_thread::yield();
  ASSERT_EQ(head->headers.size(), 50u);
  EXPECT_EQ(head->headers[49].value, std::string(50, 'v'));
}

}  // namespace
}  // namespace rusm::http
