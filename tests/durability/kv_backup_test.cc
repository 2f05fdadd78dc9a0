// Backups of a durable store when one of the two disks fails: that of the store or that of the backup.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/test_folder.h"
#include "durability/fault_vfs.h"
#include "kv/durable_kv_store.h"

namespace rusm::kv {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class KvBackupTest : public ::testing::Test {
 protected:
  void SetUp() override {
    store_ = open(folder_, vfs_.name());
    ASSERT_NE(store_, nullptr);
    ASSERT_TRUE(store_->set("b", "before", std::string(200'000, 'x')));
  }
  static std::unique_ptr<DurableKvStore> open(const fs::path& folder, const char* vfs = "unix-excl") {
    Result<std::unique_ptr<DurableKvStore>> opened = DurableKvStore::open({.folder = folder, .vfs = vfs});
    if (opened) return std::move(*opened);
    ADD_FAILURE() << opened.error().to_string();
    return nullptr;
  }
  // What is beside the store.
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const fs::directory_entry& entry : fs::directory_iterator(tests_.path())) {
      names.push_back(entry.path().filename().string());
    }
    std::ranges::sort(names);
    return names;
  }
  // Files of the backup, wherever they lie.
  FaultVfs::Which of_backup() const {
    return [of_store = folder_.string() + "/"](const std::string& path) { return !path.starts_with(of_store); };
  }

  TestFolder tests_{folder_in_memory()};
  const fs::path folder_ = tests_.path() / "store";
  const fs::path backup_ = tests_.path() / "backup";
  FaultVfs vfs_;
  std::unique_ptr<DurableKvStore> store_;
};

TEST_F(KvBackupTest, ADiskOfTheBackupThatFailsDoesNotCloseTheStore) {
  for (const FaultVfs::On on : {FaultVfs::On::kWrite, FaultVfs::On::kSync}) {
    vfs_.fail(on, 1, on == FaultVfs::On::kSync ? SQLITE_IOERR_FSYNC : SQLITE_IOERR_WRITE, 1000, of_backup());
    // A SQLite that leaves the sync of a copy to its caller does not meet the second fault.
    const Result<> backed_up = store_->back_up(backup_);
    if (on == FaultVfs::On::kWrite) EXPECT_FALSE(backed_up);
    const Result<> done = store_->set("b", "after", "v");
    EXPECT_TRUE(done) << done.error().to_string();
  }
}

TEST_F(KvBackupTest, AStoreThatTakesNoMoreWritesCanBeBackedUp) {
  vfs_.fail(FaultVfs::On::kSync, 1, SQLITE_IOERR_FSYNC, 1);
  ASSERT_FALSE(store_->set("b", "k", "v"));
  ASSERT_FALSE(store_->set("b", "k", "v"));
  const Result<> backed_up = store_->back_up(backup_);
  ASSERT_TRUE(backed_up) << backed_up.error().to_string();
  const auto backup = open(backup_);
  EXPECT_TRUE(backup->check());
  EXPECT_EQ(**backup->get("b", "before"), std::string(200'000, 'x'));
  EXPECT_FALSE(*backup->exists("b", "k"));
}

TEST_F(KvBackupTest, AStoreBehindALinkIsClosedAfterASyncThatFailedToo) {
  store_.reset();
  fs::create_directory_symlink(folder_, tests_.path() / "link");
  store_ = open(tests_.path() / "link", vfs_.name());
  vfs_.fail(FaultVfs::On::kSync, 1, SQLITE_IOERR_FSYNC, 1);
  ASSERT_FALSE(store_->set("b", "k", "v"));
  EXPECT_THAT(store_->set("b", "k", "v").error().text, HasSubstr("takes no more writes"));
}

TEST_F(KvBackupTest, ABackupThatFailsLeavesNothingAndSaysWhatItMeans) {
  for (const int code : {SQLITE_FULL, SQLITE_IOERR_WRITE}) {
    vfs_.fail(FaultVfs::On::kWrite, 2, code, 1000, of_backup());
    const Result<> backed_up = store_->back_up(backup_);
    ASSERT_FALSE(backed_up);
    EXPECT_EQ(backed_up.error().code, code == SQLITE_FULL ? ErrorCode::kLimit : ErrorCode::kIo);
    EXPECT_EQ(backed_up.error().where, backup_.string());
    EXPECT_THAT(backed_up.error().text, HasSubstr("nothing of it is left; the store itself is as it was"));
    EXPECT_THAT(names(), ElementsAre("store"));
  }
  vfs_.heal();
  EXPECT_TRUE(store_->back_up(backup_));
  EXPECT_THAT(names(), ElementsAre("backup", "store"));
}

TEST_F(KvBackupTest, ABackupTouchesNoOtherFolder) {
  fs::create_directory(backup_.string() + ".part");
  write_file(backup_.string() + ".part/mine", "text");
  ASSERT_TRUE(store_->back_up(backup_));
  EXPECT_EQ(read_file(backup_.string() + ".part/mine"), "text");
  EXPECT_THAT(names(), ElementsAre("backup", "backup.part", "store"));
}

TEST_F(KvBackupTest, ASlashAtTheEndChangesNothing) {
  const fs::path with_slash = backup_.string() + "/";
  const Result<> backed_up = store_->back_up(with_slash);
  ASSERT_TRUE(backed_up) << backed_up.error().to_string();
  EXPECT_EQ(store_->back_up(with_slash).error().code, ErrorCode::kExists);
  EXPECT_EQ(store_->back_up("").error().code, ErrorCode::kInvalid);
  EXPECT_THAT(names(), ElementsAre("backup", "store"));
}

}  // namespace
}  // namespace rusm::kv
