#include "otp/pipe.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "otp/runtime.h"

// Whoever is about to wait sets its flag and looks once more; whoever changes something does so and looks at the flag.
// Both are sequentially consistent, so at least one of the two sees the other.

namespace rusm::otp {

Pipe::Pipe(Runtime& runtime, std::size_t capacity_bytes)
    : runtime_(runtime), capacity_(std::bit_ceil(std::max<std::size_t>(capacity_bytes, 64))) {}

void Pipe::wake_reader() noexcept {
  if (reader_waits_.exchange(false)) runtime_.wake(Pid::from_raw(reader_.load(std::memory_order_acquire)));
}

void Pipe::wake_writer() noexcept {
  if (writer_waits_.exchange(false)) runtime_.wake(Pid::from_raw(writer_.load(std::memory_order_acquire)));
}

std::span<std::byte> Pipe::writable() noexcept {
  if (state() != State::kOpen) return {};
  const std::uint64_t tail = tail_.load(std::memory_order_relaxed);
  std::uint64_t used = tail - head_.load();
  if (used == capacity_) {
    writer_waits_.store(true);
    used = tail - head_.load();
    if (used == capacity_ || state_.load() != State::kOpen) return {};
  }
  if (!ring_) ring_ = std::make_unique_for_overwrite<std::byte[]>(capacity_);
  const std::size_t at = tail & (capacity_ - 1);
  return {ring_.get() + at, std::min(capacity_ - used, capacity_ - at)};
}

void Pipe::commit(std::size_t bytes) noexcept {
  if (bytes == 0) return;
  tail_.store(tail_.load(std::memory_order_relaxed) + bytes);
  wake_reader();
}

std::size_t Pipe::write(std::span<const std::byte> bytes) noexcept {
  std::size_t written = 0;
  while (written < bytes.size()) {
    const std::span<std::byte> room = writable();
    if (room.empty()) break;
    const std::size_t n = std::min(room.size(), bytes.size() - written);
    std::memcpy(room.data(), bytes.data() + written, n);
    commit(n);
    written += n;
  }
  return written;
}

void Pipe::finish() noexcept {
  State open = State::kOpen;
  state_.compare_exchange_strong(open, State::kFinished);
  wake_reader();
}

std::span<const std::byte> Pipe::readable() noexcept {
  const std::uint64_t head = head_.load(std::memory_order_relaxed);
  std::uint64_t there = tail_.load() - head;
  if (there == 0) {
    reader_waits_.store(true);
    there = tail_.load() - head;
    if (there == 0) {
      if (reader_watched_.load()) runtime_.wake(Pid::from_raw(writer_.load(std::memory_order_acquire)));
      return {};
    }
  }
  if (state() == State::kBroken) return {};
  const std::size_t at = head & (capacity_ - 1);
  return {ring_.get() + at, std::min<std::size_t>(there, capacity_ - at)};
}

void Pipe::consume(std::size_t bytes) noexcept {
  if (bytes == 0) return;
  head_.store(head_.load(std::memory_order_relaxed) + bytes);
  wake_writer();
}

bool Pipe::ended() const noexcept {
  return state() == State::kFinished && head_.load() == tail_.load();
}

void Pipe::abort() noexcept {
  if (ended()) return;
  state_.store(State::kBroken);
  wake_reader();
  wake_writer();
}

}  // namespace rusm::otp
