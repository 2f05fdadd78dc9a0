// The workloads of guests beside native processes, of streams between guests, and of computing.
#pragma once

#include "bench/workload.h"

namespace rusm::bench {

// A native process and a core module that sends back what it receives, one message of 8 bytes under way; messages/s,
// percentiles of round trips.
Result<Measurement> guest_rtt(const Options& options);
// The same with a component.
Result<Measurement> component_rtt(const Options& options);
// One core module writes chunks of 64 KiB to a stream, another reads them; MB/s.
Result<Measurement> wasm_stream(const Options& options);
// A guest without imports that works for some time (bench/guests/compress, or --component FILE), again and again by one
// process; runs/h, percentiles of one run.
Result<Measurement> wasm_compute(const Options& options);
// A pair of native processes beside two endless loops in guests for each worker; round trips/s with their percentiles.
Result<Measurement> fairness_guests(const Options& options);

}  // namespace rusm::bench
