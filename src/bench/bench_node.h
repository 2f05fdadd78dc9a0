// BenchNode: a runtime with the product's defaults and no outside, for the workloads of the process core.
#pragma once

#include "base/clock.h"
#include "base/entropy.h"
#include "base/histogram.h"
#include "bench/workload.h"
#include "otp/reactor.h"
#include "otp/runtime.h"

namespace rusm::bench {

struct BenchNode {
  explicit BenchNode(const Options& options) : runtime({.workers = options.workers}, {clock, entropy, reactors}) {}
  // What happened `count` times since `start`, per second; of single operations, if they were timed, the percentiles.
  Measurement measured(double count, const char* unit, Nanoseconds start, const Histogram* each = nullptr) const {
    return {.value = count * 1e9 / static_cast<double>(clock.now() - start),
            .unit = unit,
            .p50_ns = each != nullptr ? each->percentile(0.5) : 0,
            .p99_ns = each != nullptr ? each->percentile(0.99) : 0,
            .workers = runtime.workers()};
  }

  SystemClock clock;
  SystemEntropy entropy;
  otp::QuietReactorFactory reactors;
  otp::Runtime runtime;
};

}  // namespace rusm::bench
