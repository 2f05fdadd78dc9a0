// A durable store on a disk that is held up: what happens while a read, a write or a sync takes its time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <future>
#include <latch>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/entropy.h"
#include "base/test_folder.h"
#include "durability/fault_vfs.h"
#include "kv/durable_kv_store.h"
#include "kv/kv_process.h"
#include "otp/reactor.h"
#include "otp/runtime.h"

namespace rusm::kv {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr Nanoseconds kLong = 60 * kSecond;

class Together final : public KvPending {
 public:
  Together(KvBatch batch, std::shared_ptr<std::latch> left) : KvPending(std::move(batch)), left_(std::move(left)) {}

 private:
  void on_done() noexcept override { left_->count_down(); }
  const std::shared_ptr<std::latch> left_;
};

std::vector<KvBatch> eight_batches() {
  std::vector<KvBatch> batches(8);
  for (std::size_t i = 0; i < batches.size(); ++i) batches[i].set("b", "together " + std::to_string(i), "v");
  return batches;
}

int count_errors(const std::vector<Result<KvOutcome>>& outcomes) {
  return static_cast<int>(std::ranges::count_if(outcomes, [](const auto& outcome) { return !outcome; }));
}

class KvHoldTest : public ::testing::Test {
 protected:
  void SetUp() override { reopen(); }
  void TearDown() override { vfs_.release(); }

  // The caches are empty then, and so is the log.
  void reopen(DurableKvOptions options = {}) {
    store_.reset();
    options.folder = folder_;
    options.vfs = vfs_.name();
    Result<std::unique_ptr<DurableKvStore>> opened = DurableKvStore::open(options);
    ASSERT_TRUE(opened) << opened.error().to_string();
    store_ = std::move(*opened);
  }

  // Hands these over while the writer is held up, so that they are one group, and waits for what becomes of them.
  std::vector<Result<KvOutcome>> commit_together(std::vector<KvBatch> batches) {
    // The log is begun, so that the sync of a commit comes after all that it writes.
    EXPECT_TRUE(store_->set("b", "before", "v"));
    vfs_.hold(FaultVfs::On::kSync);
    auto first = std::async(std::launch::async, [this] { return store_->set("b", "first", "v"); });
    EXPECT_TRUE(vfs_.wait_until_one_is_held());
    std::vector<Ref<Together>> pending;
    const auto left = std::make_shared<std::latch>(static_cast<std::ptrdiff_t>(batches.size()));
    for (KvBatch& batch : batches) {
      pending.push_back(make_ref<Together>(std::move(batch), left));
      store_->submit(pending.back());
    }
    if (at_release_) at_release_();
    before_ = store_->stats();
    vfs_.release();
    EXPECT_TRUE(first.get());
    left->wait();
    std::vector<Result<KvOutcome>> outcomes;
    for (const Ref<Together>& each : pending) outcomes.push_back(each->take());
    return outcomes;
  }
  // Transactions of the group of commit_together().
  std::uint64_t transactions() const { return store_->stats().transactions - before_.transactions - 1; }

  TestFolder tests_{folder_in_memory()};
  const fs::path folder_ = tests_.path() / "store";
  FaultVfs vfs_;
  std::unique_ptr<DurableKvStore> store_;
  std::function<void()> at_release_;
  DurableKvStats before_;
};

TEST_F(KvHoldTest, AnExpectationReadsNoMoreThanItHasBroughtWithIt) {
  constexpr std::size_t kLarge = 4u << 20;
  ASSERT_TRUE(store_->set("b", "large", std::string(kLarge, 'x')));
  const KvBatch absent = KvBatch().expect_absent("b", "large");
  const KvBatch other = KvBatch().expect("b", "large", "v");
  const KvBatch beside = KvBatch().expect_absent("b", "larg").expect_absent("b", "large one");
  for (const KvBatch& batch : {absent, other, beside}) {
    reopen();
    const std::uint64_t before = vfs_.bytes_read();
    EXPECT_EQ(store_->commit(batch)->applied(), batch.expectations.size() == 2);
    EXPECT_LT(vfs_.bytes_read() - before, kLarge / 8);
  }
  EXPECT_TRUE(store_->commit(KvBatch().expect("b", "large", std::string(kLarge, 'x')))->applied());
  EXPECT_FALSE(store_->commit(KvBatch().expect("b", "large", std::string(kLarge, 'y')))->applied());
}

struct Node {
  SystemClock clock;
  SystemEntropy entropy;
  otp::QuietReactorFactory reactors;
  otp::Runtime runtime{{.workers = 2}, {clock, entropy, reactors}};
};

otp::Routine reads_once(otp::Self& self, DurableKvStore* store) {
  (void)co_await kv::get(self, *store, "b", "large");
}

TEST_F(KvHoldTest, TheStoreWaitsForTheReadOfAProcessThatWasKilled) {
  ASSERT_TRUE(store_->set("b", "large", std::string(100'000, 'x')));
  reopen();
  Node node;
  vfs_.hold(FaultVfs::On::kRead);
  const otp::Pid pid = node.runtime.spawn(reads_once, store_.get());
  ASSERT_TRUE(vfs_.wait_until_one_is_held());
  node.runtime.exit(pid, otp::ExitReason::Kind::kKill);
  ASSERT_TRUE(node.runtime.wait_for(pid, kLong)) << "it is gone at once, though its read goes on";
  std::future<void> destroyed = std::async(std::launch::async, [this] { store_.reset(); });
  // However long that takes: never before the read is back.
  EXPECT_EQ(destroyed.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  vfs_.release();
  EXPECT_EQ(destroyed.wait_for(std::chrono::nanoseconds(kLong)), std::future_status::ready);
}

TEST_F(KvHoldTest, ReadsThatWaitForTheirTurnAreRefusedWhenTheStoreIsDestroyed) {
  ASSERT_TRUE(store_->set("b", "large", std::string(100'000, 'x')));
  reopen({.folder = {}, .readers_max = 1});
  DurableKvStore* store = store_.get();
  vfs_.hold(FaultVfs::On::kRead);
  const auto read = [store] { return store->get("b", "large"); };
  auto first = std::async(std::launch::async, read);
  ASSERT_TRUE(vfs_.wait_until_one_is_held());
  auto hold = std::make_unique<KvReadHold>(*store);  // as a process has one before its read begins
  std::future<void> destroyed = std::async(std::launch::async, [this] { store_.reset(); });
  auto second = std::async(std::launch::async, [&] {
    const auto got = read();
    hold.reset();
    return got;
  });
  // Waits for its turn until the store is being closed, while the first read still has the only reader.
  const Result<std::optional<std::string>> got = second.get();
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(destroyed.wait_for(std::chrono::nanoseconds(0)), std::future_status::timeout);
  vfs_.release();
  EXPECT_TRUE(first.get());
  destroyed.get();
}

TEST_F(KvHoldTest, WhatWaitsTogetherIsOneTransaction) {
  EXPECT_EQ(count_errors(commit_together(eight_batches())), 0);
  EXPECT_EQ(transactions(), 1u);
  EXPECT_EQ(store_->list("b", "together", "")->keys.size(), 8u);
}

TEST_F(KvHoldTest, OneBatchThatCannotBeAppliedTakesNoOtherWithItAndCostsTheOthersNoSync) {
  const std::string large(400'000, 'x');
  ASSERT_TRUE(store_->set("b", "large", large));
  reopen();
  std::string bytes = read_file(folder_ / "store.db");
  bytes[bytes.find(std::string(1000, 'x')) + 200'000] = 'y';
  write_file(folder_ / "store.db", bytes);
  std::vector<KvBatch> batches = eight_batches();
  batches[3].expect("b", "large", large);
  const std::vector<Result<KvOutcome>> outcomes = commit_together(std::move(batches));
  EXPECT_EQ(count_errors(outcomes), 1);
  ASSERT_FALSE(outcomes[3]);
  EXPECT_EQ(outcomes[3].error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(transactions(), 1u);
  EXPECT_EQ(store_->list("b", "together", "")->keys.size(), 7u);
}

TEST_F(KvHoldTest, AGroupThatCannotBeWrittenIsWrittenByHalves) {
  at_release_ = [this] { vfs_.fail(FaultVfs::On::kWrite, 1, SQLITE_IOERR_WRITE, 1); };
  EXPECT_EQ(count_errors(commit_together(eight_batches())), 0);
  EXPECT_EQ(transactions(), 2u);
  EXPECT_EQ(store_->list("b", "together", "")->keys.size(), 8u);
}

TEST_F(KvHoldTest, WhatFailsAgainIsRefusedAloneInTheEnd) {
  // The whole, the first half, the first quarter, and the first alone.
  at_release_ = [this] { vfs_.fail(FaultVfs::On::kWrite, 1, SQLITE_IOERR_WRITE, 4); };
  const std::vector<Result<KvOutcome>> outcomes = commit_together(eight_batches());
  EXPECT_EQ(count_errors(outcomes), 1);
  EXPECT_FALSE(outcomes[0]);
  EXPECT_EQ(transactions(), 3u);
}

TEST_F(KvHoldTest, ALogThatABackupPinsHasALimit) {
  reopen({.folder = {}, .log_pages_max = 16, .log_bytes_max = 256u << 10});
  ASSERT_TRUE(store_->set("b", "k", std::string(100'000, 'x')));
  vfs_.hold(FaultVfs::On::kWrite,
            [this](const std::string& path) { return !path.starts_with(folder_.string() + "/"); });
  auto backed_up = std::async(std::launch::async, [this] { return store_->back_up(tests_.path() / "backup"); });
  ASSERT_TRUE(vfs_.wait_until_one_is_held());
  Result<> done;
  int written = 0;
  for (; done && written < 1000; ++written) done = store_->set("b", "k", std::string(10'000, 'y'));
  ASSERT_FALSE(done) << "the log grows without end";
  EXPECT_EQ(done.error().code, ErrorCode::kLimit);
  EXPECT_THAT(done.error().text, HasSubstr("a backup"));
  EXPECT_LT(fs::file_size(folder_ / "store.db-wal"), 512u << 10);
  EXPECT_GT(store_->stats().log_pages, 40u);
  EXPECT_EQ(store_->stats().log_full, 1u);
  vfs_.release();
  EXPECT_TRUE(backed_up.get());
  done = store_->set("b", "k", "after");
  EXPECT_TRUE(done) << done.error().to_string();
  EXPECT_LT(store_->stats().log_pages, 16u);
}

TEST_F(KvHoldTest, ALogThatCannotBeMovedSaysWhy) {
  reopen({.folder = {}, .log_pages_max = 4, .log_bytes_max = 256u << 10});
  vfs_.fail(FaultVfs::On::kWrite, 1, SQLITE_FULL, 1'000'000,
            [](const std::string& path) { return path.ends_with("store.db"); });
  Result<> done;
  for (int i = 0; done && i < 1000; ++i) done = store_->set("b", "k", std::string(10'000, 'y'));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::kLimit);
  EXPECT_THAT(done.error().text, HasSubstr("disk is full"));
  ASSERT_TRUE(store_->stats().log_error);
  EXPECT_EQ(store_->stats().log_error->code, ErrorCode::kLimit);
  vfs_.heal();
  EXPECT_TRUE(store_->set("b", "k", "v"));
  EXPECT_FALSE(store_->stats().log_error);
}

}  // namespace
}  // namespace rusm::kv
