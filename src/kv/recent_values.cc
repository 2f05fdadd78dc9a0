#include "kv/recent_values.h"

#include <functional>
#include <utility>

#include "kv/kv_store.h"

namespace rusm::kv {
namespace {

// Tells ("ab", "c") from ("a", "bc").
std::string name_of(std::string_view bucket, std::string_view key) {
  std::string name;
  const std::uint64_t length = bucket.size();
  name.reserve(sizeof(length) + bucket.size() + key.size());
  name.append(reinterpret_cast<const char*>(&length), sizeof(length));
  name.append(bucket);
  name.append(key);
  return name;
}

}  // namespace

RecentValues::RecentValues(std::uint64_t bytes_max) : bytes_max_(bytes_max / kShards), shards_(new Shard[kShards]) {}

RecentValues::Shard& RecentValues::shard_of(std::string_view name) const noexcept {
  return shards_[std::hash<std::string_view>()(name) % kShards];
}

void RecentValues::drop(Shard& shard, std::list<Entry>::iterator entry) {
  shard.bytes -= entry_bytes(entry->name.size(), entry->value.size());
  shard.by_name.erase(entry->name);
  shard.entries.erase(entry);
}

std::optional<std::string> RecentValues::find(std::string_view bucket, std::string_view key) const {
  const std::string name = name_of(bucket, key);
  const Shard& shard = shard_of(name);
  const std::scoped_lock lock(shard.mutex);
  const auto found = shard.by_name.find(name);
  if (found == shard.by_name.end()) return std::nullopt;
  shard.entries.splice(shard.entries.begin(), shard.entries, found->second);
  return found->second->value;
}

void RecentValues::keep(std::string_view bucket, std::string_view key, std::string value) {
  std::string name = name_of(bucket, key);
  const std::uint64_t bytes = entry_bytes(name.size(), value.size());
  Shard& shard = shard_of(name);
  const std::scoped_lock lock(shard.mutex);
  if (const auto old = shard.by_name.find(name); old != shard.by_name.end()) drop(shard, old->second);
  if (value.size() > kValueBytesMax || bytes > bytes_max_) return;
  while (shard.bytes + bytes > bytes_max_) drop(shard, std::prev(shard.entries.end()));
  shard.entries.push_front({std::move(name), std::move(value)});
  shard.by_name.emplace(shard.entries.front().name, shard.entries.begin());
  shard.bytes += bytes;
}

void RecentValues::forget(std::string_view bucket, std::string_view key) {
  const std::string name = name_of(bucket, key);
  Shard& shard = shard_of(name);
  const std::scoped_lock lock(shard.mutex);
  if (const auto old = shard.by_name.find(name); old != shard.by_name.end()) drop(shard, old->second);
}

}  // namespace rusm::kv
