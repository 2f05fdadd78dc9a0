// What every KvStore must do; each implementation is run through it.
#include "kv/kv_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "kv/memory_kv_store.h"

namespace rusm::kv {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

KvLimits small_limits() {
  return {
      .bucket_bytes_max = 8, .key_bytes_max = 8, .value_bytes_max = 100, .store_bytes_max = 1000, .list_keys_max = 3};
}

using MakeStore = std::function<std::unique_ptr<KvStore>(KvLimits)>;

class KvStoreTest : public ::testing::TestWithParam<MakeStore> {
 protected:
  std::unique_ptr<KvStore> store_ = GetParam()(small_limits());
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

INSTANTIATE_TEST_SUITE_P(Memory, KvStoreTest, ::testing::Values([](KvLimits limits) -> std::unique_ptr<KvStore> {
                           return std::make_unique<MemoryKvStore>(limits);
                         }));

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
