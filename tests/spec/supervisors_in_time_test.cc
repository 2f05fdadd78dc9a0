// V. Supervisors: dynamic children of several kinds, and what back-off counts.
#include <string>
#include <utility>
#include <vector>

#include "otp/supervisor.h"
#include "spec/fixture.h"

namespace rusm::otp::spec {
namespace {

using Kind = ExitReason::Kind;
using testing::ElementsAre;

constexpr Nanoseconds kTick = kMillisecond;  // timers are late by less

Routine obedient(Self& self) {
  ready(self);
  for (;;) (void)co_await receive(self);
}

Routine stubborn(Self& self) {
  self.trap_exit(true);
  ready(self);
  for (;;) (void)co_await receive(self);
}

Routine declines_again(Self& self, int* starts) {
  if (++*starts == 1) {
    ready(self);
    (void)co_await receive(self);
    co_await end(self, ExitReason::other("enough"));
  }
  decline(self);
}

// Starts one child for each argument.
Routine start_each(Self& self, Pid supervisor, std::vector<int> arguments, std::vector<Pid>* out) {
  for (const int argument : arguments) {
    const Result<Pid> started = co_await start_child(self, supervisor, Message::of(int{argument}));
    EXPECT_TRUE(started.has_value());
    out->push_back(started.value_or(Pid()));
  }
}

void advance(World& w, Nanoseconds span) {
  const Nanoseconds until = w.clock().now() + span;
  w.run();
  while (w.here().next_timer() <= until) {
    w.clock().advance_to(w.here().next_timer());
    w.run();
  }
  w.clock().advance_to(until);
}

// All were given the time of the most patient one, so that one of them could keep a supervisor from ever ending.
TEST(V, Case4_DynamicChildrenAreKilledAfterTheirOwnTime) {
  for_seeds(
      On::kOneNode,
      [](World& w) {
        const auto dynamic = [](const Message& argument) {
          const Nanoseconds patience[] = {kNever, kSecond, 2 * kSecond};
          const int kind = *argument.get_if<int>();
          ChildSpec spec = kind == 0 ? child("", obedient) : child("", stubborn);
          spec.shutdown = patience[kind];
          return spec;
        };
        const Pid supervisor =
            w.here().spawn(supervise, SupervisorSpec{.strategy = Strategy::kSimpleOneForOne, .dynamic = dynamic});
        std::vector<Pid> children;
        w.here().spawn(start_each, supervisor, std::vector{2, 0, 1}, &children);
        w.run();
        ASSERT_EQ(children.size(), 3u);
        w.here().exit(supervisor, Kind::kShutdown);
        const auto alive = [&] {
          std::string text;
          for (const Pid child : children) text += w.here().is_alive(child) ? '+' : '-';
          return text;
        };
        w.run();
        EXPECT_EQ(alive(), "+-+");
        advance(w, kSecond + kTick);
        EXPECT_EQ(alive(), "+--");
        EXPECT_TRUE(w.here().is_alive(supervisor));
        advance(w, kSecond + kTick);
        EXPECT_EQ(w.process_count(), 0u);
      },
      20);
}

Routine ask_count(Self& self, Pid supervisor, ChildCounts* out) {
  *out = *co_await count_children(self, supervisor);
}

// It was kept, although nobody could start or delete it.
TEST(V, Case9_ADynamicChildThatDeclinesToStartAgainIsForgotten) {
  for_seeds(
      On::kOneNode,
      [](World& w) {
        int starts = 0;
        const auto dynamic = [&starts](const Message&) {
          ChildSpec spec = child("", declines_again, &starts);
          spec.reports_ready = true;
          return spec;
        };
        const Pid supervisor =
            w.here().spawn(supervise, SupervisorSpec{.strategy = Strategy::kSimpleOneForOne, .dynamic = dynamic});
        std::vector<Pid> children;
        w.here().spawn(start_each, supervisor, std::vector{1}, &children);
        w.run();
        w.here().send(children.at(0), Message::of_text("end"));
        w.run();
        EXPECT_EQ(starts, 2);
        ChildCounts counts{.specs = 1};
        w.here().spawn(ask_count, supervisor, &counts);
        w.run();
        EXPECT_EQ(counts.specs, 0u);
        w.here().exit(supervisor, Kind::kShutdown);
        w.run_out();
      },
      20);
}

Routine terminate_one(Self& self, Pid supervisor, std::string id) {
  EXPECT_TRUE(co_await terminate_child(self, supervisor, std::move(id)));
}

// What passes until its supervisor sees to its end is no part of its life.
TEST(V, Case11_AQuietPeriodIsOneInWhichTheChildLived) {
  World w(1, false);
  ChildSpec slow = child("slow", stubborn);
  slow.shutdown = 60 * kSecond;
  ChildSpec restless = child("restless", obedient);
  restless.name = "restless";
  const Backoff backoff{.first = kSecond, .max = 8 * kSecond, .factor = 2, .jitter = 0, .quiet = 10 * kSecond};
  const Pid supervisor =
      w.here().spawn(supervise, SupervisorSpec{.restarts_max = 100, .backoff = backoff, .children = {slow, restless}});
  w.run();
  const auto crash = [&] {
    w.here().exit(w.here().whereis("restless"), ExitReason::other("enough"));
    w.run();
    EXPECT_FALSE(w.here().whereis("restless"));
  };
  const auto is_back_after = [&](Nanoseconds span) {
    advance(w, span - kSecond / 2);
    EXPECT_FALSE(w.here().whereis("restless"));
    advance(w, kSecond / 2 + kTick);
    EXPECT_TRUE(w.here().whereis("restless"));
  };
  crash();
  is_back_after(kSecond);
  w.here().spawn(terminate_one, supervisor, std::string("slow"));
  w.run();
  crash();
  is_back_after(60 * kSecond + 2 * kSecond);
  advance(w, 10 * kSecond);
  crash();
  is_back_after(kSecond);
  w.here().exit(supervisor, Kind::kShutdown);
  w.run_out();
  EXPECT_EQ(w.process_count(), 0u);
}

// Notes in which second it starts; its second, third and fourth start fail.
Routine starts_now_and_then(Self& self, std::vector<Nanoseconds>* starts) {
  starts->push_back(self.runtime().clock().now() / kSecond);
  if (starts->size() > 1 && starts->size() < 5) co_await end(self, ExitReason::other("no disk"));
  ready(self);
  for (;;) (void)co_await receive(self);
}

Routine counts_its_starts(Self& self, int* starts) {
  ++*starts;
  for (;;) (void)co_await receive(self);
}

// Attempts followed each other at once, and used up all restarts.
TEST(V, Case11_WhoCannotBeStartedAgainWaitsLongerEachTime) {
  for (const Strategy strategy : {Strategy::kOneForOne, Strategy::kOneForAll, Strategy::kRestForOne}) {
    World w(1, false);
    std::vector<Nanoseconds> starts;
    int others = 0;
    ChildSpec flaky = child("flaky", starts_now_and_then, &starts);
    flaky.reports_ready = true;
    flaky.name = "flaky";
    const ChildSpec other = child("other", counts_its_starts, &others);
    const Backoff backoff{.first = kSecond, .max = 8 * kSecond, .factor = 2, .jitter = 0};
    const Pid supervisor = w.here().spawn(
        supervise,
        SupervisorSpec{.strategy = strategy, .restarts_max = 4, .backoff = backoff, .children = {flaky, other}});
    w.run();
    const Nanoseconds began = starts.at(0);
    w.here().exit(w.here().whereis("flaky"), ExitReason::other("enough"));
    advance(w, 20 * kSecond);
    for (Nanoseconds& at : starts) at -= began;
    EXPECT_THAT(starts, ElementsAre(0, 1, 3, 7, 15));
    EXPECT_EQ(others, strategy == Strategy::kOneForOne ? 1 : 2) << "with it, once it is there";
    EXPECT_TRUE(w.here().is_alive(supervisor));
    w.here().exit(supervisor, Kind::kShutdown);
    w.run_out();
  }
}

}  // namespace
}  // namespace rusm::otp::spec
