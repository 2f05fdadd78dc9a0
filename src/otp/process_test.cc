#include "otp/process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "otp/routine.h"

namespace rusm::otp {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Kind = ExitReason::Kind;
using Lines = std::vector<std::string>;

struct Node {
  explicit Node(std::uint64_t seed = 1)
      : runtime({.deterministic_seed = seed}, {.clock = clock, .entropy = entropy, .reactors = reactors}) {}
  SimulatedClock clock;
  SeededEntropy entropy{1};
  QuietReactorFactory reactors;
  Runtime runtime;
};

// ── A body that is no coroutine ──────────────────────────────────────────────────────────────────────────────────────

struct Trace {
  int resumed = 0;
  int destroyed = 0;
  Lines received;
};

// Answers each resume with the next step of its script, at the end for ever with the last one.
class Scripted final : public Body {
 public:
  Scripted(Trace* trace, std::vector<Step> script, bool receives = true)
      : trace_(trace), script_(std::move(script)), receives_(receives) {}

  Step resume(Process& self, Budget budget) noexcept override {
    EXPECT_GT(budget.reductions, 0);
    const auto at = static_cast<std::size_t>(trace_->resumed++);
    while (receives_) {
      const auto message = self.try_receive();
      if (!message) break;
      trace_->received.emplace_back(message->text());
    }
    const Step step = script_[std::min(at, script_.size() - 1)];
    if (step == Step::kExit) self.set_exit_reason(ExitReason::other("script"));
    return step;
  }
  void destroy() noexcept override {
    ++trace_->destroyed;
    delete this;
  }

 private:
  Trace* const trace_;
  const std::vector<Step> script_;
  const bool receives_;
};

TEST(ProcessBody, IsResumedUntilItExitsAndDestroyedOnce) {
  Trace trace;
  Node node;
  ExitReason reason;
  node.runtime.spawn_body(BodyPtr(new Scripted(&trace, {Step::kYield, Step::kYield, Step::kExit})),
                          {.on_exit = [&](Pid, const ExitReason& r) { reason = r; }});
  node.runtime.run_until_idle();
  EXPECT_EQ(trace.resumed, 3);
  EXPECT_EQ(trace.destroyed, 1);
  EXPECT_EQ(reason, ExitReason::other("script"));
}

TEST(ProcessBody, WaitsForMessagesSignalsAndWakes) {
  Trace trace;
  Node node;
  const Pid pid = node.runtime.spawn_body(BodyPtr(new Scripted(&trace, {Step::kWait})));
  node.runtime.run_until_idle();
  EXPECT_EQ(trace.resumed, 1);
  node.runtime.send(pid, Message::of_text("m"));
  node.runtime.run_until_idle();
  EXPECT_EQ(trace.resumed, 2);
  EXPECT_THAT(trace.received, ElementsAre("m"));
  node.runtime.wake(pid);
  node.runtime.run_until_idle();
  EXPECT_EQ(trace.resumed, 3);
  node.runtime.exit(pid, Kind::kKill);
  node.runtime.run_until_idle();
  EXPECT_EQ(trace.resumed, 3) << "a killed body is not resumed";
  EXPECT_EQ(trace.destroyed, 1);
}

TEST(ProcessBody, ThatWaitsForSignalsIsNotResumedByMessages) {
  Trace trace;
  Node node;
  const Pid pid = node.runtime.spawn_body(BodyPtr(new Scripted(&trace, {Step::kWaitSignals, Step::kWait})));
  node.runtime.run_until_idle();
  for (const char* text : {"1", "2", "3"}) node.runtime.send(pid, Message::of_text(text));
  node.runtime.run_until_idle();
  EXPECT_EQ(trace.resumed, 1);
  node.runtime.wake(pid);
  node.runtime.run_until_idle();
  EXPECT_EQ(trace.resumed, 2);
  EXPECT_THAT(trace.received, ElementsAre("1", "2", "3")) << "they waited meanwhile";
}

TEST(ProcessBody, ThatWaitsForSignalsAmongMessagesItDidNotTakeIsStillWokenByOthers) {
  Trace trace;
  Node node;
  const Pid pid = node.runtime.spawn_body(BodyPtr(new Scripted(&trace, {Step::kWaitSignals}, false)));
  node.runtime.send(pid, Message::of_text("untaken"));
  node.runtime.run_until_idle();
  EXPECT_EQ(trace.resumed, 1);
  node.runtime.send(pid, Message::of_text("untaken"));
  node.runtime.run_until_idle();
  EXPECT_EQ(trace.resumed, 1);
  node.runtime.exit(pid, ExitReason::other("signal"));
  node.runtime.run_until_idle();
  EXPECT_EQ(trace.destroyed, 1);
}

TEST(ProcessBody, ManyWakesBeforeItRunsAreOneResume) {
  Trace trace;
  Node node;
  const Pid pid = node.runtime.spawn_body(BodyPtr(new Scripted(&trace, {Step::kWait})));
  node.runtime.run_until_idle();
  for (int i = 0; i < 100; ++i) node.runtime.wake(pid);
  node.runtime.run_until_idle();
  EXPECT_LE(trace.resumed, 3);
  EXPECT_GE(trace.resumed, 2);
}

class WakesItself final : public Body {
 public:
  explicit WakesItself(int* resumed) : resumed_(resumed) {}
  Step resume(Process& self, Budget) noexcept override {
    if (++*resumed_ == 5) return Step::kExit;
    self.runtime().wake(self.pid());  // between its last look and its wait
    return Step::kWait;
  }

 private:
  int* const resumed_;
};

TEST(ProcessBody, AWakeDuringItsStepIsNotLost) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    Node node(seed);
    int resumed = 0;
    node.runtime.spawn_body(BodyPtr(new WakesItself(&resumed)));
    node.runtime.run_until_idle();
    EXPECT_EQ(resumed, 5);
  }
}

class AsksForTime final : public Body {
 public:
  AsksForTime(std::vector<Nanoseconds>* woken, std::vector<Nanoseconds> deadlines)
      : woken_(woken), deadlines_(std::move(deadlines)) {}
  Step resume(Process& self, Budget) noexcept override {
    woken_->push_back(self.runtime().clock().now());
    for (const Nanoseconds deadline : std::exchange(deadlines_, {})) self.wake_at(deadline);
    return Step::kWait;
  }

 private:
  std::vector<Nanoseconds>* const woken_;
  std::vector<Nanoseconds> deadlines_;
};

TEST(ProcessBody, OfSeveralDeadlinesTheEarliestWakesIt) {
  std::vector<Nanoseconds> woken;
  Node node;
  const Nanoseconds start = node.clock.now();
  node.runtime.spawn_body(
      BodyPtr(new AsksForTime(&woken, {start + 3 * kSecond, start + kSecond, start + 2 * kSecond})));
  node.runtime.run_until_idle(&node.clock);
  ASSERT_EQ(woken.size(), 2u);
  EXPECT_GE(woken[1], start + kSecond);
  EXPECT_LT(woken[1], start + kSecond + kMillisecond);
}

TEST(ProcessBody, IsTakenOverEvenWhenThereIsNoRoomForIt) {
  Trace trace;
  SimulatedClock clock;
  SeededEntropy entropy(1);
  QuietReactorFactory reactors;
  Runtime runtime({.processes_max = 1, .deterministic_seed = 1},
                  {.clock = clock, .entropy = entropy, .reactors = reactors});
  int spawned = 0;
  while (runtime.spawn_body(BodyPtr(new Scripted(&trace, {Step::kWait})))) {
    ASSERT_LT(++spawned, 100'000);
  }
  EXPECT_GT(spawned, 0);
  EXPECT_EQ(trace.destroyed, 1);
  EXPECT_EQ(runtime.process_count(), static_cast<std::size_t>(spawned));
  runtime.kill_all();
  runtime.run_until_idle();
  EXPECT_EQ(trace.destroyed, spawned + 1);
  EXPECT_TRUE(runtime.spawn_body(BodyPtr(new Scripted(&trace, {Step::kWait})))) << "there is room again";
}

// ── Coroutines ───────────────────────────────────────────────────────────────────────────────────────────────────────

Task<std::string> next_text(Self& self) {
  const Message message = co_await receive(self);
  co_return std::string(message.text());
}

Task<std::unique_ptr<std::string>> next_two(Self& self) {
  std::string first = co_await next_text(self);
  std::string second = co_await next_text(self);
  co_return std::make_unique<std::string>(first + second);
}

Task<> refuse(Self& self, std::string text) {
  co_await yield(self);
  if (text == "bad") throw std::invalid_argument(text);
}

Routine join_and_check(Self& self, Lines* lines) {
  lines->push_back(*co_await next_two(self));
  try {
    co_await refuse(self, "bad");
  } catch (const std::invalid_argument& e) {
    lines->push_back(std::string("caught ") + e.what());
  }
  co_await refuse(self, "good");
  lines->push_back("end");
}

TEST(Task, GivesItsValueOrItsExceptionToWhoAwaitsIt) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    Node node(seed);
    Lines lines;
    const Pid pid = node.runtime.spawn(join_and_check, &lines);
    node.runtime.run_until_idle();
    node.runtime.send(pid, Message::of_text("a"));
    node.runtime.run_until_idle();
    EXPECT_THAT(lines, IsEmpty());
    node.runtime.send(pid, Message::of_text("b"));
    node.runtime.run_until_idle();
    EXPECT_THAT(lines, ElementsAre("ab", "caught bad", "end"));
  }
}

Routine never_started(Self& self, std::shared_ptr<int> held) {
  (void)held;
  co_await yield(self);
}

TEST(Routine, ThatNeverRanGivesBackWhatItHolds) {
  const auto held = std::make_shared<int>(1);
  {
    Node node;
    node.runtime.spawn(never_started, held);
    EXPECT_EQ(held.use_count(), 2);
  }
  EXPECT_EQ(held.use_count(), 1);
}

Routine look_at_itself(Self& self, Lines* lines) {
  lines->push_back(self.runtime().info(self.pid())->label);
  self.set_label("renamed");
  lines->push_back(self.runtime().info(self.pid())->label);
  lines->push_back(self.try_receive() ? "message" : "nothing");
  EXPECT_FALSE(self.has_signals());
  self.trap_exit(true);
  self.exit(self.pid(), ExitReason::other("sign"));
  self.send(self.pid(), Message::of_text("text"));
  EXPECT_TRUE(self.has_signals());
  while (const auto message = self.try_receive()) lines->push_back(message->is_exit() ? "EXIT" : "message");
  EXPECT_FALSE(self.has_signals());
  co_return;
}

TEST(Process, KnowsItsLabelAndWhatWaits) {
  Node node;
  Lines lines;
  node.runtime.spawn_with({.label = "first"}, look_at_itself, &lines);
  node.runtime.run_until_idle();
  EXPECT_THAT(lines, ElementsAre("first", "renamed", "nothing", "EXIT", "message"));
}

Routine crash_after_kill(Self& self) {
  self.exit(self.pid(), Kind::kKill);
  (void)self.try_receive();
  throw std::runtime_error("too late");
  co_return;
}

TEST(Process, TheReasonThatCameFirstStands) {
  Node node;
  ExitReason reason;
  node.runtime.spawn_with({.on_exit = [&](Pid, const ExitReason& r) { reason = r; }}, crash_after_kill);
  node.runtime.run_until_idle();
  EXPECT_EQ(reason, Kind::kKilled);
}

Routine spend(Self& self, int sends, int* steps) {
  for (;;) {
    ++*steps;
    for (int i = 0; i < sends; ++i) self.send(Pid(), Message::of_text("charged"));
    (void)co_await receive_for(self, 0);
  }
}

TEST(Process, PaysForSendsAtItsNextAwait) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    int steps = 0;
    Node node(seed);
    node.runtime.spawn(spend, 8, &steps);
    // In deterministic mode a slice is at most 8: each round of 8 sends uses one up.
    for (int i = 1; i <= 20; ++i) {
      ASSERT_TRUE(node.runtime.step());
      EXPECT_LE(steps, i);
    }
    EXPECT_GE(steps, 10);
  }
}

Routine hold(Self& self, std::shared_ptr<int> held) {
  (void)held;
  for (;;) (void)co_await receive_if(self, [](const Message&) { return false; });
}

TEST(Process, ItsEndFreesFrameMailboxAndInbox) {
  const auto held = std::make_shared<int>(1);
  Node node;
  const Pid pid = node.runtime.spawn(hold, held);
  node.runtime.run_until_idle();
  for (int i = 0; i < 5; ++i) node.runtime.send(pid, Message::local(held));
  node.runtime.run_until_idle();  // now in the mailbox
  for (int i = 0; i < 5; ++i) node.runtime.send(pid, Message::local(held));
  node.runtime.exit(pid, Kind::kKill);
  for (int i = 0; i < 5; ++i) node.runtime.send(pid, Message::local(held));
  EXPECT_EQ(held.use_count(), 17);
  node.runtime.run_until_idle();
  EXPECT_EQ(held.use_count(), 1);
}

// ── What it knows of its links and monitors ──────────────────────────────────────────────────────────────────────────

Routine wait_for_one(Self& self) {
  co_await receive(self);
}

Routine look_at_own_links(Self& self, bool* done) {
  EXPECT_FALSE(self.traps_exit());
  self.trap_exit(true);
  EXPECT_TRUE(self.traps_exit());
  const Pid peer = self.runtime().spawn(wait_for_one);
  const Pid gone = Pid::from_raw(99);
  EXPECT_FALSE(self.is_linked(peer));
  self.link(peer);
  self.link(gone);
  const Reference monitor = self.monitor(peer);
  EXPECT_TRUE(self.is_linked(peer));
  EXPECT_EQ(self.link_count(), 2u);
  EXPECT_EQ(self.monitor_count(), 1u);
  self.unlink(peer);
  self.demonitor(monitor);
  EXPECT_FALSE(self.is_linked(peer)) << "also while the other does not know yet";
  EXPECT_EQ(self.monitor_count(), 0u);
  self.send(self.pid(), Message::of_text("last"));
  EXPECT_TRUE(self.drain());
  EXPECT_EQ(self.link_count(), 0u) << "the end of who is gone has come";
  self.drop_link_exits(peer);
  self.drop_link_exits(gone);
  EXPECT_EQ((co_await receive(self)).text(), "last") << "and is not heard of";
  self.send(peer, Message::of_text("end"));
  *done = true;
}

TEST(ProcessLinks, AProcessSeesItsOwnSide) {
  Node node;
  bool done = false;
  node.runtime.spawn(look_at_own_links, &done);
  node.runtime.run_until_idle();
  EXPECT_TRUE(done);
}

}  // namespace
}  // namespace rusm::otp
