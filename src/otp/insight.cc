#include "otp/insight.h"

#include <mutex>
#include <utility>

#include "otp/body.h"

namespace rusm::otp {

std::string_view name_of(Wait wait) noexcept {
  switch (wait) {
    case Wait::kOther:
      return "news";
    case Wait::kMessage:
      return "message";
    case Wait::kTime:
      return "time";
    case Wait::kAnswer:
      return "answer";
    case Wait::kBlocking:
      return "blocking";
    case Wait::kStream:
      return "stream";
    case Wait::kSocket:
      return "socket";
  }
  return "news";
}

void Tags::set(Pid pid, Tag tag) {
  Shard& shard = shard_of(pid);
  const std::scoped_lock lock(shard.mutex);
  shard.tags.insert_or_assign(pid, std::move(tag));
}

void Tags::set_label(Pid pid, std::string label) {
  Shard& shard = shard_of(pid);
  const std::scoped_lock lock(shard.mutex);
  shard.tags[pid].label = std::move(label);
}

Tag Tags::find(Pid pid) const {
  const Shard& shard = shard_of(pid);
  const std::scoped_lock lock(shard.mutex);
  const auto it = shard.tags.find(pid);
  return it == shard.tags.end() ? Tag() : it->second;
}

Tag Tags::take(Pid pid) {
  Shard& shard = shard_of(pid);
  const std::scoped_lock lock(shard.mutex);
  const auto it = shard.tags.find(pid);
  if (it == shard.tags.end()) return {};
  Tag tag = std::move(it->second);
  shard.tags.erase(it);
  return tag;
}

void ExitLog::add(PastExit exit) noexcept {
  const std::scoped_lock lock(mutex_);
  if (ring_.size() < kKept) {
    ring_.push_back(std::move(exit));
    return;
  }
  std::swap(ring_[oldest_], exit);
  oldest_ = (oldest_ + 1) % kKept;
}

std::vector<PastExit> ExitLog::list() const {
  std::vector<PastExit> exits;
  const std::scoped_lock lock(mutex_);
  for (std::size_t i = ring_.size(); i-- > 0;) exits.push_back(ring_[(oldest_ + i) % ring_.size()]);
  return exits;
}

}  // namespace rusm::otp
