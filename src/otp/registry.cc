#include "otp/registry.h"

#include <cstring>
#include <functional>

namespace rusm::otp {
namespace {

constexpr std::size_t kSmallWords = 4;   // names up to 32 bytes
constexpr std::size_t kLargeWords = 32;  // up to 256
constexpr std::size_t kFirstBuckets = 8;
constexpr int kStepsBetweenLooks = 16;  // along a chain that may be changing
constexpr int kTriesMax = 64;           // to read without the lock

std::uint64_t hash_of(std::string_view name) noexcept {
  // The standard library's hash may leave its upper bits to chance; the shard is chosen by them.
  std::uint64_t h = std::hash<std::string_view>()(name);
  h ^= h >> 32;
  h *= 0x9e3779b97f4a7c15;
  return h ^ (h >> 29);
}

}  // namespace

// A name as it is looked for: as words, zeros behind it. REQUIRES: is_valid(name).
struct Registry::Key {
  explicit Key(std::string_view name) noexcept
      : hash(hash_of(name)), length(name.size()), count((name.size() + 7) / 8) {
    words[count - 1] = 0;
    std::memcpy(words.data(), name.data(), name.size());
  }

  const std::uint64_t hash;
  const std::size_t length;
  const std::size_t count;  // words
  std::array<std::uint64_t, kLargeWords> words;
};

struct Registry::Entry {
  explicit Entry(std::size_t words) : capacity(words), text(new std::atomic<std::uint64_t>[words]) {}
  bool has(const Key& key) const noexcept {
    if (hash.load(std::memory_order_acquire) != key.hash || length.load(std::memory_order_acquire) != key.length) {
      return false;
    }
    if (key.count > capacity) return false;
    for (std::size_t i = 0; i < key.count; ++i) {
      if (text[i].load(std::memory_order_acquire) != key.words[i]) return false;
    }
    return true;
  }

  const std::size_t capacity;  // words
  std::atomic<Entry*> next{nullptr};
  std::atomic<std::uint64_t> hash{0};
  std::atomic<std::uint64_t> pid{0};
  std::atomic<std::uint64_t> length{0};
  const std::unique_ptr<std::atomic<std::uint64_t>[]> text;
};

struct Registry::Table {
  explicit Table(std::size_t count) : mask(count - 1), buckets(new std::atomic<Entry*>[count]()) {}
  std::atomic<Entry*>& bucket(std::uint64_t hash) const noexcept { return buckets[hash & mask]; }

  const std::size_t mask;
  const std::unique_ptr<std::atomic<Entry*>[]> buckets;
};

struct alignas(64) Registry::Shard {
  Shard() { grow(kFirstBuckets); }

  void grow(std::size_t count) {
    Table* fresh = tables.emplace_back(std::make_unique<Table>(count)).get();
    if (const Table* old = table.load(std::memory_order_relaxed)) {
      for (std::size_t i = 0; i <= old->mask; ++i) {
        Entry* entry = old->buckets[i].load(std::memory_order_relaxed);
        while (entry != nullptr) {
          Entry* next = entry->next.load(std::memory_order_relaxed);
          link(*fresh, *entry);
          entry = next;
        }
      }
    }
    table.store(fresh, std::memory_order_release);
  }
  static void link(Table& into, Entry& entry) noexcept {
    std::atomic<Entry*>& bucket = into.bucket(entry.hash.load(std::memory_order_relaxed));
    entry.next.store(bucket.load(std::memory_order_relaxed), std::memory_order_release);
    bucket.store(&entry, std::memory_order_release);
  }
  // Under the mutex: what points to the entry of that name, or to null at the end of its chain.
  std::atomic<Entry*>& place_of(const Key& key) const noexcept {
    std::atomic<Entry*>* at = &table.load(std::memory_order_relaxed)->bucket(key.hash);
    for (Entry* entry = at->load(std::memory_order_relaxed); entry != nullptr && !entry->has(key);
         entry = at->load(std::memory_order_relaxed)) {
      at = &entry->next;
    }
    return *at;
  }
  std::vector<Entry*>& free_of(std::size_t capacity) noexcept { return free[capacity == kSmallWords ? 0 : 1]; }
  Entry* take_entry(std::size_t words) {
    const std::size_t capacity = words <= kSmallWords ? kSmallWords : kLargeWords;
    std::vector<Entry*>& list = free_of(capacity);
    if (list.empty()) return entries.emplace_back(std::make_unique<Entry>(capacity)).get();
    Entry* entry = list.back();
    list.pop_back();
    return entry;
  }
  // Release on every store in between and acquire here: a reader that sees one of them sees the odd version as well.
  void begin_change() noexcept { version.fetch_add(1, std::memory_order_acq_rel); }
  void end_change() noexcept { version.fetch_add(1, std::memory_order_release); }

  std::atomic<std::uint64_t> version{0};
  std::atomic<Table*> table{nullptr};
  std::mutex mutex;
  // Guarded by mutex.
  std::size_t size = 0;
  std::vector<std::unique_ptr<Table>> tables;
  std::vector<std::unique_ptr<Entry>> entries;
  std::array<std::vector<Entry*>, 2> free;
};

Registry::Registry() : shards_(new Shard[kShards]) {}
Registry::~Registry() = default;

Registry::Shard& Registry::shard_of(std::uint64_t hash) const noexcept {
  static_assert(kShards == 64);
  return shards_[hash >> 58];
}

Pid Registry::find(std::string_view name) const noexcept {
  if (!is_valid(name)) return Pid();
  const Key key(name);
  Shard& shard = shard_of(key.hash);
  for (int tries = 0; tries < kTriesMax; ++tries) {
    const std::uint64_t version = shard.version.load(std::memory_order_acquire);
    if ((version & 1) != 0) continue;
    const Entry* entry = shard.table.load(std::memory_order_acquire)->bucket(key.hash).load(std::memory_order_acquire);
    int steps = 0;
    while (entry != nullptr && !entry->has(key)) {
      entry = entry->next.load(std::memory_order_acquire);
      // An entry that was used again leads into another chain, and might for ever.
      if (++steps % kStepsBetweenLooks == 0 && shard.version.load(std::memory_order_relaxed) != version) break;
    }
    const std::uint64_t pid = entry == nullptr ? 0 : entry->pid.load(std::memory_order_acquire);
    if (shard.version.load(std::memory_order_relaxed) == version) return Pid::from_raw(pid);
  }
  const std::scoped_lock lock(shard.mutex);
  const Entry* entry = shard.place_of(key).load(std::memory_order_relaxed);
  return entry == nullptr ? Pid() : Pid::from_raw(entry->pid.load(std::memory_order_relaxed));
}

bool Registry::insert(std::string_view name, Pid pid) {
  const Key key(name);
  Shard& shard = shard_of(key.hash);
  const std::scoped_lock lock(shard.mutex);
  if (shard.place_of(key).load(std::memory_order_relaxed) != nullptr) return false;
  Entry* entry = shard.take_entry(key.count);
  shard.begin_change();
  entry->hash.store(key.hash, std::memory_order_release);
  entry->pid.store(pid.raw(), std::memory_order_release);
  entry->length.store(key.length, std::memory_order_release);
  for (std::size_t i = 0; i < key.count; ++i) entry->text[i].store(key.words[i], std::memory_order_release);
  const std::size_t buckets = shard.table.load(std::memory_order_relaxed)->mask + 1;
  if (++shard.size >= buckets) shard.grow(2 * buckets);
  Shard::link(*shard.table.load(std::memory_order_relaxed), *entry);
  shard.end_change();
  return true;
}

Pid Registry::erase(std::string_view name, Pid only) noexcept {
  if (!is_valid(name)) return Pid();
  const Key key(name);
  Shard& shard = shard_of(key.hash);
  const std::scoped_lock lock(shard.mutex);
  std::atomic<Entry*>& at = shard.place_of(key);
  Entry* entry = at.load(std::memory_order_relaxed);
  if (entry == nullptr) return Pid();
  const Pid pid = Pid::from_raw(entry->pid.load(std::memory_order_relaxed));
  if (only && pid != only) return Pid();
  shard.begin_change();
  at.store(entry->next.load(std::memory_order_relaxed), std::memory_order_release);
  entry->pid.store(0, std::memory_order_release);
  entry->length.store(0, std::memory_order_release);  // no name has this length
  shard.end_change();
  shard.free_of(entry->capacity).push_back(entry);
  --shard.size;
  return pid;
}

std::vector<std::pair<std::string, Pid>> Registry::list() const {
  std::vector<std::pair<std::string, Pid>> names;
  for (std::size_t i = 0; i < kShards; ++i) {
    const std::scoped_lock lock(shards_[i].mutex);
    for (const auto& entry : shards_[i].entries) {
      const std::size_t length = entry->length.load(std::memory_order_relaxed);
      if (length == 0) continue;
      std::array<std::uint64_t, kLargeWords> words;
      for (std::size_t w = 0; w < (length + 7) / 8; ++w) words[w] = entry->text[w].load(std::memory_order_relaxed);
      names.emplace_back(std::string(reinterpret_cast<const char*>(words.data()), length),
                         Pid::from_raw(entry->pid.load(std::memory_order_relaxed)));
    }
  }
  return names;
}

Groups::Group& Groups::Shard::get(std::string_view name) {
  const auto it = groups.find(name);
  return it != groups.end() ? it->second : groups.emplace(std::string(name), Group()).first->second;
}

void Groups::Shard::drop_if_unused(Map::iterator it) {
  if (it->second.members.empty() && it->second.watchers.empty()) groups.erase(it);
}

Groups::Members Groups::Shard::picture_of(Group& group) {
  if (!group.picture && !group.members.empty()) {
    auto picture = std::make_shared<std::vector<Pid>>();
    picture->reserve(group.members.size());
    for (const auto& [pid, none] : group.members) picture->push_back(pid);
    group.picture = std::move(picture);
  }
  return group.picture;
}

Groups::Members Groups::members(std::string_view name) {
  Shard& shard = shard_of(name);
  const std::scoped_lock lock(shard.mutex);
  const auto it = shard.groups.find(name);
  return it == shard.groups.end() ? nullptr : shard.picture_of(it->second);
}

Groups::Members Groups::watch(std::string_view name, Pid watcher) {
  Shard& shard = shard_of(name);
  const std::scoped_lock lock(shard.mutex);
  Group& group = shard.get(name);
  group.watchers.put(watcher, {});
  return shard.picture_of(group);
}

void Groups::unwatch(std::string_view name, Pid watcher) noexcept {
  Shard& shard = shard_of(name);
  const std::scoped_lock lock(shard.mutex);
  const auto it = shard.groups.find(name);
  if (it == shard.groups.end()) return;
  it->second.watchers.erase(watcher);
  shard.drop_if_unused(it);
}

bool Groups::has(std::string_view name, Pid pid, Pids Group::* where) noexcept {
  Shard& shard = shard_of(name);
  const std::scoped_lock lock(shard.mutex);
  const auto it = shard.groups.find(name);
  return it != shard.groups.end() && (it->second.*where).find(pid) != nullptr;
}

std::vector<std::string> Groups::list() const {
  std::vector<std::string> names;
  for (const Shard& shard : shards_) {
    const std::scoped_lock lock(shard.mutex);
    for (const auto& [name, group] : shard.groups) {
      if (!group.members.empty()) names.push_back(name);
    }
  }
  return names;
}

}  // namespace rusm::otp
