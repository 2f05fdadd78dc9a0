#include "base/memory.h"

#include <sys/mman.h>

namespace rusm {

void* map_pages(std::size_t bytes) noexcept {
  void* pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return nullptr;
  madvise(pages, bytes, MADV_HUGEPAGE);  // a wish: without huge pages it is only slower
  return pages;
}

void unmap_pages(void* pages, std::size_t bytes) noexcept {
  munmap(pages, bytes);
}

}  // namespace rusm
