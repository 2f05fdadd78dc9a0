// rusm_sim: many random programs against the model, or one again.
//
//   rusm_sim --seeds 1000000 --from 1
//   rusm_sim --seed 374 --two-nodes --keep 14,22,34
//   rusm_sim --supervisors --seeds 100000     worlds of supervisors instead; with --seed one again
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <mutex>
#include <thread>
#include <vector>

#include "sim/execution.h"
#include "sim/supervisor_worlds.h"

namespace {

using namespace rusm::otp::sim;  // NOLINT(google-build-using-namespace): a program of one file

int repeat(std::uint64_t seed, bool two_nodes, const std::vector<std::size_t>& numbers) {
  Program program = make_program(seed, two_nodes);
  if (!numbers.empty()) program = keep(program, {numbers.begin(), numbers.end()});
  std::fputs(to_string(program).c_str(), stdout);
  const std::string error = execute(program);
  std::puts(error.empty() ? "no contradiction" : error.c_str());
  return error.empty() ? 0 : 1;
}

int explore_all(std::uint64_t from, std::uint64_t count, unsigned jobs) {
  constexpr std::uint64_t kPiece = 1000;
  std::atomic<std::uint64_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  Seen all;  // guarded by mutex
  const auto work = [&] {
    for (std::uint64_t piece = next.fetch_add(kPiece); piece < count && !failed.load();
         piece = next.fetch_add(kPiece)) {
      Seen seen;
      const std::string report = explore(from + piece, std::min(kPiece, count - piece), &seen);
      const std::scoped_lock lock(mutex);
      all.events += seen.events;
      all.processes += seen.processes;
      if (report.empty()) continue;
      std::puts(report.c_str());
      failed.store(true);
    }
  };
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < jobs; ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  const std::chrono::duration<double> span = std::chrono::steady_clock::now() - start;
  std::printf("%s: %llu seeds from %llu, each on one node and on two; %zu processes, %zu events; %.0f s\n",
              failed.load() ? "FAILED" : "no contradiction", static_cast<unsigned long long>(count),
              static_cast<unsigned long long>(from), all.processes, all.events, span.count());
  return failed.load() ? 1 : 0;
}

int explore_supervisors(std::uint64_t from, std::uint64_t count) {
  SupervisorRun sum;
  for (std::uint64_t seed = from; seed < from + count; ++seed) {
    const SupervisorRun run = run_supervisors(seed);
    sum.add(run);
    if (run.problem.empty()) continue;
    std::printf("%s\nFAILED; repeat with: %s --supervisors --seed %llu\n", run.problem.c_str(), RUSM_SIM_PROGRAM,
                static_cast<unsigned long long>(seed));
    return 1;
  }
  std::printf("no contradiction: %llu worlds from %llu; %llu supervisors, %llu deeds, %llu answers\n",
              static_cast<unsigned long long>(count), static_cast<unsigned long long>(from),
              static_cast<unsigned long long>(sum.supervisors), static_cast<unsigned long long>(sum.deeds),
              static_cast<unsigned long long>(sum.answers));
  return 0;
}

// A crash makes no report of its own.
void on_crash(int signal) {
  std::array<char, 160> line;
  const int size =
      std::snprintf(line.data(), line.size(), "signal %d in: %s --seed %llu %s\n", signal, RUSM_SIM_PROGRAM,
                    static_cast<unsigned long long>(present.seed), present.two_nodes ? "--two-nodes" : "--one-node");
  (void)!write(STDOUT_FILENO, line.data(), static_cast<std::size_t>(size));
  _exit(128 + signal);
}

}  // namespace

int main(int argc, char** argv) {
  for (const int signal : {SIGABRT, SIGSEGV, SIGILL, SIGFPE, SIGBUS}) std::signal(signal, on_crash);
  std::uint64_t seeds = 100'000;
  std::uint64_t from = 1;
  std::uint64_t seed = 0;
  unsigned jobs = std::max(1u, std::thread::hardware_concurrency());
  bool one_node = false;
  bool two_nodes = false;
  bool supervisors = false;
  std::vector<std::size_t> numbers;
  CLI::App app("Runs random programs on the process core and on the model of it.");
  app.add_option("--seeds", seeds, "how many");
  app.add_option("--from", from, "the first");
  app.add_option("--jobs", jobs, "threads");
  CLI::Option* one = app.add_option("--seed", seed, "run this one again");
  app.add_flag("--one-node", one_node, "with --seed")->needs(one);
  app.add_flag("--two-nodes", two_nodes, "with --seed")->needs(one);
  app.add_option("--keep", numbers, "with --seed: only these instructions")->delimiter(',')->needs(one);
  app.add_flag("--supervisors", supervisors, "worlds of supervisors");
  CLI11_PARSE(app, argc, argv);
  if (supervisors) return one->count() == 0 ? explore_supervisors(from, seeds) : explore_supervisors(seed, 1);
  if (one->count() == 0) return explore_all(from, seeds, jobs);
  int failures = 0;
  if (!two_nodes || one_node) failures += repeat(seed, false, numbers);
  if (!one_node || two_nodes) failures += repeat(seed, true, numbers);
  return failures == 0 ? 0 : 1;
}
