#include "bench/workload.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "bench/actor_workloads.h"
#include "bench/core_workloads.h"
#include "bench/flow_workloads.h"
#include "bench/guest_flow_workloads.h"
#include "bench/guest_workloads.h"
#include "bench/live_workloads.h"
#include "bench/start_workloads.h"
#include "bench/supervisor_workloads.h"

namespace rusm::bench {
namespace {

const Options kShort{.seconds = 0.05, .workers = 2, .json = false, .component = {}};

TEST(Workloads, NamesAreUniqueAndUnknownOnesAreMisuse) {
  std::set<std::string> names;
  for (const Workload& workload : workloads()) EXPECT_TRUE(names.insert(workload.name).second) << workload.name;
  EXPECT_EQ(run("no-such-workload", kShort), 2);
}

TEST(Workloads, TheCoreOnesRunToTheirEnd) {
  for (auto* workload : {&spawn, &pingpong, &pingpong_many, &fault_recovery_supervisor, &fault_recovery_burst,
                         &stream_64k, &stream_4k, &pubsub_fanout}) {
    const Result<Measurement> measured = workload(kShort);
    ASSERT_TRUE(measured.has_value());
    EXPECT_GT(measured->value, 0);
    EXPECT_EQ(measured->workers, 2u);
  }
}

TEST(Workloads, GuestsRunToTheirEnd) {
  for (auto* workload :
       {&component_spawn, &module_spawn, &module_spawn_zeroed, &module_spawn_overflow, &actor_component_spawn,
        &component_pingpong, &module_pingpong, &component_pingpong_many, &module_pingpong_many, &guest_rtt,
        &component_rtt, &wasm_stream, &fairness_guests, &cold_start, &node_start}) {
    const Result<Measurement> measured = workload(kShort);
    ASSERT_TRUE(measured.has_value()) << measured.error().to_string();
    EXPECT_GT(measured->value, 0);
  }
}

TEST(Workloads, GuestsThatWaitAreAllAlive) {
  for (const bool is_component : {false, true}) {
    const Result<Measurement> measured =
        hold_guests(kShort, {.is_component = is_component, .guests = 300, .engine = {.pool_max = 100}});
    ASSERT_TRUE(measured.has_value()) << measured.error().to_string();
    EXPECT_GT(measured->value, 0);
    EXPECT_GT(measured->p50_ns, 0u);
  }
  const Result<Measurement> refused =
      hold_guests(kShort, {.is_component = false, .guests = 300, .engine = {.guests_max = 200}});
  EXPECT_FALSE(refused.has_value());
}

TEST(Workloads, PrintOneLineOfJson) {
  testing::internal::CaptureStdout();
  EXPECT_EQ(run("pingpong", {.seconds = 0.05, .workers = 1, .json = true, .component = {}}), 0);
  const std::string out = testing::internal::GetCapturedStdout();
  EXPECT_EQ(out.find("{\"workload\":\"pingpong\",\"value\":"), 0u) << out;
  EXPECT_EQ(out.find('\n'), out.size() - 1);
  for (const char* key : {"\"unit\"", "\"p50_ns\"", "\"p99_ns\"", "\"workers\":1", "\"machine\""}) {
    EXPECT_NE(out.find(key), std::string::npos) << key;
  }
}

}  // namespace
}  // namespace rusm::bench
