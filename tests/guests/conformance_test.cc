// WASI as a program sees it, of previews 1 and 2: the cases of conformance/, each in an instance of its own.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "base/test_folder.h"
#include "wasm/code_cache.h"
#include "wasm/test_node.h"

namespace rusm::wasm {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCases[] = {"monotonic-clock", "wall-clock", "sleep", "random", "stdin", "stdout", "poll", "read",
                                  "list", "missing", "read-only", "escape", "write", "append", "times", "environment",
                                  "arguments", "exit-code",
                                  // preview1.cc
                                  "preopens", "descriptors", "vectors", "open-flags", "paths", "links", "raw-escapes",
                                  "folder-pages", "poll-oneoff", "no-sockets", "raw-clocks", "rights"};

std::string contents(const fs::path& path) {
  EXPECT_TRUE(std::ifstream(path)) << path;
  return read_file(path);
}

// "p1 poll" and why it is expected to fail.
std::map<std::string, std::string> known_failures() {
  std::map<std::string, std::string> known;
  std::istringstream lines(contents(RUSM_CONFORMANCE_DIR "/known_failures.txt"));
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::string preview;
    std::string name;
    words >> preview >> name;
    std::string why;
    std::getline(words, why);
    known[preview + " " + name] = why;
  }
  return known;
}

class ConformanceTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    fs::create_directories(folder_ / "in");
    fs::create_directories(folder_ / "out");
    std::ofstream(folder_.path() / "in" / "a.txt") << "the text of a";
    std::ofstream(folder_ / "secret") << "not for guests";
    fs::create_symlink(folder_ / "secret", folder_.path() / "in" / "link");
  }

  Capabilities capabilities(const std::string& name) const {
    Capabilities may;
    may.args = {"conformance", name};
    if (name == "arguments") may.args = {"conformance", name, "two words", ""};
    may.env = {{"GIVEN", "by name"}};
    may.preopens = {{.host_path = folder_ / "in", .guest_path = "/in", .read_only = true},
                    {.host_path = folder_ / "out", .guest_path = "/out", .read_only = false}};
    return may;
  }

  const TestFolder folder_;
};

TEST_P(ConformanceTest, KeepsWhatWasiPromises) {
  TestNode node;
  const std::map<std::string, std::string> known = known_failures();
  const std::string preview = GetParam();
  const std::string wasm =
      contents(RUSM_GUEST_DIR + std::string(preview == "p1" ? "/conformance-core.wasm" : "/conformance.wasm"));
  // Compiled once.
  Result<CodeCache> cache = CodeCache::open(folder_ / "code", *node.engine, node.entropy);
  ASSERT_TRUE(cache.has_value());
  for (const std::string name : kCases) {
    ProgramOptions options{.name = name, .entry = Entry::kCommand, .function = {}, .capabilities = capabilities(name)};
    auto program = Program::from_bytes(*node.engine, &*cache, bytes_of(wasm), "conformance", std::move(options));
    ASSERT_TRUE(program.has_value()) << program.error().to_string();
    const auto maker = std::make_shared<GuestMaker>(std::move(*program), node.runtime);
    const Ref<CommandStatus> status = make_ref<CommandStatus>();
    const otp::ExitReason reason = node.wait(node.start(*maker, status));
    // What a component's run returns is only that it failed.
    const int expected = name != "exit-code" ? 0 : preview == "p1" ? 7 : 1;
    const bool passes = status->exit_code() == expected;
    const auto failure = known.find(preview + " " + name);
    if (failure == known.end()) {
      EXPECT_TRUE(passes) << name << ": " << reason.to_string() << "\n" << node.lines.text();
    } else {
      EXPECT_FALSE(passes) << name << " passes now: take it out of known_failures.txt";
    }
  }
  EXPECT_TRUE(node.settles());
}

INSTANTIATE_TEST_SUITE_P(Wasi, ConformanceTest, testing::Values("p1", "p2"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace rusm::wasm
