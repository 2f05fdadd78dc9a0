#include "kv/recent_values.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>

#include "base/test_folder.h"
#include "kv/durable_kv_store.h"

namespace rusm::kv {
namespace {

TEST(RecentValues, FindsWhatIsKeptUntilItIsForgotten) {
  RecentValues values(1 << 20);
  EXPECT_FALSE(values.find("b", "k"));
  values.keep("b", "k", "one");
  values.keep("b", "k", "two");
  EXPECT_EQ(values.find("b", "k"), "two");
  EXPECT_FALSE(values.find("bk", "")) << "another bucket with another key";
  EXPECT_FALSE(values.find("", "bk"));
  values.forget("b", "k");
  values.forget("b", "k");
  EXPECT_FALSE(values.find("b", "k"));
}

TEST(RecentValues, KeepsNoMoreThanItsBytesAndDropsWhatWasUsedLongestAgo) {
  RecentValues values(16 * 1000);
  values.keep("b", "used", "x");
  for (int i = 0; i < 10'000; ++i) {
    values.keep("b", std::to_string(i), std::string(20, 'x'));
    ASSERT_TRUE(values.find("b", "used")) << i;
  }
  int found = 0;
  for (int i = 0; i < 10'000; ++i) found += values.find("b", std::to_string(i)) ? 1 : 0;
  EXPECT_GT(found, 50);
  EXPECT_LT(found, 200);
  EXPECT_TRUE(values.find("b", "9999"));
}

TEST(RecentValues, ALargeValueIsNotKeptAndReplacesASmallOne) {
  RecentValues values(64 << 20);
  values.keep("b", "k", "small");
  values.keep("b", "k", std::string(RecentValues::kValueBytesMax + 1, 'x'));
  EXPECT_FALSE(values.find("b", "k"));
  RecentValues none(0);
  none.keep("b", "k", "v");
  EXPECT_FALSE(none.find("b", "k"));
}

class RecentInStore : public ::testing::Test {
 protected:
  TestFolder tests_;
  std::unique_ptr<DurableKvStore> store_ = std::move(*DurableKvStore::open({.folder = tests_.path() / "store"}));
};

TEST_F(RecentInStore, WhatWasWrittenIsFoundAndWhatWasNotIsNot) {
  ASSERT_TRUE(store_->set("b", "k", "one"));
  EXPECT_EQ(store_->recent("b", "k"), "one");
  EXPECT_EQ(*store_->compare_and_set("b", "k", "other", "two"), false);
  EXPECT_NE(store_->recent("b", "k"), "two");
  EXPECT_EQ(*store_->get("b", "k"), "one");
  EXPECT_EQ(*store_->compare_and_set("b", "k", "one", "two"), true);
  EXPECT_EQ(store_->recent("b", "k"), "two");
  EXPECT_EQ(*store_->remove("b", "k"), true);
  EXPECT_FALSE(store_->recent("b", "k"));
  EXPECT_EQ(*store_->exists("b", "k"), false);
}

TEST_F(RecentInStore, TheLastWriteOfABatchIsWhatIsKept) {
  ASSERT_TRUE(store_->commit(std::move(KvBatch().set("b", "k", "1").remove("b", "k").set("b", "k", "3"))));
  EXPECT_EQ(store_->recent("b", "k"), "3");
  ASSERT_TRUE(store_->commit(std::move(KvBatch().set("b", "k", "4").remove("b", "k"))));
  EXPECT_FALSE(store_->recent("b", "k"));
}

// Each batch adds a key and sets a counter: who sees the key in a list, which the disk answers, must not find an older
// counter in memory. The counter is the last of many writes, so that it takes a while until its new value is kept.
TEST_F(RecentInStore, NobodyGoesBackInTime) {
  constexpr int kNewKeysSeen = 200;
  constexpr int kFiller = 1000;
  std::atomic<int> seen{0};
  std::thread writer([&] {
    for (int i = 100'000; seen < kNewKeysSeen; ++i) {
      KvBatch batch;
      batch.set("keys", std::to_string(i), "");
      for (int j = 0; j < kFiller; ++j) batch.set("b", std::to_string(j), "");
      batch.set("b", "counter", std::to_string(i));
      EXPECT_TRUE(store_->commit(std::move(batch)));
    }
  });
  for (std::string last; seen < kNewKeysSeen;) {
    const Result<KvPage> page = store_->list("keys", "", last);
    EXPECT_TRUE(page);
    if (page->keys.empty()) continue;
    last = page->keys.back();
    const auto counter = store_->get("b", "counter");
    EXPECT_TRUE(counter);
    EXPECT_GE(counter->value_or(""), last);
    ++seen;
  }
  writer.join();
}

}  // namespace
}  // namespace rusm::kv
