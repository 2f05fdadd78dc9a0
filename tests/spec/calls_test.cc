// C. Calls.
#include "spec/fixture.h"

namespace rusm::otp::spec {
namespace {

using Kind = ExitReason::Kind;

// What a server does with its requests.
enum class Manner { kAnswers, kKeeps, kEndsAfterReading, kDelegates };

struct Delegated {
  ReplyTo to;
};

Routine delegate(Self& self) {
  const Message message = co_await receive(self);
  if (const auto* delegated = message.get_if<Delegated>()) self.reply(delegated->to, Message::of_text("by another"));
}

Routine server(Self& self, Manner manner, std::vector<ReplyTo>* kept) {
  for (;;) {
    const Message message = co_await receive(self);
    if (!message.is_request()) continue;
    switch (manner) {
      case Manner::kAnswers:
        self.reply(message.reply_to(), Message::of_text(message.text()));
        break;
      case Manner::kKeeps:
        kept->push_back(message.reply_to());
        break;
      case Manner::kEndsAfterReading:
        co_await end(self, ExitReason::other("tired"));
        break;
      case Manner::kDelegates:
        self.send(self.runtime().spawn(delegate), Message::of(Delegated{message.reply_to()}));
        break;
    }
  }
}

std::string outcome(const std::expected<Message, ExitReason>& answer) {
  return answer ? std::string(answer->text()) : "failed: " + answer.error().to_string();
}

// Calls `to` `times` times and writes down what came of it, then everything that is in its mailbox.
Routine caller(Self& self, Pid to, int times, Nanoseconds timeout, Lines* lines) {
  for (int i = 0; i < times; ++i) {
    const auto answer = co_await call(self, to, Message::of_text("question " + std::to_string(i)), timeout);
    lines->push_back(outcome(answer));
  }
  while (const auto message = co_await receive_for(self, kSecond)) lines->push_back(describe(*message));
}

TEST(C, Case1_ACallReturnsTheReply) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    Lines lines;
    const Pid to = w.there().spawn(server, Manner::kAnswers, nullptr);
    w.here().spawn(caller, to, 3, kCallTimeout, &lines);
    w.run_out();
    EXPECT_EQ(lines, (Lines{"question 0", "question 1", "question 2"}));
  });
}

TEST(C, Case1_TheEndOfTheServerFailsTheCallWithItsReason) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    Lines lines;
    const Pid to = w.there().spawn(server, Manner::kEndsAfterReading, nullptr);
    w.here().spawn(caller, to, 2, kCallTimeout, &lines);
    w.run_out();
    EXPECT_EQ(lines, (Lines{"failed: tired", "failed: noproc"}));
  });
}

TEST(C, Case1_AKillBeforeTheRequestIsReadFailsTheCall) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    Lines lines;
    const Pid to = w.there().spawn(server, Manner::kAnswers, nullptr);
    w.there().exit(to, Kind::kKill);
    w.here().spawn(caller, to, 1, kCallTimeout, &lines);
    w.run_out();
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_TRUE(lines[0] == "failed: noproc" || lines[0] == "failed: killed") << lines[0];
  });
}

TEST(C, Case1_ADeadServerIsNoProc) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    Lines lines;
    const Pid to = w.puppet(w.there());
    w.tell_end(to, Kind::kNormal);
    w.run();
    w.here().spawn(caller, to, 1, kCallTimeout, &lines);
    w.run_out();
    EXPECT_EQ(lines, (Lines{"failed: noproc"}));
  });
}

TEST(C, Case1_ALostNodeIsNoConnection) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    if (!w.two_nodes()) return;
    Lines lines;
    const Pid to = w.there().spawn(server, Manner::kAnswers, nullptr);
    w.run();
    w.disconnect();
    w.here().spawn(caller, to, 1, kCallTimeout, &lines);
    w.run_out();
    EXPECT_EQ(lines, (Lines{"failed: noconnection"}));
  });
}

TEST(C, Case1_ADeadlineIsATimeout) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    Lines lines;
    std::vector<ReplyTo> kept;
    const Nanoseconds start = w.clock().now();
    const Pid to = w.there().spawn(server, Manner::kKeeps, &kept);
    w.here().spawn(caller, to, 2, 3 * kSecond, &lines);
    w.run_out();
    EXPECT_EQ(lines, (Lines{"failed: timeout", "failed: timeout"}));
    EXPECT_GE(w.clock().now() - start, 6 * kSecond);
  });
}

TEST(C, Case2_ALateReplyNeverReachesTheMailbox) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    Lines lines;
    std::vector<ReplyTo> kept;
    const Pid to = w.there().spawn(server, Manner::kKeeps, &kept);
    const Pid asking = w.here().spawn(caller, to, 1, 3 * kSecond, &lines);
    const Pid helper = w.puppet(w.there());
    while (lines.empty()) {
      w.run();
      w.clock().advance_to(w.here().next_timer());
    }
    ASSERT_EQ(kept.size(), 1u);
    w.tell(helper, [&](Self& self) {
      self.reply(kept[0], Message::of_text("late"));
      self.send(asking, Message::of_text("later"));
    });
    w.run_out();
    EXPECT_EQ(lines, (Lines{"failed: timeout", "later"}));
  });
}

TEST(C, Case2_OfTwoRepliesTheSecondVanishes) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    Lines lines;
    std::vector<ReplyTo> kept;
    const Pid to = w.there().spawn(server, Manner::kKeeps, &kept);
    w.here().spawn(caller, to, 1, kCallTimeout, &lines);
    w.run();
    ASSERT_EQ(kept.size(), 1u);
    const Pid helper = w.puppet(w.there());
    w.tell(helper, [&](Self& self) {
      self.reply(kept[0], Message::of_text("first"));
      self.reply(kept[0], Message::of_text("second"));
    });
    w.run_out();
    EXPECT_EQ(lines, (Lines{"first"}));
  });
}

TEST(C, Case3_AReplyMayComeLaterAndFromAnotherProcess) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    Lines lines;
    const Pid to = w.there().spawn(server, Manner::kDelegates, nullptr);
    w.here().spawn(caller, to, 2, kCallTimeout, &lines);
    w.run_out();
    EXPECT_EQ(lines, (Lines{"by another", "by another"}));
    EXPECT_EQ(w.process_count(), 1u) << "the server alone";
  });
}

TEST(C, Case3_ACastToNobodyIsSilent) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Pid nobody = w.puppet(w.there());
    const Pid a = w.puppet(w.here());
    w.tell_end(nobody, Kind::kNormal);
    w.run();
    w.send(a, nobody, "cast");
    w.run();
    EXPECT_TRUE(w.alive(a));
    EXPECT_TRUE(w.seen(a).empty());
  });
}

Routine calls_itself(Self& self, Lines* lines) {
  const auto answer = co_await call(self, self.pid(), Message::of_text("me"));
  lines->push_back(outcome(answer));
}

TEST(C, Case3_ACallToItselfIsAnErrorNotAHang) {
  for_seeds(On::kOneNode, [](World& w) {
    Lines lines;
    w.here().spawn(calls_itself, &lines);
    w.run_out();
    EXPECT_EQ(lines, (Lines{"failed: crashed (call): a process cannot call itself"}));
  });
}

TEST(C, CallsLeaveNoTraceAtTheServer) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    // Answered by the server, answered by another, timed out, caller killed: none leaves a monitor, so the server's end
    // tells nobody anything.
    Lines lines;
    std::vector<ReplyTo> kept;
    const Pid to = w.there().spawn(server, Manner::kKeeps, &kept);
    const Pid patient = w.here().spawn(caller, to, 1, kNever, &lines);
    w.here().spawn(caller, to, 1, kSecond, &lines);
    w.run_out();
    w.here().exit(patient, Kind::kKill);
    w.run_out();
    EXPECT_EQ(lines, (Lines{"failed: timeout"}));
    const std::uint64_t before = w.there().counters().sends;
    w.there().exit(to, Kind::kKill);
    w.run_out();
    EXPECT_EQ(w.there().counters().sends, before + 1) << "the kill itself, and no DOWN";
  });
}

// R5: a reply is found however many messages wait, without looking at any of them.
Routine calls_beside_a_backlog(Self& self, Pid to, int calls, Lines* lines) {
  for (int i = 0; i < calls; ++i) {
    const auto answer = co_await call(self, to, Message::of_text(std::to_string(i)));
    lines->push_back(outcome(answer));
  }
  int waiting = 0;
  while (self.try_receive()) ++waiting;
  lines->push_back(std::to_string(waiting));
}

TEST(R, Case5_AReplyIsFoundBesideALongMailbox) {
  for_seeds(
      On::kOneNodeAndTwo,
      [](World& w) {
        Lines lines;
        const Pid to = w.there().spawn(server, Manner::kAnswers, nullptr);
        const Pid asking = w.here().spawn(calls_beside_a_backlog, to, 3, &lines);
        for (int i = 0; i < 1000; ++i) w.here().send(asking, Message::of_text("noise"));
        w.run_out();
        EXPECT_EQ(lines, (Lines{"0", "1", "2", "1000"}));
      },
      20);
}

}  // namespace
}  // namespace rusm::otp::spec
