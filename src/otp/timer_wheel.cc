#include "otp/timer_wheel.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <utility>

#include "otp/message_timer.h"

namespace rusm::otp {
namespace {

constexpr std::uint64_t kTickSpan = 1u << 16;

// The first tick at which `deadline` has passed.
std::uint64_t tick_of(Nanoseconds deadline) noexcept {
  return (static_cast<std::uint64_t>(deadline) + kTickSpan - 1) / kTickSpan;
}

}  // namespace

TimerWheel::TimerWheel(Nanoseconds now) : tick_(static_cast<std::uint64_t>(now) >> kTickBits) {}

// True when it is due before everything else.
bool TimerWheel::enter(Timer* timer, Nanoseconds deadline) noexcept {
  timer->deadline = deadline;
  insert(timer);
  timer->wheel.store(this, std::memory_order_release);
  const Nanoseconds before = next_due_.load(std::memory_order_relaxed);
  if (deadline >= before) return false;
  refresh_next_due();
  return next_due_.load(std::memory_order_relaxed) < before;
}

bool TimerWheel::arm(Timer* timer, Nanoseconds deadline) noexcept {
  const std::scoped_lock lock(mutex_);
  return enter(timer, deadline);
}

bool TimerWheel::arm(MessageTimer* timer, Nanoseconds deadline) noexcept {
  const std::scoped_lock lock(mutex_);
  count_armed(timer, true);
  return enter(timer, deadline);
}

// After one less is counted the owner may be gone: release, partner: Runtime::end_timers.
void TimerWheel::count_armed(MessageTimer* timer, bool more) noexcept {
  if (timer->owner == nullptr) return;
  timer->owner->armed.fetch_add(more ? 1 : SIZE_MAX, std::memory_order_release);
}

bool TimerWheel::cancel(Timer* timer) noexcept {
  TimerWheel* wheel = timer->wheel.load(std::memory_order_acquire);
  if (wheel == nullptr) return false;
  const std::scoped_lock lock(wheel->mutex_);
  if (timer->wheel.load(std::memory_order_relaxed) == nullptr) return false;  // it fired meanwhile
  leave(timer);
  return true;
}

bool TimerWheel::cancel(MessageTimer* timer, std::uint64_t id) noexcept {
  for (;;) {
    TimerWheel* wheel = timer->wheel.load(std::memory_order_acquire);
    // An id never comes back.
    if (wheel == nullptr || timer->id.load(std::memory_order_relaxed) != id) return false;
    const std::scoped_lock lock(wheel->mutex_);
    // It may have fired, and its memory serve another timer in another wheel by now.
    if (timer->wheel.load(std::memory_order_acquire) != wheel) continue;
    if (timer->id.load(std::memory_order_relaxed) != id || timer->cancelled) return false;
    return withdraw(timer);
  }
}

// False for one that is just firing: what is on its way may still arrive, nothing comes after it, and whoever delivers
// it gives it back.
bool TimerWheel::withdraw(MessageTimer* timer) noexcept {
  count_armed(timer, false);
  timer->cancelled = timer->firing;
  if (timer->firing) return false;
  leave(timer);
  return true;
}

void TimerWheel::leave(Timer* timer) noexcept {
  timer->unlink();
  timer->wheel.store(nullptr, std::memory_order_release);
}

int TimerWheel::Occupied::after(unsigned slot) const noexcept {
  const auto above = [](std::uint64_t word, unsigned bit) { return bit == 63 ? 0 : word >> (bit + 1) << (bit + 1); };
  const unsigned word = slot / 64;
  if (const std::uint64_t rest = above(words_[word], slot % 64)) {
    return static_cast<int>(word * 64 + static_cast<unsigned>(std::countr_zero(rest)));
  }
  const std::uint64_t words = above(summary_, word);
  if (words == 0) return -1;
  const auto next = static_cast<unsigned>(std::countr_zero(words));
  return static_cast<int>(next * 64 + static_cast<unsigned>(std::countr_zero(words_[next])));
}

void TimerWheel::Prefetcher::step() noexcept {
  Walk& walk = walks_[turn_++ % kLists];
  if (walk.at == walk.head) {
    const int next = wheel_.occupied_[0].after(last_slot_);
    if (next < 0) return;
    last_slot_ = static_cast<unsigned>(next);
    walk.head = &wheel_.fine_[last_slot_];
    walk.at = walk.head->next;
  } else {
    walk.at = walk.at->next;  // was fetched kLists steps ago
  }
  __builtin_prefetch(walk.at, 1);
  __builtin_prefetch(reinterpret_cast<const std::byte*>(walk.at) + 64, 1);
}

// A level holds the timers whose tick differs from the present one in its digit and in no higher one.
void TimerWheel::insert(Timer* timer) noexcept {
  // Behind what was armed before and still has to find its place.
  if (!spreading_.empty() && timer->empty()) return spreading_.push_back(*timer);
  std::uint64_t at = tick_of(timer->deadline);
  if (at <= tick_) at = tick_ + 1;
  const int digits = std::bit_width(at ^ tick_) - 1;
  const int level = digits < kFineBits ? 0 : 1 + (digits - kFineBits) / kSlotBits;
  const unsigned place = slot_at(at, level);
  timer->unlink();
  slot(level, place).push_back(*timer);
  occupied_[static_cast<unsigned>(level)].set(place);
}

void TimerWheel::fire(Timer* timer, std::vector<DueTimer>* due) {
  DueTimer& entry = due->emplace_back(timer->deadline, timer->pid, nullptr, nullptr);
  timer->unlink();
  if (timer->id.load(std::memory_order_relaxed) != 0) {
    auto* message_timer = static_cast<MessageTimer*>(timer);
    entry.spent = message_timer;
    if (message_timer->repeats()) {
      message_timer->firing = true;
      return;
    }
    entry.message = message_timer->take_message();
    count_armed(message_timer, false);
  }
  timer->wheel.store(nullptr, std::memory_order_release);  // from here on its owner may free it
}

bool TimerWheel::rearm(MessageTimer* timer, Nanoseconds now) noexcept {
  const std::scoped_lock lock(mutex_);
  timer->firing = false;
  if (std::exchange(timer->cancelled, false)) {
    timer->wheel.store(nullptr, std::memory_order_release);
    return false;
  }
  enter(timer, timer->next_after(now));
  return true;
}

void TimerWheel::advance(Nanoseconds now, std::vector<DueTimer>* due) {
  const std::scoped_lock lock(mutex_);
  const std::uint64_t target = static_cast<std::uint64_t>(now) >> kTickBits;
  Prefetcher prefetcher(*this);
  for (int moves = 0; moves < kMovesMax;) {
    if (!overdue_.empty()) {
      prefetcher.step();
      fire(static_cast<Timer*>(overdue_.next), due);
      ++moves;
    } else if (!spreading_.empty()) {
      auto* timer = static_cast<Timer*>(spreading_.next);
      if (tick_of(timer->deadline) <= tick_) {
        timer->unlink();
        overdue_.push_back(*timer);
      } else {
        insert(timer);
      }
      ++moves;
    } else if (level_ > 0) {
      // The slots that begin at this tick, coarsest first; in the finest all are due.
      const int level = --level_;
      if ((tick_ & ((std::uint64_t{1} << shift_of(level)) - 1)) != 0) continue;
      const unsigned place = slot_at(tick_, level);
      prefetcher.leave(slot(level, place));
      (level == 0 ? overdue_ : spreading_).splice_back(slot(level, place));
      occupied_[static_cast<unsigned>(level)].clear(place);
    } else if (tick_ < target) {
      tick_ = std::min(target, next_occupied_tick());
      level_ = kLevels;
    } else {
      break;
    }
  }
  refresh_next_due();
}

// The next tick after the present one at which a slot of any level comes up.
std::uint64_t TimerWheel::next_occupied_tick() const noexcept {
  std::uint64_t best = UINT64_MAX;
  for (int level = 0; level < kLevels; ++level) {
    const int next = occupied_[static_cast<unsigned>(level)].after(slot_at(tick_, level));
    if (next < 0) continue;
    const int above = shift_of(level + 1);
    const std::uint64_t at = tick_ >> above << above | static_cast<std::uint64_t>(next) << shift_of(level);
    if (at < best) best = at;
  }
  return best;
}

void TimerWheel::refresh_next_due() noexcept {
  const std::uint64_t best = in_work() ? tick_ : next_occupied_tick();
  const Nanoseconds due =
      best >= (static_cast<std::uint64_t>(kNever) >> kTickBits) ? kNever : static_cast<Nanoseconds>(best << kTickBits);
  // Sequentially consistent, as whoever arms looks afterwards whether the worker sleeps (partner: Worker::sleep).
  if (due != next_due_.load(std::memory_order_relaxed)) next_due_.store(due);
}

}  // namespace rusm::otp
