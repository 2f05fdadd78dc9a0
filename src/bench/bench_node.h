// BenchNode: a runtime with the product's defaults and no outside, for the workloads of the process core.
#pragma once

#include "base/clock.h"
#include "base/entropy.h"
#include "bench/workload.h"
#include "otp/reactor.h"
#include "otp/runtime.h"

namespace rusm::bench {

struct BenchNode {
  explicit BenchNode(const Options& options) : runtime({.workers = options.workers}, {clock, entropy, reactors}) {}
  // Per second since `start`, of something that happened `count` times.
  double rate(double count, Nanoseconds start) const { return count * 1e9 / static_cast<double>(clock.now() - start); }

  SystemClock clock;
  SystemEntropy entropy;
  otp::QuietReactorFactory reactors;
  otp::Runtime runtime;
};

}  // namespace rusm::bench
