#include "observe/tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "observe/test_world.h"

namespace rusm::observe {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(TreeTest, ShowsWhoIsUnderWhom) {
  TestWorld w;
  const otp::Pid app = w.spawn("app");
  const otp::Pid pool = w.spawn("pool", app);
  const otp::Pid db = w.spawn("store", app, "db");
  const otp::Pid first = w.runtime.spawn_with({.label = "worker", .parent = pool}, wait_for_time);
  const otp::Pid second = w.spawn("worker", pool);
  const otp::Pid bare = w.spawn("", pool);
  w.spawn("");
  w.runtime.spawn(wait_for_time);
  w.run();
  const std::string text = to_text(look_at_tree(w.runtime));
  const auto& [low, high] = std::minmax(first, second);
  const auto state = [&](otp::Pid pid) { return pid == first ? "time" : "message"; };
  EXPECT_EQ(text, fmt::format("app {}  message\n"
                              "├─ pool {}  message\n"
                              "│  ├─ worker {}  {}\n"
                              "│  ├─ worker {}  {}\n"
                              "│  └─ {}  message\n"
                              "└─ db (store) {}  message\n"
                              "2 without label, parent and children: 1 message, 1 time\n"
                              "8 processes in all\n",
                              app.to_string(), pool.to_string(), low.to_string(), state(low), high.to_string(),
                              state(high), bare.to_string(), db.to_string()));
}

TEST(TreeTest, ManyOfOneLabelAreCounted) {
  TestWorld w;
  const otp::Pid pool = w.spawn("pool");
  otp::Pid chief;
  for (int i = 0; i < 100'000; ++i) chief = w.spawn("worker", pool);
  w.spawn("helper", chief);
  for (int i = 0; i < 6; ++i) w.spawn("few", pool);
  w.run();
  const std::string text = to_text(look_at_tree(w.runtime));
  EXPECT_THAT(text, HasSubstr(fmt::format("├─ worker {}  message\n│  └─ helper", chief.to_string())))
      << "the first of its kind";
  EXPECT_THAT(text, HasSubstr("└─ … and 99,995 more worker\n100,008 processes in all\n"));
  EXPECT_THAT(text, Not(HasSubstr("more few"))) << "to leave out one alone would save nothing";
  EXPECT_EQ(std::ranges::count(text, '\n'), 1 + 6 + 5 + 1 + 1 + 1);
}

TEST(TreeTest, SoAreManyKindsAndWhatIsBelowThem) {
  TestWorld w;
  const otp::Pid pool = w.spawn("pool");
  otp::Pid last;
  for (int i = 0; i < 150; ++i) last = w.spawn(fmt::format("worker {:03}", i), pool);
  w.spawn("below", last);
  w.run();
  const Tree tree = look_at_tree(w.runtime);
  EXPECT_THAT(to_text(tree), HasSubstr("worker 099"));
  EXPECT_THAT(to_text(tree), HasSubstr("└─ … and 50 more, 1 below them\n"));
  const Tree small = look_at_tree(w.runtime, {.lines_max = 10});
  EXPECT_EQ(small.lines.size(), 11u);
  EXPECT_THAT(to_text(small), HasSubstr("└─ … and 141 more, 1 below them\n"));
}

TEST(TreeTest, ALongChainIsCutAtItsDepth) {
  TestWorld w;
  otp::Pid parent;
  for (int i = 0; i < 100'000; ++i) parent = w.spawn("link", parent);
  w.run();
  const Tree tree = look_at_tree(w.runtime);
  EXPECT_EQ(tree.lines.size(), 34u);
  EXPECT_EQ(tree.lines.back().more, 1u);
  EXPECT_EQ(tree.lines.back().below, 100'000u - 34);
  EXPECT_EQ(nlohmann::json::parse(to_json(tree))["processes"], 100'000);
}

TEST(TreeTest, ThoseWhoseParentHasEndedStandAtTheTop) {
  TestWorld w;
  const otp::Pid parent = w.spawn("parent");
  const otp::Pid child = w.spawn("child", parent);
  const otp::Pid elsewhere = w.spawn("elsewhere", otp::Pid(7, 1, 1));
  w.run();
  w.runtime.exit(parent, otp::ExitReason::Kind::kKill);
  w.run();
  EXPECT_EQ(to_text(look_at_tree(w.runtime)),
            fmt::format("child {}  message  its parent has ended\nelsewhere {}  message  its parent has ended\n"
                        "2 processes in all\n",
                        child.to_string(), elsewhere.to_string()));
}

// A parent can only be named before it exists by a guess, but guessing is not forbidden.
TEST(TreeTest, RingsAreCutOpen) {
  TestWorld w;
  const auto twin = [&] {
    // The pids that another world with the same seed gives are those that this one will give.
    TestWorld other;
    std::vector<otp::Pid> pids;
    for (int i = 0; i < 5; ++i) pids.push_back(other.spawn("x"));
    return pids;
  }();
  ASSERT_EQ(w.spawn("a", twin[2]), twin[0]);
  ASSERT_EQ(w.spawn("b", twin[0]), twin[1]);
  ASSERT_EQ(w.spawn("c", twin[1]), twin[2]);
  ASSERT_EQ(w.spawn("self", twin[3]), twin[3]);
  ASSERT_EQ(w.spawn("hangs on", twin[1]), twin[4]);
  w.run();
  const Tree tree = look_at_tree(w.runtime);
  EXPECT_EQ(tree.lines.size(), 5u) << to_text(tree);
  EXPECT_EQ(std::ranges::count(tree.lines, true, &TreeLine::is_in_ring), 2);
  const std::string text = to_text(tree);
  EXPECT_THAT(text, HasSubstr(fmt::format("self {}  message  its parents form a ring\n", twin[3].to_string())));
  EXPECT_EQ(nlohmann::json::parse(to_json(tree))["tree"].size(), 2u);
}

TEST(TreeTest, ForeignTextIsHarmless) {
  TestWorld w;
  w.spawn("\x1b[2J\n" + std::string(5000, 'x'), {}, "\x07name");
  w.run();
  const std::string text = to_text(look_at_tree(w.runtime), 60);
  EXPECT_THAT(text, testing::StartsWith("\\x07name (\\x1b[2J\\nxxx"));
  EXPECT_EQ(std::ranges::count(text, '\n'), 2);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
}

TEST(TreeTest, Json) {
  TestWorld w;
  const otp::Pid app = w.spawn("app");
  for (int i = 0; i < 10; ++i) w.spawn("worker", app);
  w.spawn("zebra", app);
  w.run();
  const auto json = nlohmann::json::parse(to_json(look_at_tree(w.runtime)));
  ASSERT_EQ(json["tree"].size(), 1u);
  const auto& children = json["tree"][0]["children"];
  ASSERT_EQ(children.size(), 7u);
  EXPECT_EQ(children[5]["more"], 5);
  EXPECT_EQ(children[6]["label"], "zebra");
}

TEST(TreeTest, NothingThere) {
  TestWorld w;
  EXPECT_EQ(to_text(look_at_tree(w.runtime)), "0 processes in all\n");
}

}  // namespace
}  // namespace rusm::observe
