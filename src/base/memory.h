// Where hot-path memory comes from: small blocks from a cache of the worker's thread, the rest from mimalloc. Under a
// sanitizer everything comes from the ordinary allocator, which has to see it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#ifndef RUSM_SANITIZED
#include <mimalloc.h>
#endif

namespace rusm {

// At least `bytes` aligned to 16. Never null: running out of memory ends the program, as std::bad_alloc would.
// Threads: any thread; freed on any thread.
inline void* allocate(std::size_t bytes) {
#ifdef RUSM_SANITIZED
  return ::operator new(bytes);
#else
  void* p = mi_malloc(bytes);
  if (p == nullptr) [[unlikely]]
    std::abort();
  return p;
#endif
}

inline void deallocate(void* p) noexcept {
#ifdef RUSM_SANITIZED
  ::operator delete(p);
#else
  mi_free(p);
#endif
}

namespace detail {

// Free blocks of 64, 128, … bytes that this thread keeps. Off until the thread turns it on.
struct BlockCache {
  static constexpr std::size_t kStep = 64;
  static constexpr std::size_t kClasses = 8;
  static constexpr std::uint32_t kKeepMax = 2048;  // blocks of each class; what is beyond goes back to the allocator

  struct Block {
    Block* next;
  };
  Block* blocks[kClasses];
  std::uint32_t counts[kClasses];
  bool on;
};

inline constinit thread_local BlockCache block_cache{};

}  // namespace detail

// As allocate(), for sizes that come again and again; freed by deallocate_block() with the same size.
inline void* allocate_block(std::size_t bytes) {
#ifndef RUSM_SANITIZED
  const std::size_t index = (bytes - 1) / detail::BlockCache::kStep;
  if (index < detail::BlockCache::kClasses) [[likely]] {
    detail::BlockCache& cache = detail::block_cache;
    if (detail::BlockCache::Block* block = cache.blocks[index]) {
      cache.blocks[index] = block->next;
      --cache.counts[index];
      return block;
    }
    bytes = (index + 1) * detail::BlockCache::kStep;
  }
#endif
  return allocate(bytes);
}

inline void deallocate_block(void* p, [[maybe_unused]] std::size_t bytes) noexcept {
#ifndef RUSM_SANITIZED
  const std::size_t index = (bytes - 1) / detail::BlockCache::kStep;
  detail::BlockCache& cache = detail::block_cache;
  if (index < detail::BlockCache::kClasses && cache.counts[index] < detail::BlockCache::kKeepMax && cache.on)
      [[likely]] {
    auto* block = new (p) detail::BlockCache::Block{cache.blocks[index]};
    cache.blocks[index] = block;
    ++cache.counts[index];
    return;
  }
#endif
  deallocate(p);
}

// Zeros, in huge pages where there are enough of them: for tables that are large and read at random. Not resident until
// touched. Null when there is no memory. Threads: any thread.
void* map_pages(std::size_t bytes) noexcept;
void unmap_pages(void* pages, std::size_t bytes) noexcept;

// Turns the calling thread's cache on for the life of the object, and empties it at the end.
class BlockCacheScope {
 public:
  BlockCacheScope() noexcept { detail::block_cache.on = true; }
  ~BlockCacheScope() {
    detail::BlockCache& cache = detail::block_cache;
    cache.on = false;
    for (std::size_t i = 0; i < detail::BlockCache::kClasses; ++i) {
      while (detail::BlockCache::Block* block = cache.blocks[i]) {
        cache.blocks[i] = block->next;
        deallocate(block);
      }
      cache.counts[i] = 0;
    }
  }
  BlockCacheScope(const BlockCacheScope&) = delete;
  BlockCacheScope& operator=(const BlockCacheScope&) = delete;
};

}  // namespace rusm
