// The workloads of the process core. Definitions as the comparison programs in bench/ use them.
#pragma once

#include "bench/workload.h"

namespace rusm::bench {

// One spawner for each worker starts processes with an empty body and lets them end; processes/s.
Result<Measurement> spawn(const Options& options);
// One pair exchanges a small message; messages/s, and the round trip's percentiles from a second loop with a clock.
Result<Measurement> pingpong(const Options& options);
// Two pairs for each worker.
Result<Measurement> pingpong_many(const Options& options);

}  // namespace rusm::bench
