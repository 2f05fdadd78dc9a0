// MessageTimer: a timer that sends a message or an exit signal. TimerTable: where they live, so that an id can be
// looked up, by any thread, after its timer is gone.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "otp/timer_wheel.h"

namespace rusm::otp {

// Names one timer of one runtime; never given out twice. Empty: none.
struct TimerId {
  std::uint64_t raw = 0;  // generation 40 | index 24
  explicit operator bool() const noexcept { return raw != 0; }
  bool operator==(const TimerId&) const = default;
};

class TimerTable;

// The timers that end with a process. Timers do not know their neighbours in it, so that firing one touches no other;
// those that are no more are forgotten when they have become the larger part.
// Threads: ids: the owner of the process; armed: any.
struct OwnedTimers {
  void add(TimerId id, const TimerTable& table);

  std::vector<TimerId> ids;
  std::atomic<std::size_t> armed{0};  // of ids
};

// A small message that can be copied byte by byte lies inside, any other in its envelope; one that repeats makes a new
// one each time.
// Threads: its wheel's lock while it is armed, else its owner.
struct MessageTimer : Timer {
  struct Repeat {
    Nanoseconds period;
    std::move_only_function<Message()> make;
  };

  void put_message(EnvelopePtr envelope);
  void put_repeat(Nanoseconds period, std::move_only_function<Message()> make);
  // What is to be sent, once.
  EnvelopePtr take_message();
  bool repeats() const noexcept { return form_ == Form::kRepeat; }
  // Of one that repeats, while it fires.
  Message make_message() { return held<Repeat*>()->make(); }
  void drop_message() noexcept;
  // The next time of one that repeats, without those that were missed.
  Nanoseconds next_after(Nanoseconds now) const noexcept;

  OwnedTimers* owner = nullptr;  // lives as long as this is armed

 private:
  enum class Form : std::uint8_t { kInside, kEnvelope, kRepeat };
  static constexpr std::size_t kInsideBytes = 16;

  template <class T>
  T held() const noexcept {
    T value;
    static_assert(sizeof(T) <= kInsideBytes);
    __builtin_memcpy(&value, payload_.data(), sizeof(T));
    return value;
  }
  template <class T>
  void hold(T value) noexcept {
    __builtin_memcpy(payload_.data(), &value, sizeof(T));
  }

  const PayloadType* type_ = nullptr;
  std::array<std::byte, kInsideBytes> payload_;
  std::uint32_t bytes_ = 0;
  EnvelopeKind kind_ = EnvelopeKind::kBytes;
  Form form_ = Form::kInside;

 public:
  // Of one that repeats: it is due, and its wheel waits for rearm(). Under the wheel's lock.
  bool firing = false;
  bool cancelled = false;  // meanwhile
};
static_assert(sizeof(MessageTimer) == 88);

// Threads: any thread.
class TimerTable {
 public:
  // Free timers of one owner. Threads: one owner.
  using FreeList = std::vector<MessageTimer*>;
  static constexpr std::uint32_t kTimersMax = (1u << 24) - 1024;

  TimerTable() = default;
  ~TimerTable();
  TimerTable(const TimerTable&) = delete;
  TimerTable& operator=(const TimerTable&) = delete;

  // With a new id. Null when kTimersMax are in use.
  MessageTimer* acquire(FreeList* list);
  // REQUIRES: it is in no wheel and its message is gone.
  void release(MessageTimer* timer, FreeList* list);
  // The timer that has, or had, this id; null when there never was one.
  MessageTimer* find(TimerId id) const noexcept;
  // Whether it may still fire. May be true of one that is just being fired or cancelled.
  bool is_armed(TimerId id) const noexcept;

 private:
  static constexpr std::uint32_t kIndexBits = 24;
  static constexpr std::uint32_t kFirst = 1024;  // timers of the first segment; each further one has twice as many
  static constexpr std::uint32_t kSegments = 14;
  static constexpr std::uint32_t kBatch = 128;

  static constexpr std::uint32_t size_of(std::uint32_t segment) { return kFirst << segment; }
  static constexpr std::uint32_t begin_of(std::uint32_t segment) { return kFirst * ((1u << segment) - 1); }

  // Memory that nobody has touched yet reads as timers that never were armed.
  std::array<std::atomic<MessageTimer*>, kSegments> segments_{};
  std::mutex mutex_;
  // Guarded by mutex_.
  std::uint32_t segments_used_ = 0;
  std::uint32_t unused_at_ = 0;  // of the last segment
  std::vector<MessageTimer*> free_;
};

}  // namespace rusm::otp
