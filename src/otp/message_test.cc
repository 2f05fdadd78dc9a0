#include "otp/message.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace rusm::otp {
namespace {

TEST(Message, OfBytesCopiesThem) {
  std::string text = "hello";
  const Message message = Message::of_text(text);
  text[0] = 'j';
  EXPECT_TRUE(message.is_bytes());
  EXPECT_EQ(message.text(), "hello");
  EXPECT_EQ(message.bytes().size(), 5u);
  EXPECT_EQ(message.get_if<int>(), nullptr);
  EXPECT_EQ(message.from(), Pid());
  EXPECT_TRUE(message.reason().is_normal());
}

TEST(Message, OfBytesTakesNothingAndMuch) {
  EXPECT_TRUE(Message::of_bytes({}).is_bytes());
  EXPECT_TRUE(Message::of_bytes({}).bytes().empty());
  const std::vector<std::byte> much(3'000'000, std::byte{7});
  const Message message = Message::of_bytes(much);
  EXPECT_EQ(message.bytes().size(), much.size());
  EXPECT_EQ(message.bytes().back(), std::byte{7});
}

TEST(Message, OfAValueIsFoundUnderItsOwnTypeOnly) {
  struct A {
    int value;
  };
  struct B {
    int value;
  };
  Message message = Message::of(A{42});
  ASSERT_NE(message.get_if<A>(), nullptr);
  EXPECT_EQ(message.get_if<A>()->value, 42);
  EXPECT_EQ(message.get_if<B>(), nullptr);
  EXPECT_EQ(message.get_if<int>(), nullptr);
  EXPECT_FALSE(message.is_bytes());
  EXPECT_TRUE(message.text().empty());
  const Message& constant = message;
  EXPECT_EQ(constant.get_if<A>()->value, 42);
}

TEST(Message, OwnsItsValueAndDestroysItOnce) {
  const auto shared = std::make_shared<int>(1);
  {
    Message message = Message::local(shared);
    EXPECT_EQ(shared.use_count(), 2);
    Message moved = std::move(message);
    EXPECT_EQ(shared.use_count(), 2);
    EXPECT_EQ(*moved.get_if<std::shared_ptr<int>>(), shared);
  }
  EXPECT_EQ(shared.use_count(), 1);
  Message unique = Message::local(std::make_unique<std::string>("only one"));
  EXPECT_EQ(**unique.get_if<std::unique_ptr<std::string>>(), "only one");
}

struct alignas(16) Wide {
  static constexpr bool kLocalOnly = true;
  double parts[2];
};

TEST(Message, KeepsTheAlignmentOfItsValue) {
  Message message = Message::local(Wide{{1, 2}});
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(message.get_if<Wide>()) % 16, 0u);
  EXPECT_EQ(message.get_if<Wide>()->parts[1], 2);
}

TEST(Message, OfASignalSaysWhoAndWhy) {
  const Pid from(0, 1, 2);
  const ExitReason reason = ExitReason::crashed("trap", "unreachable", "frame 0");
  const Message down(make_exit_signal(EnvelopeKind::kDown, from, 77, reason));
  EXPECT_TRUE(down.is_down());
  EXPECT_FALSE(down.is_exit());
  EXPECT_EQ(down.from(), from);
  EXPECT_EQ(down.reference(), 77u);
  EXPECT_EQ(down.reason(), reason);
  EXPECT_EQ(down.reason().backtrace(), "frame 0");
  for (const EnvelopeKind kind : {EnvelopeKind::kExit, EnvelopeKind::kLinkExit}) {
    const Message exit(make_exit_signal(kind, from, 0, ExitReason::Kind::kKilled));
    EXPECT_TRUE(exit.is_exit());
    EXPECT_FALSE(exit.is_down());
    EXPECT_EQ(exit.reason(), ExitReason::Kind::kKilled);
    EXPECT_TRUE(exit.bytes().empty());
  }
}

TEST(Message, GivesItsEnvelopeAway) {
  const auto shared = std::make_shared<int>(1);
  EnvelopePtr envelope = Message::local(shared).release();
  EXPECT_EQ(shared.use_count(), 2);
  Message again(std::move(envelope));
  EXPECT_EQ(*again.get_if<std::shared_ptr<int>>(), shared);
}

TEST(ExitReason, IsAValueThatSaysWhat) {
  EXPECT_EQ(ExitReason().to_string(), "normal");
  EXPECT_TRUE(ExitReason().is_normal());
  EXPECT_EQ(ExitReason(ExitReason::Kind::kNoConnection).to_string(), "noconnection");
  EXPECT_EQ(ExitReason::other("tired").to_string(), "tired");
  EXPECT_EQ(ExitReason::crashed("trap", "unreachable", "frame 0").to_string(), "crashed (trap): unreachable");
  EXPECT_EQ(ExitReason::limit("memory", "64 MiB").to_string(), "limit (memory): 64 MiB");
  EXPECT_EQ(ExitReason::limit("memory", "64 MiB").crash_kind(), "memory");
}

TEST(ExitReason, ComparesByWhatItSays) {
  EXPECT_EQ(ExitReason::other("a"), ExitReason::other("a"));
  EXPECT_NE(ExitReason::other("a"), ExitReason::other("b"));
  EXPECT_NE(ExitReason::other(""), ExitReason());
  EXPECT_NE(ExitReason::crashed("trap", "x"), ExitReason::limit("trap", "x"));
  EXPECT_EQ(ExitReason::crashed("trap", "x", "here"), ExitReason::crashed("trap", "x", "there"));
  const ExitReason copy = ExitReason::other("a");
  const ExitReason another = copy;  // NOLINT(performance-unnecessary-copy-initialization): the copy is the point
  EXPECT_EQ(copy, another);
}

TEST(ExitReason, EveryKindHasAName) {
  std::vector<std::string_view> names;
  for (int kind = 0; kind <= static_cast<int>(ExitReason::Kind::kKill); ++kind) {
    const std::string_view name = name_of(static_cast<ExitReason::Kind>(kind));
    EXPECT_NE(name, "unknown");
    EXPECT_EQ(std::count(names.begin(), names.end(), name), 0) << name;
    names.push_back(name);
  }
}

}  // namespace
}  // namespace rusm::otp
