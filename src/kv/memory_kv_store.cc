#include "kv/memory_kv_store.h"

#include <mutex>
#include <utility>

namespace rusm::kv {

const std::string* MemoryKvStore::find(std::string_view bucket, std::string_view key) const {
  const auto in = buckets_.find(bucket);
  if (in == buckets_.end()) return nullptr;
  const auto at = in->second.find(key);
  return at == in->second.end() ? nullptr : &at->second;
}

Result<std::optional<std::string>> MemoryKvStore::get(std::string_view bucket, std::string_view key) const {
  if (Result<> checked = check_key(limits_, bucket, key); !checked) return std::unexpected(checked.error());
  const std::shared_lock lock(mutex_);
  const std::string* value = find(bucket, key);
  return value ? std::optional(*value) : std::nullopt;
}

Result<> MemoryKvStore::set(std::string_view bucket, std::string_view key, std::string_view value) {
  const Result<KvOutcome> outcome = commit(std::move(KvBatch().set(bucket, key, value)));
  return outcome ? Result<>() : std::unexpected(outcome.error());
}

Result<bool> MemoryKvStore::remove(std::string_view bucket, std::string_view key) {
  const Result<KvOutcome> outcome = commit(std::move(KvBatch().remove(bucket, key)));
  if (!outcome) return std::unexpected(outcome.error());
  return outcome->removed != 0;
}

bool MemoryKvStore::erase(const std::string& bucket, const std::string& key) {
  const auto in = buckets_.find(bucket);
  if (in == buckets_.end()) return false;
  const bool found = in->second.erase(key) != 0;
  if (in->second.empty()) buckets_.erase(in);
  return found;
}

Result<KvOutcome> MemoryKvStore::commit(KvBatch batch) {
  if (Result<> checked = check_batch(limits_, batch); !checked) return std::unexpected(checked.error());
  const std::unique_lock lock(mutex_);
  for (std::size_t i = 0; i < batch.expectations.size(); ++i) {
    const KvExpectation& expected = batch.expectations[i];
    const std::string* value = find(expected.bucket, expected.key);
    const bool holds = expected.value ? value != nullptr && *value == *expected.value : value == nullptr;
    if (!holds) return KvOutcome{.failed = i};
  }
  const std::uint64_t after = *bytes_after(bytes_, batch.writes, [this](const KvWrite& write) {
    const std::string* old = find(write.bucket, write.key);
    return old != nullptr ? std::optional<std::uint64_t>(old->size()) : std::nullopt;
  });
  if (after > limits_.store_bytes_max) return store_full(limits_, after);
  KvOutcome outcome;
  for (KvWrite& write : batch.writes) {
    if (!write.value) {
      outcome.removed += erase(write.bucket, write.key) ? 1 : 0;
    } else {
      buckets_[write.bucket].insert_or_assign(std::move(write.key), std::move(*write.value));
    }
  }
  bytes_ = after;
  return outcome;
}

Result<bool> MemoryKvStore::exists(std::string_view bucket, std::string_view key) const {
  if (Result<> checked = check_key(limits_, bucket, key); !checked) return std::unexpected(checked.error());
  const std::shared_lock lock(mutex_);
  return find(bucket, key) != nullptr;
}

Result<KvPage> MemoryKvStore::list(std::string_view bucket, std::string_view prefix, std::string_view after) const {
  if (Result<> checked = check_bucket(limits_, bucket); !checked) return std::unexpected(checked.error());
  const std::shared_lock lock(mutex_);
  KvPage page;
  const auto in = buckets_.find(bucket);
  if (in == buckets_.end()) return page;
  auto at = after < prefix ? in->second.lower_bound(prefix) : in->second.upper_bound(after);
  for (; at != in->second.end() && at->first.starts_with(prefix); ++at) {
    if (page.keys.size() == limits_.list_keys_max) {
      page.more = true;
      break;
    }
    page.keys.push_back(at->first);
  }
  return page;
}

std::uint64_t MemoryKvStore::bytes() const {
  const std::shared_lock lock(mutex_);
  return bytes_;
}

}  // namespace rusm::kv
