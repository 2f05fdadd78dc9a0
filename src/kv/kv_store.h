// KvStore: named buckets of byte strings, ordered by key. The seam behind which memory, a durable file or a shared
// service can stand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace rusm::kv {

struct KvLimits {
  std::size_t bucket_bytes_max = 128;
  std::size_t key_bytes_max = 511;  // what LMDB takes, so that every store takes the same keys
  std::size_t value_bytes_max = 16u << 20;
  std::uint64_t store_bytes_max = 1ull << 30;  // keys, values and kEntryBytes for each entry
  std::uint32_t list_keys_max = 1000;          // in one answer of list()
};

// What an entry counts beside its key and its value.
inline constexpr std::uint64_t kEntryBytes = 64;

// Where list() goes on.
struct KvPage {
  std::vector<std::string> keys;  // ascending, compared byte by byte
  bool more = false;              // there are further keys: call again with `after` = keys.back()
};

// Every name and value is any sequence of bytes. A bucket exists as long as it has a key.
// Errors of every function: kInvalid for an empty or too long bucket or key, or too long a value; of functions that
// write: kLimit when the store is full; of stores on a disk or a network: kIo, kCorrupt, kUnavailable, kTimeout.
// Threads: any thread. A store may block; which one does says so, and its caller is then not a worker's own step.
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
};

// For implementations: the checks that are the same for all of them.
Result<> check_bucket(const KvLimits& limits, std::string_view bucket);
Result<> check_key(const KvLimits& limits, std::string_view bucket, std::string_view key);
Result<> check_value(const KvLimits& limits, std::string_view bucket, std::string_view key, std::string_view value);

}  // namespace rusm::kv
