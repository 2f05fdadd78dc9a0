// RecentValues: what was written last and is committed, in memory, so that reading it again needs neither the disk nor
// a thread that may block.
//
// Invariant: a value that is found is the committed one. The writer forgets a key before it changes the store, and
// keeps the new value once the store has it; in between nothing is found here, and the store itself answers. So nobody
// who has seen a later state of the store finds an earlier one here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace rusm::kv {

// The least recently used go first. Threads: find() on any; the rest on the writer's.
class RecentValues {
 public:
  // A larger value is not kept: it is copied under a lock.
  static constexpr std::size_t kValueBytesMax = 64 << 10;

  // `bytes_max`: of names and values, with kEntryBytes for each; 0: keeps nothing.
  explicit RecentValues(std::uint64_t bytes_max);
  RecentValues(const RecentValues&) = delete;
  RecentValues& operator=(const RecentValues&) = delete;

  // Nothing: it is not known here. Does not block but for a copy.
  std::optional<std::string> find(std::string_view bucket, std::string_view key) const;
  void keep(std::string_view bucket, std::string_view key, std::string value);
  void forget(std::string_view bucket, std::string_view key);

 private:
  struct Entry {
    std::string name;
    std::string value;
  };
  struct Shard {
    mutable std::mutex mutex;
    // Guarded by mutex.
    mutable std::list<Entry> entries;                                          // the one that was used last comes first
    std::unordered_map<std::string_view, std::list<Entry>::iterator> by_name;  // the names are in the entries
    std::uint64_t bytes = 0;
  };

  static constexpr std::size_t kShards = 16;

  Shard& shard_of(std::string_view name) const noexcept;
  static void drop(Shard& shard, std::list<Entry>::iterator entry);

  const std::uint64_t bytes_max_;  // of one shard
  const std::unique_ptr<Shard[]> shards_;
};

}  // namespace rusm::kv
