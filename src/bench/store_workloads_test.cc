#include "bench/store_workloads.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace rusm::bench {
namespace {

const Options kShort{.seconds = 0.1, .workers = 2, .json = false, .component = {}};

TEST(StoreWorkloads, RunToTheirEnd) {
  const Result<Measurement> measured = kv(kShort);
  ASSERT_TRUE(measured) << measured.error().to_string();
  EXPECT_GT(measured->value, 0);
  EXPECT_EQ(measured->workers, 2u);
}

TEST(StoreWorkloads, WithoutAFolderTheyFail) {
  ::setenv("RUSM_BENCH_DIR", "/nonexistent", 1);
  EXPECT_FALSE(kv(kShort));
  ::unsetenv("RUSM_BENCH_DIR");
}

}  // namespace
}  // namespace rusm::bench
