// KvStore: named buckets of byte strings, ordered by key. The seam behind which memory, a durable file or a shared
// service can stand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace rusm::kv {

// What a store takes at most; more is an error value.
struct KvLimits {
  std::size_t bucket_bytes_max = 128;
  std::size_t key_bytes_max = 511;  // what LMDB takes, so that every store takes the same keys
  std::size_t value_bytes_max = 16u << 20;
  std::uint64_t store_bytes_max = 1ull << 30;  // keys, values and kEntryBytes for each entry
  std::uint32_t list_keys_max = 1000;          // in one answer of list()
  std::uint32_t batch_entries_max = 10'000;    // expectations and writes of one batch
  std::uint64_t batch_bytes_max = 32u << 20;   // their names and values, and kEntryBytes for each
};

// What an entry counts beside its key and its value.
inline constexpr std::uint64_t kEntryBytes = 64;

// Where list() goes on.
struct KvPage {
  std::vector<std::string> keys;  // ascending, compared byte by byte
  bool more = false;              // there are further keys: call again with `after` = keys.back()
};

// What a batch finds: this value, or no such key.
struct KvExpectation {
  std::string bucket;
  std::string key;
  std::optional<std::string> value;
};

// What a batch does: sets a value, or removes the key.
struct KvWrite {
  std::string bucket;
  std::string key;
  std::optional<std::string> value;
};

// All of the writes in their order, if every expectation holds of what is there before the first; else nothing.
// Threads: a value.
struct KvBatch {
  std::vector<KvExpectation> expectations;
  std::vector<KvWrite> writes;

  KvBatch& expect(std::string_view bucket, std::string_view key, std::string_view value);
  KvBatch& expect_absent(std::string_view bucket, std::string_view key);
  KvBatch& set(std::string_view bucket, std::string_view key, std::string_view value);
  KvBatch& remove(std::string_view bucket, std::string_view key);
};

// What became of a batch.
struct KvOutcome {
  // The first expectation, counted from 0, that did not hold: nothing was written.
  std::optional<std::size_t> failed = {};
  std::size_t removed = 0;  // removals that found their key

  bool applied() const noexcept { return !failed.has_value(); }
};

// Every name and value is any sequence of bytes. A bucket exists as long as it has a key.
// Errors of every function: kInvalid for an empty or too long bucket or key, or too long a value; of functions that
// write: kLimit when the store is full, a batch too large, or too much waits to be written; of stores on a disk or a
// network: kIo, kCorrupt, kUnavailable, kTimeout. Threads: any thread. A store may block; which one does says so, and
// its caller is then not a worker's own step.
class KvStore {
 public:
  virtual ~KvStore() = default;
  // Nothing when there is no such key.
  virtual Result<std::optional<std::string>> get(std::string_view bucket, std::string_view key) const = 0;
  // Returns once the value is as safe as this store makes it. A reader sees the old value or the new one, whole.
  virtual Result<> set(std::string_view bucket, std::string_view key, std::string_view value) = 0;
  // Whether there was such a key.
  virtual Result<bool> remove(std::string_view bucket, std::string_view key) = 0;
  virtual Result<bool> exists(std::string_view bucket, std::string_view key) const = 0;
  // The keys that start with `prefix` and come after `after` (empty: from the first), at most list_keys_max.
  virtual Result<KvPage> list(std::string_view bucket, std::string_view prefix, std::string_view after) const = 0;
  // All or nothing, for readers and for what survives an end of the node. An expectation that does not hold is an
  // outcome and no error; an error has changed nothing, unless the store says otherwise.
  virtual Result<KvOutcome> commit(KvBatch batch) = 0;
  // Sets `value` (nothing: removes the key) if the key has the value `expected` (nothing: is not there), and returns
  // whether it did.
  Result<bool> compare_and_set(std::string_view bucket, std::string_view key, std::optional<std::string_view> expected,
                               std::optional<std::string_view> value);
};

// For implementations: the checks that are the same for all of them.
Result<> check_bucket(const KvLimits& limits, std::string_view bucket);
Result<> check_key(const KvLimits& limits, std::string_view bucket, std::string_view key);
Result<> check_value(const KvLimits& limits, std::string_view bucket, std::string_view key, std::string_view value);
Result<> check_batch(const KvLimits& limits, const KvBatch& batch);
// What an entry counts towards store_bytes_max.
constexpr std::uint64_t entry_bytes(std::uint64_t key_bytes, std::uint64_t value_bytes) noexcept {
  return kEntryBytes + key_bytes + value_bytes;
}
// What a batch counts towards batch_bytes_max.
std::uint64_t bytes_of(const KvBatch& batch) noexcept;
// What a store that counts `bytes` counts once the writes are done. `old_value` says how many bytes the value of a key
// has now; nothing when there is no such key.
Result<std::uint64_t> bytes_after(
    std::uint64_t bytes, const std::vector<KvWrite>& writes,
    const std::function<Result<std::optional<std::uint64_t>>(const KvWrite& write)>& old_value);
// The error of a store that would grow to `bytes`.
std::unexpected<Error> store_full(const KvLimits& limits, std::uint64_t bytes);

}  // namespace rusm::kv
