// Workloads about the lives of processes and what they stand beside: failures, memory, timers, names, fairness.
#pragma once

#include "bench/workload.h"

namespace rusm::bench {

// A parent that traps exits restarts a linked child, which ends with a reason at once; restarts/s.
Result<Measurement> fault_recovery(const Options& options);
// The same with a child that throws.
Result<Measurement> fault_recovery_throw(const Options& options);
// A million processes that wait for a message; resident bytes for each.
Result<Measurement> idle_memory(const Options& options);
// Rounds of a million timers due in 1 to 100 ms, set by one process for each worker; timers/s, waiting included.
Result<Measurement> timers(const Options& options);
// One process for each worker sets a timer of a minute and cancels it, 1,000 at a time; timers/s.
Result<Measurement> timers_cancel(const Options& options);
// Two processes look up 1,000 names; look-ups/s.
Result<Measurement> whereis(const Options& options);
// Round trips of one pair beside four endless loops of awaits that are always ready; round trips/s and percentiles.
Result<Measurement> fairness(const Options& options);

}  // namespace rusm::bench
