#include "bench/net_workloads.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace rusm::bench {
namespace {

TEST(NetWorkloads, RunToTheirEnd) {
  ::setenv("RUSM_TCP_LOAD", RUSM_TCP_LOAD, 1);
  const Options options{.seconds = 0.1, .workers = 2, .json = false, .component = {}};
  for (auto* workload : {&tcp_echo, &connection_storm, &connection_scale}) {
    const Result<Measurement> measured = workload(options);
    ASSERT_TRUE(measured) << measured.error().to_string();
    EXPECT_GT(measured->value, 0);
    EXPECT_EQ(measured->workers, 2u);
  }
}

TEST(NetWorkloads, WithoutTheLoadProgramTheyFail) {
  ::setenv("RUSM_TCP_LOAD", "/nonexistent", 1);
  const Result<Measurement> measured = tcp_echo({.seconds = 0.1, .workers = 1, .json = false, .component = {}});
  ASSERT_FALSE(measured);
  EXPECT_EQ(measured.error().where, "rusm_tcp_load");
}

}  // namespace
}  // namespace rusm::bench
