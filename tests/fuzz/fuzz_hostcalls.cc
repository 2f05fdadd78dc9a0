// Programs of calls, run by real guests in a node: see tests/hostcalls/README.md. An input of which the node dies, or
// of which something is left, is written to a file; fuzz_hostcalls FILE runs it again and says what it does.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "base/test_folder.h"
#include "hostcalls/world.h"

namespace {

using namespace rusm::hostcalls;  // NOLINT(google-build-using-namespace): a program of one file

World& world(bool components) {
  // They live as long as the program, and are not destroyed: what the engine needs of the thread goes before them.
  static const rusm::TestFolder folder;
  static World& of_modules = *new World(Calls::of_modules(), folder.path());
  static World& of_components = *new World(Calls::of_components(), folder.path());
  return components ? of_components : of_modules;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  World& chosen = world((data[0] & 1) != 0);
  const Run run{.profile = (data[0] & 6) == 6 ? Profile::kNothing : Profile::kAll,
                .kill_after = data[1] < 64 ? data[1] % 32u : 0};
  const Program program = from_bytes(chosen.calls(), {data + 2, size - 2}, chosen.pids());
  if (std::getenv("RUSM_HOSTCALLS_TELL") != nullptr) std::puts(program.to_string(chosen.calls()).c_str());
  const Outcome outcome = chosen.run(program, run);
  if (outcome.problem.empty()) return 0;
  std::fprintf(stderr, "%s\nafter %s\n", outcome.problem.c_str(), program.to_string(chosen.calls()).c_str());
  std::abort();
}
