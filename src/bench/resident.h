// How much memory this program has.
#pragma once

#include <cstdint>

namespace rusm::bench {

// What is in memory of it now.
std::uint64_t resident_bytes();

}  // namespace rusm::bench
