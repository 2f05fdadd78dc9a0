#include "kv/kv_store.h"

#include <fmt/format.h>

namespace rusm::kv {

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

}  // namespace rusm::kv
