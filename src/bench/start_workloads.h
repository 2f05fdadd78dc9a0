// How long a node needs until a guest runs.
#pragma once

#include "bench/workload.h"

namespace rusm::bench {

// A runtime, an engine, a component of 1 MB whose code is in the cache, and one instance of it that runs to its end,
// from nothing and back; starts/s, percentiles of one.
Result<Measurement> cold_start(const Options& options);

}  // namespace rusm::bench
