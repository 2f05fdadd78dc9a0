#include "kv/kv_store.h"

#include <fmt/format.h>

#include <map>
#include <utility>

namespace rusm::kv {

KvBatch& KvBatch::expect(std::string_view bucket, std::string_view key, std::string_view value) {
  expectations.push_back({std::string(bucket), std::string(key), std::string(value)});
  return *this;
}

KvBatch& KvBatch::expect_absent(std::string_view bucket, std::string_view key) {
  expectations.push_back({std::string(bucket), std::string(key), std::nullopt});
  return *this;
}

KvBatch& KvBatch::set(std::string_view bucket, std::string_view key, std::string_view value) {
  writes.push_back({std::string(bucket), std::string(key), std::string(value)});
  return *this;
}

KvBatch& KvBatch::remove(std::string_view bucket, std::string_view key) {
  writes.push_back({std::string(bucket), std::string(key), std::nullopt});
  return *this;
}

Result<bool> KvStore::compare_and_set(std::string_view bucket, std::string_view key,
                                      std::optional<std::string_view> expected, std::optional<std::string_view> value) {
  KvBatch batch;
  expected ? batch.expect(bucket, key, *expected) : batch.expect_absent(bucket, key);
  value ? batch.set(bucket, key, *value) : batch.remove(bucket, key);
  const Result<KvOutcome> outcome = commit(std::move(batch));
  if (!outcome) return std::unexpected(outcome.error());
  return outcome->applied();
}

Result<> check_bucket(const KvLimits& limits, std::string_view bucket) {
  if (bucket.empty()) return fail(ErrorCode::kInvalid, "bucket", "the name of a bucket must not be empty");
  if (bucket.size() > limits.bucket_bytes_max) {
    return fail(ErrorCode::kInvalid, "bucket",
                fmt::format("the name has {} bytes; at most {} are allowed", bucket.size(), limits.bucket_bytes_max));
  }
  return {};
}

Result<> check_key(const KvLimits& limits, std::string_view bucket, std::string_view key) {
  if (Result<> checked = check_bucket(limits, bucket); !checked) return checked;
  if (key.empty()) return fail(ErrorCode::kInvalid, "key", "a key must not be empty");
  if (key.size() > limits.key_bytes_max) {
    return fail(ErrorCode::kInvalid, "key",
                fmt::format("the key has {} bytes; at most {} are allowed", key.size(), limits.key_bytes_max));
  }
  return {};
}

Result<> check_value(const KvLimits& limits, std::string_view bucket, std::string_view key, std::string_view value) {
  if (Result<> checked = check_key(limits, bucket, key); !checked) return checked;
  if (value.size() > limits.value_bytes_max) {
    return fail(ErrorCode::kInvalid, "value",
                fmt::format("the value has {} bytes; at most {} are allowed", value.size(), limits.value_bytes_max));
  }
  return {};
}

std::uint64_t bytes_of(const KvBatch& batch) noexcept {
  std::uint64_t bytes = 0;
  const auto add = [&bytes](const auto& entry) {
    bytes += entry.bucket.size() + entry_bytes(entry.key.size(), entry.value ? entry.value->size() : 0);
  };
  for (const KvExpectation& expectation : batch.expectations) add(expectation);
  for (const KvWrite& write : batch.writes) add(write);
  return bytes;
}

Result<> check_batch(const KvLimits& limits, const KvBatch& batch) {
  const std::size_t entries = batch.expectations.size() + batch.writes.size();
  if (entries > limits.batch_entries_max) {
    return fail(ErrorCode::kLimit, "batch",
                fmt::format("the batch has {} expectations and writes; at most {} are allowed: split it", entries,
                            limits.batch_entries_max));
  }
  const auto check = [&limits](const auto& entry) {
    return check_value(limits, entry.bucket, entry.key, entry.value ? std::string_view(*entry.value) : "");
  };
  for (const KvExpectation& expectation : batch.expectations) {
    if (Result<> checked = check(expectation); !checked) return checked;
  }
  for (const KvWrite& write : batch.writes) {
    if (Result<> checked = check(write); !checked) return checked;
  }
  if (const std::uint64_t bytes = bytes_of(batch); bytes > limits.batch_bytes_max) {
    return fail(ErrorCode::kLimit, "batch",
                fmt::format("the batch has {} bytes; at most {} are allowed: split it", bytes, limits.batch_bytes_max));
  }
  return {};
}

Result<std::uint64_t> bytes_after(
    std::uint64_t bytes, const std::vector<KvWrite>& writes,
    const std::function<Result<std::optional<std::uint64_t>>(const KvWrite& write)>& old_value) {
  // What the writes so far have made of the keys that they touch: a batch may write to one key more than once.
  std::map<std::pair<std::string_view, std::string_view>, std::uint64_t> entries;
  for (const KvWrite& write : writes) {
    const auto [at, first] = entries.try_emplace({write.bucket, write.key}, 0);
    if (first) {
      const Result<std::optional<std::uint64_t>> old = old_value(write);
      if (!old) return std::unexpected(old.error());
      if (*old) at->second = entry_bytes(write.key.size(), **old);
    }
    bytes -= at->second;
    at->second = write.value ? entry_bytes(write.key.size(), write.value->size()) : 0;
    bytes += at->second;
  }
  return bytes;
}

std::unexpected<Error> store_full(const KvLimits& limits, std::uint64_t bytes) {
  return fail(ErrorCode::kLimit, "store",
              fmt::format("the store would grow to {} bytes; at most {} are allowed: remove something first", bytes,
                          limits.store_bytes_max));
}

}  // namespace rusm::kv
