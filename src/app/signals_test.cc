#include "app/signals.h"

#include <gtest/gtest.h>

#include <thread>

namespace rusm::app {
namespace {

TEST(SignalWatchTest, TakesSignalsInsteadOfDying) {
  Result<SignalWatch> watch = SignalWatch::open();
  ASSERT_TRUE(watch);
  EXPECT_EQ(watch->wait(0), std::nullopt);
  pthread_kill(pthread_self(), SIGTERM);
  EXPECT_EQ(watch->wait(10 * kSecond), SIGTERM);
  EXPECT_EQ(watch->wait(kMillisecond), std::nullopt) << "each signal is taken once";
}

TEST(SignalWatchTest, WaitsForASignalToTheProgram) {
  Result<SignalWatch> watch = SignalWatch::open();
  ASSERT_TRUE(watch);
  std::thread sender([] { kill(getpid(), SIGINT); });
  EXPECT_EQ(watch->wait(kNever), SIGINT);
  sender.join();
}

TEST(SignalWatchTest, GivesTheOldMaskBack) {
  sigset_t before;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  {
    Result<SignalWatch> watch = SignalWatch::open();
    ASSERT_TRUE(watch);
  }
  sigset_t after;
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  EXPECT_EQ(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
}

}  // namespace
}  // namespace rusm::app
