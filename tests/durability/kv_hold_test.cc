// A durable store on a disk that is held up: what happens while a read, a write or a sync takes its time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/entropy.h"
#include "durability/fault_vfs.h"
#include "kv/durable_kv_store.h"
#include "kv/kv_process.h"
#include "kv/test_folder.h"
#include "otp/reactor.h"
#include "otp/runtime.h"

namespace rusm::kv {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr Nanoseconds kLong = 60 * kSecond;

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

  TestFolder tests_{folder_in_memory()};
  const fs::path folder_ = tests_.path() / "store";
  FaultVfs vfs_;
  std::unique_ptr<DurableKvStore> store_;
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

}  // namespace
}  // namespace rusm::kv
