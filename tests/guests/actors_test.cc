// actors.wasm, a component made with the published crate rusm-rs 0.7.0, in the real engine: see README.md here.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/test_folder.h"
#include "kv/durable_kv_store.h"
#include "otp/byte_stream.h"
#include "otp/match.h"
#include "wasm/test_actors.h"

namespace rusm::wasm {
namespace {

using Kind = otp::ExitReason::Kind;
using Texts = std::vector<std::string>;

std::string actors() {
  std::ifstream file(RUSM_GUEST_DIR "/actors.wasm", std::ios::binary);
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

// Starts one of them and tells it where to report to.
otp::Pid begin(ActorNode& node, const std::string& role, Capabilities capabilities = {}) {
  node.add(role, actors(), std::move(capabilities));
  const otp::Pid pid = node.begin(role);
  node.tell(pid, node.control_text());
  return pid;
}

TEST(ActorsTest, ServicesCallsCastsStreamsAndCallbacks) {
  ActorNode node;
  node.add("calc", actors());
  const otp::Pid client = begin(node, "client", spawner());
  const otp::ExitReason reason = node.wait(client);
  EXPECT_TRUE(reason.is_normal()) << reason.to_string() << reason.backtrace();
  Texts texts = node.reported(7);
  // The cast's message comes from another process, at its own time.
  EXPECT_EQ(std::erase(texts, "told"), 1u);
  EXPECT_EQ(texts, (Texts{"sum 5", R"(division Ok(Err("division by zero")))", "counted [1, 2, 3, 4, 5]",
                          R"(worked [25, 50, 100] Ok("done"))", "sum 42, then mail",
                          R"(unknown Err("no such function: nothing"))"}));
}

TEST(ActorsTest, SpawningNeedsARight) {
  ActorNode node;
  node.add("calc", actors());
  EXPECT_TRUE(node.wait(begin(node, "client")).is_normal());
  const std::string text = node.reported(1)[0];
  EXPECT_NE(text.find("client needs allow-spawn"), std::string::npos) << text;
}

TEST(ActorsTest, AChildMayNotMoreThanItsParent) {
  ActorNode node;
  Capabilities rich;
  rich.network = {{.reach = {NetworkRule()}, .listen = {}}};
  node.add("calc", actors(), rich);
  EXPECT_TRUE(node.wait(begin(node, "client", spawner())).is_normal());
  const std::string text = node.reported(1)[0];
  EXPECT_NE(text.find("use the network, which client may not"), std::string::npos) << text;
}

TEST(ActorsTest, OnlyTheComponentsThatAreNamed) {
  ActorNode node;
  node.add("calc", actors());
  Capabilities other = spawner();
  other.actor.spawn_only = {"something"};
  EXPECT_TRUE(node.wait(begin(node, "client", other)).is_normal());
  const std::string text = node.reported(1)[0];
  EXPECT_NE(text.find("but not this one"), std::string::npos) << text;
}

TEST(ActorsTest, Timers) {
  ActorNode node;
  EXPECT_TRUE(node.wait(begin(node, "timers")).is_normal());
  EXPECT_EQ(node.reported(5),
            (Texts{"cancelled true", "again false", "received kept, cancelled false", "nothing None", "nothing None"}));
}

TEST(ActorsTest, NamesAndTagsOfAGuestThatMayNothing) {
  ActorNode node;
  EXPECT_TRUE(node.wait(begin(node, "tags")).is_normal());
  EXPECT_EQ(node.reported(11),
            (Texts{"alone true", "registered true", "again false", "found true", "freed true", "gone None",
                   "processes 1", "alive true false", "killed false", "tenor", "left 0"}));
}

TEST(ActorsTest, ProcessControl) {
  ActorNode node;
  Capabilities control;
  control.actor.process_control = true;
  // It kills who hears its reports, so its own end is what there is to see: of the group that it is in.
  EXPECT_EQ(node.wait(begin(node, "tags", control)).kind(), Kind::kKilled);
  EXPECT_TRUE(eventually([&] { return !node.runtime.is_alive(node.control); }));
}

const Texts kStored = {"Ok(None)",
                       "Ok(())",
                       "Ok(())",
                       "Ok(Some([111, 110, 101]))",
                       "Ok(true) Ok(false)",
                       R"(Ok(["a", "b"]))",
                       "Ok(true) Ok(false)",
                       R"(Ok(["b"]))",
                       "true",
                       "true"};

Capabilities storage() {
  Capabilities capabilities;
  capabilities.actor.storage = true;
  capabilities.actor.bucket_only = {"things"};
  return capabilities;
}

TEST(ActorsTest, AStoreInMemory) {
  ActorNode node;
  EXPECT_TRUE(node.wait(begin(node, "keeper", storage())).is_normal());
  EXPECT_EQ(node.reported(kStored.size()), kStored);
}

TEST(ActorsTest, AStoreThatMakesItsCallersWait) {
  const TestFolder folder;
  Result<std::unique_ptr<kv::DurableKvStore>> store = kv::DurableKvStore::open({.folder = folder.path() / "store"});
  ASSERT_TRUE(store.has_value()) << store.error().to_string();
  ActorNode node({.guests_max = 64, .workers = 2}, store->get());
  EXPECT_TRUE(node.wait(begin(node, "keeper", storage())).is_normal());
  EXPECT_EQ(node.reported(kStored.size()), kStored);
}

TEST(ActorsTest, StorageNeedsARight) {
  ActorNode node;
  EXPECT_TRUE(node.wait(begin(node, "keeper")).is_normal());
  const std::string text = node.reported(1)[0];
  EXPECT_NE(text.find("keeper needs allow-storage"), std::string::npos) << text;
}

otp::Routine wait_for_word(otp::Self& self) {
  co_await otp::receive(self);
}

TEST(ActorsTest, AMonitorHearsOfAnEnd) {
  ActorNode node;
  const otp::Pid target = node.runtime.spawn(wait_for_word);
  const otp::Pid watcher = begin(node, "watcher", spawner());
  node.tell(watcher, std::to_string(target.raw()));
  EXPECT_EQ(node.reported(1)[0], "watching");
  node.runtime.exit(target, Kind::kKill);
  EXPECT_EQ(node.reported(2)[1], "true {\"__down\":\"" + std::to_string(target.raw()) + "\",\"reason\":\"killed\"}");
}

TEST(ActorsTest, ASupervisorStartsBothAgainAndEndsWithItsGuest) {
  ActorNode node;
  for (const char* name : {"left", "right"}) node.add(name, actors());
  node.add("boss", actors(), spawner());
  const otp::Pid boss = node.begin("boss");
  const auto both = [&] {
    const std::pair pids(node.runtime.whereis("left"), node.runtime.whereis("right"));
    return pids;
  };
  EXPECT_TRUE(eventually([&] { return both().first && both().second; }));
  const auto first = both();
  node.tell(first.first, "fail");
  EXPECT_TRUE(eventually([&] {
    const auto now = both();
    return now.first && now.second && now.first != first.first && now.second != first.second;
  }));
  node.tell(both().second, node.control_text());
  EXPECT_EQ(node.reported(1)[0], "right " + std::to_string(both().second.raw()));
  node.runtime.exit(boss, Kind::kKill);
  EXPECT_EQ(node.wait(boss).kind(), Kind::kKilled);
  EXPECT_TRUE(eventually([&] { return node.runtime.process_count() == 1; })) << "only who hears reports is left";
}

TEST(ActorsTest, ASupervisorWhoseChildrenHaveNoRoomIsRefused) {
  ActorNode node;
  for (const char* name : {"left", "right"}) node.add(name, actors());
  Capabilities narrow = spawner();
  narrow.actor_limits.processes_max = 2;
  node.add("boss", actors(), narrow);
  const std::uint64_t before = node.engine->limits_hit()[Limit::kProcesses];
  (void)node.wait(node.begin("boss"));
  EXPECT_EQ(node.engine->limits_hit()[Limit::kProcesses], before + 1);
  EXPECT_FALSE(node.runtime.whereis("left"));
}

TEST(ActorsTest, InstancesOfOneProgramAreOneFamily) {
  ActorNode node;
  Capabilities bomb = spawner();
  bomb.actor_limits.processes_max = 20;
  node.add("bomb", actors(), bomb);
  const otp::Pid first = node.begin("bomb");
  node.reported(21);
  const otp::Pid second = node.begin("bomb");
  node.reported(22);
  EXPECT_EQ(node.engine->slots().used(), 22u) << "the second starts nothing";
  for (const otp::Pid pid : {first, second}) node.runtime.exit(pid, Kind::kKill);
}

TEST(ActorsTest, TooManyRestartsEndTheGuestThatSupervises) {
  ActorNode node;
  for (const char* name : {"left", "right"}) node.add(name, actors());
  node.add("boss", actors(), spawner());
  const otp::Pid boss = node.begin("boss");
  for (int i = 0; i < 4; ++i) {
    otp::Pid left;
    EXPECT_TRUE(eventually([&] { return bool(left = node.runtime.whereis("left")); }));
    node.tell(left, "fail");
    EXPECT_TRUE(eventually([&] { return node.runtime.whereis("left") != left; }));
  }
  EXPECT_EQ(node.wait(boss).kind(), Kind::kShutdown);
}

TEST(ActorsTest, AForkBombMeetsItsLimitAndOthersStillStart) {
  ActorNode node;
  Capabilities bomb = spawner();
  bomb.actor_limits.processes_max = 20;
  node.add("bomb", actors(), bomb);
  const otp::Pid first = node.begin("bomb");
  EXPECT_NE(node.reported(21)[0].find("the family may have 20 processes"), std::string::npos) << node.reports.all()[0];
  EXPECT_EQ(node.engine->slots().used(), 21u);
  node.add("calc", actors());
  EXPECT_TRUE(node.factory.find("calc")->make({}).has_value());
  node.runtime.exit(first, Kind::kKill);
  EXPECT_EQ(node.wait(first).kind(), Kind::kKilled);
}

TEST(ActorsTest, AFamilyGetsAtMostHalfOfTheSlots) {
  ActorNode node({.guests_max = 16, .workers = 2});
  node.add("bomb", actors(), spawner());
  node.begin("bomb");
  node.reported(9);
  EXPECT_EQ(node.engine->slots().used(), 9u);
}

// Sends chunks through a guest that copies them, and reads them back meanwhile, so that both streams fill up.
otp::Routine send_chunks(otp::Self& self, otp::Pid pipe, int count) {
  auto [writer, reader] = otp::open_stream(self.runtime());
  self.send(pipe, otp::Message::local(std::move(reader)));
  for (int i = 0; i < count; ++i) {
    if (!co_await writer.write(self, std::string(50'000, static_cast<char>('a' + i % 26)))) co_return;
  }
  writer.finish();
}

otp::Routine read_chunks(otp::Self& self, otp::Pid pipe, int count, Reports* reports) {
  self.send(pipe, otp::Message::of_text(std::to_string(self.pid().raw())));
  self.runtime().spawn(send_chunks, pipe, count);
  otp::StreamReader in = co_await otp::receive<otp::StreamReader>(self);
  int chunks = 0;
  for (;;) {
    const std::expected<std::span<const std::byte>, otp::StreamEnd> chunk = co_await in.read(self);
    if (!chunk) {
      reports->add(chunk.error() == otp::StreamEnd::kFinished ? "finished" : "broken");
      break;
    }
    const std::string_view text(reinterpret_cast<const char*>(chunk->data()), chunk->size());
    if (text == std::string(50'000, static_cast<char>('a' + chunks % 26))) ++chunks;
  }
  reports->add(std::to_string(chunks));
}

TEST(ActorsTest, AStreamThroughAGuestWaitsAndLosesNothing) {
  ActorNode node;
  node.add("pipe", actors());
  const otp::Pid pipe = node.begin("pipe");
  node.runtime.spawn(read_chunks, pipe, 200, &node.reports);
  EXPECT_EQ(node.reported(2), (Texts{"finished", "200"}));
  EXPECT_TRUE(node.wait(pipe).is_normal());
}

TEST(ActorsTest, LinesOfTheLog) {
  ActorNode node;
  EXPECT_TRUE(node.wait(begin(node, "talker")).is_normal());
  node.reported(1);
  const std::string text = node.lines.text();
  EXPECT_NE(text.find("an error line"), std::string::npos) << text;
  EXPECT_NE(text.find("an info line"), std::string::npos) << text;
  EXPECT_EQ(text.find("a debug line"), std::string::npos) << text;
}

}  // namespace
}  // namespace rusm::wasm
