// What every KvStore must do; each implementation is run through it.
#include "kv/kv_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/test_folder.h"
#include "kv/durable_kv_store.h"
#include "kv/memory_kv_store.h"

namespace rusm::kv {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

KvLimits small_limits() {
  return {.bucket_bytes_max = 8,
          .key_bytes_max = 8,
          .value_bytes_max = 100,
          .store_bytes_max = 1000,
          .list_keys_max = 3,
          .batch_entries_max = 7,
          .batch_bytes_max = 1200};
}

enum class Kind : std::uint8_t { kMemory, kDurable };

class KvStoreTest : public ::testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    if (GetParam() == Kind::kMemory) {
      store_ = std::make_unique<MemoryKvStore>(small_limits());
    } else {
      Result<std::unique_ptr<DurableKvStore>> opened =
          DurableKvStore::open({.folder = folder_.path() / "store", .limits = small_limits()});
      ASSERT_TRUE(opened) << opened.error().to_string();
      store_ = std::move(*opened);
    }
  }

  TestFolder folder_;
  std::unique_ptr<KvStore> store_;
};

TEST_P(KvStoreTest, GivesBackWhatWasSet) {
  const std::string bytes("a\0b\xff", 4);
  ASSERT_TRUE(store_->set("b", "k", bytes));
  EXPECT_EQ(**store_->get("b", "k"), bytes);
  EXPECT_TRUE(*store_->exists("b", "k"));
  ASSERT_TRUE(store_->set("b", "k", ""));
  EXPECT_EQ(**store_->get("b", "k"), "");
}

TEST_P(KvStoreTest, BucketsAreApart) {
  ASSERT_TRUE(store_->set("one", "k", "1"));
  EXPECT_FALSE(store_->get("two", "k")->has_value());
  EXPECT_FALSE(*store_->exists("two", "k"));
  EXPECT_FALSE(*store_->remove("two", "k"));
  EXPECT_EQ(**store_->get("one", "k"), "1");
}

TEST_P(KvStoreTest, RemoveSaysWhetherItWasThere) {
  ASSERT_TRUE(store_->set("b", "k", "v"));
  EXPECT_TRUE(*store_->remove("b", "k"));
  EXPECT_FALSE(*store_->remove("b", "k"));
  EXPECT_FALSE(store_->get("b", "k")->has_value());
}

TEST_P(KvStoreTest, ListIsOrderedByBytesAndPaged) {
  for (const char* key : {"u/2", "u/1", "u/\xff", "u/3", "a", "v"}) ASSERT_TRUE(store_->set("b", key, ""));
  KvPage page = *store_->list("b", "u/", "");
  EXPECT_THAT(page.keys, ElementsAre("u/1", "u/2", "u/3"));
  EXPECT_TRUE(page.more);
  page = *store_->list("b", "u/", page.keys.back());
  EXPECT_THAT(page.keys, ElementsAre("u/\xff"));
  EXPECT_FALSE(page.more);
  EXPECT_THAT(store_->list("b", "", "")->keys, ElementsAre("a", "u/1", "u/2"));
  EXPECT_THAT(store_->list("none", "", "")->keys, IsEmpty());
  EXPECT_THAT(store_->list("b", "u/", "zzz")->keys, IsEmpty());
}

TEST_P(KvStoreTest, NamesAndValuesHaveLimits) {
  EXPECT_EQ(store_->get("", "k").error().code, ErrorCode::kInvalid);
  EXPECT_EQ(store_->get("b", "").error().code, ErrorCode::kInvalid);
  EXPECT_EQ(store_->exists("123456789", "k").error().code, ErrorCode::kInvalid);
  EXPECT_EQ(store_->remove("b", "123456789").error().code, ErrorCode::kInvalid);
  EXPECT_EQ(store_->list("", "", "").error().code, ErrorCode::kInvalid);
  EXPECT_EQ(store_->set("b", "k", std::string(101, 'x')).error().code, ErrorCode::kInvalid);
  EXPECT_TRUE(store_->set("12345678", "12345678", std::string(100, 'x')));
}

TEST_P(KvStoreTest, AFullStoreRefusesUntilSomethingIsRemoved) {
  // An entry of one byte of key and 100 of value counts 165: six of them fit into 1,000.
  for (char key = 'a'; key < 'g'; ++key) ASSERT_TRUE(store_->set("b", std::string(1, key), std::string(100, 'x')));
  EXPECT_EQ(store_->set("b", "g", "").error().code, ErrorCode::kLimit);
  EXPECT_FALSE(*store_->exists("b", "g"));
  EXPECT_TRUE(store_->set("b", "a", std::string(50, 'y'))) << "a smaller value in the place of a larger one fits";
  EXPECT_TRUE(*store_->remove("b", "b"));
  EXPECT_TRUE(store_->set("b", "g", std::string(100, 'x')));
}

TEST_P(KvStoreTest, AReaderSeesWholeValues) {
  const std::string ones(100, '1');
  const std::string twos(100, '2');
  ASSERT_TRUE(store_->set("b", "k", ones));
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (int i = 0; !stop.load(); ++i) {
      const Result<> done = store_->set("b", "k", i % 2 ? ones : twos);
      EXPECT_TRUE(done);
    }
  });
  for (int i = 0; i < 2000; ++i) {
    const std::string seen = **store_->get("b", "k");
    EXPECT_TRUE(seen == ones || seen == twos) << seen;
  }
  stop.store(true);
  writer.join();
}

TEST_P(KvStoreTest, CompareAndSetDoesSoOnlyFromWhatIsExpected) {
  EXPECT_FALSE(*store_->compare_and_set("b", "k", "old", "new")) << "there is no such key";
  EXPECT_TRUE(*store_->compare_and_set("b", "k", std::nullopt, ""));
  EXPECT_FALSE(*store_->compare_and_set("b", "k", std::nullopt, "new")) << "an empty value is a value";
  EXPECT_TRUE(*store_->compare_and_set("b", "k", "", std::string_view("a\0b", 3)));
  EXPECT_FALSE(*store_->compare_and_set("b", "k", "a", "new")) << "a value is compared to its end";
  EXPECT_TRUE(*store_->compare_and_set("b", "k", std::string_view("a\0b", 3), std::nullopt));
  EXPECT_FALSE(*store_->exists("b", "k"));
  EXPECT_EQ(store_->compare_and_set("b", "", std::nullopt, "v").error().code, ErrorCode::kInvalid);
}

TEST_P(KvStoreTest, ABatchIsDoneInItsOrderAndWhole) {
  ASSERT_TRUE(store_->set("one", "gone", "1"));
  KvBatch batch;
  batch.set("one", "k", "1").set("two", "k", "2").remove("one", "gone").remove("one", "none");
  batch.set("one", "k", "3").set("two", "x", "4").remove("two", "x");
  const KvOutcome outcome = *store_->commit(batch);
  EXPECT_TRUE(outcome.applied());
  EXPECT_EQ(outcome.removed, 2u) << "what was there, and what the batch itself had put there";
  EXPECT_EQ(**store_->get("one", "k"), "3");
  EXPECT_EQ(**store_->get("two", "k"), "2");
  EXPECT_FALSE(*store_->exists("one", "gone"));
  EXPECT_FALSE(*store_->exists("two", "x"));
  EXPECT_TRUE(store_->commit({})->applied()) << "of nothing";
}

TEST_P(KvStoreTest, ABatchSaysWhichExpectationFailed) {
  ASSERT_TRUE(store_->set("b", "there", "1"));
  KvBatch batch;
  batch.expect("b", "there", "1").expect_absent("b", "none").expect("b", "there", "2").expect_absent("b", "there");
  batch.set("b", "new", "v").remove("b", "there");
  const KvOutcome outcome = *store_->commit(batch);
  ASSERT_FALSE(outcome.applied());
  EXPECT_EQ(*outcome.failed, 2u);
  EXPECT_FALSE(*store_->exists("b", "new"));
  EXPECT_TRUE(*store_->exists("b", "there"));
  batch.expectations.resize(2);
  EXPECT_TRUE(store_->commit(batch)->applied());
  EXPECT_TRUE(*store_->exists("b", "new"));
  EXPECT_FALSE(*store_->exists("b", "there"));
}

TEST_P(KvStoreTest, ExpectationsLookAtWhatWasThereBeforeTheBatch) {
  KvBatch batch;
  batch.set("b", "k", "1").expect_absent("b", "k");
  EXPECT_TRUE(store_->commit(batch)->applied());
  EXPECT_FALSE(store_->commit(batch)->applied());
}

TEST_P(KvStoreTest, ABatchThatDoesNotFitChangesNothing) {
  const std::string large(100, 'x');
  ASSERT_TRUE(store_->set("b", "old", large));
  KvBatch batch;
  for (char key = 'a'; key < 'g'; ++key) batch.set("b", std::string(1, key), large);
  EXPECT_EQ(store_->commit(batch).error().code, ErrorCode::kLimit);
  EXPECT_THAT(store_->list("b", "", "")->keys, ElementsAre("old"));
  batch.remove("b", "old");
  EXPECT_TRUE(store_->commit(batch)->applied()) << "what counts is the end";
}

TEST_P(KvStoreTest, ABatchIsCheckedBeforeItIsDone) {
  KvBatch batch;
  batch.set("b", "k", "v").set("b", "", "v");
  EXPECT_EQ(store_->commit(batch).error().code, ErrorCode::kInvalid);
  batch.writes.pop_back();
  batch.expect_absent("123456789", "k");
  EXPECT_EQ(store_->commit(batch).error().code, ErrorCode::kInvalid);
  EXPECT_FALSE(*store_->exists("b", "k"));
}

TEST_P(KvStoreTest, ABatchHasLimits) {
  KvBatch many;
  for (int i = 0; i < 7; ++i) many.set("b", "k", "");
  EXPECT_TRUE(store_->commit(many)->applied());
  many.expect("b", "k", "");
  EXPECT_EQ(store_->commit(many).error().code, ErrorCode::kLimit);
  KvBatch large;
  for (int i = 0; i < 7; ++i) large.set("12345678", "12345678", std::string(100, 'x'));
  EXPECT_EQ(store_->commit(large).error().code, ErrorCode::kLimit);
}

TEST_P(KvStoreTest, ManyThreadsCountWithoutLosingOne) {
  constexpr int kThreads = 4;
  constexpr int kEach = 50;
  ASSERT_TRUE(store_->set("b", "n", "0"));
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int done = 0; done < kEach;) {
        const std::string seen = **store_->get("b", "n");
        done += *store_->compare_and_set("b", "n", seen, std::to_string(std::stoi(seen) + 1)) ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(**store_->get("b", "n"), std::to_string(kThreads * kEach));
}

INSTANTIATE_TEST_SUITE_P(Every, KvStoreTest, ::testing::Values(Kind::kMemory, Kind::kDurable),
                         [](const auto& run) { return run.param == Kind::kMemory ? "Memory" : "Durable"; });

TEST(MemoryKvStoreTest, CountsItsBytes) {
  MemoryKvStore store;
  ASSERT_TRUE(store.set("b", "key", "value"));
  EXPECT_EQ(store.bytes(), 3 + 5 + kEntryBytes);
  ASSERT_TRUE(store.set("b", "key", "v"));
  EXPECT_EQ(store.bytes(), 3 + 1 + kEntryBytes);
  ASSERT_TRUE(store.remove("b", "key"));
  EXPECT_EQ(store.bytes(), 0u);
}

}  // namespace
}  // namespace rusm::kv
