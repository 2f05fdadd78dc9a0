#include "otp/message_timer.h"

#include <bit>
#include <cstring>
#include <new>
#include <utility>

#include "base/memory.h"

namespace rusm::otp {

void MessageTimer::put_repeat(Nanoseconds period, std::move_only_function<Message()> make) {
  form_ = Form::kRepeat;
  hold(new Repeat{period, std::move(make)});
}

void MessageTimer::put_message(EnvelopePtr envelope) {
  const bool plain = envelope->type == nullptr || envelope->type->destroy == nullptr;
  if (envelope->bytes > kInsideBytes || !plain || envelope->from || envelope->reference != 0) {
    form_ = Form::kEnvelope;
    hold(envelope.release());
    return;
  }
  form_ = Form::kInside;
  kind_ = envelope->kind;
  type_ = envelope->type;
  bytes_ = envelope->bytes;
  std::memcpy(payload_.data(), envelope->payload(), bytes_);
}

EnvelopePtr MessageTimer::take_message() {
  if (form_ == Form::kEnvelope) return EnvelopePtr(held<Envelope*>());
  EnvelopePtr envelope(Envelope::create(kind_, bytes_));
  envelope->type = type_;
  std::memcpy(envelope->payload(), payload_.data(), bytes_);
  return envelope;
}

void MessageTimer::drop_message() noexcept {
  if (form_ == Form::kEnvelope) Envelope::destroy(held<Envelope*>());
  if (form_ == Form::kRepeat) delete held<Repeat*>();
  form_ = Form::kInside;
}

Nanoseconds MessageTimer::next_after(Nanoseconds now) const noexcept {
  const Nanoseconds span = held<Repeat*>()->period;
  const Nanoseconds missed = now > deadline ? (now - deadline) / span : 0;
  return deadline + (missed + 1) * span;
}

TimerTable::~TimerTable() {
  for (std::uint32_t i = 0; i < segments_used_; ++i) {
    MessageTimer* segment = segments_[i].load(std::memory_order_relaxed);
    for (std::uint32_t at = 0; at < size_of(i); ++at) {
      if (segment[at].wheel.load(std::memory_order_relaxed) != nullptr) segment[at].drop_message();
    }
    unmap_pages(segment, size_of(i) * sizeof(MessageTimer));
  }
}

MessageTimer* TimerTable::acquire(FreeList* list) {
  if (list->empty()) {
    const std::scoped_lock lock(mutex_);
    while (list->size() < kBatch && !free_.empty()) {
      list->push_back(free_.back());
      free_.pop_back();
    }
    if (list->empty()) {
      if (segments_used_ == 0 || unused_at_ == size_of(segments_used_ - 1)) {
        if (segments_used_ == kSegments) return nullptr;
        void* pages = map_pages(size_of(segments_used_) * sizeof(MessageTimer));
        if (pages == nullptr) return nullptr;
        segments_[segments_used_++].store(static_cast<MessageTimer*>(pages), std::memory_order_release);
        unused_at_ = 0;
      }
      MessageTimer* segment = segments_[segments_used_ - 1].load(std::memory_order_relaxed);
      for (std::uint32_t i = 0; i < kBatch; ++i, ++unused_at_) {
        auto* timer = new (&segment[unused_at_]) MessageTimer;
        timer->id.store(begin_of(segments_used_ - 1) + unused_at_, std::memory_order_relaxed);
        list->push_back(timer);
      }
    }
  }
  MessageTimer* timer = list->back();
  list->pop_back();
  if (!list->empty()) __builtin_prefetch(list->back(), 1);  // the next one, likely to be wanted soon
  // The next generation: 40 bits outlast any hand that keeps an id.
  timer->id.store(timer->id.load(std::memory_order_relaxed) + (std::uint64_t{1} << kIndexBits),
                  std::memory_order_relaxed);
  return timer;
}

void TimerTable::release(MessageTimer* timer, FreeList* list) {
  list->push_back(timer);
  if (list->size() < 2 * kBatch) return;
  const std::scoped_lock lock(mutex_);
  for (std::uint32_t i = 0; i < kBatch; ++i) {
    free_.push_back(list->back());
    list->pop_back();
  }
}

void OwnedTimers::add(TimerId id, const TimerTable& table) {
  constexpr std::size_t kFew = 8;
  const std::size_t still = armed.load(std::memory_order_relaxed);
  if (ids.size() >= kFew + 2 * still) {
    if (still == 0) {
      ids.clear();
    } else {
      std::erase_if(ids, [&table](TimerId other) { return !table.is_armed(other); });
    }
  }
  ids.push_back(id);
}

bool TimerTable::is_armed(TimerId id) const noexcept {
  const MessageTimer* timer = find(id);
  return timer != nullptr && timer->id.load(std::memory_order_relaxed) == id.raw &&
         timer->wheel.load(std::memory_order_relaxed) != nullptr;
}

MessageTimer* TimerTable::find(TimerId id) const noexcept {
  const auto index = static_cast<std::uint32_t>(id.raw & ((1u << kIndexBits) - 1));
  const auto segment = static_cast<std::uint32_t>(std::bit_width(index / kFirst + 1) - 1);
  if (id.raw == 0 || segment >= kSegments) return nullptr;
  MessageTimer* timers = segments_[segment].load(std::memory_order_acquire);  // partner: acquire
  return timers == nullptr ? nullptr : timers + (index - begin_of(segment));
}

}  // namespace rusm::otp
