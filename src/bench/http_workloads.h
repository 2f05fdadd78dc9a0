// The workloads of serving. The client is wrk, as for every server that is compared: one thread, 64 connections.
#pragma once

#include "bench/workload.h"

namespace rusm::bench {

// Serves options.component (a wasi:http component; by default examples/hello's) as `rusm serve` would; requests/s.
Result<Measurement> http(const Options& options);
// The same with a native handler.
Result<Measurement> http_native(const Options& options);

}  // namespace rusm::bench
