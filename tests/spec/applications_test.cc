// Applications: trees that start and stop as one.
#include "otp/application.h"
#include "otp/server.h"
#include "spec/fixture.h"

namespace rusm::otp::spec {
namespace {

using Kind = ExitReason::Kind;
using testing::ElementsAre;
using testing::HasSubstr;

// What happened, in its order, from any thread.
struct Notes {
  void add(std::string line) {
    const std::scoped_lock lock(mutex);
    lines.push_back(std::move(line));
  }
  Lines all() {
    const std::scoped_lock lock(mutex);
    return lines;
  }
  std::mutex mutex;
  Lines lines;
};

struct Noted {
  Noted(std::shared_ptr<Notes> to, std::string who) : notes(std::move(to)), id(std::move(who)) { notes->add("+" + id); }
  Noted(const Noted&) = delete;
  Noted& operator=(const Noted&) = delete;
  ~Noted() { notes->add("-" + id); }
  std::shared_ptr<Notes> notes;
  std::string id;
};

Routine part(Self& self, std::shared_ptr<Notes> notes, std::string id) {
  const Noted noted(notes, id);
  ready(self);
  const Message message = co_await receive(self);
  if (message.text() == "crash") throw std::runtime_error("told to");
}

ApplicationSpec application(const std::shared_ptr<Notes>& notes, const std::string& name, Lines needs = {}) {
  return {.name = name, .needs = std::move(needs), .tree = [notes, name](const Settings&) -> Result<SupervisorSpec> {
            ChildSpec one = child("one", part, notes, name + ".1");
            ChildSpec two = child("two", part, notes, name + ".2");
            one.name = name;
            one.reports_ready = two.reports_ready = true;
            return SupervisorSpec{.restarts_max = 0, .children = {one, two}};
          }};
}

class Trees : public testing::Test {
 protected:
  SystemClock clock_;
  SystemEntropy entropy_;
  QuietReactorFactory reactors_;
  std::shared_ptr<Notes> notes_ = std::make_shared<Notes>();
  Runtime runtime_{{.workers = 2}, {.clock = clock_, .entropy = entropy_, .reactors = reactors_}};
};

TEST_F(Trees, StartInTheOrderOfTheirNeedsAndStopInReverse) {
  {
    Result<Applications> running =
        Applications::start(runtime_, {application(notes_, "web", {"store", "log"}), application(notes_, "log"),
                                       application(notes_, "store", {"log"})});
    ASSERT_TRUE(running) << running.error().to_string();
    Result<> stopped = running->stop();
    EXPECT_TRUE(stopped);
  }
  ASSERT_TRUE(runtime_.wait_until_empty(20 * kSecond));
  Lines ends;
  for (const std::string& line : notes_->all()) {
    if (line.starts_with("-")) ends.push_back(line);
  }
  EXPECT_THAT(ends, ElementsAre("-web.2", "-web.1", "-store.2", "-store.1", "-log.2", "-log.1"));
}

TEST_F(Trees, TheEndOfAPermanentOneStopsAllAndOfATemporaryOneNone) {
  ApplicationSpec leaf = application(notes_, "leaf");
  leaf.permanent = false;
  Result<Applications> running = Applications::start(runtime_, {application(notes_, "base"), leaf});
  ASSERT_TRUE(running) << running.error().to_string();
  const Pid one = runtime_.whereis("leaf");
  ASSERT_TRUE(one);
  runtime_.send(one, Message::of_text("crash"));
  ASSERT_TRUE(runtime_.wait_for(one, 20 * kSecond));
  EXPECT_FALSE(running->wait(0));
  runtime_.send("base", Message::of_text("crash"));
  const std::optional<ExitReason> why = running->wait(20 * kSecond);
  ASSERT_TRUE(why);
  EXPECT_EQ(why->kind(), Kind::kShutdown);
  EXPECT_TRUE(runtime_.wait_until_empty(20 * kSecond));
}

// Ignores the order to stop.
Routine stubborn(Self& self, bool reports) {
  self.trap_exit(true);
  if (reports) ready(self);
  for (;;) (void)co_await receive(self);
}

ApplicationSpec with_child(const std::string& name, ChildSpec child) {
  return {.name = name,
          .tree = [child](const Settings&) -> Result<SupervisorSpec> { return SupervisorSpec{.children = {child}}; }};
}

TEST_F(Trees, WhatDoesNotStopInTimeIsKilledWithAllThatIsBelow) {
  ChildSpec child = otp::child("stubborn", stubborn, true);
  child.reports_ready = true;
  child.shutdown = kNever;
  Result<Applications> running =
      Applications::start(runtime_, {with_child("a", child), application(notes_, "b", {"a"})});
  ASSERT_TRUE(running) << running.error().to_string();
  const Result<> stopped = running->stop(50 * kMillisecond);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::kTimeout);
  EXPECT_TRUE(runtime_.wait_until_empty(20 * kSecond));
}

TEST_F(Trees, AStartThatTakesTooLongLeavesNothingBehind) {
  ChildSpec child = otp::child("late", stubborn, false);
  child.reports_ready = true;  // which it never does
  child.shutdown = 0;
  const Result<Applications> running =
      Applications::start(runtime_, {application(notes_, "b"), with_child("a", child)}, 50 * kMillisecond);
  ASSERT_FALSE(running);
  EXPECT_EQ(running.error().code, ErrorCode::kTimeout);
  EXPECT_TRUE(runtime_.wait_until_empty(20 * kSecond));
}

TEST_F(Trees, SettingsAreReadBeforeAnythingStarts) {
  const auto of = [&](Settings settings) {
    ApplicationSpec spec = application(notes_, "chat");
    spec.settings = std::move(settings);
    spec.tree = [](const Settings& s) -> Result<SupervisorSpec> {
      if (const auto port = s.get<std::int64_t>("port"); !port) return std::unexpected(port.error());
      if (const auto greeting = s.get<std::string>("greeting", "hello"); !greeting) {
        return std::unexpected(greeting.error());
      }
      return SupervisorSpec();
    };
    const Result<Applications> running = Applications::start(runtime_, {application(notes_, "other"), spec});
    return running ? std::string("runs") : running.error().to_string();
  };
  EXPECT_EQ(of({{"port", 1}}), "runs");
  EXPECT_THAT(of({}), HasSubstr("application \"chat\": port: is missing"));
  EXPECT_THAT(of({{"port", std::string("x")}}), HasSubstr("port: must be a whole number, and is a text"));
  EXPECT_THAT(of({{"port", 1}, {"gretting", std::string("x")}}),
              HasSubstr("knows no setting \"gretting\"; it has \"greeting\", \"port\""));
  EXPECT_TRUE(runtime_.wait_until_empty(20 * kSecond));
}

TEST_F(Trees, MistakesAreNamed) {
  const auto error_of = [&](std::vector<ApplicationSpec> specs) {
    const Result<SupervisorSpec> tree = application_tree(std::move(specs));
    return tree ? std::string() : tree.error().to_string();
  };
  EXPECT_THAT(error_of({application(notes_, "a", {"b"})}), HasSubstr("\"a\": needs \"b\", which is not among"));
  EXPECT_THAT(error_of({application(notes_, "a", {"b"}), application(notes_, "b", {"a"})}),
              HasSubstr("a needs b needs a"));
  EXPECT_THAT(error_of({application(notes_, "a"), application(notes_, "a")}), HasSubstr("is there twice"));
  EXPECT_THAT(error_of({ApplicationSpec{.name = "a", .tree = {}}}), HasSubstr("has no tree"));
  EXPECT_THAT(error_of({application(notes_, "")}), HasSubstr("applications[0]: has no name"));
}

TEST_F(Trees, OneThatCannotStartLeavesNothingBehind) {
  ApplicationSpec bad = application(notes_, "bad", {"good"});
  bad.tree = [](const Settings&) -> Result<SupervisorSpec> {
    ChildSpec broken{.id = "broken", .start = [](Self&, SpawnOptions) -> Result<Spawned> {
                       return fail(ErrorCode::kIo, "disk", "is full");
                     }};
    return SupervisorSpec{.children = {broken}};
  };
  const Result<Applications> running = Applications::start(runtime_, {bad, application(notes_, "good")});
  ASSERT_FALSE(running);
  EXPECT_EQ(running.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(running.error().to_string(), HasSubstr("\"bad\""));
  EXPECT_THAT(running.error().to_string(), HasSubstr("disk: is full"));
  EXPECT_TRUE(runtime_.wait_until_empty(20 * kSecond));
}

}  // namespace
}  // namespace rusm::otp::spec
