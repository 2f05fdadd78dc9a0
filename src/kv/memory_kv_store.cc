#include "kv/memory_kv_store.h"

#include <fmt/format.h>

#include <mutex>

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
  if (Result<> checked = check_value(limits_, bucket, key, value); !checked) return checked;
  const std::unique_lock lock(mutex_);
  const std::string* old = find(bucket, key);
  const std::uint64_t before = old ? key.size() + old->size() + kEntryBytes : 0;
  const std::uint64_t after = bytes_ - before + key.size() + value.size() + kEntryBytes;
  if (after > limits_.store_bytes_max) {
    return fail(ErrorCode::kLimit, "store",
                fmt::format("the store would grow to {} bytes; at most {} are allowed: remove something first", after,
                            limits_.store_bytes_max));
  }
  buckets_[std::string(bucket)].insert_or_assign(std::string(key), std::string(value));
  bytes_ = after;
  return {};
}

Result<bool> MemoryKvStore::remove(std::string_view bucket, std::string_view key) {
  if (Result<> checked = check_key(limits_, bucket, key); !checked) return std::unexpected(checked.error());
  const std::unique_lock lock(mutex_);
  const auto in = buckets_.find(bucket);
  if (in == buckets_.end()) return false;
  const auto at = in->second.find(key);
  if (at == in->second.end()) return false;
  bytes_ -= at->first.size() + at->second.size() + kEntryBytes;
  in->second.erase(at);
  if (in->second.empty()) buckets_.erase(in);
  return true;
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
