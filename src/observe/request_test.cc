#include "observe/request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rusm::observe {
namespace {

using ::testing::HasSubstr;
using What = Request::What;

TEST(RequestTest, IsReadAsItWasWritten) {
  const Request requests[] = {
      {},
      {.what = What::kTop, .order = TopOrder::kMailbox, .rows = 1000, .columns = 80, .json = true},
      {.what = What::kTree, .columns = 1000},
      {.what = What::kExits, .rows = 3, .json = true},
      {.what = What::kProcess, .of = "<0.1.2>"},
      {.what = What::kProcess, .of = " a name with = and  spaces "},
      {.what = What::kProcess, .columns = 1000, .of = std::string(255, 'x')},
  };
  for (const Request& request : requests) {
    const Result<std::string> line = to_line(request);
    ASSERT_TRUE(line);
    ASSERT_TRUE(line->ends_with('\n'));
    EXPECT_LE(line->size(), kRequestBytesMax);
    const Result<Request> read = parse_request(std::string_view(*line).substr(0, line->size() - 1));
    ASSERT_TRUE(read) << *line << read.error().text;
    EXPECT_EQ(*read, request) << *line;
  }
}

TEST(RequestTest, ShortOnesHaveDefaults) {
  EXPECT_EQ(*parse_request("top"), Request());
  EXPECT_EQ(*parse_request("tree"), Request{.what = What::kTree});
  EXPECT_EQ(*parse_request("process of=db"), (Request{.what = What::kProcess, .of = "db"}));
}

TEST(RequestTest, WhatIsWrongIsSaid) {
  const std::pair<std::string_view, const char*> cases[] = {
      {"", "expected top, tree, exits or process"},
      {"quit", "quit: expected top"},
      {" top", "expected top"},
      {"top  ", "no such key"},
      {"top rows", "rows: rows is 1…1000"},
      {"top rows=0", "rows is 1…1000"},
      {"top rows=1001", "rows is 1…1000"},
      {"top rows=99999999999999999999", "rows is 1…1000"},
      {"top rows=1x", "rows is 1…1000"},
      {"top columns=-1", "columns is 0…1000"},
      {"top sort=size", "sort is one of"},
      {"top format=xml", "format is text or json"},
      {"top size=3", "there is no such key"},
      {"top of=db", "of= belongs to process"},
      {"process", "of=NAME is missing"},
      {"process of=", "of=NAME is missing"},
      {"process of=a\x1b[2J", "control character"},
  };
  for (const auto& [line, text] : cases) {
    const Result<Request> request = parse_request(line);
    ASSERT_FALSE(request) << line;
    EXPECT_EQ(request.error().code, ErrorCode::kInvalid);
    EXPECT_THAT(request.error().text, HasSubstr(text));
    EXPECT_EQ(printable(request.error().text), request.error().text);
  }
}

TEST(RequestTest, SomeNamesCannotBeAskedFor) {
  for (const std::string& name : {std::string(), std::string("a\nb"), std::string(512, 'x')}) {
    EXPECT_FALSE(to_line(Request{.what = What::kProcess, .of = name}));
  }
}

TEST(RequestTest, TheAnswersHeadSaysHowMuchComes) {
  EXPECT_EQ(to_line(AnswerHead{true, 12}), "rusm 1 ok 12\n");
  EXPECT_EQ(parse_answer_head("rusm 1 ok 12"), (AnswerHead{true, 12}));
  EXPECT_EQ(parse_answer_head("rusm 1 error 0"), (AnswerHead{false, 0}));
  EXPECT_LE(to_line(AnswerHead{false, kAnswerBytesMax}).size(), kAnswerHeadBytesMax);
  for (const char* line :
       {"", "rusm 2 ok 12", "rusm 1 ok", "rusm 1 ok -1", "rusm 1 ok 99999999999", "HTTP/1.1 200 OK"}) {
    EXPECT_FALSE(parse_answer_head(line)) << line;
  }
}

}  // namespace
}  // namespace rusm::observe
