// The workloads of many guests that live at once and wait.
#pragma once

#include <cstdint>

#include "bench/workload.h"
#include "wasm/engine.h"

namespace rusm::bench {

struct Held {
  bool is_component = false;
  std::uint32_t guests = 0;
  wasm::EngineOptions engine = {};
};

// Starts guests that wait for a message, and then asks one after the other, each of which answers and waits again. The
// value is resident bytes for each guest; the percentiles are of the round trips. Beside it: page tables, mappings, and
// how many guests the pool holds. Fails when one cannot be started or does not answer.
Result<Measurement> hold_guests(const Options& options, const Held& held);

Result<Measurement> module_idle_memory(const Options& options);
Result<Measurement> component_idle_memory(const Options& options);
Result<Measurement> module_idle_memory_64k(const Options& options);
// The value is the number of guests.
Result<Measurement> live_guests(const Options& options);

}  // namespace rusm::bench
