// Entropy: randomness behind an interface; the system's for production, a seeded sequence for tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace rusm {

// Threads: any thread.
class Entropy {
 public:
  virtual ~Entropy() = default;
  virtual void fill(std::span<std::byte> out) noexcept = 0;
  std::uint64_t next_u64() noexcept;
};

// getrandom(2): fit for keys.
class SystemEntropy final : public Entropy {
 public:
  void fill(std::span<std::byte> out) noexcept override;
};

// xoshiro256** by Blackman and Vigna (public domain), seeded through splitmix64. Small, fast, not for secrets.
// Threads: one owner.
class Random {
 public:
  explicit Random(std::uint64_t seed) noexcept;
  std::uint64_t next() noexcept;
  // A value in [0, bound). bound > 0.
  std::uint64_t below(std::uint64_t bound) noexcept;

 private:
  std::uint64_t s_[4];
};

// A reproducible Entropy for tests. Threads: one at a time.
class SeededEntropy final : public Entropy {
 public:
  explicit SeededEntropy(std::uint64_t seed) noexcept : random_(seed) {}
  void fill(std::span<std::byte> out) noexcept override;

 private:
  Random random_;
};

}  // namespace rusm
