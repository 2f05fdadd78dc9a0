#include "observe/top_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "observe/test_world.h"

namespace rusm::observe {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

HostUsage some_usage() {
  static Nanoseconds cpu = 0;
  cpu += kSecond;
  return {.cpu = cpu, .resident_bytes = 3 << 20};
}

otp::Routine spawn_another(otp::Self& self, otp::Pid* pid) {
  *pid = self.runtime().spawn_from(self, {.label = "new"}, wait_for_message).pid;
  co_return;
}

std::vector<std::string> names_in(const TopReport& report) {
  std::vector<std::string> names;
  for (const TopRow& row : report.rows) names.push_back(row.name);
  return names;
}

TEST(TopListTest, ShowsWhatHasChangedSinceTheLastLook) {
  TestWorld w;
  TopList top(w.runtime, some_usage);
  const otp::Pid app = w.spawn("application");
  const otp::Pid db = w.spawn("store", app, "db");
  const otp::Pid busy = w.runtime.spawn_with({.label = "busy", .parent = db}, never_stop);
  while (w.runtime.info(busy)->reductions < 5000) w.runtime.step();
  top.look();
  const std::uint64_t before = w.runtime.info(busy)->reductions;
  while (w.runtime.info(busy)->reductions < before + 5000) w.runtime.step();
  for (int i = 0; i < 7; ++i) w.runtime.send(db, otp::Message::of(1));
  while (w.runtime.info(db)->received < 7 || w.runtime.info(db)->mailbox_length > 0) w.runtime.step();
  const double spent = static_cast<double>(w.runtime.info(busy)->reductions - before);
  w.clock.advance(2 * kSecond);

  const otp::Counters total = w.runtime.counters();
  const TopReport report = top.report();
  EXPECT_EQ(report.window, 2 * kSecond);
  EXPECT_EQ(report.rows.front().reductions_per_second, spent / 2);
  const std::size_t n = db.to_string().size();
  const std::string text = to_text(report);
  const std::string header = fmt::format(
      "node {}  up 2.0s  1 worker  cpu 50%  memory 3.0 MiB\n"
      "processes 3: 1 running, 2 message\n",
      getpid());
  EXPECT_TRUE(text.starts_with(header)) << text;
  EXPECT_THAT(text, testing::HasSubstr("per second, over 2.0s: spawns 0  exits 0  crashes 0  messages 3.5  steps "));
  EXPECT_THAT(text, testing::HasSubstr(fmt::format("since the start: spawns 3  crashes 0  messages {}", total.sends)));
  const std::string red = rate_text(spent / 2);
  const std::size_t start = text.find("\nPID") + 1;
  EXPECT_EQ(
      text.substr(start),
      fmt::format("{:<{}} {:<11} STATE   MAILBOX BYTES {:>{}} MSG/S PARENT\n", "PID", n, "NAME", "RED/S", red.size()) +
          fmt::format("{} {:<11} running       0     0 {}     0 db\n", busy.to_string(), "busy", red) +
          fmt::format("{} {:<11} message       0     0 {:>{}}   3.5 application\n", db.to_string(), "db",
                      rate_text(report.rows[1].reductions_per_second), red.size()) +
          fmt::format("{} {:<11} message       0     0 {:>{}}     0\n", app.to_string(), "application",
                      rate_text(report.rows[2].reductions_per_second), red.size()));
}

TEST(TopListTest, OrdersByWhatIsAsked) {
  TestWorld w;
  const otp::Pid a = w.spawn("a");
  const otp::Pid b = w.spawn("b");
  const otp::Pid c = w.runtime.spawn_with({.label = "c", .mailbox_messages_max = 100}, wait_for_message);
  w.run();
  TopList top(w.runtime);
  top.look();
  for (int i = 0; i < 3; ++i) w.runtime.send(a, otp::Message::of(i));
  w.run();
  for (int i = 0; i < 5; ++i) w.runtime.send(c, otp::Message::of(i));
  w.clock.advance(kSecond);
  EXPECT_THAT(names_in(top.report({.order = TopOrder::kMessages, .rows = 1})), ElementsAre("a"));
  EXPECT_THAT(names_in(top.report({.order = TopOrder::kMailbox, .rows = 1})), ElementsAre("c"));
  EXPECT_THAT(names_in(top.report({.order = TopOrder::kBytes, .rows = 1})), ElementsAre("c"));
  const TopReport by_pid = top.report({.order = TopOrder::kPid});
  ASSERT_THAT(by_pid.rows, SizeIs(3));
  EXPECT_LT(by_pid.rows[0].info.pid, by_pid.rows[1].info.pid);
  EXPECT_LT(by_pid.rows[1].info.pid, by_pid.rows[2].info.pid);
  EXPECT_TRUE(w.runtime.is_alive(b));
}

TEST(TopListTest, ANewTenantOfASlotIsNotHeldAgainstTheOldOne) {
  TestWorld w;
  const otp::Pid old = w.runtime.spawn_with({.label = "old"}, never_stop);
  while (w.runtime.info(old)->reductions < 50'000) w.runtime.step();
  TopList top(w.runtime);
  top.look();
  w.runtime.exit(old, otp::ExitReason::Kind::kKill);
  w.run();
  // A worker gives out again first what became free last.
  otp::Pid pid;
  w.runtime.spawn(spawn_another, &pid);
  w.run();
  ASSERT_EQ(pid.index(), old.index());
  w.run();
  w.clock.advance(kSecond);
  for (const TopRow& row : top.report({.rows = 1000}).rows) {
    EXPECT_LT(row.reductions_per_second, 100);
    EXPECT_EQ(row.reductions_per_second, static_cast<double>(row.info.reductions));
  }
}

TEST(TopListTest, TwoWhoAskInTurnsKeepAWindow) {
  TestWorld w;
  TopList top(w.runtime);
  EXPECT_EQ(top.report().window, 0);
  EXPECT_THAT(to_text(top.report()), testing::HasSubstr("nothing to compare with yet"));
  w.clock.advance(kSecond);
  EXPECT_EQ(top.report().window, kSecond);
  w.clock.advance(100 * kMillisecond);
  EXPECT_EQ(top.report().window, 100 * kMillisecond);
  w.clock.advance(300 * kMillisecond);
  EXPECT_EQ(top.report().window, 400 * kMillisecond) << "the last look was not moved by the one too soon after it";
  EXPECT_EQ(top.last_look(), 0);
  top.forget();
  EXPECT_FALSE(top.last_look());
  EXPECT_EQ(top.report().window, 0);
}

TEST(TopListTest, ForeignTextIsHarmlessAndLinesHaveTheirWidth) {
  TestWorld w;
  const otp::Pid parent = w.spawn("\x1b[31mparent " + std::string(5000, 'p'));
  w.spawn("\xff\n\u202e " + std::string(5000, 'x'), parent);
  w.run();
  TopList top(w.runtime);
  for (const std::size_t columns : {1000, 120, 80, 40, 10, 1, 0}) {
    std::string text = to_text(top.report(), columns);
    std::size_t lines = 0;
    for (std::size_t end; (end = text.find('\n')) != std::string::npos; text.erase(0, end + 1), ++lines) {
      const std::string line = text.substr(0, end);
      EXPECT_LE(width_of(line), columns);
      EXPECT_EQ(printable(line), line);
    }
    EXPECT_EQ(lines, 5u + 2u) << "the head, without limits and ends, and two processes";
  }
  EXPECT_THAT(to_text(top.report(), 100), testing::HasSubstr("\\xff\\n\\u{202e} "));
  EXPECT_THAT(to_text(top.report(), 100), testing::HasSubstr("\\x1b[31"));
}

TEST(TopListTest, Json) {
  TestWorld w;
  const otp::Pid parent = w.spawn("\xff\x1b", {}, "db");
  w.spawn("child", parent);
  w.run();
  TopList top(w.runtime, some_usage);
  top.look();
  w.runtime.send(parent, otp::Message::of(1));
  w.run();
  w.clock.advance(kSecond);
  const auto json = nlohmann::json::parse(to_json(top.report()));
  EXPECT_EQ(json["processes"], 2);
  EXPECT_EQ(json["states"]["message"], 2);
  EXPECT_EQ(json["window_s"], 1.0);
  EXPECT_EQ(json["total"]["spawns"], 2);
  EXPECT_EQ(json["window"]["spawns"], 0);
  EXPECT_EQ(json["sort"], "reductions");
  ASSERT_EQ(json["top"].size(), 2u);
  EXPECT_EQ(json["top"][0]["name"], "db");
  EXPECT_EQ(json["top"][0]["label"], "\uFFFD\x1b");
  EXPECT_EQ(json["top"][1]["parent"], parent.to_string());
  EXPECT_EQ(json["top"][1]["parent_name"], "db");
}

TEST(TopListTest, ShowsLimitsThatWereMetAndTheLastEnds) {
  TestWorld w;
  std::uint64_t memory = 0;
  TopList top(w.runtime, some_usage,
              [&] { return std::vector<NamedCount>{{"cpu", 0}, {"stack", 1}, {"mem\x1b", memory}}; });
  EXPECT_THAT(to_text(top.report()), testing::AllOf(testing::HasSubstr("\nlimits met: stack 1\nPID"),
                                                    testing::Not(testing::HasSubstr("ended"))));
  memory = 1'500;
  for (int i = 0; i < 3; ++i) {
    const auto reason =
        otp::ExitReason::crashed("trap", fmt::format("number\n{}", i), "   0: take at a.cc:7\n   1: main");
    const otp::Pid pid = w.runtime.spawn_with({.label = "guest\x1b"}, end_with, reason);
    w.run();
    w.runtime.send(pid, otp::Message::of(1));
    w.run();
    w.clock.advance(kSecond);
  }
  const TopReport report = top.report();
  const std::string text = to_text(report);
  EXPECT_THAT(text, testing::HasSubstr("\nlimits met: mem\\x1b 1,500  stack 1\nended "));
  const std::string latest =
      report.exits.at(0).pid.to_string() + " guest\\x1b  crashed (trap): number\\n2  0: take at a.cc:7\n";
  EXPECT_THAT(text, testing::HasSubstr(latest));
  EXPECT_THAT(text, testing::HasSubstr("number\\n1  0: take"));
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("number\\n0")));
  EXPECT_LE(static_cast<std::size_t>(std::ranges::count(text.substr(0, text.find("\nPID") + 1), '\n')) + 1,
            kTopHeaderLines);
  for (const std::size_t columns : {10u, 40u, 80u}) {
    std::istringstream lines(to_text(report, columns));
    for (std::string line; std::getline(lines, line);) EXPECT_LE(width_of(line), columns) << line;
  }
  const auto json = nlohmann::json::parse(to_json(report));
  EXPECT_EQ(json["limits"]["stack"], 1);
  EXPECT_EQ(json["limits"]["cpu"], 0);
  ASSERT_EQ(json["exits"].size(), kTopExits);
  EXPECT_EQ(json["exits"][0]["reason"], "crashed (trap): number\n2");
}

TEST(TopListTest, AHundredThousandProcesses) {
  TestWorld w;
  for (int i = 0; i < 100'000; ++i) w.spawn(i % 2 == 0 ? "even" : "");
  const otp::Pid busy = w.spawn("busy");
  w.run();
  TopList top(w.runtime);
  top.look();
  for (int i = 0; i < 50; ++i) w.runtime.send(busy, otp::Message::of(i));
  w.run();
  w.clock.advance(kSecond);
  const TopReport report = top.report({.rows = TopList::kRowsMax + 1});
  EXPECT_EQ(report.processes, 100'001u);
  EXPECT_EQ(report.doing[static_cast<std::size_t>(Doing::kMessage)], 100'001u);
  ASSERT_THAT(report.rows, SizeIs(TopList::kRowsMax));
  EXPECT_EQ(report.rows.front().info.pid, busy);
  EXPECT_EQ(report.rows.front().messages_per_second, 50);
}

// A thread starts and ends processes while another looks.
TEST(TopListTest, CanLookWhileProcessesComeAndGo) {
  const SystemClock clock;
  SystemEntropy entropy;
  otp::QuietReactorFactory reactors;
  otp::Runtime runtime({.workers = 2}, {clock, entropy, reactors});
  TopList top(runtime);
  std::atomic<bool> stop{false};
  std::thread spawner([&] {
    while (!stop.load()) {
      const otp::Pid pid = runtime.spawn_with({.label = "short-lived"}, wait_for_message);
      runtime.exit(pid, otp::ExitReason::Kind::kKill);
    }
  });
  for (int i = 0; i < 200; ++i) {
    for (const TopRow& row : top.report({.order = TopOrder::kPid}).rows) {
      // In the moments of its beginning and of its end it has no label.
      if (!row.name.empty()) EXPECT_EQ(row.name, "short-lived");
    }
  }
  stop.store(true);
  spawner.join();
  EXPECT_TRUE(runtime.wait_until_empty(60 * kSecond));
  EXPECT_EQ(top.report().processes, 0u);
}

}  // namespace
}  // namespace rusm::observe
