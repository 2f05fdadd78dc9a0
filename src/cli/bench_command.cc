#include <fmt/format.h>

#include <cstdio>

#include "bench/workload.h"
#include "cli/commands.h"

namespace rusm::cli {

int bench(const BenchCommand& command) {
  if (!command.workload.empty()) {
    return bench::run(
        command.workload,
        {.seconds = command.seconds, .workers = command.workers, .json = command.json, .component = command.component});
  }
  fmt::print("Workloads (rusm bench WORKLOAD):\n");
  for (const bench::Workload& workload : bench::workloads())
    fmt::print("  {:<18} {}\n", workload.name, workload.summary);
  fmt::print("  {:<18} every one of them\n", "all");
  return kExitOk;
}

}  // namespace rusm::cli
