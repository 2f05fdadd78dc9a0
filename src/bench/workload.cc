#include "bench/workload.h"

#include <fmt/format.h>
#include <sys/utsname.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "bench/actor_workloads.h"
#include "bench/core_workloads.h"
#include "bench/flow_workloads.h"
#include "bench/guest_flow_workloads.h"
#include "bench/guest_workloads.h"
#include "bench/http_workloads.h"
#include "bench/life_workloads.h"
#include "bench/live_workloads.h"
#include "bench/net_workloads.h"
#include "bench/start_workloads.h"
#include "bench/store_workloads.h"
#include "bench/storm_workloads.h"
#include "bench/supervisor_workloads.h"

namespace rusm::bench {
namespace {

// "AMD EPYC 7R13, 2 cores, Linux 6.1.0": what a figure belongs to.
std::string machine() {
  std::string model = "unknown processor";
  unsigned cores = 0;
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("processor")) ++cores;
    if (line.starts_with("model name")) model = line.substr(std::min(line.size(), line.find(':') + 2));
  }
  utsname system{};
  uname(&system);
  return fmt::format("{}, {} cores, {} {}", model, cores, system.sysname, system.release);
}

double load_average() {
  double load = 0;
  std::ifstream("/proc/loadavg") >> load;
  return load;
}

void print_json(const Workload& workload, const Options& options, const Measurement& measured, double load) {
  nlohmann::ordered_json line = {
      {"workload", workload.name},   {"value", static_cast<std::uint64_t>(measured.value)},
      {"unit", measured.unit},       {"p50_ns", measured.p50_ns},
      {"p99_ns", measured.p99_ns},   {"workers", measured.workers},
      {"seconds", options.seconds},  {"machine", machine()},
      {"load_average_before", load},
  };
  for (const auto& [name, value] : measured.more) line[name] = value;
  std::puts(line.dump().c_str());
}

void print_text(const Workload& workload, const Measurement& measured) {
  fmt::print("{:<26} {:>14.0f} {}", workload.name, measured.value, measured.unit);
  if (measured.p99_ns != 0) fmt::print("   p50 {} ns, p99 {} ns", measured.p50_ns, measured.p99_ns);
  for (const auto& [name, value] : measured.more) fmt::print("   {} {}", name, value);
  fmt::print("   ({} workers)\n", measured.workers);
}

int run_one(const Workload& workload, const Options& options) {
  const double load = load_average();
  const Result<Measurement> measured = workload.run(options);
  if (!measured) {
    fmt::print(stderr, "rusm bench {}: {}\n", workload.name, measured.error().to_string());
    return 1;
  }
  if (options.json) {
    print_json(workload, options, *measured, load);
  } else {
    print_text(workload, *measured);
  }
  std::fflush(stdout);
  return 0;
}

}  // namespace

const std::vector<Workload>& workloads() {
  static const std::vector<Workload> all = {
      {"spawn", "native processes that start and end, spawners on every worker", spawn},
      {"pingpong", "messages between one pair of native processes; percentiles are round trips", pingpong},
      {"pingpong-many", "messages between two pairs for each worker", pingpong_many},
      {"scaling-spawn", "`spawn` with all workers, in percent of one", scaling_spawn},
      {"scaling-pairs", "four pairs with all workers, in percent of one", scaling_pairs},
      {"fanin", "messages from 8 producers to one consumer", fanin},
      {"ring", "hops of one token around 1,000 processes", ring},
      {"call", "calls from one process to another; percentiles are round trips", call_empty},
      {"call-backlog", "the same with 10,000 messages in the caller's mailbox", call_backlog},
      {"fault-recovery", "restarts of a linked child that ends with a reason, by a parent that traps exits",
       fault_recovery},
      {"fault-recovery-throw", "the same with a child that throws a C++ exception", fault_recovery_throw},
      {"fault-recovery-supervisor", "restarts by a supervisor of its only child, which ends with a reason",
       fault_recovery_supervisor},
      {"fault-recovery-burst", "the same when all of a supervisor's 20,000 children are killed at once",
       fault_recovery_burst},
      {"stream-64k", "megabytes that one process fills and another reads, in chunks of 64 KiB", stream_64k},
      {"stream-4k", "the same in chunks of 4 KiB", stream_4k},
      {"pubsub-fanout", "deliveries of what one process publishes to 1,000 subscribers", pubsub_fanout},
      {"idle-memory", "resident memory of a million processes that wait for a message", idle_memory},
      {"timers", "timers due in 1 to 100 ms, a million at a time, from setting to firing", timers},
      {"timers-cancel", "timers of a minute, set and cancelled", timers_cancel},
      {"whereis", "look-ups of names by two processes", whereis},
      {"fairness", "round trips of a pair beside four endless loops of ready awaits", fairness},
      {"tcp-echo", "echoes of 64 bytes on 64 connections, a process each; rusm_tcp_load is the client", tcp_echo},
      {"connection-storm", "connections that are accepted, answered with a byte and closed, 64 at a time",
       connection_storm},
      {"connection-scale", "memory of this process for each idle connection and its process", connection_scale},
      {"component-spawn", "instances of a component that start, write to their memory and end", component_spawn},
      {"module-spawn", "the same with a core module", module_spawn},
      {"module-spawn-zeroed", "the same with zero_stacks", module_spawn_zeroed},
      {"module-spawn-overflow", "the same beyond the pool", module_spawn_overflow},
      {"actor-component-spawn", "the same with a component that imports rusm:runtime", actor_component_spawn},
      {"module-idle-memory",
       "memory of each of 20,000 core modules that wait for a message; percentiles are round trips",
       module_idle_memory},
      {"component-idle-memory", "the same with components", component_idle_memory},
      {"module-idle-memory-64k", "the same with modules and stack_kb = 64", module_idle_memory_64k},
      {"live-guests", "core modules alive at once: 100,000; fails where the engine has room for fewer", live_guests},
      {"component-pingpong", "messages between one pair of components", component_pingpong},
      {"component-pingpong-many", "messages between four pairs of components", component_pingpong_many},
      {"module-pingpong", "messages between one pair of core modules", module_pingpong},
      {"module-pingpong-many", "messages between four pairs of core modules", module_pingpong_many},
      {"guest-rtt", "messages to and fro between a native process and a core module; percentiles are round trips",
       guest_rtt},
      {"component-rtt", "the same with a component", component_rtt},
      {"wasm-stream", "megabytes that one core module writes and another reads, in chunks of 64 KiB", wasm_stream},
      {"wasm-compute", "runs of a guest that works (--component), one after the other", wasm_compute},
      {"fairness-guests", "round trips of a native pair beside two endless loops in guests for each worker",
       fairness_guests},
      {"cold-start", "loads of a 1 MB component whose code is in the cache, to the end of its first instance",
       cold_start},
      {"node-start", "the same with the node, from nothing", node_start},
      {"guest-crash-storm", "what a guest that crashes costs, start and link included, in percent of one that returns",
       guest_crash_storm},
      {"http", "requests to a component (--component), a fresh instance each; wrk -t1 -c64 is the client", http},
      {"http-native", "the same to a native process: what serving costs without WebAssembly", http_native},
      {"kv", "durable writes of 64 processes that read a value, change it and write it back; percentiles are of both",
       kv},
  };
  return all;
}

int run(const std::string& name, const Options& options) {
  int worst = 0;
  bool found = false;
  for (const Workload& workload : workloads()) {
    if (name != "all" && name != workload.name) continue;
    found = true;
    worst = std::max(worst, run_one(workload, options));
  }
  if (found) return worst;
  fmt::print(stderr, "rusm bench: there is no workload \"{}\". There are:\n", name);
  for (const Workload& workload : workloads()) fmt::print(stderr, "  {:<26} {}\n", workload.name, workload.summary);
  return 2;
}

}  // namespace rusm::bench
