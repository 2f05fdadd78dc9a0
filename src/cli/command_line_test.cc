#include "cli/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rusm::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Command parse(std::vector<const char*> args) {
  args.insert(args.begin(), "rusm");
  return parse_command_line(static_cast<int>(args.size()), args.data());
}

template <class T>
T as(std::vector<const char*> args) {
  Command command = parse(std::move(args));
  if (const auto* printed = std::get_if<PrintCommand>(&command); printed && !std::is_same_v<T, PrintCommand>) {
    ADD_FAILURE() << printed->text;
    return {};
  }
  EXPECT_TRUE(std::holds_alternative<T>(command));
  return std::get<T>(std::move(command));
}

TEST(CommandLineTest, Serve) {
  EXPECT_EQ(as<ServeCommand>({"serve"}).config, "rusm.toml");
  const auto serve = as<ServeCommand>({"serve", "--config", "a/b.toml", "--listen", "[::1]:80"});
  EXPECT_EQ(serve.config, "a/b.toml");
  EXPECT_EQ(serve.listen, "[::1]:80");
  EXPECT_EQ(as<CheckCommand>({"check", "--config=x"}).config, "x");
}

TEST(CommandLineTest, RunGivesEverythingAfterTheFileToTheGuest) {
  const auto run = as<RunCommand>({"run",
                                   "--env",
                                   "A",
                                   "--env",
                                   "B=1",
                                   "--dir",
                                   "data::/data:ro",
                                   "--dir",
                                   ".",
                                   "--timeout",
                                   "1.5s",
                                   "--max-memory-mb",
                                   "32",
                                   "tool.wasm",
                                   "--env",
                                   "C",
                                   "-x",
                                   "--help",
                                   "--",
                                   "y"});
  EXPECT_EQ(run.file, "tool.wasm");
  EXPECT_THAT(run.args, ElementsAre("--env", "C", "-x", "--help", "--", "y"));
  EXPECT_THAT(run.env, ElementsAre("A", "B=1"));
  ASSERT_EQ(run.folders.size(), 2u);
  EXPECT_EQ(run.folders[0].host, "data");
  EXPECT_EQ(run.folders[0].guest, "/data");
  EXPECT_TRUE(run.folders[0].read_only);
  EXPECT_EQ(run.folders[1].guest, ".");
  EXPECT_FALSE(run.folders[1].read_only);
  EXPECT_EQ(run.timeout, 1500 * kMillisecond);
  EXPECT_EQ(run.max_memory_mb, 32u);
  EXPECT_FALSE(run.allow_network);
}

TEST(CommandLineTest, RunOptionsDoNotSwallowTheFile) {
  EXPECT_EQ(as<RunCommand>({"run", "--dir", "a::b", "tool.wasm"}).file, "tool.wasm");
  EXPECT_EQ(as<RunCommand>({"run", "--env", "A", "tool.wasm"}).file, "tool.wasm");
  EXPECT_EQ(as<RunCommand>({"run", "--allow-network", "tool.wasm", "a"}).file, "tool.wasm");
}

TEST(CommandLineTest, RunGrantsNothingByDefault) {
  EXPECT_EQ(as<ServeCommand>({"run", "--config", "a/rusm.toml"}).config, "a/rusm.toml");
  const auto run = as<RunCommand>({"run", "tool.wasm"});
  EXPECT_THAT(run.args, IsEmpty());
  EXPECT_THAT(run.env, IsEmpty());
  EXPECT_THAT(run.folders, IsEmpty());
  EXPECT_FALSE(run.allow_network);
  EXPECT_EQ(run.timeout, kNever);
}

TEST(CommandLineTest, Bench) {
  EXPECT_EQ(as<BenchCommand>({"bench"}).workload, "");
  const auto bench = as<BenchCommand>({"bench", "pingpong", "--seconds", "0.5", "--workers", "2", "--json"});
  EXPECT_EQ(bench.workload, "pingpong");
  EXPECT_EQ(bench.seconds, 0.5);
  EXPECT_EQ(bench.workers, 2u);
  EXPECT_TRUE(bench.json);
}

TEST(CommandLineTest, Observe) {
  using What = observe::Request::What;
  const auto top = as<ObserveCommand>({"top"});
  EXPECT_EQ(top.request, observe::Request());
  EXPECT_EQ(top.interval, 2 * kSecond);
  EXPECT_FALSE(top.once || top.rows_are_given);
  const auto more = as<ObserveCommand>(
      {"top", "--node", "47", "--sort", "mailbox", "--rows", "5", "--interval", "500ms", "--once", "--json"});
  EXPECT_EQ(more.node, "47");
  EXPECT_EQ(more.request, (observe::Request{.order = observe::TopOrder::kMailbox, .rows = 5, .json = true}));
  EXPECT_EQ(more.interval, 500 * kMillisecond);
  EXPECT_TRUE(more.once && more.rows_are_given);
  EXPECT_EQ(as<ObserveCommand>({"top", "--interval", "1ms"}).interval, 100 * kMillisecond) << "the least";
  EXPECT_EQ(as<ObserveCommand>({"tree", "--json"}).request, (observe::Request{.what = What::kTree, .json = true}));
  EXPECT_EQ(as<ObserveCommand>({"exits", "--rows=3"}).request, (observe::Request{.what = What::kExits, .rows = 3}));
  const auto process = as<ObserveCommand>({"process", "<0.1.2>", "--node=x"});
  EXPECT_EQ(process.request, (observe::Request{.what = What::kProcess, .of = "<0.1.2>"}));
  EXPECT_EQ(process.node, "x");
}

TEST(CommandLineTest, HelpTeachesByExample) {
  for (const std::vector<const char*>& args : std::vector<std::vector<const char*>>{{"--help"},
                                                                                    {"serve", "--help"},
                                                                                    {"check", "-h"},
                                                                                    {"run", "--help"},
                                                                                    {"bench", "--help"},
                                                                                    {"top", "--help"},
                                                                                    {"tree", "--help"},
                                                                                    {"exits", "--help"},
                                                                                    {"process", "--help"}}) {
    const auto help = as<PrintCommand>(args);
    EXPECT_EQ(help.exit_code, kExitOk);
    EXPECT_THAT(help.text, HasSubstr("rusm"));
    EXPECT_THAT(help.text, HasSubstr("\n  ")) << "an example";
  }
  EXPECT_THAT(as<PrintCommand>({"run", "--help"}).text, HasSubstr("rusm run --env HOME"));
}

TEST(CommandLineTest, Version) {
  const auto version = as<PrintCommand>({"--version"});
  EXPECT_EQ(version.exit_code, kExitOk);
  EXPECT_THAT(version.text, ::testing::StartsWith("rusm "));
}

TEST(CommandLineTest, WrongUseSaysWhatAndExitsWithTwo) {
  const std::pair<std::vector<const char*>, const char*> cases[] = {
      {{}, "Examples:"},
      {{"sreve"}, "there is no command sreve; did you mean serve?"},
      {{"serve", "--confg", "x"}, "there is no option --confg; did you mean --config?"},
      {{"serve", "--config"}, "--config"},
      {{"serve", "extra"}, "extra"},
      {{"run"}, "FILE is missing"},
      {{"run", "--config", "rusm.toml", "x.wasm"}, "leave one of them out"},
      {{"run", "--foo", "x.wasm"}, "there is no option --foo"},
      {{"run", "--timeout", "soon", "x.wasm"}, "--timeout soon: expected a time"},
      {{"run", "--dir", "::", "x.wasm"}, "--dir ::: expected HOST::GUEST"},
      {{"run", "--max-memory-mb", "0", "x.wasm"}, "--max-memory-mb"},
      {{"bench", "x", "--seconds", "no"}, "--seconds"},
      {{"bench", "x", "--workers", "-1"}, "--workers"},
      {{"topp"}, "there is no command topp; did you mean top?"},
      {{"top", "--sort", "size"}, "--sort size: expected reductions, messages"},
      {{"top", "--rows", "0"}, "--rows"},
      {{"top", "--interval", "never"}, "--interval never: expected a time"},
      {{"top", "--nod", "1"}, "there is no option --nod; did you mean --node?"},
      {{"tree", "--once"}, "there is no option --once"},
      {{"tree", "x"}, "x"},
      {{"process"}, "PROCESS is missing"},
      {{"process", "a\nb"}, "ask for the process by its pid"},
  };
  for (const auto& [args, text] : cases) {
    const auto printed = as<PrintCommand>(args);
    EXPECT_EQ(printed.exit_code, kExitMisuse) << text;
    EXPECT_THAT(printed.text, HasSubstr(text));
  }
}

TEST(DurationTest, HasUnits) {
  EXPECT_EQ(*parse_duration("2"), 2 * kSecond);
  EXPECT_EQ(*parse_duration("250ms"), 250 * kMillisecond);
  EXPECT_EQ(*parse_duration("2m"), 120 * kSecond);
  EXPECT_EQ(*parse_duration("1h"), 3600 * kSecond);
  for (const char* text : {"", "s", "0", "-1s", "5 s", "5d", "nan", "inf", "1e300s"})
    EXPECT_FALSE(parse_duration(text)) << text;
}

}  // namespace
}  // namespace rusm::cli
