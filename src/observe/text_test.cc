#include "observe/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "observe/json_writer.h"

namespace rusm::observe {
namespace {

TEST(Text, WhatATerminalObeysComesOutVisible) {
  EXPECT_EQ(printable("plain, grün, 猫"), "plain, grün, 猫");
  EXPECT_EQ(printable("a\nb\tc\rd"), "a\\nb\\tc\\rd");
  EXPECT_EQ(printable("\x1b[2J\x1b]0;title\x07"), "\\x1b[2J\\x1b]0;title\\x07");
  EXPECT_EQ(printable(std::string_view("\0\x7f", 2)), "\\x00\\x7f");
  EXPECT_EQ(printable("\u009b2J"), "\\u{9b}2J");
  EXPECT_EQ(printable("abc\u202edcba\u200b\ufeff"), "abc\\u{202e}dcba\\u{200b}\\u{feff}");
  EXPECT_EQ(printable("\u2028\U000e0041"), "\\u{2028}\\u{e0041}");
}

TEST(Text, BytesThatAreNotUtf8ComeOutAsNumbers) {
  EXPECT_EQ(printable("a\xff\x80z"), "a\\xff\\x80z");
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");           // overlong
  EXPECT_EQ(printable("\xe0\x80\x9b"), "\\xe0\\x80\\x9b");  // overlong, of a control character
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
  EXPECT_EQ(printable("\xe7\x8c"), "\\xe7\\x8c");  // cut off
}

TEST(Text, IsCutBetweenCodePoints) {
  EXPECT_EQ(printable("abcdef", 6), "abcdef");
  EXPECT_EQ(printable("abcdefg", 6), "abcde…");
  EXPECT_EQ(printable("grün", 3), "gr…");
  EXPECT_EQ(printable("üüü", 2), "ü…");
  EXPECT_EQ(printable("猫猫猫", 5), "猫猫…");
  EXPECT_EQ(printable("猫猫猫", 4), "猫…");
  EXPECT_EQ(printable("ab\x1b", 4), "ab…") << "an escape is whole or not there";
  EXPECT_EQ(printable("ab", 1), "…");
  EXPECT_EQ(printable("ab", 0), "");
  EXPECT_EQ(printable("", 0), "");
  EXPECT_EQ(printable(std::string(1'000'000, 'x'), 10), "xxxxxxxxx…");
}

TEST(Text, NeverTakesMoreThanItsWidth) {
  std::uint32_t random = 1;
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    for (int length = 0; length < 12; ++length) {
      random = random * 1664525 + 1013904223;
      text += static_cast<char>(random >> 24);
    }
    const std::size_t width = random >> 8 & 15;
    const std::string cut = printable(text, width);
    ASSERT_LE(width_of(cut), width);
    ASSERT_EQ(printable(cut), cut) << "what came out is printable";
  }
}

TEST(Text, ColumnsAlign) {
  EXPECT_EQ(padded("ab", 4, Align::kLeft), "ab  ");
  EXPECT_EQ(padded("ab", 4, Align::kRight), "  ab");
  EXPECT_EQ(padded("猫", 4, Align::kRight), "  猫");
  EXPECT_EQ(padded("abcdef", 4, Align::kRight), "abcdef");
}

TEST(Text, Numbers) {
  EXPECT_EQ(count_text(0), "0");
  EXPECT_EQ(count_text(999), "999");
  EXPECT_EQ(count_text(1000), "1,000");
  EXPECT_EQ(count_text(9'999'999), "9,999,999");
  EXPECT_EQ(count_text(12'345'678), "12.3M");
  EXPECT_EQ(count_text(123'456'789), "123M");
  EXPECT_EQ(count_text(4'500'000'000), "4.5G");
  EXPECT_EQ(count_text(UINT64_MAX), "18.4E");
  EXPECT_EQ(rate_text(0), "0");
  EXPECT_EQ(rate_text(0.44), "0.4");
  EXPECT_EQ(rate_text(1234.5), "1,235");
  EXPECT_EQ(size_text(812), "812 B");
  EXPECT_EQ(size_text(3250585), "3.1 MiB");
  EXPECT_EQ(size_text(UINT64_MAX), "16 EiB");
  EXPECT_EQ(span_text(2'590 * kMillisecond), "2.5s");
  EXPECT_EQ(span_text(250 * kSecond), "4m 10s");
  EXPECT_EQ(span_text(11'520 * kSecond), "3h 12m");
  EXPECT_EQ(span_text(17 * 86'400 * kSecond + 4 * 3600 * kSecond), "17d 4h");
  EXPECT_EQ(span_text(-1), "0.0s");
}

TEST(Text, JsonIsReadBackAsItWas) {
  const std::string text = "a \"quoted\" \\ \n \x1b \u009b \u202e 猫 \U0001f63a \U000e0041";
  EXPECT_EQ(nlohmann::json::parse(json_text(text)).get<std::string>(), text);
  for (const char c : json_text(text)) EXPECT_GE(static_cast<unsigned char>(c), 0x20);
  EXPECT_EQ(json_text("\u009b\u202e\U000e0041"), "\"\\u009b\\u202e\\udb40\\udc41\"");
  EXPECT_EQ(json_text("a\xffz"), "\"a\uFFFDz\"");
  EXPECT_EQ(json_text("üüü", 5), "\"üü\"");
}

TEST(JsonWriterTest, PutsCommasBetween) {
  JsonWriter json;
  json.open('{').field("a", 1).field("b", true).key("c").open('[').value("x").value(2.5).value(-0.25).null().open('{');
  json.close('}').close(']').key("d").open('[').close(']').field("e", 1e300).close('}');
  EXPECT_EQ(std::move(json).take(), R"({"a":1,"b":true,"c":["x",2.500,-0.250,null,{}],"d":[],"e":null})");
}

}  // namespace
}  // namespace rusm::observe
