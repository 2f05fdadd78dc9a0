// Backups of a durable store when one of the two disks fails: that of the store or that of the backup.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "durability/fault_vfs.h"
#include "kv/durable_kv_store.h"
#include "kv/test_folder.h"

namespace rusm::kv {
namespace {

namespace fs = std::filesystem;
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

}  // namespace
}  // namespace rusm::kv
