// How long a node needs until a guest runs.
#pragma once

#include "bench/workload.h"

namespace rusm::bench {

// In a node that runs: a component of 1 MB whose code is in the cache, from its bytes to the end of its first instance;
// starts/s, percentiles of one.
Result<Measurement> cold_start(const Options& options);
// The same with the node, from nothing: runtime, engine, component, instance.
Result<Measurement> node_start(const Options& options);

}  // namespace rusm::bench
