// The workloads of the engine: guests as process bodies.
#pragma once

#include <string_view>

#include "bench/workload.h"
#include "wasm/engine.h"

namespace rusm::bench {

// One spawner for each worker starts instances of a component with one memory, which write to it and end; spawns/s.
Result<Measurement> component_spawn(const Options& options);
// The same with any component or module, binary or text, that exports "run".
Result<Measurement> spawn_guests(const Options& options, std::string_view wasm, wasm::EngineOptions engine = {});
// The same with a core module.
Result<Measurement> module_spawn(const Options& options);
// The same with `zero_stacks`.
Result<Measurement> module_spawn_zeroed(const Options& options);
// The same with a pool of one slot, so that nearly all go to the overflow.
Result<Measurement> module_spawn_overflow(const Options& options);

}  // namespace rusm::bench
