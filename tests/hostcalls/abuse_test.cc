// An abuse of every call of RUSM's own, with what becomes of the guest: abuses.txt and component_abuses.txt say which.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "base/test_folder.h"
#include "hostcalls/world.h"

namespace rusm::hostcalls {
namespace {

// A line of the files: PROFILE | what is called, and then the abused call | how the guest ends | registers and scratch.
struct Abuse {
  std::string line;
  Profile profile;
  std::string program;
  std::string reason;              // what its text begins with
  std::vector<std::string> found;  // "r1=-2", "s1024=1"
};

std::string trim(const std::string& text) {
  const std::size_t first = text.find_first_not_of(' ');
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(' ') - first + 1);
}

std::vector<Abuse> read_abuses(const std::string& file) {
  std::vector<Abuse> abuses;
  std::istringstream lines(read_file(std::filesystem::path(RUSM_HOSTCALLS_SOURCES) / file));
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line.starts_with('#')) continue;
    std::istringstream parts(line);
    std::string profile;
    Abuse abuse{.line = line, .profile = Profile::kAll, .program = {}, .reason = {}, .found = {}};
    std::string found;
    std::getline(parts, profile, '|');
    std::getline(parts, abuse.program, '|');
    std::getline(parts, abuse.reason, '|');
    std::getline(parts, found);
    if (trim(profile) == "nothing") abuse.profile = Profile::kNothing;
    abuse.program = trim(abuse.program);
    abuse.reason = trim(abuse.reason);
    std::istringstream words(found);
    for (std::string word; words >> word;) abuse.found.push_back(word);
    abuses.push_back(std::move(abuse));
  }
  return abuses;
}

// "r1=-2", or "s1024=5": a word of eight bytes of the scratch; "s1024.1=1" its lowest byte.
void expect_found(const Outcome& outcome, const Abuse& abuse) {
  for (const std::string& found : abuse.found) {
    const std::size_t equals = found.find('=');
    const std::size_t dot = std::min(found.find('.'), equals);
    const std::size_t where = std::stoul(found.substr(1, dot - 1));
    std::uint64_t value = found[0] == 'r' ? outcome.reg(where) : outcome.word(where);
    if (dot != equals) value &= 0xff;
    EXPECT_EQ(static_cast<std::int64_t>(value), std::stoll(found.substr(equals + 1))) << abuse.line << ": " << found;
  }
}

void run_abuses(const Calls& calls, const std::string& file) {
  const TestFolder folder;
  World world(calls, folder.path());
  std::set<std::size_t> abused;
  for (const Abuse& abuse : read_abuses(file)) {
    Program program = parse(world.calls(), abuse.program, world.pids());
    program.report_to = world.pids().front();
    abused.insert(program.calls.back().call);
    const Outcome outcome = world.run(program, {.profile = abuse.profile});
    const std::string reason = outcome.reason ? outcome.reason->to_string() : "waits";
    EXPECT_TRUE(reason.starts_with(abuse.reason)) << abuse.line << ": " << reason;
    EXPECT_EQ(outcome.problem, "") << abuse.line;
    if (!abuse.found.empty()) EXPECT_TRUE(outcome.report.has_value()) << abuse.line << ": " << reason;
    if (outcome.report) expect_found(outcome, abuse);
  }
  for (const std::size_t call : calls.own()) {
    EXPECT_TRUE(abused.contains(call)) << file << " has no abuse of " << calls.all()[call].module << ' '
                                       << calls.all()[call].name;
  }
}

TEST(AbuseTest, OfEveryFunctionOfTheModule) {
  run_abuses(Calls::of_modules(), "module_abuses.txt");
}

TEST(AbuseTest, OfEveryFunctionOfTheInterfaces) {
  run_abuses(Calls::of_components(), "component_abuses.txt");
}

// Whatever lies in memory is a pointer and a length for each call, and what lies just outside is none.
TEST(AbuseTest, PointersAtTheEdgeOfTheMemory) {
  constexpr const char* kTexts[] = {"register",       "unregister", "whereis", "set_label", "register_tag",
                                    "unregister_tag", "kill_tag",   "spawn",   "stash"};
  const TestFolder folder;
  World world(Calls::of_modules(), folder.path());
  for (const std::string call : kTexts) {
    const auto reason = [&](std::string_view args) {
      const Outcome outcome = world.run(parse(world.calls(), fmt::format("{} {}", call, args), world.pids()));
      EXPECT_EQ(outcome.problem, "") << call << ' ' << args;
      return outcome.reason ? outcome.reason->to_string() : "waits";
    };
    for (const std::string_view inside : {"m-1 1", "m-7 7", "m+0 0", "s0 0"}) {
      EXPECT_EQ(reason(inside), "normal") << call << ' ' << inside;
    }
    for (const std::string_view outside : {"m-1 2", "m+0 1", "m+1 0", "0 4294967295", "4294967295 1", "4294967295 0",
                                           "2147483648 2147483648", "1 4294967295", "m-7 4294967295"}) {
      EXPECT_TRUE(reason(outside).starts_with("crashed (host)")) << call << ' ' << outside << ": " << reason(outside);
    }
  }
}

}  // namespace
}  // namespace rusm::hostcalls
