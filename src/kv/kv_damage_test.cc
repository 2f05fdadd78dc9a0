// Stores that were damaged, while nobody looked and while they are open: each answer is right, or an error that says
// so.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/entropy.h"
#include "base/test_folder.h"
#include "kv/durable_kv_store.h"
#include "kv/store_vfs.h"

namespace rusm::kv {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kSeeds = 400;
const std::vector<std::string> kFiles = {"store.db", "store.db-wal", "mark"};

using Model = std::map<std::string, std::string>;  // of the bucket "b"

Model fill(DurableKvStore& store, std::uint64_t seed, int writes) {
  Random random(seed);
  Model model;
  for (int i = 0; i < writes; ++i) {
    KvBatch batch;
    for (int n = 0; n < 5; ++n) {
      const std::string key = "key/" + std::to_string(random.below(150));
      if (random.below(4) == 0) {
        batch.remove("b", key);
        model.erase(key);
      } else {
        const std::string value(random.below(20) == 0 ? 9000 : random.below(200), static_cast<char>(random.below(256)));
        batch.set("b", key, value);
        model.insert_or_assign(key, value);
      }
    }
    EXPECT_TRUE(store.commit(batch));
  }
  return model;
}

// What lies on the disk after a kill: some in the main file, some in the log; or after a stop, all in the main file.
struct Image {
  std::map<std::string, std::string> files;
  Model model;
};

Image make_image(const fs::path& folder, bool killed) {
  Image image;
  const auto take = [&] {
    for (const std::string& name : kFiles) {
      if (fs::exists(folder / name)) image.files[name] = read_file(folder / name);
    }
  };
  {
    auto store = *DurableKvStore::open({.folder = folder});
    image.model = fill(*store, 1, 40);
  }
  if (killed) {
    auto store = *DurableKvStore::open({.folder = folder});
    for (const auto& [key, value] : fill(*store, 2, 20)) image.model.insert_or_assign(key, value);
    image.model.clear();
    std::string after;
    for (bool more = true; more;) {
      const KvPage page = *store->list("b", "", after);
      for (const std::string& key : page.keys) image.model[key] = **store->get("b", key);
      more = page.more;
      if (more) after = page.keys.back();
    }
    take();
  } else {
    take();
  }
  return image;
}

// Returns what was done, for the report.
std::string damage(std::string* bytes, Random& random) {
  const std::size_t at = bytes->empty() ? 0 : random.below(bytes->size());
  const std::size_t length = std::min<std::size_t>(1 + random.below(5000), bytes->size() - at);
  switch (random.below(5)) {
    case 0:
      bytes->resize(at);
      return "cut off at " + std::to_string(at);
    case 1:
      std::fill_n(bytes->begin() + static_cast<std::ptrdiff_t>(at), length, '\0');
      return "zeros at " + std::to_string(at) + ", " + std::to_string(length);
    case 2: {
      for (std::size_t i = 0; i < length; ++i) (*bytes)[at + i] = static_cast<char>(random.below(256));
      return "noise at " + std::to_string(at) + ", " + std::to_string(length);
    }
    case 3: {
      const std::size_t pages = bytes->size() / kPageBytes;
      if (pages < 2) break;
      const std::size_t one = random.below(pages) * kPageBytes;
      const std::size_t two = random.below(pages) * kPageBytes;
      std::swap_ranges(bytes->begin() + static_cast<std::ptrdiff_t>(one),
                       bytes->begin() + static_cast<std::ptrdiff_t>(one + kPageBytes),
                       bytes->begin() + static_cast<std::ptrdiff_t>(two));
      return "pages at " + std::to_string(one) + " and " + std::to_string(two) + " exchanged";
    }
    default:
      break;
  }
  if (!bytes->empty()) (*bytes)[at] = static_cast<char>((*bytes)[at] ^ (1 << random.below(8)));
  return "one bit at " + std::to_string(at);
}

// Errors of a store that is damaged: not one that blames the caller.
void expect_damage(const Error& error) {
  const bool fits = error.code == ErrorCode::kCorrupt || error.code == ErrorCode::kInvalid;
  EXPECT_TRUE(fits) << name_of(error.code) << ": " << error.to_string();
  EXPECT_THAT(error.text, ::testing::HasSubstr("backup"));
}

// Every answer is that of the model or an error. Returns how many were errors.
int compare(const DurableKvStore& store, const Model& model) {
  int errors = 0;
  for (int i = 0; i < 150; ++i) {
    const std::string key = "key/" + std::to_string(i);
    const auto wanted = model.find(key);
    if (const auto got = store.get("b", key); !got) {
      expect_damage(got.error());
      ++errors;
    } else {
      EXPECT_EQ(got->has_value(), wanted != model.end()) << key;
      if (got->has_value() && wanted != model.end()) EXPECT_TRUE(**got == wanted->second) << key;
    }
    if (const auto got = store.exists("b", key); got) EXPECT_EQ(*got, wanted != model.end()) << key;
  }
  if (const auto page = store.list("b", "", ""); !page) {
    expect_damage(page.error());
    ++errors;
  } else {
    std::vector<std::string> keys;
    for (const auto& [key, value] : model) keys.push_back(key);
    EXPECT_EQ(page->keys, keys);
  }
  return errors;
}

// A write is done, and then seen, or refused and changes nothing.
int write_some(DurableKvStore& store, Model& model) {
  int errors = 0;
  for (int i = 0; i < 150; i += 7) {
    const std::string key = "key/" + std::to_string(i);
    const Result<> done = store.set("b", key, "new");
    if (done) {
      model[key] = "new";
    } else {
      expect_damage(done.error());
      ++errors;
    }
  }
  return errors;
}

class KvDamageTest : public ::testing::TestWithParam<bool> {
 protected:
  void try_it(const Image& image, const std::string& what) {
    SCOPED_TRACE(what);
    const fs::path folder = tests_.path() / "store";
    fs::remove_all(folder);
    fs::create_directory(folder);
    for (const auto& [name, bytes] : image.files) write_file(folder / name, bytes);
    Result<std::unique_ptr<DurableKvStore>> store = DurableKvStore::open({.folder = folder, .readers_max = 2});
    ++rounds_;
    if (!store) {
      expect_damage(store.error());
      ++refused_;
      return;
    }
    Model model = image.model;
    const int before = compare(**store, model);
    if (before != 0) EXPECT_FALSE((*store)->check()) << "what hurt was not found";
    const int refused = write_some(**store, model);
    // A write may have replaced a value that was damaged.
    const int after = compare(**store, model);
    if (after != 0) EXPECT_FALSE((*store)->check()) << "what hurt was not found";
    errors_ += before + refused + after != 0 ? 1 : 0;
  }

  TestFolder tests_{folder_in_memory()};
  int rounds_ = 0;
  int refused_ = 0;
  int errors_ = 0;
};

TEST_P(KvDamageTest, WhatWasDamagedMeanwhileIsFoundOut) {
  const Image image = make_image(tests_.path() / "image", GetParam());
  try_it(image, "unharmed");
  ASSERT_EQ(refused_ + errors_, 0);
  for (std::uint64_t seed = 1; seed <= kSeeds && !HasFailure(); ++seed) {
    Random random(seed);
    Image damaged = image;
    auto file = damaged.files.begin();
    std::advance(file, static_cast<std::ptrdiff_t>(random.below(damaged.files.size())));
    const std::string what = damage(&file->second, random);
    try_it(damaged, std::to_string(seed) + ": " + file->first + ", " + what);
  }
  EXPECT_GT(refused_, 0);
  if (!GetParam()) EXPECT_GT(errors_, 0) << "what the log has is not read from the main file";
  EXPECT_LT(refused_ + errors_, rounds_);
}

TEST_P(KvDamageTest, FilesThatWereCutOffAreFoundOut) {
  const Image image = make_image(tests_.path() / "image", GetParam());
  for (const std::string& name : {"store.db", "store.db-wal"}) {
    if (!image.files.contains(name)) continue;
    const std::size_t size = image.files.at(name).size();
    std::vector<std::size_t> lengths = {0, 1, 16, 31, 32, 33, 99, 100, 512, 4095, 4096, 4097, size - 1, size - 4096};
    for (std::size_t length = 0; length < size; length += std::max<std::size_t>(size / 60, 1))
      lengths.push_back(length);
    for (const std::size_t length : lengths) {
      if (length >= size || HasFailure()) continue;
      Image cut = image;
      cut.files[name].resize(length);
      const int found = refused_ + errors_;
      try_it(cut, name + " cut off at " + std::to_string(length));
      // What is missing of the main file may be in the log.
      if (!GetParam() || name != "store.db") EXPECT_EQ(refused_ + errors_, found + 1) << "at " << length;
    }
  }
}

// The files change under an open store, as with a failing disk.
TEST_P(KvDamageTest, WhatIsDamagedWhileItIsOpenIsFoundOut) {
  const Image image = make_image(tests_.path() / "image", GetParam());
  const fs::path folder = tests_.path() / "store";
  int errors = 0;
  for (std::uint64_t seed = 1; seed <= kSeeds / 4 && !HasFailure(); ++seed) {
    Random random(seed);
    fs::remove_all(folder);
    fs::create_directory(folder);
    for (const auto& [name, bytes] : image.files) write_file(folder / name, bytes);
    auto store = *DurableKvStore::open({.folder = folder, .readers_max = 2, .log_pages_max = 32});
    Model model = image.model;
    write_some(*store, model);
    const std::string name = random.below(2) == 0 ? "store.db" : "store.db-wal";
    std::string bytes = read_file(folder / name);
    const std::string what = damage(&bytes, random);
    SCOPED_TRACE(std::to_string(seed) + ": " + name + ", " + what);
    const int file = ::open((folder / name).c_str(), O_RDWR);
    ASSERT_EQ(::ftruncate(file, static_cast<off_t>(bytes.size())), 0);
    ASSERT_EQ(::pwrite(file, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
    ::close(file);
    errors += compare(*store, model);
    errors += write_some(*store, model);
    errors += compare(*store, model);
  }
  EXPECT_GT(errors, 0);
}

INSTANTIATE_TEST_SUITE_P(After, KvDamageTest, ::testing::Values(true, false),
                         [](const auto& run) { return run.param ? "AKill" : "AStop"; });

}  // namespace
}  // namespace rusm::kv
