#include "base/histogram.h"

#include <bit>

namespace rusm {
namespace {

constexpr int kSteps = 16;

unsigned bucket_of(std::uint64_t value) noexcept {
  if (value < kSteps) return static_cast<unsigned>(value);
  const int exponent = std::bit_width(value) - 5;  // value >> exponent lies in [16, 32)
  return static_cast<unsigned>((exponent + 1) * kSteps + static_cast<int>((value >> exponent) - kSteps));
}

std::uint64_t upper_bound_of(unsigned bucket) noexcept {
  if (bucket < kSteps) return bucket;
  const unsigned exponent = bucket / kSteps - 1;
  const std::uint64_t base = bucket % kSteps + kSteps;
  return ((base + 1) << exponent) - 1;
}

}  // namespace

void Histogram::record(std::uint64_t value) noexcept {
  ++buckets_[bucket_of(value)];
  ++count_;
}

void Histogram::merge(const Histogram& other) noexcept {
  for (unsigned i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
}

std::uint64_t Histogram::percentile(double quantile) const noexcept {
  if (count_ == 0) return 0;
  const auto wanted = static_cast<std::uint64_t>(quantile * static_cast<double>(count_));
  std::uint64_t seen = 0;
  for (unsigned i = 0; i < buckets_.size(); ++i) {
    seen += buckets_[i];
    if (seen > wanted || seen == count_) return upper_bound_of(i);
  }
  return upper_bound_of(static_cast<unsigned>(buckets_.size() - 1));
}

}  // namespace rusm
