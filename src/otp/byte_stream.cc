#include "otp/byte_stream.h"

#include <algorithm>
#include <bit>

namespace rusm::otp {
namespace detail {

StreamState::StreamState(Runtime& runtime, const StreamOptions& options)
    : runtime_(runtime),
      bytes_max_(std::max<std::size_t>(options.bytes_max, 1)),
      mask_(std::bit_ceil(std::max<std::uint64_t>(options.chunks_max, 1)) - 1),
      slots_(std::make_unique<Buffer[]>(mask_ + 1)),
      used_(std::make_unique<Buffer[]>(mask_ + 1)) {}

void StreamState::wake(std::atomic<std::uint64_t>& waiting) noexcept {
  if (waiting.load() == 0) [[likely]]
    return;
  if (const std::uint64_t pid = waiting.exchange(0); pid != 0) runtime_.wake(Pid::from_raw(pid));
}

bool StreamState::has_room(Pid writer) noexcept {
  const std::uint64_t tail = tail_.load(std::memory_order_relaxed);
  const std::uint64_t written = bytes_written_.load(std::memory_order_relaxed);
  const auto fits = [&] {
    return tail - head_seen_ <= mask_ && (written - bytes_read_seen_ < bytes_max_ || tail == head_seen_);
  };
  const auto look = [&] {
    head_seen_ = head_.load();
    bytes_read_seen_ = bytes_read_.load(std::memory_order_relaxed);  // partner: head_, which is stored after it
    return fits();
  };
  if (fits() || look()) return true;
  writer_waiting_.store(writer.raw());
  return look();
}

void StreamState::push(Buffer chunk) noexcept {
  const std::uint64_t tail = tail_.load(std::memory_order_relaxed);
  bytes_written_.store(bytes_written_.load(std::memory_order_relaxed) + chunk.size(), std::memory_order_relaxed);
  slots_[tail & mask_] = std::move(chunk);
  tail_.store(tail + 1);
  wake(reader_waiting_);
}

Buffer StreamState::reuse() noexcept {
  const std::uint64_t head = used_head_.load(std::memory_order_relaxed);
  if (head == used_tail_.load(std::memory_order_acquire)) return Buffer();  // partner: give_back
  Buffer used = std::exchange(used_[head & mask_], Buffer());
  bytes_reused_.store(bytes_reused_.load(std::memory_order_relaxed) + used.capacity(), std::memory_order_relaxed);
  used_head_.store(head + 1, std::memory_order_release);  // partner: give_back
  return used;
}

void StreamState::give_back(Buffer used) noexcept {
  if (used.capacity() == 0) return;
  const std::uint64_t tail = used_tail_.load(std::memory_order_relaxed);
  if (tail - used_head_.load(std::memory_order_acquire) > mask_) return;  // partner: reuse
  if (bytes_kept() + used.capacity() > bytes_max_) return;
  bytes_given_back_ += used.capacity();
  used_[tail & mask_] = std::move(used);
  used_tail_.store(tail + 1, std::memory_order_release);  // partner: reuse
}

void StreamState::end_writing(Writer how) noexcept {
  Writer there = Writer::kThere;
  if (writer_.compare_exchange_strong(there, how)) wake(reader_waiting_);
}

bool StreamState::has_chunk(Pid reader) noexcept {
  const std::uint64_t head = head_.load(std::memory_order_relaxed);
  if (tail_seen_ != head || (tail_seen_ = tail_.load()) != head) return true;
  reader_waiting_.store(reader.raw());
  return (tail_seen_ = tail_.load()) != head;
}

Buffer StreamState::pop(Buffer used) noexcept {
  give_back(std::move(used));
  const std::uint64_t head = head_.load(std::memory_order_relaxed);
  Buffer chunk = std::exchange(slots_[head & mask_], Buffer());
  bytes_read_.store(bytes_read_.load(std::memory_order_relaxed) + chunk.size(), std::memory_order_relaxed);
  head_.store(head + 1);
  wake(writer_waiting_);
  return chunk;
}

std::optional<StreamEnd> StreamState::ended() const noexcept {
  const Writer writer = writer_.load();
  // It may have written and ended since we looked.
  if (writer == Writer::kThere || tail_.load() != head_.load(std::memory_order_relaxed)) return std::nullopt;
  return writer == Writer::kFinished ? StreamEnd::kFinished : StreamEnd::kBroken;
}

void StreamState::end_reading() noexcept {
  reader_gone_.store(true);
  reader_waiting_.store(0);
  wake(writer_waiting_);
}

}  // namespace detail

Buffer StreamWriter::buffer(std::size_t bytes) {
  Buffer used = state_ ? state_->reuse() : Buffer();
  // Memory that is much too large is not worth keeping for it.
  if (bytes == 0 || used.capacity() < bytes || used.capacity() / 4 > bytes) return Buffer::of_size(bytes);
  used.resize(bytes);
  return used;
}

bool StreamWriter::try_write(Self& self, Buffer&& chunk) noexcept {
  if (over() || !state_->has_room(self.pid()) || reader_gone()) return false;
  if (!chunk.empty()) state_->push(std::exchange(chunk, Buffer()));
  return true;
}

std::optional<StreamReader::Chunk> StreamReader::try_read(Self& self) noexcept {
  if (!state_) return std::unexpected(StreamEnd::kBroken);
  for (;;) {
    if (state_->has_chunk(self.pid())) {
      current_ = state_->pop(take());
      return std::as_const(current_).bytes();
    }
    const std::optional<StreamEnd> end = state_->ended();
    if (end) return std::unexpected(*end);
    if (!state_->has_chunk(self.pid())) return std::nullopt;
  }
}

StreamEnds open_stream(Runtime& runtime, StreamOptions options) {
  Ref<detail::StreamState> state = make_ref<detail::StreamState>(runtime, options);
  StreamWriter writer(state);
  return {std::move(writer), StreamReader(std::move(state))};
}

std::pair<Duplex, Duplex> open_duplex(Runtime& runtime, StreamOptions options) {
  StreamEnds there = open_stream(runtime, options);
  StreamEnds back = open_stream(runtime, options);
  return {Duplex{std::move(back.reader), std::move(there.writer)},
          Duplex{std::move(there.reader), std::move(back.writer)}};
}

}  // namespace rusm::otp
