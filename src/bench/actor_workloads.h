// The workloads of guests that are processes: rusm:runtime and the module rusm.
#pragma once

#include "bench/workload.h"

namespace rusm::bench {

// As component_spawn(), of a component that imports rusm:runtime and asks for its pid; spawns/s.
Result<Measurement> actor_component_spawn(const Options& options);
// One pair of components that send a message of 16 bytes to and fro; messages/s.
Result<Measurement> component_pingpong(const Options& options);
// The same with core modules.
Result<Measurement> module_pingpong(const Options& options);
// Four pairs.
Result<Measurement> component_pingpong_many(const Options& options);
Result<Measurement> module_pingpong_many(const Options& options);

}  // namespace rusm::bench
