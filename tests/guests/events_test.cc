// events.wasm, a component of rusm:runtime@0.2.0 and of 0.1.0 beside it, in the real engine: see README.md here.

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "otp/byte_stream.h"
#include "wasm/test_actors.h"

namespace rusm::wasm {
namespace {

using Kind = otp::ExitReason::Kind;
using Texts = std::vector<std::string>;

std::string events() {
  std::ifstream file(RUSM_GUEST_DIR "/events.wasm", std::ios::binary);
  EXPECT_TRUE(file);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

Capabilities spawner() {
  Capabilities capabilities;
  capabilities.actor.spawn = true;
  return capabilities;
}

// A node with the component "events", of which each test starts one by its label.
class EventsNode : public ActorNode {
 public:
  explicit EventsNode(const Capabilities& capabilities = spawner(),
                      EngineOptions options = {.guests_max = 64, .workers = 2})
      : ActorNode(options) {
    add("events", events(), capabilities);
    factory.reserve_name("resident");
  }

  otp::Pid begin_as(const std::string& role) {
    Result<otp::BodyPtr> body = factory.find("events")->make({});
    EXPECT_TRUE(body.has_value()) << body.error().to_string();
    if (!body) return {};
    otp::SpawnOptions spawn;
    spawn.label = role;
    factory.find("events")->limit(spawn);
    return begin_body(std::move(*body), std::move(spawn));
  }
  otp::ExitReason run_as(const std::string& role) { return wait(begin_as(role)); }
};

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST(EventsTest, LinksMonitorsAndExitSignals) {
  EventsNode node;
  const otp::ExitReason reason = node.run_as("signals");
  EXPECT_EQ(reason, otp::ExitReason::other("done")) << reason.to_string() << reason.backtrace();
  EXPECT_EQ(node.reported(10), (Texts{"trapped false true", "exit other enough linked true", "down other enough",
                                      "links 1", "down Killed", "again false", "gave up true", "nothing",
                                      "exit Noproc linked true", "exit other to myself linked false"}));
}

TEST(EventsTest, ALinkTakesAGuestAlong) {
  EventsNode node;
  EXPECT_EQ(node.run_as("bound"), otp::ExitReason::crashed("test", "broken"));
  EXPECT_TRUE(eventually([&] { return node.runtime.process_count() == 1; }));
  EXPECT_TRUE(node.reports.all().empty());
}

TEST(EventsTest, WithoutARightThereIsAnErrorValue) {
  EventsNode node({});
  const otp::ExitReason reason = node.run_as("powerless");
  EXPECT_TRUE(reason.is_normal()) << reason.to_string() << reason.backtrace();
  const Texts texts = node.reported(6);
  EXPECT_TRUE(contains(texts[0], "spawn denied: events needs allow-spawn")) << texts[0];
  EXPECT_TRUE(contains(texts[1], "supervise denied: events needs allow-spawn")) << texts[1];
  EXPECT_TRUE(contains(texts[2], "monitor denied: events needs allow-spawn or allow-process-control")) << texts[2];
  EXPECT_TRUE(contains(texts[3], "link denied: events needs allow-process-control")) << texts[3];
  EXPECT_TRUE(contains(texts[4], "exit denied: events needs allow-process-control")) << texts[4];
  EXPECT_EQ(texts[5], "unregistered false");
  EXPECT_TRUE(node.runtime.is_alive(node.control));
}

TEST(EventsTest, WithTheRightToControlOthersItMay) {
  Capabilities control = spawner();
  control.actor.process_control = true;
  EventsNode node(control);
  node.add("worker", events(), control);
  // Its link to "control" is the end of both when it ends that; what it reports until then nobody needs.
  EXPECT_EQ(node.run_as("powerful").kind(), Kind::kKilled);
  EXPECT_TRUE(eventually([&] { return !node.runtime.is_alive(node.control); }));
}

TEST(EventsTest, SelectiveReceiveLeavesTheOthersInTheirPlaces) {
  EventsNode node;
  const otp::ExitReason reason = node.run_as("selective");
  EXPECT_TRUE(reason.is_normal()) << reason.to_string() << reason.backtrace();
  const Texts texts = node.reported(11);
  EXPECT_EQ(Texts(texts.begin(), texts.begin() + 9),
            (Texts{"message b one", "timer", "nothing", "message b two", "message a one", "message a two", "nothing",
                   "message signal", "message noise"}));
  EXPECT_TRUE(contains(texts[9], "65 matches with 0 bytes; 64 with 4096 bytes are allowed")) << texts[9];
  EXPECT_TRUE(contains(texts[10], "1 matches with 4097 bytes")) << texts[10];
}

TEST(EventsTest, TimersSayWhatWasLeft) {
  EventsNode node;
  const otp::ExitReason reason = node.run_as("timers");
  EXPECT_TRUE(reason.is_normal()) << reason.to_string() << reason.backtrace();
  EXPECT_EQ(node.reported(8), (Texts{"left true", "cancelled true", "gone None None", "fired true None", "late None",
                                     "nothing", "message later", "foreign None"}));
}

TEST(EventsTest, TimersWhoseEventsNobodyReceivesMeetTheirLimit) {
  EventsNode node;
  const otp::ExitReason reason = node.run_as("hoarder");
  EXPECT_EQ(reason.kind(), Kind::kLimit) << reason.to_string();
  EXPECT_EQ(reason.crash_kind(), "timers");
}

TEST(EventsTest, CallsAreAnsweredOnceAndInTime) {
  EventsNode node;
  const otp::ExitReason reason = node.run_as("caller");
  EXPECT_TRUE(reason.is_normal()) << reason.to_string() << reason.backtrace();
  EXPECT_EQ(node.reported(10),
            (Texts{"answer SHOUT", "timeout", "answer true false", "answer forged false", "message mail", "nothing",
                   "down other asked to", "noproc", "noproc", "a process cannot call itself"}));
}

otp::Routine ask_many(otp::Self& self, otp::Pid server, Reports* reports) {
  std::expected<otp::Message, otp::ExitReason> answer =
      co_await otp::call(self, server, otp::Message::of_text("from outside"), 30 * kSecond);
  reports->add(answer ? std::string(answer->text()) : answer.error().to_string());
}

TEST(EventsTest, ANativeProcessCallsAGuest) {
  EventsNode node;
  const otp::Pid server = node.begin_as("answering");
  node.runtime.spawn(ask_many, server, &node.reports);
  EXPECT_EQ(node.reported(1), Texts{"from outside"});
}

TEST(EventsTest, RequestsThatNobodyAnswersAreForgotten) {
  EventsNode node;
  const otp::Pid server = node.begin_as("server");
  // Far more than a guest can answer any more, each of which has its token.
  for (int i = 0; i < 10'050; ++i) {
    EXPECT_FALSE(node.runtime.ask(server, otp::Message::of_text("late"), 0).has_value());
  }
  const auto answer = node.runtime.ask(server, otp::Message::of_text("hello"), 30 * kSecond);
  ASSERT_TRUE(answer.has_value()) << answer.error().to_string();
  EXPECT_EQ(answer->text(), "HELLO");
}

TEST(EventsTest, ASupervisorKnowsItsChildren) {
  EventsNode node;
  node.add("worker", events());
  const otp::Pid boss = node.begin_as("boss");
  Texts texts = node.reported(5);
  EXPECT_TRUE(contains(texts[0], "\"same\" is in use")) << texts[0];
  EXPECT_TRUE(contains(texts[1], "intensity.restarts: at most 1000")) << texts[1];
  const auto child = [&](const char* name) { return node.runtime.whereis(name); };
  EXPECT_EQ(std::ranges::count(texts, "permanent: argument of permanent"), 1);
  EXPECT_EQ(std::ranges::count(texts, "temporary: argument of temporary"), 1);

  node.tell(child("transient"), "normal");
  node.tell(child("temporary"), "fail");
  EXPECT_TRUE(eventually([&] { return !child("transient") && !child("temporary"); }));
  const otp::Pid before = child("permanent");
  node.tell(before, "normal");
  EXPECT_TRUE(eventually([&] { return child("permanent") && child("permanent") != before; }));
  texts = node.reported(6);
  EXPECT_EQ(texts[5], "permanent: argument of permanent") << "it is given its argument again";
  EXPECT_FALSE(child("transient") || child("temporary")) << "neither is started again";
  for (int i = 0; i < 2; ++i) {
    otp::Pid now;
    EXPECT_TRUE(eventually([&] { return bool(now = child("permanent")); }));
    node.tell(now, "fail");
    EXPECT_TRUE(eventually([&] { return child("permanent") != now; }));
  }
  EXPECT_TRUE(eventually([&] { return node.reports.all().back() == "true Shutdown"; })) << node.reports.all().back();
  node.runtime.exit(boss, Kind::kKill);
  EXPECT_EQ(node.wait(boss).kind(), Kind::kKilled);
}

TEST(EventsTest, ASupervisorReservesTheRoomOfItsChildren) {
  Capabilities narrow = spawner();
  narrow.actor_limits.processes_max = 5;
  EventsNode node(narrow);
  node.add("worker", events());
  const otp::Pid greedy = node.begin_as("greedy");
  EXPECT_TRUE(eventually([&] { return node.reports.all().size() >= 4; }));
  Texts texts = node.reports.all();
  EXPECT_EQ(std::erase_if(texts, [](const std::string& text) { return contains(text, "argument of"); }), 2u);
  EXPECT_EQ(texts[0], "true");
  EXPECT_TRUE(contains(texts[1], "the family may have 5 processes")) << texts[1];
  EXPECT_TRUE(node.runtime.is_alive(greedy));
}

TEST(EventsTest, AProcessIsStartedWithWhatItIsToBe) {
  Capabilities capabilities = spawner();
  capabilities.actor_limits.timers_max = 17;
  EventsNode node(capabilities);
  node.begin_as("itself");
  EXPECT_TRUE(eventually([&] { return node.reports.all().size() >= 10; }));
  Texts texts = node.reports.all();
  const auto has = [&](std::string_view part) {
    return std::ranges::any_of(texts, [&](const std::string& text) { return contains(text, part); });
  };
  EXPECT_TRUE(has("the name \"named\" is taken"));
  EXPECT_TRUE(has("found true"));
  EXPECT_TRUE(has("the name \"resident\" is none that a guest can register"));
  EXPECT_TRUE(has("runs no code from elsewhere"));
  EXPECT_TRUE(has("runs no code from inline"));
  EXPECT_TRUE(has(R"(events Some("named") ["named"] argument)"));
  EXPECT_TRUE(has("parent true links 0 monitors 0 traps false cpu true memory true own true"));
  EXPECT_TRUE(has("67108864 17 None 10000 256 64"));
  EXPECT_TRUE(has("message to myself 0"));
  EXPECT_TRUE(has("relabelled"));
}

otp::Routine send_stream(otp::Self& self, otp::Pid guest) {
  auto [writer, reader] = otp::open_stream(self.runtime());
  self.send(guest, otp::Message::local(std::move(reader)));
  for (const char* word : {"one", "two"}) (void)co_await writer.write(self, std::string(word));
  writer.finish();
}

TEST(EventsTest, AStreamIsAnEvent) {
  EventsNode node;
  const otp::Pid guest = node.begin_as("stream");
  node.runtime.spawn(send_stream, guest);
  EXPECT_EQ(node.reported(3), (Texts{"one", "two", "end"}));
  EXPECT_TRUE(node.wait(guest).is_normal());
}

TEST(EventsTest, ExitSignalsToWhoDoesNotLookAreBounded) {
  EventsNode node;
  EXPECT_TRUE(node.run_as("flooder").is_normal());
  const Texts texts = node.reported(2);
  EXPECT_TRUE(contains(texts[0], "1000 exit denied: 1000 exit signals went to processes that still live")) << texts[0];
  EXPECT_EQ(texts[1], "false") << "it can still be killed";
}

TEST(EventsTest, ALinkToWhoIsGoneBringsOneExitUntilThatIsReceived) {
  EventsNode node;
  EXPECT_TRUE(node.run_as("relinker").is_normal());
  EXPECT_EQ(node.reported(2), (Texts{"99 refused", "true"}));
}

TEST(EventsTest, AChildCannotKillItsParentAlongTheirLinkNorCutIt) {
  EventsNode node;
  EXPECT_TRUE(node.run_as("captor").is_normal());
  EXPECT_EQ(node.reported(4), (Texts{"kill: false", "links: 1", "heard, linked: false", "heard, linked: true"}));
}

TEST(EventsTest, LinksThatEndedAreNotCounted) {
  Capabilities few = spawner();
  few.actor_limits.monitors_max = 3;
  EventsNode node(few);
  const otp::ExitReason reason = node.run_as("brief");
  EXPECT_TRUE(reason.is_normal()) << reason.to_string();
  EXPECT_EQ(node.reported(1), Texts{"all have ended"});
}

TEST(EventsTest, AGuestThatWaitsForAnAnswerCanBeKilled) {
  EventsNode node;
  const otp::Pid patient = node.begin_as("patient");
  EXPECT_EQ(node.reported(2), (Texts{"asking", "a question"}));
  node.runtime.exit(patient, Kind::kKill);
  EXPECT_EQ(node.wait(patient).kind(), Kind::kKilled);
}

TEST(EventsTest, MonitorsAndLinksMeetTheirLimit) {
  for (const char* role : {"watcher", "linker"}) {
    EventsNode node;
    const otp::ExitReason reason = node.run_as(role);
    EXPECT_EQ(reason.kind(), Kind::kLimit) << reason.to_string();
    EXPECT_EQ(reason.crash_kind(), "monitors");
  }
}

TEST(EventsTest, WhatAGuestSaysOfItsEndIsNoLimitThatWasMet) {
  EventsNode node;
  const std::uint64_t before = node.engine->limits_hit()[Limit::kMemory];
  EXPECT_EQ(node.run_as("limited"), otp::ExitReason::limit("memory", "said so"));
  EXPECT_EQ(node.engine->limits_hit()[Limit::kMemory], before);
  EXPECT_EQ(node.run_as("killed").kind(), Kind::kKilled);
}

}  // namespace
}  // namespace rusm::wasm
