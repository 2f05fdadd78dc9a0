#include "kv/durable_kv_store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "base/entropy.h"
#include "base/test_folder.h"
#include "kv/checksum.h"
#include "kv/sqlite.h"
#include "kv/store_vfs.h"

namespace rusm::kv {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::unique_ptr<DurableKvStore> open_at(const std::filesystem::path& folder, KvLimits limits = {}) {
  Result<std::unique_ptr<DurableKvStore>> opened = DurableKvStore::open({.folder = folder, .limits = limits});
  if (opened) return std::move(*opened);
  ADD_FAILURE() << opened.error().to_string();
  return nullptr;
}

Error error_at(const std::filesystem::path& folder) {
  Result<std::unique_ptr<DurableKvStore>> opened = DurableKvStore::open({.folder = folder});
  if (!opened) return opened.error();
  ADD_FAILURE() << "it opened";
  return {};
}

class DurableKvStoreTest : public ::testing::Test {
 protected:
  TestFolder tests_;
  const std::filesystem::path folder_ = tests_.path() / "store";
};

std::uint64_t checksum_of(std::string_view text) {
  return checksum(std::as_bytes(std::span(text)), 0);
}

TEST(Checksum, IsThatOfItsSpecification) {
  EXPECT_EQ(checksum_of(""), 0xef46db3751d8e999u);
  EXPECT_EQ(checksum_of("a"), 0xd24ec4f1a98c6e5bu);
  EXPECT_EQ(checksum_of("abc"), 0x44bc2cf5ad770999u);
  EXPECT_EQ(checksum_of("The quick brown fox jumps over the lazy dog"), 0x0b242d361fda71bcu);
  std::vector<std::byte> page(4096);
  for (std::size_t i = 0; i < page.size(); ++i) page[i] = static_cast<std::byte>(i);
  EXPECT_EQ(checksum(page, 7), 0xc5014805163eb163u);
}

TEST_F(DurableKvStoreTest, KeepsWhatWasSetWhenItIsOpenedAgain) {
  const std::string large(3u << 20, 'x');
  {
    const auto store = open_at(folder_);
    ASSERT_TRUE(store->set("b", "k", "v"));
    ASSERT_TRUE(store->set("b", "empty", ""));
    ASSERT_TRUE(store->set("b", "large", large));
    ASSERT_TRUE(store->set("b", "gone", "v"));
    ASSERT_TRUE(*store->remove("b", "gone"));
  }
  const auto store = open_at(folder_);
  EXPECT_EQ(**store->get("b", "k"), "v");
  EXPECT_EQ(**store->get("b", "empty"), "");
  EXPECT_EQ(**store->get("b", "large"), large);
  EXPECT_THAT(store->list("b", "", "")->keys, ElementsAre("empty", "k", "large"));
  EXPECT_TRUE(store->check());
}

TEST_F(DurableKvStoreTest, CountsItsBytesAcrossOpenings) {
  {
    const auto store = open_at(folder_);
    ASSERT_TRUE(store->set("b", "key", "value"));
    ASSERT_TRUE(store->set("b", "key", "v"));
    EXPECT_EQ(store->stats().bytes, 3 + 1 + kEntryBytes);
  }
  const auto store = open_at(folder_, {.store_bytes_max = 100});
  EXPECT_EQ(store->stats().bytes, 3 + 1 + kEntryBytes);
  EXPECT_EQ(store->set("b", "other", "v").error().code, ErrorCode::kLimit);
  ASSERT_TRUE(*store->remove("b", "key"));
  EXPECT_EQ(store->stats().bytes, 0u);
  EXPECT_TRUE(store->set("b", "other", "v"));
}

TEST_F(DurableKvStoreTest, AStoreAboveALoweredLimitCanShrink) {
  open_at(folder_)->set("b", "k", std::string(1000, 'x')).value();
  const auto store = open_at(folder_, {.store_bytes_max = 100});
  EXPECT_TRUE(store->set("b", "k", std::string(500, 'x')));
  EXPECT_EQ(store->set("b", "k", std::string(600, 'x')).error().code, ErrorCode::kLimit);
}

TEST_F(DurableKvStoreTest, WritesThatComeTogetherShareATransaction) {
  constexpr int kThreads = 16;
  constexpr int kEach = 20;
  const auto store = open_at(folder_);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) ASSERT_TRUE(store->set("b", std::to_string(t) + "/" + std::to_string(i), "v"));
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(store->stats().batches, static_cast<std::uint64_t>(kThreads * kEach));
  EXPECT_LT(store->stats().transactions, store->stats().batches);
  EXPECT_EQ(store->stats().bytes,
            kThreads * kEach * (kEntryBytes + 1) + 10 * 10 * 3 + 6 * 10 * 4 + 10 * 10 * 4 + 6 * 10 * 5);
}

class Counted final : public KvPending {
 public:
  using KvPending::KvPending;
  static inline std::atomic<int> done{0};

 private:
  void on_done() noexcept override { done.fetch_add(1); }
};

TEST_F(DurableKvStoreTest, TheQueueHasALimitAndClosingWritesWhatWaits) {
  std::vector<Ref<Counted>> pending;
  int refused = 0;
  Counted::done = 0;
  {
    Result<std::unique_ptr<DurableKvStore>> store = DurableKvStore::open({.folder = folder_, .queue_batches_max = 8});
    ASSERT_TRUE(store);
    for (int i = 0; i < 500; ++i) {
      pending.push_back(make_ref<Counted>(std::move(KvBatch().set("b", std::to_string(i), std::string(1000, 'x')))));
      (*store)->submit(pending.back());
    }
  }
  EXPECT_EQ(Counted::done.load(), 500);
  const auto store = open_at(folder_);
  for (int i = 0; i < 500; ++i) {
    ASSERT_TRUE(pending[static_cast<std::size_t>(i)]->is_done());
    const Result<KvOutcome> outcome = pending[static_cast<std::size_t>(i)]->take();
    EXPECT_EQ(*store->exists("b", std::to_string(i)), outcome.has_value());
    if (!outcome) EXPECT_EQ(outcome.error().code, ErrorCode::kLimit);
    refused += outcome ? 0 : 1;
  }
  EXPECT_GT(refused, 0);
  EXPECT_LT(refused, 500);
}

TEST_F(DurableKvStoreTest, IsOpenOnce) {
  const auto store = open_at(folder_);
  const Error error = error_at(folder_);
  EXPECT_EQ(error.code, ErrorCode::kExists);
  EXPECT_THAT(error.text, HasSubstr("open already"));
}

TEST_F(DurableKvStoreTest, OtherProgramsCannotOpenItMeanwhile) {
  const auto store = open_at(folder_);
  ASSERT_TRUE(store->set("b", "k", "v"));
  const pid_t child = fork();
  if (child == 0) {
    // As SQLite does to read: a lock on its bytes of the file.
    struct flock lock{.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0x40000002, .l_len = 510, .l_pid = 0};
    const int file = ::open((folder_ / "store.db").c_str(), O_RDWR);
    _exit(file < 0 ? 1 : fcntl(file, F_SETLK, &lock) == 0 ? 2 : errno == EAGAIN || errno == EACCES ? 3 : 4);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 3);
}

TEST_F(DurableKvStoreTest, SaysWhatIsWrongWithTheFolder) {
  EXPECT_EQ(error_at("").code, ErrorCode::kInvalid);
  EXPECT_EQ(error_at(tests_.path() / "none" / "store").code, ErrorCode::kNotFound);
  write_file(tests_.path() / "file", "text");
  EXPECT_EQ(error_at(tests_.path() / "file").code, ErrorCode::kInvalid);
  EXPECT_EQ(error_at(tests_.path() / "file" / "store").code, ErrorCode::kNotFound);
}

TEST_F(DurableKvStoreTest, RefusesWhatIsNoStoreAndLeavesItAlone) {
  std::filesystem::create_directory(folder_);
  const std::string text(5000, 'x');
  write_file(folder_ / "store.db", text);
  EXPECT_EQ(error_at(folder_).code, ErrorCode::kInvalid);
  EXPECT_EQ(read_file(folder_ / "store.db"), text);
  std::filesystem::remove(folder_ / "store.db");
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open((folder_ / "store.db").c_str(), &other), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(other, "create table t(x)", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(other);
  EXPECT_THAT(error_at(folder_).text, HasSubstr("no store"));
  std::filesystem::remove(folder_ / "store.db");
  std::filesystem::create_directory(folder_ / "store.db");
  EXPECT_EQ(error_at(folder_).code, ErrorCode::kInvalid);
}

TEST_F(DurableKvStoreTest, RefusesAnotherVersion) {
  open_at(folder_).reset();
  std::string bytes = read_file(folder_ / "store.db");
  bytes[63] = 3;
  write_file(folder_ / "store.db", bytes);
  const Error error = error_at(folder_);
  EXPECT_EQ(error.code, ErrorCode::kInvalid);
  EXPECT_THAT(error.text, HasSubstr("format 3"));
}

TEST_F(DurableKvStoreTest, AStoreOfTheFirstFormatIsUsedAsItIs) {
  std::filesystem::create_directory(folder_);
  const std::string path = (folder_ / "store.db").string();
  write_file(path, "");
  {
    const auto vfs = *StoreVfs::make("unix-excl", path);
    Connection connection = *Connection::open(path, vfs->name());
    const Result<> made = connection.execute(
        "begin; CREATE TABLE entries(bucket blob not null, key blob not null, value blob not null, primary key(bucket, "
        "key)) without rowid; CREATE TABLE state(id integer primary key, sequence integer not null, bytes integer not "
        "null); insert into entries values(x'62', x'6b', x'76'); insert into state values(1, 1, 66); "
        "pragma application_id = 1381323597; pragma user_version = 1; commit");
    ASSERT_TRUE(made) << made.error().to_string();
  }
  for (int opening = 0; opening < 2; ++opening) {
    const auto store = open_at(folder_);
    ASSERT_NE(store, nullptr);
    EXPECT_EQ(**store->get("b", "k"), "v");
    EXPECT_TRUE(store->set("b", "other", "v"));
    EXPECT_TRUE(store->check());
  }
}

TEST_F(DurableKvStoreTest, AMainFileThatIsGoneIsNotAnEmptyStore) {
  open_at(folder_)->set("b", "k", "v").value();
  std::filesystem::remove(folder_ / "store.db");
  EXPECT_EQ(error_at(folder_).code, ErrorCode::kCorrupt);
}

TEST_F(DurableKvStoreTest, AnOlderMainFileInTheFolderOfANewerIsNoticed) {
  open_at(folder_).reset();
  const std::string old = read_file(folder_ / "store.db");
  open_at(folder_)->set("b", "k", "v").value();
  write_file(folder_ / "store.db", old);
  const Error error = error_at(folder_);
  EXPECT_EQ(error.code, ErrorCode::kCorrupt);
  EXPECT_THAT(error.text, HasSubstr("1 acknowledged transactions are missing"));
}

TEST_F(DurableKvStoreTest, PermissionsAreNamed) {
  if (geteuid() == 0) GTEST_SKIP() << "the superuser may do everything";
  open_at(folder_).reset();
  std::filesystem::permissions(folder_ / "store.db", std::filesystem::perms::none);
  EXPECT_EQ(error_at(folder_).code, ErrorCode::kDenied);
}

// The superuser may read everything, and is someone else while this lives. Threads: one; no other may be there.
class OrdinaryUser {
 public:
  explicit OrdinaryUser(const std::filesystem::path& owned) {
    if (geteuid() != 0) return;
    constexpr uid_t kNobody = 65534;
    RUSM_ASSERT(chown(owned.c_str(), kNobody, kNobody) == 0 && seteuid(kNobody) == 0, "cannot be someone else");
    changed_ = true;
  }
  ~OrdinaryUser() {
    if (changed_) RUSM_ASSERT(seteuid(0) == 0, "cannot be the superuser again");
  }
  OrdinaryUser(const OrdinaryUser&) = delete;
  OrdinaryUser& operator=(const OrdinaryUser&) = delete;

 private:
  bool changed_ = false;
};

// Else its name might not be there after a loss of power, and with it all that was acknowledged.
TEST_F(DurableKvStoreTest, AFolderThatCannotBeMadeToLastIsRefused) {
  namespace fs = std::filesystem;
  const OrdinaryUser user(tests_.path());
  fs::create_directory(tests_.path() / "above");
  fs::create_directory(tests_.path() / "above" / "store");
  fs::permissions(tests_.path() / "above", fs::perms::owner_write | fs::perms::owner_exec);
  const Error above = error_at(tests_.path() / "above" / "store");
  EXPECT_EQ(above.code, ErrorCode::kDenied);
  EXPECT_EQ(above.where, (tests_.path() / "above").string());
  EXPECT_THAT(above.text, HasSubstr("make it last"));
  fs::permissions(tests_.path() / "above", fs::perms::owner_all);
  open_at(tests_.path() / "above" / "store").reset();
  fs::permissions(tests_.path() / "above" / "store", fs::perms::owner_write | fs::perms::owner_exec);
  const Error itself = error_at(tests_.path() / "above" / "store");
  EXPECT_EQ(itself.code, ErrorCode::kDenied);
  EXPECT_EQ(itself.where, (tests_.path() / "above" / "store").string());
  fs::permissions(tests_.path() / "above" / "store", fs::perms::owner_all);
}

TEST_F(DurableKvStoreTest, AHalfMadeStoreIsMadeAnew) {
  std::filesystem::create_directory(folder_);
  write_file(folder_ / "store.new", "half");
  write_file(folder_ / "store.new-journal", "half");
  const auto store = open_at(folder_);
  EXPECT_TRUE(store->set("b", "k", "v"));
}

TEST_F(DurableKvStoreTest, FoldersMayBeLinks) {
  namespace fs = std::filesystem;
  fs::create_directory(tests_.path() / "disk");
  fs::create_directory_symlink(tests_.path() / "disk", tests_.path() / "link");
  open_at(tests_.path() / "link" / "store")->set("b", "k", "v").value();
  fs::create_directory_symlink(tests_.path() / "disk" / "store", folder_);
  EXPECT_EQ(**open_at(folder_)->get("b", "k"), "v");
  EXPECT_EQ(**open_at(folder_.string() + "/")->get("b", "k"), "v");
}

TEST_F(DurableKvStoreTest, NobodyElseMayReadIt) {
  namespace fs = std::filesystem;
  fs::create_directory(folder_);
  const auto store = open_at(folder_);
  ASSERT_TRUE(store->set("b", "k", "v"));
  for (const char* name : {"store.db", "store.db-wal", "mark", "lock"}) {
    EXPECT_EQ(fs::status(folder_ / name).permissions(), fs::perms::owner_read | fs::perms::owner_write) << name;
  }
}

TEST_F(DurableKvStoreTest, ABackupIsAStore) {
  const auto store = open_at(folder_);
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(store->set("b", std::to_string(i), std::string(1000, 'x')));
  const Result<> backed_up = store->back_up(tests_.path() / "backup");
  ASSERT_TRUE(backed_up) << backed_up.error().to_string();
  ASSERT_TRUE(store->set("b", "later", "v"));
  EXPECT_EQ(store->back_up(tests_.path() / "backup").error().code, ErrorCode::kExists);
  EXPECT_EQ(store->back_up(tests_.path() / "none" / "backup").error().code, ErrorCode::kNotFound);
  const auto backup = open_at(tests_.path() / "backup");
  EXPECT_TRUE(backup->check());
  EXPECT_EQ(backup->stats().bytes, store->stats().bytes - kEntryBytes - 6);
  EXPECT_EQ(**backup->get("b", "199"), std::string(1000, 'x'));
  EXPECT_FALSE(*backup->exists("b", "later"));
  EXPECT_TRUE(backup->set("b", "k", "v"));
}

TEST_F(DurableKvStoreTest, TheLogIsKeptShort) {
  {
    Result<std::unique_ptr<DurableKvStore>> store = DurableKvStore::open({.folder = folder_, .log_pages_max = 16});
    ASSERT_TRUE(store);
    for (int i = 0; i < 300; ++i) ASSERT_TRUE((*store)->set("b", std::to_string(i % 10), std::string(3000, 'x')));
    EXPECT_LT(std::filesystem::file_size(folder_ / "store.db-wal"), 64 * kPageBytes);
  }
  EXPECT_FALSE(std::filesystem::exists(folder_ / "store.db-wal") &&
               std::filesystem::file_size(folder_ / "store.db-wal") > 0);
}

// Random operations beside a map, with the store closed and opened now and then.
TEST_F(DurableKvStoreTest, DoesAsAMapDoes) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const auto folder = tests_.path() / std::to_string(seed);
    std::map<std::pair<std::string, std::string>, std::string> model;
    auto store = open_at(folder);
    const auto key = [&] { return std::string(1 + random.below(3), static_cast<char>('a' + random.below(3))); };
    const auto value = [&] {
      return std::string(random.below(10) == 0 ? random.below(20'000) : random.below(50),
                         static_cast<char>(random.below(256)));
    };
    for (int i = 0; i < 150; ++i) {
      const std::uint64_t kind = random.below(20);
      if (kind == 0) {
        store.reset();
        store = open_at(folder);
      } else if (kind < 12) {
        KvBatch batch;
        auto after = model;
        bool holds = true;
        for (std::uint64_t n = random.below(3); n > 0; --n) {
          const std::string b = key(), k = key();
          const auto at = model.find({b, k});
          const bool lies = random.below(8) == 0;
          if (at != model.end() && !lies) batch.expect(b, k, at->second);
          if (at == model.end() && !lies) batch.expect_absent(b, k);
          if (lies) batch.expect(b, k, "never"), holds = false;
        }
        for (std::uint64_t n = random.below(5); n > 0; --n) {
          const std::string b = key(), k = key(), v = value();
          if (random.below(3) == 0) {
            batch.remove(b, k);
            after.erase({b, k});
          } else {
            batch.set(b, k, v);
            after.insert_or_assign({b, k}, v);
          }
        }
        ASSERT_EQ(store->commit(batch)->applied(), holds);
        if (holds) model = after;
      } else if (kind < 16) {
        const std::string b = key(), k = key();
        const auto at = model.find({b, k});
        ASSERT_EQ(*store->get(b, k), at == model.end() ? std::nullopt : std::optional(at->second));
      } else {
        const std::string b = key(), prefix = random.below(2) == 0 ? "" : key(), from = key();
        std::vector<std::string> wanted;
        for (const auto& [name, ignored] : model) {
          if (name.first == b && name.second.starts_with(prefix) && name.second > from) wanted.push_back(name.second);
        }
        ASSERT_EQ(store->list(b, prefix, from)->keys, wanted);
      }
    }
    std::uint64_t bytes = 0;
    for (const auto& [name, content] : model) bytes += entry_bytes(name.second.size(), content.size());
    EXPECT_EQ(store->stats().bytes, bytes);
    EXPECT_TRUE(store->check());
  }
}

}  // namespace
}  // namespace rusm::kv
