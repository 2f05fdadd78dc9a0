#include "otp/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "otp/message.h"

namespace rusm::otp {

struct CodecTestNamed {
  static constexpr std::string_view kWireName = "test.named";
  int number = 0;
};

namespace {

using nlohmann::json;

enum class Colour : std::uint8_t { kRed, kGreen = 200 };

struct Inner {
  int number = 0;
  std::string text;
  bool operator==(const Inner&) const = default;
};

struct Everything {
  bool yes = false;
  std::int8_t small = 0;
  std::uint64_t large = 0;
  std::int64_t negative = 0;
  double real = 0;
  float single = 0;
  std::string text;
  Colour colour{};
  Pid pid;
  std::optional<Inner> maybe;
  std::optional<int> none;
  std::vector<Inner> inners;
  std::vector<bool> bits;
  std::vector<std::byte> bytes;
  std::array<int, 3> three{};
  std::pair<int, std::string> pair;
  std::tuple<int, double> tuple;
  std::map<std::string, int> map;
  std::map<std::string, bool> flags;
  std::variant<int, std::string, std::monostate> variant;
  bool operator==(const Everything&) const = default;
};

Everything everything() {
  return {.yes = true,
          .small = -128,
          .large = std::numeric_limits<std::uint64_t>::max(),
          .negative = std::numeric_limits<std::int64_t>::min(),
          .real = 0.1,
          .single = 1.5F,
          .text = "Grüße",
          .colour = Colour::kGreen,
          .pid = Pid(3, 2, 1),
          .maybe = Inner{7, "seven"},
          .none = {},
          .inners = {{1, "one"}, {2, std::string(300, 'x')}},
          .bits = {true, false},
          .bytes = std::vector(70'000, std::byte{9}),
          .three = {1, -2, 3},
          .pair = {4, "four"},
          .tuple = {5, 5.5},
          .map = {{"a", 1}, {"b", 2}},
          .flags = {{"x", true}},
          .variant = "word"};
}

TEST(Codec, WhatIsEncodedIsDecoded) {
  const Everything before = everything();
  const std::optional<Everything> after = decode<Everything>(encode(before));
  ASSERT_TRUE(after.has_value());
  EXPECT_EQ(*after, before);
}

// An independent implementation reads what we write.
TEST(Codec, IsMessagePack) {
  const std::vector<std::byte> bytes = encode(everything());
  const json read = json::from_msgpack(reinterpret_cast<const char*>(bytes.data()),
                                       reinterpret_cast<const char*>(bytes.data() + bytes.size()));
  ASSERT_EQ(read.size(), 20u);
  EXPECT_EQ(read[0], true);
  EXPECT_EQ(read[1], -128);
  EXPECT_EQ(read[2], std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(read[3], std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(read[4], 0.1);
  EXPECT_EQ(read[5], 1.5);
  EXPECT_EQ(read[6], "Grüße");
  EXPECT_EQ(read[7], 200);
  EXPECT_EQ(read[8], Pid(3, 2, 1).raw());
  EXPECT_EQ(read[9], json::parse(R"([7, "seven"])"));
  EXPECT_TRUE(read[10].is_null());
  EXPECT_EQ(read[11][1][1], std::string(300, 'x'));
  EXPECT_EQ(read[12], json::parse("[true, false]"));
  EXPECT_EQ(read[13].get_binary().size(), 70'000u);
  EXPECT_EQ(read[14], json::parse("[1, -2, 3]"));
  EXPECT_EQ(read[15], json::parse(R"([4, "four"])"));
  EXPECT_EQ(read[17], json::parse(R"({"a": 1, "b": 2})"));
  EXPECT_EQ(read[19], json::parse(R"([1, "word"])"));
}

// And the other way round, at every border between two forms.
TEST(Codec, ReadsWholeNumbersOfEveryForm) {
  for (int shift = 0; shift < 64; ++shift) {
    for (const std::int64_t offset : {-1, 0, 1}) {
      for (const std::int64_t sign : {1, -1}) {
        const auto value = static_cast<std::int64_t>(
            static_cast<std::uint64_t>(sign) * ((std::uint64_t{1} << shift) + static_cast<std::uint64_t>(offset)));
        const std::vector<std::uint8_t> foreign = json::to_msgpack(value);
        EXPECT_EQ(decode<std::int64_t>(std::as_bytes(std::span(foreign))), value);
        EXPECT_EQ(encode(value).size(), foreign.size()) << value << ": not the shortest form";
        EXPECT_EQ(decode<std::int64_t>(encode(value)), value);
        EXPECT_EQ(decode<std::uint64_t>(encode(value)).has_value(), value >= 0);
      }
    }
  }
  EXPECT_EQ(decode<std::int64_t>(encode(std::numeric_limits<std::uint64_t>::max())), std::nullopt);
  EXPECT_EQ(decode<std::int8_t>(encode(128)), std::nullopt);
  EXPECT_EQ(decode<double>(encode(3)), 3.0);
}

TEST(Codec, KeysOfMapsNeedNotBeTexts) {
  const std::map<int, std::optional<int>> map = {{-1, 2}, {300, std::nullopt}};
  EXPECT_EQ((decode<std::map<int, std::optional<int>>>(encode(map))), map);
}

TEST(Codec, ReadsTextsAndListsOfEveryLength) {
  for (const std::size_t size : {0, 15, 16, 31, 32, 255, 256, 65'535, 65'536}) {
    const std::string text(size, 'x');
    EXPECT_EQ(decode<std::string>(encode(text)), text);
    const std::vector<std::uint8_t> foreign = json::to_msgpack(text);
    EXPECT_EQ(decode<std::string>(std::as_bytes(std::span(foreign))), text);
    const std::vector<int> list(size, 5);
    EXPECT_EQ(decode<std::vector<int>>(encode(list)), list);
    const std::vector<std::uint8_t> foreign_list = json::to_msgpack(list);
    EXPECT_EQ(decode<std::vector<int>>(std::as_bytes(std::span(foreign_list))), list);
  }
}

TEST(Codec, TakesNothingButTheWholeValue) {
  std::vector<std::byte> bytes = encode(everything());
  for (std::size_t size = 0; size < bytes.size(); size += size < 200 ? 1 : 997) {
    EXPECT_EQ(decode<Everything>(std::span(bytes).first(size)), std::nullopt) << size;
  }
  bytes.push_back(std::byte{0});
  EXPECT_EQ(decode<Everything>(bytes), std::nullopt);
  EXPECT_EQ(decode<Inner>(encode(std::tuple(1, std::string(), 2))), std::nullopt);
  EXPECT_EQ(decode<Inner>(encode(std::tuple(1))), std::nullopt);
  EXPECT_EQ(decode<Colour>(encode(256)), std::nullopt);
}

TEST(Codec, ASizeThatCannotBeIsRefusedBeforeMemoryIsTaken) {
  for (const std::uint8_t type : {0xdd, 0xdf, 0xdb, 0xc6}) {
    const std::array<std::uint8_t, 6> bytes = {type, 0xff, 0xff, 0xff, 0xff, 0};
    EXPECT_EQ((decode<std::vector<int>>(std::as_bytes(std::span(bytes)))), std::nullopt);
    EXPECT_EQ((decode<std::map<int, int>>(std::as_bytes(std::span(bytes)))), std::nullopt);
    EXPECT_EQ(decode<std::string>(std::as_bytes(std::span(bytes))), std::nullopt);
    EXPECT_EQ(decode<std::vector<std::byte>>(std::as_bytes(std::span(bytes))), std::nullopt);
  }
}

TEST(Codec, AShortMessageDoesNotBecomeALargeValue) {
  // A million empty maps and texts, of one byte each.
  std::vector<std::byte> bytes = {std::byte{0xdd}, std::byte{0}, std::byte{0x0f}, std::byte{0x42}, std::byte{0x40}};
  bytes.resize(bytes.size() + 1'000'000, std::byte{0x80});
  EXPECT_EQ((decode<std::vector<std::map<int, int>>>(bytes)), std::nullopt);
  std::ranges::fill(bytes.begin() + 5, bytes.end(), std::byte{0x05});
  EXPECT_TRUE(decode<std::vector<int>>(bytes).has_value());
}

TEST(Codec, ReasonsKeepWhatTheySay) {
  for (const ExitReason& reason :
       {ExitReason(), ExitReason(ExitReason::Kind::kKilled), ExitReason::other("own words"),
        ExitReason::crashed("trap", "unreachable", "frame 1\nframe 2"), ExitReason::limit("memory", "64 MiB")}) {
    const std::optional<ExitReason> read = decode<ExitReason>(encode(reason));
    ASSERT_TRUE(read.has_value());
    EXPECT_EQ(*read, reason);
    EXPECT_EQ(read->backtrace(), reason.backtrace());
  }
  EXPECT_EQ(decode<ExitReason>(encode(std::tuple(99, std::string(), std::string(), std::string()))), std::nullopt);
}

// ── Which types have one ─────────────────────────────────────────────────────────────────────────────────────────────

struct WithPointer {
  int* pointer = nullptr;
};
struct WithOwner {
  std::unique_ptr<int> owner;
};
struct WithView {
  std::string_view view;
};
struct WithArray {
  static constexpr bool kLocalOnly = true;
  int numbers[3] = {};
};
class Private {
 public:
  explicit Private(int number) : number_(number) {}
  int number() const { return number_; }

 private:
  int number_;
};

static_assert(!Encodable<WithPointer> && !Encodable<WithOwner> && !Encodable<WithView> && !Encodable<WithArray>);
static_assert(!Encodable<Private> && !Encodable<std::vector<Private>> && !Encodable<std::optional<WithPointer>>);
static_assert(!Encodable<int*> && !Encodable<std::shared_ptr<int>> && !Encodable<long double>);
static_assert(Encodable<Everything> && Encodable<CodecTestNamed> && Encodable<std::variant<Inner, Pid>>);

TEST(Codec, WireNamesAreTheSourcesOrTheTypesOwn) {
  EXPECT_EQ(kWireName<CodecTestNamed>, "test.named");
  EXPECT_EQ(kWireName<Pid>, "rusm::otp::Pid");
  EXPECT_EQ(kWireName<int>, "int");
}

// ── Values on their way ──────────────────────────────────────────────────────────────────────────────────────────────

Message travel(Message message) {
  EnvelopePtr envelope = std::move(message).release();
  EXPECT_TRUE(encode_for_travel(&envelope));
  return Message(std::move(envelope));
}

TEST(Travel, AValueIsThereUnderItsTypeAgain) {
  Message message = travel(Message::of(everything()));
  EXPECT_FALSE(message.is_bytes());
  EXPECT_EQ(message.get_if<Inner>(), nullptr);
  ASSERT_NE(message.get_if<Everything>(), nullptr);
  EXPECT_EQ(*message.get_if<Everything>(), everything());
  EXPECT_EQ(message.get_if<Inner>(), nullptr);
  EXPECT_EQ(message.encoded(), encode(everything()));
}

TEST(Travel, WhatWasChangedGoesOnChanged) {
  Message message = travel(Message::of(Inner{1, "one"}));
  message.get_if<Inner>()->number = 2;
  message = travel(std::move(message));
  EXPECT_EQ(*message.get_if<Inner>(), (Inner{2, "one"}));
  // And one that nobody looked at.
  message = travel(travel(std::move(message)));
  EXPECT_EQ(*message.get_if<Inner>(), (Inner{2, "one"}));
}

struct OfTheSameName {
  static constexpr std::string_view kWireName = "test.named";
  std::string text;
};

TEST(Travel, BytesOfAnotherShapeAreNoValue) {
  Message message = travel(Message::of(CodecTestNamed{5}));
  EXPECT_EQ(message.get_if<OfTheSameName>(), nullptr);
  EXPECT_EQ(message.get_if<CodecTestNamed>()->number, 5);
}

struct Throws {
  int number = 0;
};

}  // namespace

template <>
struct Codec<Throws> {
  static void encode(Encoder& out, const Throws& value) {
    if (value.number < 0) throw std::runtime_error("negative");
    out.integer(value.number);
  }
  static bool decode(Decoder& in, Throws* value) {
    if (!Codec<int>::decode(in, &value->number)) return false;
    if (value->number == 0) throw std::runtime_error("zero");
    return true;
  }
};

namespace {

TEST(Travel, ACodecThatThrowsIsNoValue) {
  EnvelopePtr envelope = Message::of(Throws{-1}).release();
  EXPECT_FALSE(encode_for_travel(&envelope));
  EXPECT_EQ(Message(std::move(envelope)).get_if<Throws>()->number, -1);
  EXPECT_EQ(travel(Message::of(Throws{0})).get_if<Throws>(), nullptr);
  EXPECT_EQ(travel(Message::of(Throws{1})).get_if<Throws>()->number, 1);
}

TEST(Travel, BytesAndWhatHasNoCodec) {
  EXPECT_EQ(travel(Message::of_text("text")).text(), "text");
  EXPECT_EQ(Message::of_text("text").encoded()->size(), 4u);
  const Message local = Message::local(std::make_shared<int>(1));
  EXPECT_FALSE(can_leave(local.envelope()));
  EXPECT_EQ(local.encoded(), std::nullopt);
  EXPECT_TRUE(can_leave(*make_exit_signal(EnvelopeKind::kDown, Pid(), 1, ExitReason())));
}

}  // namespace
}  // namespace rusm::otp
