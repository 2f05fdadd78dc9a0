#include "observe/report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "observe/test_world.h"

namespace rusm::observe {
namespace {

using ::testing::HasSubstr;
using Kind = otp::ExitReason::Kind;

otp::Pid end_one(TestWorld& w, std::string label, otp::ExitReason reason) {
  const otp::Pid pid = w.runtime.spawn_with({.label = std::move(label)}, end_with, std::move(reason));
  w.run();
  w.runtime.send(pid, otp::Message::of(1));
  w.run();
  return pid;
}

TEST(ExitsTest, TheLastComesFirstWithItsBacktrace) {
  TestWorld w;
  const otp::Pid first = end_one(
      w, "hello", otp::ExitReason::crashed("trap", "unreachable", "0: a\n1: b\n\n2: c\n3: d\n4: e\n5: f\n6: g\n"));
  w.clock.advance(90 * kSecond);
  const otp::Pid second = end_one(w, "", Kind::kKilled);
  w.clock.advance(2500 * kMillisecond);
  const std::size_t n = std::max(first.to_string().size(), second.to_string().size());
  EXPECT_EQ(to_text(look_at_exits(w.runtime)),
            fmt::format("2 of the last 2 exits that were not normal; 1 crash since the start\n"
                        "    AGO {:<{}} LABEL REASON\n"
                        "   2.5s {:<{}}       killed\n"
                        " 1m 32s {:<{}} hello crashed (trap): unreachable\n"
                        "          0: a\n          1: b\n          2: c\n          3: d\n          4: e\n"
                        "          … 2 more lines\n",
                        "PID", n, second.to_string(), n, first.to_string(), n));
  EXPECT_THAT(to_text(look_at_exits(w.runtime, {.rows = 1})),
              HasSubstr("1 of the last 2 exits that were not normal; 1 crash since the start\n"));
  const auto json = nlohmann::json::parse(to_json(look_at_exits(w.runtime)));
  EXPECT_EQ(json["crashes"], 1);
  EXPECT_EQ(json["exits"][0]["kind"], "killed");
  EXPECT_EQ(json["exits"][1]["backtrace"].size(), 5u);
  EXPECT_EQ(json["exits"][1]["ago_s"], 92.5);
}

TEST(ExitsTest, ForeignTextIsHarmless) {
  TestWorld w;
  end_one(w, "\x1b]0;x\x07\n", otp::ExitReason::crashed("tr\x1b", "a\nb\x9b", "\x1b[31mframe\nnext\r"));
  const std::string text = to_text(look_at_exits(w.runtime), 70);
  EXPECT_EQ(std::ranges::count(text, '\n'), 5);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_THAT(text, HasSubstr("\\x1b]0;x\\x07\\n"));
  EXPECT_THAT(text, HasSubstr("\\x1b[31mframe\n"));
  EXPECT_THAT(text, HasSubstr("next\\r\n"));
}

TEST(ExitsTest, None) {
  TestWorld w;
  EXPECT_EQ(to_text(look_at_exits(w.runtime)), "no process has ended other than normally\n");
  EXPECT_EQ(to_json(look_at_exits(w.runtime)), "{\"crashes\":0,\"known\":0,\"exits\":[]}\n");
}

TEST(ProcessReportTest, EverythingAboutOne) {
  TestWorld w;
  const otp::Pid app = w.spawn("app");
  const otp::Pid pool = w.spawn("pool", app, "pool");
  const otp::Pid db = w.spawn("store", pool, "db");
  ASSERT_TRUE(w.runtime.register_name("another", db));
  ASSERT_TRUE(w.runtime.join("stores", db));
  for (int i = 0; i < 3; ++i) w.spawn("cursor", db);
  w.spawn("", db);
  w.run();
  w.runtime.send(db, otp::Message::of(1));
  w.run();
  const Result<ProcessReport> report = look_at_process(w.runtime, "db");
  ASSERT_TRUE(report);
  EXPECT_EQ(to_text(*report), fmt::format("pid         {}\n"
                                          "names       another, db\n"
                                          "label       store\n"
                                          "state       waits for message\n"
                                          "mailbox     0 messages, 0 B\n"
                                          "received    1 message\n"
                                          "reductions  {}\n"
                                          "groups      stores\n"
                                          "under       pool ← app\n"
                                          "children    4: 3 cursor, 1 without label\n",
                                          db.to_string(), w.runtime.info(db)->reductions));
  const auto json = nlohmann::json::parse(to_json(*report));
  EXPECT_EQ(json["names"][1], "db");
  EXPECT_EQ(json["children_by_label"][0]["count"], 3);
  EXPECT_EQ(json["under"][0], "pool");
}

TEST(ProcessReportTest, IsFoundByNameAndByPid) {
  TestWorld w;
  const otp::Pid db = w.spawn("store", {}, "db");
  w.run();
  const std::string pid = db.to_string();
  for (const std::string& who : {std::string("db"), pid, pid.substr(1, pid.size() - 2)}) {
    const auto report = look_at_process(w.runtime, who);
    ASSERT_TRUE(report) << who;
    EXPECT_EQ(report->info.pid, db);
  }
  for (const std::string& who : {std::string("bd"), std::string(), std::string(300, 'x'), std::string("\x1b\n")}) {
    const auto report = look_at_process(w.runtime, who);
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().code, ErrorCode::kNotFound);
    EXPECT_EQ(printable(report.error().to_string()), report.error().to_string());
  }
}

TEST(ProcessReportTest, OfOneThatEndedItSaysHow) {
  TestWorld w;
  const otp::Pid pid = end_one(w, "x", otp::ExitReason::crashed("trap", "un\x1breachable"));
  w.clock.advance(3 * kSecond);
  const auto report = look_at_process(w.runtime, pid);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().text, "it ended 3.0s ago: crashed (trap): un\\x1breachable");
  EXPECT_THAT(look_at_process(w.runtime, "<0.5.77>").error().text, HasSubstr("there is no such process"));
}

TEST(ProcessReportTest, OfManyChildrenTheKindsAreBounded) {
  TestWorld w;
  const otp::Pid parent = w.spawn("parent");
  for (int i = 0; i < 12'000; ++i) w.spawn(std::to_string(i), parent);
  for (int i = 0; i < 3; ++i) w.spawn("7", parent);
  w.run();
  const auto report = look_at_process(w.runtime, parent);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->children, 12'003u);
  EXPECT_EQ(report->kinds.size(), kKindsMax);
  EXPECT_EQ(report->kinds.front(), std::make_pair(std::string("7"), std::uint64_t{4}));
  EXPECT_THAT(to_text(*report), HasSubstr("children    12,003: 4 7, 1 "));
  EXPECT_THAT(to_text(*report), HasSubstr(", 11,990 others\n"));
}

}  // namespace
}  // namespace rusm::observe
