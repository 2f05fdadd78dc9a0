#include "otp/match.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/entropy.h"
#include "otp/reactor.h"

namespace rusm::otp {
namespace {

struct Deposit {
  int cents;
};
struct Balance {};
struct Name {
  std::string text;
};
struct Once {
  std::unique_ptr<int> only;  // moved, never copied
};

struct Node {
  SimulatedClock clock;
  SeededEntropy entropy{1};
  QuietReactorFactory reactors;
  Runtime runtime{{.deterministic_seed = 1}, {clock, entropy, reactors}};
};

Routine account(Self& self) {
  self.trap_exit(true);
  int balance = 0;
  for (bool open = true; open;) {
    Message message = co_await receive(self);
    const bool known = match(
        message, [&](Deposit& deposit) { balance += deposit.cents; },
        [&](const Balance&, ReplyTo to) { self.reply(to, Message::of(balance)); }, [&](const Exit&) { open = false; });
    if (!known && message.is_request()) self.reply(message.reply_to(), Message::of(std::string("what?")));
  }
}

TEST(Match, HandlersByType) {
  Node node;
  std::vector<std::string> lines;
  const Pid bank = node.runtime.spawn(account);
  node.runtime.spawn(
      [](Self& self, Pid to, std::vector<std::string>* out) -> Routine {
        self.send(to, Deposit{40});
        self.send(to, Deposit{2});
        self.send(to, Name{"nobody takes it"});
        const auto cents = co_await call<int>(self, to, Balance());
        out->push_back(cents ? std::to_string(*cents) : cents.error().to_string());
        const auto wrong = co_await call<int>(self, to, Deposit{1});  // a request, which no handler takes
        out->push_back(wrong ? "?" : wrong.error().to_string());
        self.exit(to, ExitReason::Kind::kShutdown);
      },
      bank, &lines);
  node.runtime.run_until_idle();
  EXPECT_EQ(lines, (std::vector<std::string>{"42", "crashed (call): the answer is of another type"}));
  EXPECT_EQ(node.runtime.process_count(), 0u);
}

TEST(Match, TheFirstThatTakesItAndOnlyThat) {
  Message message = Message::of(7);
  int first = 0;
  int second = 0;
  EXPECT_TRUE(match(
      message, [&](std::string&) { first = -1; }, [&](int& value) { first = value; }, [&](Message&) { second = 1; }));
  EXPECT_EQ(first, 7);
  EXPECT_EQ(second, 0);
  EXPECT_TRUE(match(message, [&](const Down&) {}, [&](Message& any) { second = *any.get_if<int>(); }));
  EXPECT_EQ(second, 7);
  EXPECT_FALSE(match(message, [](std::string&) {}));
}

TEST(Match, ReceiveByTypeLeavesTheOthersInOrder) {
  Node node;
  std::vector<std::string> lines;
  const Pid pid = node.runtime.spawn(
      [](Self& self, std::vector<std::string>* out) -> Routine {
        const Name name = co_await receive<Name>(self);
        out->push_back(name.text);
        for (int i = 0; i < 2; ++i) {
          const std::variant<Deposit, Once> next = co_await receive<Deposit, Once>(self);
          if (const auto* once = std::get_if<Once>(&next)) out->push_back("once " + std::to_string(*once->only));
          if (const auto* deposit = std::get_if<Deposit>(&next)) out->push_back(std::to_string(deposit->cents));
        }
        const Message last = co_await receive(self);
        out->emplace_back(last.text());
      },
      &lines);
  node.runtime.send(pid, Message::of(Deposit{5}));
  node.runtime.send(pid, Message::of_text("bytes"));
  node.runtime.send(pid, Message::local(Once{std::make_unique<int>(9)}));
  node.runtime.send(pid, Message::of(Name{"first"}));
  node.runtime.run_until_idle();
  EXPECT_EQ(lines, (std::vector<std::string>{"first", "5", "once 9", "bytes"}));
}

}  // namespace
}  // namespace rusm::otp
