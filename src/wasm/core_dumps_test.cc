#include "wasm/core_dumps.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>

#include "base/test_folder.h"
#include "wasm/test_node.h"

namespace rusm::wasm {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::UnorderedElementsAre;
namespace fs = std::filesystem;

class CoreDumpsTest : public testing::Test {
 protected:
  EngineOptions options(std::uint64_t bytes_max) {
    EngineOptions options{.guests_max = 8, .workers = 2};
    options.core_dumps_folder = folder_ / "dumps";
    options.core_dumps_bytes_max = bytes_max;
    options.core_dumps_interval = 0;
    return options;
  }

  std::vector<fs::path> dumps() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder_ / "dumps")) found.push_back(entry.path());
    return found;
  }

  const TestFolder folder_;
};

constexpr std::string_view kCrash = R"((memory 1) (data (i32.const 4096) "the canary")
  (func $inner unreachable) (func (export "run") (call $inner)))";

TEST_F(CoreDumpsTest, ACrashLeavesItsMemory) {
  TestNode node(options(16 << 20));
  const otp::ExitReason reason = node.run(kCrash);
  EXPECT_EQ(reason.crash_kind(), "trap");
  EXPECT_THAT(reason.text(), HasSubstr("core dump: "));
  EXPECT_THAT(std::string(reason.backtrace()), HasSubstr("inner"));
  node.engine->core_dumps()->flush();
  ASSERT_EQ(dumps().size(), 1u);
  EXPECT_THAT(std::string(reason.text()), HasSubstr(dumps()[0].string()));
  const std::string dump = read_file(dumps()[0]);
  EXPECT_TRUE(dump.starts_with(std::string_view("\0asm\1\0\0\0", 8)));
  for (const char* part : {"core", "corestack", "coreinstances", "coremodules", "the canary"}) {
    EXPECT_THAT(dump, HasSubstr(part));
  }
  EXPECT_EQ(fs::status(dumps()[0]).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_TRUE(node.settles());
}

TEST_F(CoreDumpsTest, NoDumpWithoutACrashOrWithoutRoom) {
  TestNode node(options(1 << 10));
  EXPECT_TRUE(node.run(R"((func (export "run")))").is_normal());
  EXPECT_THAT(std::string(node.run(kCrash).text()), Not(HasSubstr("core dump")));
  node.engine->core_dumps()->flush();
  EXPECT_TRUE(dumps().empty());
  EXPECT_TRUE(node.settles());
}

TEST_F(CoreDumpsTest, TheOldestGoWhenTheFolderIsFull) {
  TestNode node(options(70 << 10));
  {
    std::ofstream(folder_.path() / "dumps" / "other.core") << std::string(100 << 10, 'x');
  }
  fs::path last;
  for (int i = 0; i < 3; ++i) {
    // Bytes that cannot be left out: each dump takes more than half of the folder.
    const otp::ExitReason reason = node.run(R"((memory 1) (func (export "run")
      (memory.fill (i32.const 0) (i32.const 7) (i32.const 40960)) unreachable))");
    ASSERT_THAT(std::string(reason.text()), HasSubstr("core dump: "));
    last = std::string(reason.text().substr(reason.text().find("core dump: ") + 11));
    node.engine->core_dumps()->flush();
  }
  std::vector<fs::path> cores;
  for (const fs::path& path : dumps()) {
    if (path.filename().string().starts_with("rusm-")) cores.push_back(path);
  }
  ASSERT_EQ(cores.size(), 1u);
  EXPECT_EQ(cores[0], last);
  EXPECT_TRUE(fs::exists(folder_.path() / "dumps" / "other.core")) << "what is no dump stays";
}

TEST_F(CoreDumpsTest, OneComponentLeavesOneInAWhile) {
  EngineOptions seldom = options(16 << 20);
  seldom.core_dumps_interval = 3600 * kSecond;
  TestNode node(seldom);
  EXPECT_THAT(std::string(node.run(kCrash).text()), HasSubstr("core dump"));
  EXPECT_THAT(std::string(node.run(kCrash).text()), Not(HasSubstr("core dump")));
  node.engine->core_dumps()->flush();
  EXPECT_EQ(dumps().size(), 1u);
}

TEST_F(CoreDumpsTest, AGuestThatComesToALimitLeavesNone) {
  TestNode node(options(16 << 20));
  Capabilities small;
  small.cpu_max = 10 * kMillisecond;
  const std::string loop = component(R"((memory 1) (func (export "run") (loop $l (br $l))))");
  const otp::ExitReason reason = node.wait(node.start(*node.maker(loop, Entry::kExport, small)));
  EXPECT_THAT(reason.to_string(), HasSubstr("limit (cpu)"));
  node.engine->core_dumps()->flush();
  EXPECT_TRUE(dumps().empty());
}

TEST_F(CoreDumpsTest, PartsOfOneThatWasKilledGo) {
  fs::create_directories(folder_ / "dumps");
  const auto part = [&](const char* name, std::chrono::hours age) {
    std::ofstream(folder_.path() / "dumps" / name) << "x";
    fs::last_write_time(folder_.path() / "dumps" / name, fs::file_time_type::clock::now() - age);
  };
  part("rusm-a.0.1.2.7.1.core.part", std::chrono::hours(1));
  part("rusm-b.0.1.2.7.2.core.part", std::chrono::hours(0));
  part("other.core.part", std::chrono::hours(1));
  TestNode node(options(16 << 20));
  std::vector<std::string> names;
  for (const fs::path& path : dumps()) names.push_back(path.filename());
  EXPECT_THAT(names, UnorderedElementsAre("rusm-b.0.1.2.7.2.core.part", "other.core.part"));
}

TEST_F(CoreDumpsTest, AFolderThatCannotBeMadeIsSaid) {
  {
    std::ofstream(folder_.path() / "file") << "x";
  }
  EngineOptions options{.guests_max = 8, .workers = 2};
  options.core_dumps_folder = folder_.path() / "file" / "dumps";
  const auto engine = Engine::open(options);
  ASSERT_FALSE(engine.has_value());
  EXPECT_THAT(engine.error().to_string(), HasSubstr("file/dumps"));
}

}  // namespace
}  // namespace rusm::wasm
