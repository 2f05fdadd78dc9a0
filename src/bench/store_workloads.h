// Workloads of the durable store.
#pragma once

#include "bench/workload.h"

namespace rusm::bench {

// 64 processes read a value of 100 bytes of 10,000 keys, change it and write it back if it is still the same, each
// write durable; writes/s and the percentiles of a read and its write. In a new store in a temporary folder: where
// RUSM_BENCH_DIR says, else on the disk of the system.
Result<Measurement> kv(const Options& options);

}  // namespace rusm::bench
