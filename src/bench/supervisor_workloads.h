// Workloads about supervisors that restart what ends.
#pragma once

#include "bench/workload.h"

namespace rusm::bench {

// A supervisor restarts its only child, which ends with a reason at once; restarts/s.
Result<Measurement> fault_recovery_supervisor(const Options& options);
// The 20,000 children of one supervisor are killed at once, again and again; restarts/s, until the last one has
// started.
Result<Measurement> fault_recovery_burst(const Options& options);

}  // namespace rusm::bench
