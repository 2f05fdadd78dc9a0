// Chunk: bytes that were read, in memory of just their size.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

#include "base/memory.h"

namespace rusm::net {

// Threads: one owner.
class Chunk {
 public:
  Chunk() = default;
  static Chunk copy_of(std::span<const std::byte> bytes) {
    Chunk chunk;
    if (bytes.empty()) return chunk;
    chunk.data_ = static_cast<std::byte*>(allocate_block(bytes.size()));
    chunk.size_ = bytes.size();
    std::ranges::copy(bytes, chunk.data_);
    return chunk;
  }
  Chunk(Chunk&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Chunk& operator=(Chunk&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Chunk() {
    if (data_ != nullptr) deallocate_block(data_, size_);
  }

  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  std::string_view text() const noexcept { return {reinterpret_cast<const char*>(data_), size_}; }
  operator std::span<const std::byte>() const noexcept { return bytes(); }  // NOLINT(google-explicit-constructor)

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace rusm::net
