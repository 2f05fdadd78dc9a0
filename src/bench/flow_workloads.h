// Workloads about what flows from one process to others: byte streams and publications.
#pragma once

#include "bench/workload.h"

namespace rusm::bench {

// One process fills chunks of 64 KiB and writes them to a byte stream that another reads; megabytes (10^6 bytes)/s.
Result<Measurement> stream_64k(const Options& options);
// The same with chunks of 4 KiB.
Result<Measurement> stream_4k(const Options& options);
// One process publishes an integer to 1,000 subscribers, again and again, and waits after each 4,000 until all of them
// have received all; deliveries/s.
Result<Measurement> pubsub_fanout(const Options& options);

}  // namespace rusm::bench
