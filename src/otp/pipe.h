// Pipe: a bounded stream of bytes from one process to another. A lock-free ring for one writer and one reader; whoever
// finds it full or empty is woken by its pid when that changes.
//
//   writer: std::span<std::byte> room = pipe.writable(); fill n bytes of it; pipe.commit(n); … pipe.finish();
//   reader: std::span<const std::byte> data = pipe.readable(); use n bytes of it; pipe.consume(n);
// An empty span means "nothing now": after state() was looked at, wait for news(self); the other side wakes you.
//
// Threads: one writer and one reader at a time, on any threads; set_reader and set_writer from any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>

#include "otp/pid.h"

namespace rusm::otp {

class Runtime;

class Pipe {
 public:
  enum class State : std::uint8_t {
    kOpen,
    kFinished,  // the writer is done; the reader still gets what is in the pipe
    kBroken,    // a side gave up: nothing more comes, and nothing is taken
  };

  // `capacity_bytes`: rounded up to a power of two; the memory is taken at the first write.
  Pipe(Runtime& runtime, std::size_t capacity_bytes);
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  void set_reader(Pid pid) noexcept { reader_.store(pid.raw(), std::memory_order_release); }
  void set_writer(Pid pid) noexcept { writer_.store(pid.raw(), std::memory_order_release); }

  State state() const noexcept { return state_.load(std::memory_order_acquire); }

  // ── Writer ──
  // Room that is free and contiguous; empty when the pipe is full or not open. When empty, the writer is woken once
  // there is room or the reader gave up.
  std::span<std::byte> writable() noexcept;
  // Makes the first `bytes` of the last writable() readable.
  void commit(std::size_t bytes) noexcept;
  // Copies what fits; returns how much.
  std::size_t write(std::span<const std::byte> bytes) noexcept;
  // From now on the writer is woken too when the reader finds the pipe empty, which reader_waits() then tells: for a
  // writer that produces only what is asked for.
  void watch_reader() noexcept { reader_watched_.store(true); }
  bool reader_waits() const noexcept { return reader_waits_.load(); }
  // No more will come. Ignored when broken.
  void finish() noexcept;

  // ── Reader ──
  // What is there and contiguous; empty when there is nothing now, or never again: see ended(). When empty, the reader
  // is woken once there is something or the writer is done.
  std::span<const std::byte> readable() noexcept;
  void consume(std::size_t bytes) noexcept;
  // True when the writer finished and everything was consumed.
  bool ended() const noexcept;

  // ── Either side ──
  // Gives up: the other side sees kBroken. Has no effect on a pipe that ended().
  void abort() noexcept;
  // Bytes that went in and came out so far.
  std::uint64_t bytes_written() const noexcept { return tail_.load(std::memory_order_acquire); }
  std::uint64_t bytes_read() const noexcept { return head_.load(std::memory_order_acquire); }
  std::size_t capacity() const noexcept { return capacity_; }

 private:
  void wake_reader() noexcept;
  void wake_writer() noexcept;

  Runtime& runtime_;
  const std::size_t capacity_;
  std::unique_ptr<std::byte[]> ring_;  // the writer's to allocate; published by the first commit
  std::atomic<std::uint64_t> reader_{0};
  std::atomic<std::uint64_t> writer_{0};
  std::atomic<State> state_{State::kOpen};
  std::atomic<bool> reader_waits_{false};
  std::atomic<bool> reader_watched_{false};
  std::atomic<bool> writer_waits_{false};
  std::atomic<std::uint64_t> head_{0};  // consumed
  std::atomic<std::uint64_t> tail_{0};  // committed
};

}  // namespace rusm::otp
