#include "otp/timer_wheel.h"

#include <algorithm>
#include <bit>
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

void TimerWheel::arm(Timer* timer, Nanoseconds deadline) noexcept {
  const std::scoped_lock lock(mutex_);
  enter(timer, deadline);
}

bool TimerWheel::arm(MessageTimer* timer, Nanoseconds deadline, TimerLink* owner) noexcept {
  const std::scoped_lock lock(mutex_);
  if (owner != nullptr) owner->push_back(timer->owned());
  return enter(timer, deadline);
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
    if (wheel == nullptr) return false;
    const std::scoped_lock lock(wheel->mutex_);
    // It may have fired, and its memory serve another timer in another wheel by now.
    if (timer->wheel.load(std::memory_order_acquire) != wheel) continue;
    if (timer->id != id || timer->cancelled) return false;
    return withdraw(timer);
  }
}

void TimerWheel::cancel_all(TimerLink* owner, std::vector<MessageTimer*>* cancelled) {
  const std::scoped_lock lock(mutex_);
  while (!owner->empty()) {
    MessageTimer* timer = MessageTimer::of_owned(owner->next);
    if (withdraw(timer)) cancelled->push_back(timer);
  }
}

// False for one that is just firing: what is on its way may still arrive, nothing comes after it, and whoever delivers
// it gives it back.
bool TimerWheel::withdraw(MessageTimer* timer) noexcept {
  timer->owned().unlink();
  timer->cancelled = timer->firing;
  if (timer->firing) return false;
  leave(timer);
  return true;
}

void TimerWheel::leave(Timer* timer) noexcept {
  timer->unlink();
  timer->wheel.store(nullptr, std::memory_order_release);
}

// Level l holds timers whose tick differs from the present one in digit l (base 64) and in no higher one.
void TimerWheel::insert(Timer* timer) noexcept {
  // Behind what was armed before and still has to find its place.
  if (!spreading_.empty() && timer->empty()) return spreading_.push_back(*timer);
  std::uint64_t at = tick_of(timer->deadline);
  if (at <= tick_) at = tick_ + 1;
  const auto level = static_cast<unsigned>((std::bit_width(at ^ tick_) - 1) / kSlotBits);
  const auto slot = static_cast<unsigned>(at >> (level * kSlotBits)) & (kSlots - 1);
  timer->unlink();
  slots_[level][slot].push_back(*timer);
  occupied_[level] |= std::uint64_t{1} << slot;
}

void TimerWheel::fire(Timer* timer, std::vector<DueTimer>* due) {
  DueTimer& entry =
      due->emplace_back(timer->deadline, timer->pid, nullptr, nullptr, static_cast<std::uint32_t>(due->size()));
  timer->unlink();
  if (timer->id != 0) {
    auto* message_timer = static_cast<MessageTimer*>(timer);
    entry.spent = message_timer;
    if (message_timer->repeats()) {
      message_timer->firing = true;
      return;
    }
    entry.message = message_timer->take_message();
    message_timer->owned().unlink();
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
  for (int moves = 0; moves < kMovesMax;) {
    if (!overdue_.empty()) {
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
      const int shift = level * kSlotBits;
      if ((tick_ & ((std::uint64_t{1} << shift) - 1)) != 0) continue;
      const auto slot = static_cast<unsigned>(tick_ >> shift) & (kSlots - 1);
      (level == 0 ? overdue_ : spreading_).splice_back(slots_[static_cast<unsigned>(level)][slot]);
      occupied_[static_cast<unsigned>(level)] &= ~(std::uint64_t{1} << slot);
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
    const int shift = level * kSlotBits;
    const int digit = static_cast<int>(tick_ >> shift) & (kSlots - 1);
    const std::uint64_t later =
        digit == kSlots - 1 ? 0 : occupied_[static_cast<unsigned>(level)] >> (digit + 1) << (digit + 1);
    if (later == 0) continue;
    const auto slot = static_cast<std::uint64_t>(std::countr_zero(later));
    const std::uint64_t above = shift + kSlotBits >= 64 ? 0 : tick_ >> (shift + kSlotBits) << (shift + kSlotBits);
    const std::uint64_t at = above | slot << shift;
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
