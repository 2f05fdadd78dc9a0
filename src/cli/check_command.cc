#include <fmt/format.h>

#include <cstdio>

#include "app/config.h"
#include "cli/commands.h"

namespace rusm::cli {

int check(const CheckCommand& command) {
  const app::ConfigResult config = app::load_config(command.config);
  if (config) {
    fmt::print("{}: no mistakes\n", command.config);
    return kExitOk;
  }
  for (const Error& error : config.error()) fmt::print(stderr, "{}\n", error.to_string());
  return kExitFailure;
}

}  // namespace rusm::cli
