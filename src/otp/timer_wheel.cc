#include "otp/timer_wheel.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace rusm::otp {
namespace {

constexpr std::uint64_t kTickSpan = 1u << 16;

// The first tick at which `deadline` has passed.
std::uint64_t tick_of(Nanoseconds deadline) noexcept {
  return (static_cast<std::uint64_t>(deadline) + kTickSpan - 1) / kTickSpan;
}

}  // namespace

TimerWheel::TimerWheel(Nanoseconds now) : tick_(static_cast<std::uint64_t>(now) >> kTickBits) {}

void TimerWheel::arm(Timer* timer, Nanoseconds deadline) noexcept {
  timer->deadline = deadline;
  const std::scoped_lock lock(mutex_);
  insert(timer);
  timer->wheel.store(this, std::memory_order_release);
  if (deadline < next_due_.load(std::memory_order_relaxed)) refresh_next_due();
}

bool TimerWheel::cancel(Timer* timer) noexcept {
  TimerWheel* wheel = timer->wheel.load(std::memory_order_acquire);
  if (wheel == nullptr) return false;
  const std::scoped_lock lock(wheel->mutex_);
  if (timer->wheel.load(std::memory_order_relaxed) == nullptr) return false;  // it fired meanwhile
  wheel->remove(timer);
  return true;
}

// Level l holds timers whose tick differs from the present one in digit l (base 64) and in no higher one.
void TimerWheel::insert(Timer* timer) noexcept {
  std::uint64_t at = tick_of(timer->deadline);
  if (at <= tick_) at = tick_ + 1;
  const int level = (std::bit_width(at ^ tick_) - 1) / kSlotBits;
  const int slot = static_cast<int>(at >> (level * kSlotBits)) & (kSlots - 1);
  Timer*& head = slots_[static_cast<unsigned>(level)][static_cast<unsigned>(slot)];
  timer->slot = static_cast<std::uint16_t>(level * kSlots + slot);
  timer->previous = nullptr;
  timer->next = head;
  if (head != nullptr) head->previous = timer;
  head = timer;
  occupied_[static_cast<unsigned>(level)] |= std::uint64_t{1} << slot;
}

void TimerWheel::remove(Timer* timer) noexcept {
  const unsigned level = timer->slot / kSlots;
  const unsigned slot = timer->slot % kSlots;
  if (timer->previous != nullptr) {
    timer->previous->next = timer->next;
  } else {
    slots_[level][slot] = timer->next;
    if (timer->next == nullptr) occupied_[level] &= ~(std::uint64_t{1} << slot);
  }
  if (timer->next != nullptr) timer->next->previous = timer->previous;
  timer->wheel.store(nullptr, std::memory_order_release);
}

void TimerWheel::take_slot(int level, int slot, Timer** list) noexcept {
  *list = std::exchange(slots_[static_cast<unsigned>(level)][static_cast<unsigned>(slot)], nullptr);
  occupied_[static_cast<unsigned>(level)] &= ~(std::uint64_t{1} << slot);
}

void TimerWheel::advance(Nanoseconds now, std::vector<Pid>* due) {
  const std::scoped_lock lock(mutex_);
  const std::uint64_t target = static_cast<std::uint64_t>(now) >> kTickBits;
  while (tick_ < target) {
    tick_ = std::min(target, next_occupied_tick());
    // Spread coarser slots that begin at this tick, coarsest first, then fire the finest.
    for (int level = kLevels - 1; level >= 0; --level) {
      const int shift = level * kSlotBits;
      if (level > 0 && (tick_ & ((std::uint64_t{1} << shift) - 1)) != 0) continue;
      const int slot = static_cast<int>(tick_ >> shift) & (kSlots - 1);
      Timer* list = nullptr;
      take_slot(level, slot, &list);
      while (list != nullptr) {
        Timer* timer = std::exchange(list, list->next);
        if (tick_of(timer->deadline) <= tick_) {
          const Pid pid = timer->pid;
          timer->wheel.store(nullptr, std::memory_order_release);  // from here on its owner may free it
          due->push_back(pid);
        } else {
          insert(timer);
        }
      }
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
  const std::uint64_t best = next_occupied_tick();
  const Nanoseconds due =
      best >= (static_cast<std::uint64_t>(kNever) >> kTickBits) ? kNever : static_cast<Nanoseconds>(best << kTickBits);
  next_due_.store(due, std::memory_order_relaxed);
}

}  // namespace rusm::otp
