#include "kv/checksum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace rusm::kv {

std::uint64_t checksum(std::span<const std::byte> bytes, std::uint64_t seed) noexcept {
  return XXH64(bytes.data(), bytes.size(), seed);
}

}  // namespace rusm::kv
