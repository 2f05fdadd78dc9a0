#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string>

#include "cli/command_line.h"
#include "cli/commands.h"

namespace rusm::cli {
namespace {

std::optional<std::string> environment_variable(std::string_view name) {
  const char* value = std::getenv(std::string(name).c_str());
  return value ? std::optional<std::string>(value) : std::nullopt;
}

int print(const PrintCommand& command) {
  std::fputs(command.text.c_str(), command.exit_code == kExitOk ? stdout : stderr);
  return command.exit_code;
}

int dispatch(int argc, const char* const* argv) {
  struct Visitor {
    int operator()(const ServeCommand& command) const { return serve(command, environment_variable); }
    int operator()(const CheckCommand& command) const { return check(command); }
    int operator()(const RunCommand& command) const { return run(command, environment_variable); }
    int operator()(const BenchCommand& command) const { return bench(command); }
    int operator()(const ObserveCommand& command) const { return observe(command, environment_variable); }
    int operator()(const PrintCommand& command) const { return print(command); }
  };
  return std::visit(Visitor(), parse_command_line(argc, argv));
}

}  // namespace
}  // namespace rusm::cli

int main(int argc, char** argv) {
  try {
    return rusm::cli::dispatch(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rusm: %s\n", error.what());
    return rusm::cli::kExitFailure;
  }
}
