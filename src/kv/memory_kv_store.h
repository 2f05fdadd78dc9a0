// MemoryKvStore: a KvStore that lives and dies with its object. For tests, caches and nodes without a disk.
#pragma once

#include <map>
#include <shared_mutex>
#include <string>

#include "kv/kv_store.h"

namespace rusm::kv {

// Threads: any thread. Never blocks on anything but its own short lock.
class MemoryKvStore final : public KvStore {
 public:
  explicit MemoryKvStore(KvLimits limits = {}) : limits_(limits) {}

  Result<std::optional<std::string>> get(std::string_view bucket, std::string_view key) const override;
  Result<> set(std::string_view bucket, std::string_view key, std::string_view value) override;
  Result<bool> remove(std::string_view bucket, std::string_view key) override;
  Result<bool> exists(std::string_view bucket, std::string_view key) const override;
  Result<KvPage> list(std::string_view bucket, std::string_view prefix, std::string_view after) const override;
  Result<KvOutcome> commit(KvBatch batch) override;

  // What counts towards KvLimits::store_bytes_max.
  std::uint64_t bytes() const;

 private:
  using Bucket = std::map<std::string, std::string, std::less<>>;

  // REQUIRES: mutex_ is held. Null when there is no such key.
  const std::string* find(std::string_view bucket, std::string_view key) const;
  // REQUIRES: mutex_ is held. Whether there was such a key.
  bool erase(const std::string& bucket, const std::string& key);

  // Constant after construction.
  const KvLimits limits_;

  mutable std::shared_mutex mutex_;
  std::map<std::string, Bucket, std::less<>> buckets_;  // guarded by mutex_
  std::uint64_t bytes_ = 0;                             // guarded by mutex_
};

}  // namespace rusm::kv
