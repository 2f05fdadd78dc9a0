// XXH64, the same on every machine, as it is in stores on disks: finds damage, keeps no secret.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace rusm::kv {

std::uint64_t checksum(std::span<const std::byte> bytes, std::uint64_t seed) noexcept;

}  // namespace rusm::kv
