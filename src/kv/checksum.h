// XXH64 by Yann Collet, written after its specification: finds damage, keeps no secret.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace rusm::kv {

std::uint64_t checksum(std::span<const std::byte> bytes, std::uint64_t seed) noexcept;

}  // namespace rusm::kv
