// The workloads of the engine: guests as process bodies.
#pragma once

#include "bench/workload.h"

namespace rusm::bench {

// One spawner for each worker starts instances of a component with one memory, which write to it and end; spawns/s.
Result<Measurement> component_spawn(const Options& options);
// The same with a core module.
Result<Measurement> module_spawn(const Options& options);

}  // namespace rusm::bench
