// rusm_guest_storm: a storm of guests that end in every way.
//
//   rusm_guest_storm --guests 10000000 --seed 1
//
// Prints one line of JSON. Exit code 1 when something is left, or when memory grew after a tenth of the guests.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "hostcalls/storm.h"

namespace {

// Allocators keep some of what was used; a kilobyte lost in each of ten million guests is 10 GB.
constexpr std::uint64_t kGrowthMax = 48 << 20;

}  // namespace

int main(int argc, char** argv) {
  using namespace rusm::hostcalls;  // NOLINT(google-build-using-namespace): a program of one file
  StormOptions options;
  CLI::App app("Starts guests that trap, exit, are killed and run out of time at random calls; nothing may be left.");
  app.add_option("--guests", options.guests, "how many");
  app.add_option("--seed", options.seed, "of what they do");
  app.add_option("--workers", options.workers, "threads");
  CLI11_PARSE(app, argc, argv);
  const StormResult result = storm(Calls::of_modules(), Calls::of_components(), options);
  std::puts(result.to_string().c_str());
  if (!result.problem.empty()) return 1;
  if (result.resident_end > result.resident_warm + kGrowthMax) {
    std::puts("memory grew");
    return 1;
  }
  return 0;
}
