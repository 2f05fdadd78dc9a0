// Workloads: one measured run of one hot path, with the product's defaults.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

namespace rusm::bench {

struct Options {
  double seconds = 3;
  unsigned workers = 0;  // 0: the default, one for each core
  bool json = false;
  std::string component;  // a file; for the workloads that run one

  Nanoseconds span() const { return static_cast<Nanoseconds>(seconds * 1e9); }
};

struct Measurement {
  double value = 0;  // in `unit`
  std::string unit;
  std::uint64_t p50_ns = 0;  // of single operations, where the workload measures them; else 0
  std::uint64_t p99_ns = 0;
  unsigned workers = 0;
  // What else was counted, by the names of JSON's fields.
  std::vector<std::pair<std::string, std::uint64_t>> more = {};
};

struct Workload {
  const char* name;
  const char* summary;  // what is done, and what `value` counts
  Result<Measurement> (*run)(const Options& options);
};

// Every workload, in the order in which help shows them.
const std::vector<Workload>& workloads();

// Runs the workload called `name` and prints one line to standard output: JSON with options.json, else for people.
// Returns the exit code: 0, 1 when it failed, 2 when there is no such workload. "all" runs every one.
int run(const std::string& name, const Options& options);

}  // namespace rusm::bench
