#include "otp/byte_stream.h"

#include <algorithm>
#include <bit>

namespace rusm::otp {
namespace detail {

StreamState::StreamState(Runtime& runtime, const StreamOptions& options)
    : runtime_(runtime),
      bytes_max_(std::max<std::size_t>(options.bytes_max, 1)),
      mask_(std::bit_ceil(std::max<std::uint64_t>(options.chunks_max, 1)) - 1),
      slots_(std::make_unique<Buffer[]>(mask_ + 1)) {}

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

void StreamState::push(Buffer* chunk, Buffer* spare) noexcept {
  const std::uint64_t tail = tail_.load(std::memory_order_relaxed);
  bytes_written_.store(bytes_written_.load(std::memory_order_relaxed) + chunk->size(), std::memory_order_relaxed);
  Buffer& at = slot(tail);
  if (at.capacity() != 0) *spare = std::exchange(at, Buffer());
  at = std::exchange(*chunk, Buffer());
  tail_.store(tail + 1);
  wake(reader_waiting_);
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
  const std::uint64_t head = head_.load(std::memory_order_relaxed);
  Buffer chunk = std::exchange(slot(head), std::move(used));
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
  wake(writer_waiting_);
}

}  // namespace detail

Buffer StreamWriter::buffer(std::size_t bytes) {
  // Memory that is much too large is not worth keeping for it.
  if (bytes == 0 || spare_.capacity() < bytes || spare_.capacity() / 4 > bytes) return Buffer::of_size(bytes);
  Buffer buffer = std::exchange(spare_, Buffer());
  buffer.resize(bytes);
  return buffer;
}

bool StreamWriter::try_write(Self& self, Buffer&& chunk) noexcept {
  if (reader_gone() || !state_->has_room(self.pid()) || reader_gone()) return false;
  if (!chunk.empty()) state_->push(&chunk, &spare_);
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
