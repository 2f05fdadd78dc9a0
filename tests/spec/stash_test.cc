// Messages put aside, and taken up again.
#include "spec/fixture.h"

namespace rusm::otp::spec {
namespace {

using testing::ElementsAre;

// Stashes what it is told to until the word comes, and takes it up then.
Routine choosy(Self& self, std::string word, std::shared_ptr<Lines> lines) {
  self.trap_exit(true);
  bool open = false;
  for (;;) {
    Message message = co_await receive(self);
    if (message.text() == word) {
      open = !open;
      if (open) self.unstash();
    } else if (open) {
      lines->push_back(describe(message) + (message.is_request() ? "?" : ""));
    } else if (!self.stash(std::move(message))) {
      lines->push_back("no room for " + describe(message));
    }
  }
}

TEST(Stash, ComesBackInOrderBeforeWhatCameLater) {
  for_seeds(On::kOneNode, [](World& w) {
    const auto lines = std::make_shared<Lines>();
    const Pid to = w.here().spawn(choosy, "word", lines);
    const Pid a = w.puppet(w.here());
    w.tell(a, [to](Self& self) {
      for (const char* text : {"1", "2", "word", "3", "word", "4", "5", "word"}) self.send(to, Message::of_text(text));
    });
    w.run();
    EXPECT_THAT(*lines, ElementsAre("1", "2", "3", "4", "5"));
    EXPECT_EQ(w.here().info(to)->mailbox_length, 0u);
    EXPECT_EQ(w.here().info(to)->mailbox_bytes, 0u);
  });
}

TEST(Stash, KeepsRequestsAndSignalsWhatTheyAre) {
  for_seeds(On::kOneNode, [](World& w) {
    const auto lines = std::make_shared<Lines>();
    const Pid to = w.here().spawn(choosy, "word", lines);
    const Pid a = w.puppet(w.here());
    w.run();  // it traps exits now
    PendingCall pending;
    w.tell(a, [&](Self& self) {
      self.ask(pending, to, Message::of_text("request"));
      self.exit(to, ExitReason::other("reason"));
      self.send(to, Message::of_text("word"));
    });
    w.run();
    EXPECT_THAT(*lines, ElementsAre("request?", "EXIT reason"));
    w.here().exit(to, ExitReason::Kind::kKill);
    w.run();
    EXPECT_TRUE(pending.done);
    EXPECT_EQ(pending.failure.to_string(), "killed");
  });
}

TEST(Stash, OfABoundedMailboxIsBoundedToo) {
  for_seeds(On::kOneNode, [](World& w) {
    const auto lines = std::make_shared<Lines>();
    const Pid to = w.here().spawn_with({.mailbox_messages_max = 2}, choosy, "word", lines);
    const Pid a = w.puppet(w.here());
    for (const char* text : {"1", "2", "3", "word"}) {
      w.tell(a, [to, text](Self& self) { self.send(to, Message::of_text(text)); });
      w.run();
    }
    EXPECT_THAT(*lines, ElementsAre("no room for 3", "1", "2"));
    // All the room is there again.
    w.tell(a, [to](Self& self) {
      EXPECT_TRUE(self.try_send(to, Message::of_text("4")));
      EXPECT_TRUE(self.try_send(to, Message::of_text("5")));
      EXPECT_FALSE(self.try_send(to, Message::of_text("6")));
    });
    w.run();
  });
}

TEST(Stash, GoesWithItsProcess) {
  for_seeds(On::kOneNode, [](World& w) {
    const auto held = std::make_shared<int>(1);
    const auto lines = std::make_shared<Lines>();
    const Pid to = w.here().spawn(choosy, "word", lines);
    const Pid a = w.puppet(w.here());
    w.tell(a, [to, held](Self& self) { self.send(to, Message::local(held)); });
    w.run();
    EXPECT_GT(held.use_count(), 1);
    w.here().exit(to, ExitReason::Kind::kKill);
    w.run();
    w.tell(a, [](Self&) {});  // what it held itself goes with its last order
    w.run();
    EXPECT_EQ(held.use_count(), 1);
  });
}

TEST(Stash, HidesNoDownFromDemonitor) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid target = w.puppet(w.here());
    const Pid a = w.puppet(w.here());
    Reference first = 0;
    Reference second = 0;
    w.tell(a, [&](Self& self) {
      first = self.monitor(target);
      second = self.monitor(target);
    });
    w.run();
    w.tell_end(target, ExitReason::other("gone"));
    w.tell(a, [&](Self& self) {
      while (auto message = self.try_receive()) EXPECT_TRUE(self.stash(std::move(*message)));
      self.demonitor(first);
      self.unstash();
    });
    w.run();
    EXPECT_THAT(w.seen(a), ElementsAre("DOWN gone"));
  });
}

}  // namespace
}  // namespace rusm::otp::spec
