#include "serve/admission.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <thread>

#include "base/clock.h"
#include "base/entropy.h"

namespace rusm::serve {
namespace {

struct World {
  SimulatedClock clock;
  SeededEntropy entropy{1};
  otp::QuietReactorFactory reactors;
  otp::Runtime runtime{{.deterministic_seed = 1}, {.clock = clock, .entropy = entropy, .reactors = reactors}};
};

constexpr ClientKey kAlice{1};
constexpr ClientKey kBob{2};
const otp::Pid kNobody;

TEST(Admission, FirstComeFirstServed) {
  World world;
  Admission admission(world.runtime, {.in_flight_max = 1, .waiting_max = 2});
  Place first, second, third, fourth;
  EXPECT_EQ(admission.enter(first, kNobody, kAlice), Admitted::kYes);
  EXPECT_EQ(admission.enter(second, kNobody, kAlice), Admitted::kWaits);
  EXPECT_EQ(admission.enter(third, kNobody, kBob), Admitted::kWaits);
  EXPECT_EQ(admission.enter(fourth, kNobody, kBob), Admitted::kLineFull);
  EXPECT_EQ(admission.waiting(), 2u);
  first.leave();
  EXPECT_TRUE(second.granted());
  EXPECT_FALSE(third.granted());
  EXPECT_EQ(admission.in_flight(), 1u);
  second.leave();
  EXPECT_TRUE(third.granted());
  third.leave();
  EXPECT_EQ(admission.in_flight(), 0u);
  EXPECT_EQ(admission.waiting(), 0u);
}

TEST(Admission, OneClientHasOnlyItsShareOfTheLine) {
  World world;
  Admission admission(world.runtime, {.in_flight_max = 1, .waiting_max = 10, .waiting_per_client_max = 2});
  Place in_flight, a1, a2, a3, b1;
  EXPECT_EQ(admission.enter(in_flight, kNobody, kAlice), Admitted::kYes);
  EXPECT_EQ(admission.enter(a1, kNobody, kAlice), Admitted::kWaits);
  EXPECT_EQ(admission.enter(a2, kNobody, kAlice), Admitted::kWaits);
  EXPECT_EQ(admission.enter(a3, kNobody, kAlice), Admitted::kClientShare);
  EXPECT_EQ(admission.enter(b1, kNobody, kBob), Admitted::kWaits);
  a1.leave();
  EXPECT_EQ(admission.enter(a3, kNobody, kAlice), Admitted::kWaits) << "its share has room again";
}

TEST(Admission, WhoLeavesTheLineIsNotServed) {
  World world;
  Admission admission(world.runtime, {.in_flight_max = 1});
  Place first, third;
  auto second = std::make_unique<Place>();
  (void)admission.enter(first, kNobody, kAlice);
  (void)admission.enter(*second, kNobody, kAlice);
  (void)admission.enter(third, kNobody, kAlice);
  second.reset();
  first.leave();
  EXPECT_TRUE(third.granted());
}

TEST(Admission, ADetachedPlaceStaysInFlightUntilItIsReleased) {
  World world;
  Admission admission(world.runtime, {.in_flight_max = 1});
  Place first;
  (void)admission.enter(first, kNobody, kAlice);
  Admission* held = first.detach();
  first.leave();
  EXPECT_EQ(admission.in_flight(), 1u);
  held->release();
  EXPECT_EQ(admission.in_flight(), 0u);
}

TEST(Admission, NoPlaceIsLostOrGivenTwiceAmongThreads) {
  World world;
  Admission admission(world.runtime, {.in_flight_max = 2, .waiting_max = 100, .waiting_per_client_max = 100});
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  std::atomic<int> served{0};
  const auto client = [&] {
    for (int i = 0; i < 3000; ++i) {
      Place place;
      if (admission.enter(place, kNobody, kAlice) == Admitted::kWaits) {
        while (!place.granted()) std::this_thread::yield();  // a lost place hangs here
      }
      const int now = inside.fetch_add(1) + 1;
      for (int seen = most.load(); seen < now && !most.compare_exchange_weak(seen, now);) {
      }
      served.fetch_add(1);
      inside.fetch_sub(1);
    }
  };
  {
    std::jthread threads[4];
    for (auto& thread : threads) thread = std::jthread(client);
  }
  EXPECT_EQ(served.load(), 12'000);
  EXPECT_LE(most.load(), 2);
  EXPECT_EQ(admission.in_flight(), 0u);
  EXPECT_EQ(admission.waiting(), 0u);
}

}  // namespace
}  // namespace rusm::serve
