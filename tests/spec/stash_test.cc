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

// Waits for the word between receiving the first message and putting it aside.
Routine slow_to_stash(Self& self, std::shared_ptr<Lines> lines) {
  Message first = co_await receive(self);
  (void)co_await receive_if(self, [](const Message& m) { return m.text() == "word"; });
  while (self.mailbox_head() == nullptr) co_await news(self);
  lines->push_back(self.stash(std::move(first)) ? "stashed" : "no room for " + describe(first));
}

TEST(Stash, TakesPlacesInABoundedMailbox) {
  for_seeds(On::kOneNode, [](World& w) {
    const auto lines = std::make_shared<Lines>();
    const Pid to = w.here().spawn_with({.mailbox_messages_max = 3}, choosy, "word", lines);
    const Pid a = w.puppet(w.here());
    for (int round = 0; round < 3; ++round) {
      std::vector<bool> taken;
      for (const char* text : {"1", "2", "word", "3", "word"}) {
        w.tell(a, [&, text](Self& self) { taken.push_back(self.try_send(to, Message::of_text(text))); });
        w.run();
      }
      EXPECT_THAT(taken, testing::Each(true));
    }
    EXPECT_THAT(*lines, ElementsAre("1", "2", "3", "1", "2", "3", "1", "2", "3"));
    EXPECT_EQ(w.here().info(to)->mailbox_length, 0u);
    std::vector<bool> taken;
    for (const char* text : {"1", "2", "3", "4"}) {
      w.tell(a, [&, text](Self& self) { taken.push_back(self.try_send(to, Message::of_text(text))); });
      w.run();
    }
    EXPECT_THAT(taken, ElementsAre(true, true, true, false));
    EXPECT_EQ(w.here().info(to)->mailbox_length, 3u);
  });
}

TEST(Stash, SaysWhenOthersTookThePlace) {
  for_seeds(On::kOneNode, [](World& w) {
    const auto lines = std::make_shared<Lines>();
    const Pid to = w.here().spawn_with({.mailbox_messages_max = 1}, slow_to_stash, lines);
    const Pid a = w.puppet(w.here());
    for (const char* text : {"first", "word", "second"}) {
      w.tell(a, [&, text](Self& self) { EXPECT_TRUE(self.try_send(to, Message::of_text(text))); });
      w.run();
    }
    EXPECT_THAT(*lines, ElementsAre("no room for first"));
  });
}

// What came behind the reply in one go is not put aside with it.
Routine stash_reply(Self& self, Pid server, std::shared_ptr<Lines> lines) {
  std::expected<Message, ExitReason> reply = co_await call(self, server, Message::of_text("request"));
  EXPECT_TRUE(self.stash(std::move(*reply)));
  for (int i = 0; i < 2; ++i) lines->push_back(describe(co_await receive(self)));
  self.unstash();
  lines->push_back(describe(co_await receive(self)));
  (void)co_await receive(self);
}

Routine reply_and_more(Self& self) {
  const Message request = co_await receive(self);
  self.reply(request.reply_to(), Message::of_text("reply"));
  self.send(request.from(), Message::of_text("1"));
  self.send(request.from(), Message::of_text("2"));
}

TEST(Stash, TakesARepliesMessageAlone) {
  for_seeds(On::kOneNode, [](World& w) {
    const auto lines = std::make_shared<Lines>();
    const Pid server = w.here().spawn(reply_and_more);
    const Pid a = w.here().spawn(stash_reply, server, lines);
    w.run();
    EXPECT_THAT(*lines, ElementsAre("1", "2", "reply"));
    w.here().exit(a, ExitReason::Kind::kKill);
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
    const bool the_last = w.random().below(2) == 0;
    w.tell(a, [&](Self& self) {
      first = self.monitor(target);
      second = self.monitor(target);
    });
    w.run();
    w.tell_end(target, ExitReason::other("gone"));
    w.tell(a, [&](Self& self) {
      while (auto message = self.try_receive()) EXPECT_TRUE(self.stash(std::move(*message)));
      self.demonitor(the_last ? second : first);
      self.send(self.pid(), Message::of_text("more"));
      while (auto message = self.try_receive()) EXPECT_TRUE(self.stash(std::move(*message)));
      self.unstash();
    });
    w.run();
    EXPECT_THAT(w.seen(a), testing::UnorderedElementsAre("DOWN gone", "more"));
  });
}

}  // namespace
}  // namespace rusm::otp::spec
