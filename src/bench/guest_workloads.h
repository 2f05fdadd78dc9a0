// The workloads of the engine: guests as process bodies.
#pragma once

#include <string_view>

#include "bench/workload.h"

namespace rusm::bench {

// One spawner for each worker starts instances of a component with one memory, which write to it and end; spawns/s.
Result<Measurement> component_spawn(const Options& options);
// The same with any component or module, binary or text, that exports "run".
Result<Measurement> spawn_guests(const Options& options, std::string_view wasm);
// The same with a core module.
Result<Measurement> module_spawn(const Options& options);

}  // namespace rusm::bench
