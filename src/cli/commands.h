// What the commands do. Each returns the program's exit code, and says on standard error what went wrong.
#pragma once

#include "app/environment.h"
#include "cli/command_line.h"

namespace rusm::cli {

int serve(const ServeCommand& command, const app::EnvironmentLookup& environment);
int check(const CheckCommand& command);
int run(const RunCommand& command, const app::EnvironmentLookup& environment);
int bench(const BenchCommand& command);
int observe(const ObserveCommand& command, const app::EnvironmentLookup& environment);

}  // namespace rusm::cli
