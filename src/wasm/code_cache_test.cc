#include "wasm/code_cache.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <thread>

#include "base/test_folder.h"
#include "wasm/test_node.h"

namespace rusm::wasm {
namespace {

namespace fs = std::filesystem;

class CodeCacheTest : public testing::Test {
 protected:
  CodeCache open() {
    Result<CodeCache> cache = CodeCache::open(folder_, *engine_, entropy_, &lines_.log);
    EXPECT_TRUE(cache.has_value()) << cache.error().to_string();
    return *cache;
  }

  fs::path only_code_file() const {
    fs::path found;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
      if (entry.path().extension() == ".code") found = entry.path();
    }
    return found;
  }

  static mode_t mode(const fs::path& path) {
    struct stat status{};
    EXPECT_EQ(stat(path.c_str(), &status), 0);
    return status.st_mode & 07777;
  }

  SystemClock clock_;
  SystemEntropy entropy_;
  LogLines lines_{clock_};
  std::unique_ptr<Engine> engine_ = open_engine();
  const TestFolder root_;
  const fs::path folder_ = root_.path() / "a" / "cache";
  const std::vector<std::byte> code_ = std::vector<std::byte>(5000, std::byte{42});
};

TEST_F(CodeCacheTest, KeepsCodeInAPrivateFolder) {
  const CodeCache cache = open();
  const CodeCache::Key key = cache.key_of(bytes_of("wasm"));
  EXPECT_EQ(cache.find(key), std::nullopt);
  cache.put(key, code_);
  EXPECT_EQ(cache.find(key), code_);
  EXPECT_EQ(mode(folder_), 0700u);
  EXPECT_EQ(mode(folder_ / "key"), 0600u);
  EXPECT_EQ(mode(only_code_file()), 0600u);
  EXPECT_EQ(open().find(key), code_) << "another process finds it with the same key";
  EXPECT_EQ(cache.find(cache.key_of(bytes_of("other"))), std::nullopt);
}

TEST_F(CodeCacheTest, CodeOfAnotherEngineIsAnother) {
  const CodeCache cache = open();
  const auto other_engine =
      open_engine({.guests_max = 64, .memory_bytes_max = 1 << 20, .stack_bytes = 256 << 10, .workers = 1});
  Result<CodeCache> other = CodeCache::open(folder_, *other_engine, entropy_);
  ASSERT_TRUE(other.has_value());
  EXPECT_EQ(other->key_of(bytes_of("wasm")) == cache.key_of(bytes_of("wasm")),
            other_engine->compat_hash() == engine_->compat_hash());
}

TEST_F(CodeCacheTest, ChangedCodeIsIgnored) {
  const CodeCache cache = open();
  const CodeCache::Key key = cache.key_of(bytes_of("wasm"));
  for (const std::streamoff at : {0, 31, 32, 5000}) {
    cache.put(key, code_);
    ASSERT_EQ(cache.find(key), code_);
    {
      std::fstream file(only_code_file(), std::ios::in | std::ios::out | std::ios::binary);
      file.seekg(at);
      const int there = file.get();
      file.seekp(at);
      file.put(static_cast<char>(there ^ 1));
    }
    EXPECT_EQ(cache.find(key), std::nullopt) << "byte " << at;
  }
  EXPECT_NE(lines_.text().find("fails its check"), std::string::npos);
  cache.put(key, code_);
  fs::resize_file(only_code_file(), 20);
  EXPECT_EQ(cache.find(key), std::nullopt);
  cache.put(key, code_);
  fs::resize_file(only_code_file(), 1000);
  EXPECT_EQ(cache.find(key), std::nullopt);
}

// Each writer and reader opens the cache for itself, as processes that share a folder do, the key included.
TEST_F(CodeCacheTest, WritersAtTheSameTimeLeaveOneWholeFile) {
  std::vector<std::thread> threads;
  std::atomic<int> torn{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([this, &torn] {
      const CodeCache cache = open();
      const CodeCache::Key key = cache.key_of(bytes_of("wasm"));
      for (int n = 0; n < 50; ++n) {
        cache.put(key, code_);
        if (cache.find(key) != code_) ++torn;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(torn, 0);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 2) << "the key and the code";
  EXPECT_EQ(lines_.text(), "");
}

TEST_F(CodeCacheTest, CodeUnderAnotherNameIsIgnored) {
  const CodeCache cache = open();
  cache.put(cache.key_of(bytes_of("one")), code_);
  const fs::path one = only_code_file();
  const CodeCache::Key other = cache.key_of(bytes_of("other"));
  fs::rename(one, root_ / "kept");
  cache.put(other, std::vector<std::byte>(10));
  fs::rename(root_ / "kept", only_code_file());
  EXPECT_EQ(cache.find(other), std::nullopt);
}

TEST_F(CodeCacheTest, AFolderThatOthersMayWriteToIsRefused) {
  fs::create_directories(folder_);
  chmod(folder_.c_str(), 0770);
  Result<CodeCache> cache = CodeCache::open(folder_, *engine_, entropy_);
  ASSERT_FALSE(cache.has_value());
  EXPECT_EQ(cache.error().code, ErrorCode::kDenied);
  fs::remove_all(folder_);
  fs::create_directory_symlink(root_.path(), folder_);
  cache = CodeCache::open(folder_, *engine_, entropy_);
  ASSERT_FALSE(cache.has_value());
  EXPECT_EQ(cache.error().code, ErrorCode::kDenied);
}

TEST_F(CodeCacheTest, AKeyThatOthersMayReadOrThatIsCutIsRefused) {
  open();
  chmod((folder_ / "key").c_str(), 0644);
  Result<CodeCache> cache = CodeCache::open(folder_, *engine_, entropy_);
  ASSERT_FALSE(cache.has_value());
  EXPECT_EQ(cache.error().code, ErrorCode::kDenied);
  chmod((folder_ / "key").c_str(), 0600);
  fs::resize_file(folder_ / "key", 31);
  cache = CodeCache::open(folder_, *engine_, entropy_);
  ASSERT_FALSE(cache.has_value());
  EXPECT_EQ(cache.error().code, ErrorCode::kCorrupt);
}

TEST_F(CodeCacheTest, AFullDiskIsSaidAndHasNoOtherEffect) {
  const CodeCache cache = open();
  const CodeCache::Key key = cache.key_of(bytes_of("wasm"));
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small = {.rlim_cur = 1000, .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  cache.put(key, code_);
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(cache.find(key), std::nullopt);
  EXPECT_NE(lines_.text().find("cannot be kept"), std::string::npos);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1) << "only the key is left";
}

TEST_F(CodeCacheTest, AProgramIsCompiledOnceAndAgainWhenItsCodeIsDamaged) {
  const CodeCache cache = open();
  const std::string wasm = component(R"((func (export "run")))");
  const auto load = [&] {
    return Program::from_bytes(*engine_, &cache, bytes_of(wasm), "test",
                               {.name = "a", .entry = Entry::kExport, .function = "run", .capabilities = {}});
  };
  ASSERT_TRUE(load().has_value());
  const fs::path file = only_code_file();
  const auto written = fs::last_write_time(file);
  ASSERT_TRUE(load().has_value());
  EXPECT_EQ(fs::last_write_time(file), written) << "taken from the cache";
  fs::resize_file(file, 100);
  ASSERT_TRUE(load().has_value());
  EXPECT_GT(fs::file_size(file), 100u) << "compiled anew and kept";
}

}  // namespace
}  // namespace rusm::wasm
