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
// `spawn`, and four pairs, with the default number of workers: percent of what one worker does.
Result<Measurement> scaling_spawn(const Options& options);
Result<Measurement> scaling_pairs(const Options& options);
// Rounds of 8 producers, which yield after every 1,024 messages, to one consumer; messages/s.
Result<Measurement> fanin(const Options& options);
// One token around 1,000 processes; hops/s.
Result<Measurement> ring(const Options& options);
// One process calls another; calls/s and the round trip's percentiles. The same with 10,000 messages in its mailbox.
Result<Measurement> call_empty(const Options& options);
Result<Measurement> call_backlog(const Options& options);

}  // namespace rusm::bench
