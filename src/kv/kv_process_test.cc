#include "kv/kv_process.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/entropy.h"
#include "base/test_folder.h"
#include "otp/match.h"
#include "otp/reactor.h"
#include "otp/runtime.h"

namespace rusm::kv {
namespace {

using namespace rusm::otp;  // NOLINT(google-build-using-namespace): as bodies are written

constexpr Nanoseconds kLong = 60 * kSecond;

struct Node {
  SystemClock clock;
  SystemEntropy entropy;
  QuietReactorFactory reactors;
  Runtime runtime{{.workers = 2}, {clock, entropy, reactors}};
};

class KvProcessTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Result<std::unique_ptr<DurableKvStore>> opened = DurableKvStore::open({.folder = folder_.path() / "store"});
    ASSERT_TRUE(opened) << opened.error().to_string();
    store_ = std::move(*opened);
  }
  TestFolder folder_;
  std::unique_ptr<DurableKvStore> store_;
  std::unique_ptr<Node> node_ = std::make_unique<Node>();
};

using Lines = std::vector<std::string>;

Routine does_everything(Self& self, DurableKvStore* store, Lines* lines) {
  const auto say = [lines](const std::string& what, bool answer) {
    lines->push_back(what + (answer ? " yes" : " no"));
  };
  say("set", (co_await set(self, *store, "b", "k", "v")).has_value());
  say("get", *co_await kv::get(self, *store, "b", "k") == "v");
  say("exists", *co_await exists(self, *store, "b", "k"));
  say("cas old", *co_await compare_and_set(self, *store, "b", "k", "old", "new"));
  say("cas v", *co_await compare_and_set(self, *store, "b", "k", "v", "new"));
  const Result<KvOutcome> outcome = co_await commit(self, *store, std::move(KvBatch().expect("b", "k", "v")));
  say("expected", outcome->applied());
  say("list", (co_await list(self, *store, "b", "", ""))->keys == Lines{"k"});
  say("remove", *co_await kv::remove(self, *store, "b", "k"));
  say("again", *co_await kv::remove(self, *store, "b", "k"));
  say("bad", (co_await set(self, *store, "b", "", "v")).has_value());
}

TEST_F(KvProcessTest, AProcessDoesAllThatAThreadCan) {
  Lines lines;
  const Pid pid = node_->runtime.spawn(does_everything, store_.get(), &lines);
  ASSERT_EQ(node_->runtime.wait_for(pid, kLong), ExitReason());
  EXPECT_EQ(lines, (Lines{"set yes", "get yes", "exists yes", "cas old no", "cas v yes", "expected no", "list yes",
                          "remove yes", "again no", "bad no"}));
}

Routine writes_with_a_full_mailbox(Self& self, DurableKvStore* store, Lines* lines) {
  for (int i = 0; i < 100; ++i) self.send(self.pid(), Message::of(i));
  if (co_await set(self, *store, "b", "k", "v")) lines->push_back("set");
  for (int i = 0; i < 100; ++i) {
    const Message message = co_await receive(self);
    if (*message.get_if<int>() != i) lines->push_back("out of order");
  }
}

TEST_F(KvProcessTest, MessagesKeepTheirPlaceMeanwhile) {
  Lines lines;
  const Pid pid = node_->runtime.spawn(writes_with_a_full_mailbox, store_.get(), &lines);
  ASSERT_EQ(node_->runtime.wait_for(pid, kLong), ExitReason());
  EXPECT_EQ(lines, Lines{"set"});
}

Routine counts(Self& self, DurableKvStore* store, int each) {
  for (int done = 0; done < each;) {
    const Result<std::optional<std::string>> seen = store->get("b", "n");
    const std::string next = std::to_string((*seen ? std::stoi(**seen) : 0) + 1);
    done += *co_await compare_and_set(self, *store, "b", "n", *seen, next) ? 1 : 0;
  }
}

TEST_F(KvProcessTest, ManyProcessesCountWithoutLosingOne) {
  constexpr int kProcesses = 10;
  constexpr int kEach = 10;
  for (int i = 0; i < kProcesses; ++i) node_->runtime.spawn(counts, store_.get(), kEach);
  ASSERT_TRUE(node_->runtime.wait_until_empty(kLong));
  EXPECT_EQ(**store_->get("b", "n"), std::to_string(kProcesses * kEach));
}

Routine writes_without_end(Self& self, DurableKvStore* store, int number) {
  for (int i = 0;; ++i) {
    const std::string value(static_cast<std::size_t>(100 + i % 100), 'x');
    if (!co_await set(self, *store, "b", std::to_string(number), value)) co_return;
  }
}

TEST_F(KvProcessTest, AProcessThatIsKilledWhileItWaitsLeavesNothingBehind) {
  Random random(1);
  std::vector<Pid> pids;
  for (int i = 0; i < 300; ++i) {
    pids.push_back(node_->runtime.spawn(writes_without_end, store_.get(), i));
    if (i >= 20) node_->runtime.exit(pids[random.below(pids.size())], ExitReason::Kind::kKill);
  }
  node_->runtime.kill_all();
  ASSERT_TRUE(node_->runtime.wait_until_empty(kLong));
  EXPECT_TRUE(store_->set("b", "after", "v"));
  EXPECT_TRUE(store_->check());
}

TEST_F(KvProcessTest, TheRuntimeMayGoBeforeTheStoreIsDone) {
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 50; ++i) node_->runtime.spawn(writes_without_end, store_.get(), i);
    node_ = std::make_unique<Node>();
  }
  EXPECT_TRUE(store_->set("b", "after", "v"));
}

}  // namespace
}  // namespace rusm::kv
