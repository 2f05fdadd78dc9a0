// What guests that crash cost beside guests that end.
#pragma once

#include "bench/workload.h"

namespace rusm::bench {

// Guests that crash, each linked to the process that started it, beside such that return: what a crash costs, in
// percent of a normal end, the start of the guest included. Half of them trap, the others pass a pointer that is none.
Result<Measurement> guest_crash_storm(const Options& options);

}  // namespace rusm::bench
