// Byte streams: bounded, one way, from one process to another. Chunks of bytes move from the writer to the reader and
// are not copied. Both ends are values that a process owns and can send on in a message:
//
//   auto [writer, reader] = open_stream(self.runtime());
//   self.send(consumer, Message::local(std::move(reader)));
//   Buffer chunk = writer.buffer(64 << 10);              // memory that the reader is done with, if there is some
//   … fill chunk.bytes() …
//   if (!co_await writer.write(self, std::move(chunk)))  // waits while the stream is full
//     …the reader is gone
//   writer.finish();
//
//   StreamReader in = co_await receive<StreamReader>(self);
//   for (;;) {
//     std::expected<std::span<const std::byte>, StreamEnd> chunk = co_await in.read(self);
//     if (!chunk) break;                                 // kFinished, or kBroken: the writer ended without finish()
//     … use *chunk, until the next read …
//   }
//
// An end that is destroyed, with its process or with a message that nobody receives, tells the other end: no death
// leaves it waiting, and what lies in the stream is freed with the last end. What was written before the writer's
// death is read first. A stream stays in its node; a message that carries an end does not arrive at another. No end
// outlives the runtime.
//
// Two streams make a two-way connection, each half of which is finished by itself: open_duplex().
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "base/assert.h"
#include "base/memory.h"
#include "base/refcount.h"
#include "otp/routine.h"

namespace rusm::otp {

// Bytes with one owner. Threads: one owner at a time.
class Buffer {
 public:
  Buffer() = default;
  // `bytes` of them, with whatever was there.
  static Buffer of_size(std::size_t bytes) {
    return bytes == 0 ? Buffer() : Buffer(static_cast<std::byte*>(allocate(bytes)), bytes, bytes);
  }
  static Buffer copy_of(std::span<const std::byte> bytes) {
    Buffer buffer = of_size(bytes.size());
    if (!bytes.empty()) std::memcpy(buffer.data_, bytes.data(), bytes.size());
    return buffer;
  }
  static Buffer copy_of(std::string_view text) { return copy_of(std::as_bytes(std::span(text))); }
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  ~Buffer() {
    if (data_ != nullptr) deallocate(data_);
  }

  std::span<std::byte> bytes() noexcept { return {data_, size_}; }
  std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  std::string_view text() const noexcept { return {reinterpret_cast<const char*>(data_), size_}; }
  std::size_t size() const noexcept { return size_; }
  std::size_t capacity() const noexcept { return capacity_; }
  bool empty() const noexcept { return size_ == 0; }
  // REQUIRES: bytes <= capacity().
  void resize(std::size_t bytes) noexcept {
    RUSM_ASSERT(bytes <= capacity_, "a buffer cannot grow");
    size_ = bytes;
  }

 private:
  Buffer(std::byte* data, std::size_t size, std::size_t capacity) : data_(data), size_(size), capacity_(capacity) {}

  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

// How much a stream holds.
struct StreamOptions {
  std::size_t bytes_max = 256 << 10;  // that lie in the stream; a single chunk may be larger
  std::uint32_t chunks_max = 64;      // rounded up to a power of two
};

// Why nothing was read.
enum class StreamEnd : std::uint8_t {
  kFinished,  // the writer said so, and everything was read
  kBroken,    // the writer is gone without having said so; what it wrote was read
  kTimeout,   // nothing came in time; the stream goes on
};

namespace detail {

// What both ends share: a ring of chunks, those from head to tail being what is to be read; and a second one for memory
// that the reader is done with, on its way back to the writer: at most bytes_max of it.
//
// Invariants
// 1. Only the writer moves tail_ and only the reader head_. The slot at tail is the writer's until it moves tail_, the
//    slot at head the reader's until it moves head_. The other way round in the ring of used memory.
// 2. Whoever is about to wait sets its flag and looks once more; whoever changes something does so and looks at the
//    flag. Both are sequentially consistent, so at least one of the two sees the other.
class StreamState final : public RefCounted {
 public:
  StreamState(Runtime& runtime, const StreamOptions& options);

  enum class Writer : std::uint8_t { kThere, kFinished, kGone };

  // ── Writer ──
  // False when the stream is full: the process is then woken once that changes.
  bool has_room(Pid writer) noexcept;
  bool reader_gone() const noexcept { return reader_gone_.load(); }
  // REQUIRES: has_room().
  void push(Buffer chunk) noexcept;
  // Memory that the reader is done with; empty when there is none.
  Buffer reuse() noexcept;
  void end_writing(Writer how) noexcept;

  // ── Reader ──
  // False when there is nothing to read: the process is then woken once that changes.
  bool has_chunk(Pid reader) noexcept;
  // Takes the next chunk and leaves `used` to the writer. REQUIRES: has_chunk().
  Buffer pop(Buffer used) noexcept;
  // REQUIRES: !has_chunk(). Nothing: more may come.
  std::optional<StreamEnd> ended() const noexcept;
  void end_reading() noexcept;

  // Bytes that went in and came out so far.
  std::uint64_t bytes_written() const noexcept { return bytes_written_.load(std::memory_order_relaxed); }
  std::uint64_t bytes_read() const noexcept { return bytes_read_.load(std::memory_order_relaxed); }
  // The reader.
  std::uint64_t bytes_kept() const noexcept {
    return bytes_given_back_ - bytes_reused_.load(std::memory_order_relaxed);
  }

 private:
  ~StreamState() override = default;
  void wake(std::atomic<std::uint64_t>& waiting) noexcept;
  void give_back(Buffer used) noexcept;

  // Constant after construction.
  Runtime& runtime_;
  const std::size_t bytes_max_;
  const std::uint64_t mask_;
  const std::unique_ptr<Buffer[]> slots_;
  const std::unique_ptr<Buffer[]> used_;

  // The writer's.
  alignas(64) std::atomic<std::uint64_t> tail_{0};
  std::atomic<std::uint64_t> bytes_written_{0};
  std::atomic<std::uint64_t> writer_waiting_{0};  // its pid; cleared by whoever wakes it
  std::atomic<Writer> writer_{Writer::kThere};
  std::atomic<std::uint64_t> used_head_{0};
  std::atomic<std::uint64_t> bytes_reused_{0};
  std::uint64_t head_seen_ = 0;
  std::uint64_t bytes_read_seen_ = 0;

  // The reader's.
  alignas(64) std::atomic<std::uint64_t> head_{0};
  std::atomic<std::uint64_t> bytes_read_{0};
  std::atomic<std::uint64_t> reader_waiting_{0};  // its pid; cleared by whoever wakes it
  std::atomic<bool> reader_gone_{false};
  std::atomic<std::uint64_t> used_tail_{0};
  std::uint64_t bytes_given_back_ = 0;
  std::uint64_t tail_seen_ = 0;
};

struct WriteChunk;
struct ReadChunk;

}  // namespace detail

// The end into which bytes go. Threads: one owner at a time; whoever awaits it is who is woken.
class StreamWriter {
 public:
  StreamWriter() = default;  // belongs to no stream: writing tells that the reader is gone
  explicit StreamWriter(Ref<detail::StreamState> state) : state_(std::move(state)) {}
  StreamWriter(StreamWriter&&) noexcept = default;
  StreamWriter& operator=(StreamWriter&& other) noexcept {
    const StreamWriter held(std::move(*this));
    state_ = std::move(other.state_);
    finished_ = std::exchange(other.finished_, false);
    return *this;
  }
  ~StreamWriter() {
    if (state_) state_->end_writing(detail::StreamState::Writer::kGone);
  }

  // A buffer of `bytes`, with whatever was there.
  Buffer buffer(std::size_t bytes);
  // To be awaited: true once the chunk is in the stream; false when the reader is gone, or finish() was called, and the
  // chunk is gone too. An empty chunk is not sent.
  auto write(Self& self, Buffer chunk) noexcept;
  // The same, copied.
  auto write(Self& self, std::span<const std::byte> bytes);
  auto write(Self& self, std::string_view text);
  // Without waiting: false, and the chunk is left as it is, when the stream is full, or the reader gone: to be asked
  // before news(self), which ends once there is room again or the reader has gone since.
  bool try_write(Self& self, Buffer&& chunk) noexcept;
  bool reader_gone() const noexcept { return !state_ || state_->reader_gone(); }
  // No more will come.
  void finish() noexcept {
    finished_ = true;
    if (state_) state_->end_writing(detail::StreamState::Writer::kFinished);
  }
  std::uint64_t bytes_written() const noexcept { return state_ ? state_->bytes_written() : 0; }

 private:
  friend struct detail::WriteChunk;
  bool over() const noexcept { return finished_ || reader_gone(); }

  Ref<detail::StreamState> state_;
  bool finished_ = false;
};

// The end from which bytes come. Threads: one owner at a time; whoever awaits it is who is woken.
class StreamReader {
 public:
  using Chunk = std::expected<std::span<const std::byte>, StreamEnd>;
  // What a stream that nobody reads yet counts for in a bounded mailbox: what lies in it by default, and a large chunk.
  static constexpr std::size_t kHoldsBytes = 1 << 20;

  StreamReader() = default;  // belongs to no stream: it is broken
  explicit StreamReader(Ref<detail::StreamState> state) : state_(std::move(state)) {}
  StreamReader(StreamReader&&) noexcept = default;
  StreamReader& operator=(StreamReader&& other) noexcept {
    const StreamReader held(std::move(*this));
    state_ = std::move(other.state_);
    current_ = std::move(other.current_);
    return *this;
  }
  ~StreamReader() {
    if (state_) state_->end_reading();
  }

  // To be awaited: the next chunk, as it was written; valid until the next read, whose writer gets its memory then.
  auto read(Self& self, Nanoseconds timeout = kNever) noexcept;
  // What the last read gave, to be kept.
  Buffer take() noexcept { return std::exchange(current_, Buffer()); }
  // Without waiting: nothing when there is nothing now, and news(self) ends once there is.
  std::optional<Chunk> try_read(Self& self) noexcept;
  std::uint64_t bytes_read() const noexcept { return state_ ? state_->bytes_read() : 0; }
  // Of used memory that waits for the writer; never more than bytes_max.
  std::uint64_t bytes_kept() const noexcept { return state_ ? state_->bytes_kept() : 0; }

 private:
  friend struct detail::ReadChunk;
  Ref<detail::StreamState> state_;
  Buffer current_;
};

// The two ends of a new stream.
struct StreamEnds {
  StreamWriter writer;
  StreamReader reader;
};
StreamEnds open_stream(Runtime& runtime, StreamOptions options = {});

// One side of a two-way connection.
struct Duplex {
  StreamReader in;
  StreamWriter out;
};
std::pair<Duplex, Duplex> open_duplex(Runtime& runtime, StreamOptions options = {});

namespace detail {

struct WriteChunk : Await {
  WriteChunk(Process& s, StreamWriter& w, Buffer c) noexcept : Await(s), writer(w), chunk(std::move(c)) {
    ready = [](Waiter& waiter, Process&) noexcept { return static_cast<WriteChunk&>(waiter).look(); };
  }
  bool look() noexcept {
    return chunk.empty() || writer.over() || writer.try_write(self, std::move(chunk)) || writer.over();
  }
  bool await_ready() noexcept { return self.charge() && !self.exit_pending() && look(); }
  void await_suspend(std::coroutine_handle<> h) noexcept {
    suspend(h, Step::kWaitSignals, !self.charge(0), Wait::kStream);
  }
  bool await_resume() const noexcept { return chunk.empty(); }

  StreamWriter& writer;
  Buffer chunk;
};

struct ReadChunk : Await {
  ReadChunk(Process& s, StreamReader& r, Nanoseconds until) noexcept : Await(s), reader(r), deadline(until) {
    ready = [](Waiter& waiter, Process&) noexcept { return static_cast<ReadChunk&>(waiter).look(); };
  }
  bool look() noexcept {
    chunk = reader.try_read(self);
    return chunk || passed(deadline);
  }
  bool await_ready() noexcept { return self.charge() && !self.exit_pending() && look(); }
  void await_suspend(std::coroutine_handle<> h) noexcept {
    suspend(h, Step::kWaitSignals, !self.charge(0), Wait::kStream);
  }
  StreamReader::Chunk await_resume() const noexcept { return chunk ? *chunk : std::unexpected(StreamEnd::kTimeout); }

  StreamReader& reader;
  const Nanoseconds deadline;
  std::optional<StreamReader::Chunk> chunk;
};

}  // namespace detail

inline auto StreamWriter::write(Self& self, Buffer chunk) noexcept {
  return detail::WriteChunk(self, *this, std::move(chunk));
}
inline auto StreamWriter::write(Self& self, std::span<const std::byte> bytes) {
  Buffer chunk = buffer(bytes.size());
  if (!bytes.empty()) std::memcpy(chunk.bytes().data(), bytes.data(), bytes.size());
  return write(self, std::move(chunk));
}
inline auto StreamWriter::write(Self& self, std::string_view text) {
  return write(self, std::as_bytes(std::span(text)));
}
inline auto StreamReader::read(Self& self, Nanoseconds timeout) noexcept {
  return detail::ReadChunk(self, *this, deadline_after(self.runtime().clock().now(), timeout));
}

}  // namespace rusm::otp
