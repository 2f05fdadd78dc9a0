// Registry: the names of a node's processes, and Groups: processes that share a name.
//
// Reading a name takes no lock and writes nothing: a shard is a hash table under a sequence lock (as Linux's seqlock).
// Invariants
// 1. A shard's version is odd while its table changes. A reader that saw it odd, or changed after reading, reads
//    again; what it read meanwhile it does not follow further than memory that stays mapped.
// 2. Entries and tables are never unmapped while the registry lives: an erased entry is used again for another name of
//    its size, a table that was outgrown stays behind. So a reader always finds atomic words, if not always sense.
// 3. Only the holder of the shard's mutex changes version, table and entries.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/small_map.h"
#include "otp/pid.h"

namespace rusm::otp {

// Threads: any thread.
class Registry {
 public:
  static constexpr std::size_t kNameBytesMax = 255;

  Registry();
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  static bool is_valid(std::string_view name) noexcept { return !name.empty() && name.size() <= kNameBytesMax; }

  // The process of that name; an empty pid when there is none. Takes no lock unless writers keep it from reading.
  Pid find(std::string_view name) const noexcept;
  // False when the name is taken. REQUIRES: is_valid(name).
  bool insert(std::string_view name, Pid pid);
  // Returns whose name it was; an empty pid when it was nobody's, or not `only`'s.
  Pid erase(std::string_view name, Pid only = Pid()) noexcept;
  // Every name, in no order: a picture that is right for each name by itself.
  std::vector<std::pair<std::string, Pid>> list() const;

 private:
  static constexpr std::size_t kShards = 64;
  struct Key;
  struct Entry;
  struct Table;
  struct Shard;

  Shard& shard_of(std::uint64_t hash) const noexcept;

  const std::unique_ptr<Shard[]> shards_;
};

// Threads: any thread; a mutex for each of a few shards, held for O(1), or while one group is copied or told of.
class Groups {
 public:
  using Members = std::shared_ptr<const std::vector<Pid>>;

  // False when it is in there already. Calls tell(Pid) for each watcher, in the order of the changes.
  template <class Tell>
  bool join(std::string_view name, Pid pid, Tell tell) {
    Shard& shard = shard_of(name);
    const std::scoped_lock lock(shard.mutex);
    Group& group = shard.get(name);
    if (group.members.find(pid) != nullptr) return false;
    group.members.put(pid, {});
    group.picture.reset();
    for (const auto& [watcher, none] : group.watchers) tell(watcher);
    return true;
  }
  // False when it was not there.
  template <class Tell>
  bool leave(std::string_view name, Pid pid, Tell tell) {
    Shard& shard = shard_of(name);
    const std::scoped_lock lock(shard.mutex);
    const auto it = shard.groups.find(name);
    if (it == shard.groups.end() || !it->second.members.erase(pid)) return false;
    it->second.picture.reset();
    for (const auto& [watcher, none] : it->second.watchers) tell(watcher);
    shard.drop_if_unused(it);
    return true;
  }
  // The members now, in no order; null when there are none. Free when nothing has changed since the last time.
  Members members(std::string_view name);
  // Who is to be told; returns the members at that moment. Watching twice is watching once.
  Members watch(std::string_view name, Pid watcher);
  void unwatch(std::string_view name, Pid watcher) noexcept;
  bool has_member(std::string_view name, Pid pid) noexcept { return has(name, pid, &Group::members); }
  bool has_watcher(std::string_view name, Pid pid) noexcept { return has(name, pid, &Group::watchers); }
  // The groups that have members.
  std::vector<std::string> list() const;

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view s) const noexcept { return std::hash<std::string_view>()(s); }
  };
  using Pids = SmallMap<Pid, std::monostate>;
  struct Group {
    Pids members;
    Pids watchers;
    Members picture;  // null: to be made
  };
  using Map = std::unordered_map<std::string, Group, Hash, std::equal_to<>>;
  struct Shard {
    Group& get(std::string_view name);
    void drop_if_unused(Map::iterator it);
    Members picture_of(Group& group);

    mutable std::mutex mutex;
    Map groups;  // guarded by mutex
  };
  static constexpr std::size_t kShards = 16;

  bool has(std::string_view name, Pid pid, Pids Group::* where) noexcept;
  Shard& shard_of(std::string_view name) { return shards_[Hash()(name) % kShards]; }

  std::array<Shard, kShards> shards_;
};

}  // namespace rusm::otp
