// A durable store on a disk that fails: full, broken, without power.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/test_folder.h"
#include "durability/fault_vfs.h"
#include "kv/durable_kv_store.h"

namespace rusm::kv {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr std::uint64_t kPowerCuts = 300;
constexpr int kThreads = 3;

class KvPowerTest : public ::testing::Test {
 protected:
  void SetUp() override { open(nullptr); }

  void open(FaultVfs* vfs, int log_pages_max = 24) {
    store_.reset();
    DurableKvOptions options{.folder = folder_, .readers_max = 1, .log_pages_max = log_pages_max};
    if (vfs != nullptr) options.vfs = vfs->name();
    Result<std::unique_ptr<DurableKvStore>> opened = DurableKvStore::open(options);
    ASSERT_TRUE(opened) << opened.error().to_string();
    store_ = std::move(*opened);
  }

  TestFolder tests_{folder_in_memory()};
  fs::path folder_ = tests_.path() / "store";
  FaultVfs vfs_;
  std::unique_ptr<DurableKvStore> store_;
};

TEST_F(KvPowerTest, AFullDiskRefusesAndTheStoreGoesOnOnceThereIsRoom) {
  open(&vfs_);
  ASSERT_TRUE(store_->set("b", "before", "v"));
  for (std::uint64_t nth = 1; nth <= 6; ++nth) {
    vfs_.fail(FaultVfs::On::kWrite, nth, SQLITE_FULL);
    int refused = 0;
    for (int i = 0; i < 8; ++i) {
      const Result<> done = store_->set("b", "during", std::to_string(nth * 10 + static_cast<unsigned>(i)));
      if (done) continue;
      ++refused;
      EXPECT_EQ(done.error().code, ErrorCode::kLimit);
      EXPECT_THAT(done.error().text, HasSubstr("disk is full"));
      EXPECT_EQ(**store_->get("b", "before"), "v");
    }
    EXPECT_GT(refused, 0);
    vfs_.heal();
    ASSERT_TRUE(store_->set("b", "after", std::to_string(nth)));
  }
  open(nullptr);
  EXPECT_EQ(**store_->get("b", "after"), "6");
  EXPECT_TRUE(store_->check());
}

TEST_F(KvPowerTest, AWriteThatFailsIsAnErrorAndTheNextMayDo) {
  open(&vfs_);
  vfs_.fail(FaultVfs::On::kWrite, 1, SQLITE_IOERR_WRITE, 1);
  const Result<> done = store_->set("b", "k", "1");
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::kIo);
  EXPECT_FALSE(*store_->exists("b", "k"));
  EXPECT_TRUE(store_->set("b", "k", "2"));
  EXPECT_EQ(**store_->get("b", "k"), "2");
}

// What the system could not write it may have dropped, and then says no more about it: a later sync proves nothing.
TEST_F(KvPowerTest, AfterASyncThatFailedNothingIsWrittenAnyMore) {
  open(&vfs_);
  ASSERT_TRUE(store_->set("b", "before", "v"));
  vfs_.fail(FaultVfs::On::kSync, 1, SQLITE_IOERR_FSYNC, 1);
  for (int i = 0; i < 3; ++i) {
    const Result<> done = store_->set("b", "k", "v");
    ASSERT_FALSE(done) << "the sync would not fail again";
    EXPECT_EQ(done.error().code, ErrorCode::kIo);
    EXPECT_THAT(done.error().text, HasSubstr("takes no more writes"));
  }
  EXPECT_EQ(**store_->get("b", "before"), "v");
  EXPECT_FALSE(*store_->exists("b", "k"));
  open(nullptr);
  EXPECT_EQ(**store_->get("b", "before"), "v");
  EXPECT_TRUE(store_->set("b", "k", "v"));
}

TEST_F(KvPowerTest, ASyncThatFailsWhileTheLogIsMovedClosesTheStoreToo) {
  open(&vfs_, 4);
  std::uint64_t done = 0;
  vfs_.fail(FaultVfs::On::kSync, 4, SQLITE_IOERR_FSYNC, 1);
  Result<> last;
  while (done < 100 && (last = store_->set("b", std::to_string(done), std::string(2000, 'x')))) ++done;
  ASSERT_FALSE(last);
  EXPECT_THAT(last.error().text, HasSubstr("takes no more writes"));
  ASSERT_GT(done, 0u);
  open(nullptr);
  for (std::uint64_t i = 0; i < done; ++i) EXPECT_TRUE(*store_->exists("b", std::to_string(i)));
}

// Each thread counts up in two buckets at once, until the power is gone. Returns the last number acknowledged.
std::uint64_t count_up(DurableKvStore& store, int thread, std::uint64_t seed) {
  Random random(seed);
  for (std::uint64_t number = 1;; ++number) {
    const std::string key = std::to_string(thread);
    const std::string value = std::to_string(number) + ":" + std::string(random.below(3000), 'x');
    KvBatch batch;
    batch.set("one", key, value).set("two", key, value).set("each", key + "/" + std::to_string(number % 50), value);
    if (!store.commit(std::move(batch))) return number - 1;
  }
}

TEST_F(KvPowerTest, WhatWasAcknowledgedIsThereAfterThePowerWasCut) {
  for (std::uint64_t seed = 1; seed <= kPowerCuts && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    store_.reset();
    fs::remove_all(folder_);
    open(nullptr);
    FaultVfs vfs;
    open(&vfs, static_cast<int>(8 + random.below(40)));
    vfs.cut_power_after(1 + random.below(300));
    std::vector<std::uint64_t> acknowledged(kThreads);
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] { acknowledged[static_cast<std::size_t>(t)] = count_up(*store_, t, seed); });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_TRUE(vfs.is_off());
    const auto left = vfs.left_over(random);
    const std::string mark = read_file(folder_ / "mark");
    store_.reset();
    fs::remove_all(folder_);
    fs::create_directory(folder_);
    for (const auto& [path, bytes] : left) {
      if (!path.empty()) write_file(path, bytes);
    }
    // The mark is not synced: it may be as new as the last transaction, or as old as the store.
    if (random.below(2) == 0) write_file(folder_ / "mark", mark);
    open(nullptr);
    ASSERT_NE(store_, nullptr);
    const Result<> whole = store_->check();
    EXPECT_TRUE(whole) << whole.error().to_string();
    for (int t = 0; t < kThreads; ++t) {
      const std::string one = store_->get("one", std::to_string(t))->value_or("0:");
      EXPECT_EQ(one, store_->get("two", std::to_string(t))->value_or("0:")) << "half a batch";
      EXPECT_GE(std::stoull(one), acknowledged[static_cast<std::size_t>(t)]);
      EXPECT_LE(std::stoull(one), acknowledged[static_cast<std::size_t>(t)] + 1);
    }
  }
}

}  // namespace
}  // namespace rusm::kv
