// Histogram: latencies in 64 powers of two times 16 linear steps (at most 6.25 % error), fixed memory.
// The bucket layout is that of HdrHistogram (Gil Tene).
#pragma once

#include <array>
#include <cstdint>

namespace rusm {

// Threads: one writer; merge when the writer has stopped.
class Histogram {
 public:
  void record(std::uint64_t value) noexcept;
  void merge(const Histogram& other) noexcept;
  // The value below which the fraction `quantile` (0..1) of the records lies; 0 when empty.
  std::uint64_t percentile(double quantile) const noexcept;
  std::uint64_t count() const noexcept { return count_; }

 private:
  static constexpr int kStepBits = 4;
  std::array<std::uint64_t, 64 << kStepBits> buckets_{};
  std::uint64_t count_ = 0;
};

}  // namespace rusm
