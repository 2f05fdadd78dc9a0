// SmallMap: a map that is a short array as long as it is short, and gains a hash index when it grows. The first entry
// needs no allocation of its own. Order is not kept.
#pragma once

#include <boost/container/small_vector.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <utility>

namespace rusm {

// K: hashable, equality-comparable, cheap to copy. Threads: one owner.
template <class K, class V>
class SmallMap {
 public:
  using Entry = std::pair<K, V>;

  V* find(const K& key) {
    if (index_) {
      const auto it = index_->find(key);
      return it == index_->end() ? nullptr : &entries_[it->second].second;
    }
    for (Entry& entry : entries_) {
      if (entry.first == key) return &entry.second;
    }
    return nullptr;
  }

  // Adds the entry, or replaces the value that is there.
  void put(const K& key, V value) {
    if (V* there = find(key)) {
      *there = std::move(value);
      return;
    }
    entries_.emplace_back(key, std::move(value));
    if (index_) {
      index_->emplace(key, entries_.size() - 1);
    } else if (entries_.size() > kLinearMax) {
      index_ = std::make_unique<Index>();
      for (std::size_t i = 0; i < entries_.size(); ++i) index_->emplace(entries_[i].first, i);
    }
  }

  // Returns false when it was not there.
  bool erase(const K& key) {
    std::size_t at = 0;
    if (index_) {
      const auto it = index_->find(key);
      if (it == index_->end()) return false;
      at = it->second;
      index_->erase(it);
      if (at + 1 != entries_.size()) (*index_)[entries_.back().first] = at;
    } else {
      while (at < entries_.size() && !(entries_[at].first == key)) ++at;
      if (at == entries_.size()) return false;
    }
    if (at + 1 != entries_.size()) entries_[at] = std::move(entries_.back());
    entries_.pop_back();
    if (index_ && entries_.empty()) index_.reset();
    return true;
  }

  std::size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }
  auto begin() { return entries_.begin(); }
  auto end() { return entries_.end(); }

 private:
  using Index = boost::unordered_flat_map<K, std::size_t, std::hash<K>>;
  static constexpr std::size_t kLinearMax = 16;
  boost::container::small_vector<Entry, 1> entries_;
  std::unique_ptr<Index> index_;
};

}  // namespace rusm
