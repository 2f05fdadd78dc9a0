// Servers and state machines.
#include <stdexcept>

#include "otp/server.h"
#include "otp/state_machine.h"
#include "spec/fixture.h"

namespace rusm::otp::spec {
namespace {

using Kind = ExitReason::Kind;
using testing::ElementsAre;
using testing::HasSubstr;

using Notes = std::shared_ptr<Lines>;

struct Add {
  int amount;
};
struct Get {};
struct Reset {};
struct Slow {  // answered by another process, or after a while
  int value;
};
struct Later {
  using Reply = int;
};
struct Answer {
  int value;
};
struct Break {};
struct Finish {};
struct Unknown {};
struct Watch {
  Pid pid;
};
struct Maybe {
  bool stop;
};

class Counter {
 public:
  using Messages = otp::Messages<Add, Get, Reset, Slow, Later, Answer, Break, Finish, Watch, Maybe>;
  Counter(Notes notes, int start) : notes_(std::move(notes)), count_(start) {}
  ~Counter() { notes_->push_back("destroyed"); }

  Result<> init(Self&) {
    if (count_ < 0) return fail(ErrorCode::kInvalid, "start", "must not be negative");
    return {};
  }
  int on(Self&, Add add) { return count_ += add.amount; }
  int on(Self&, Get) { return count_; }
  void on(Self&, Reset) { count_ = 0; }
  Task<int> on(Self& self, Slow slow) {
    co_await sleep(self, kSecond);
    co_return slow.value;
  }
  void on(Self&, Later, ReplyTo to) { waiting_ = to; }
  void on(Self& self, Answer answer) { self.reply(waiting_, Message::of(answer.value)); }
  void on(Self&, Break) { throw std::runtime_error("broken"); }
  Stop on(Self&, Finish) { return {ExitReason::other("finished")}; }
  void on(Self& self, Watch watch) { self.monitor(watch.pid); }
  std::optional<Stop> on(Self&, Maybe maybe) {
    if (maybe.stop) return Stop();
    return std::nullopt;
  }
  void on(Self&, const Down& down) { notes_->push_back("down " + down.reason.to_string()); }
  Task<> terminate(Self& self, const ExitReason& reason) {
    co_await sleep(self, kMillisecond);
    notes_->push_back("terminate " + reason.to_string());
  }

 private:
  Notes notes_;
  int count_;
  ReplyTo waiting_;
};

template <class T>
std::string text_of(const std::expected<T, ExitReason>& answer) {
  if (!answer) return answer.error().to_string();
  if constexpr (std::is_same_v<T, Done>) {
    return "done";
  } else {
    return std::to_string(*answer);
  }
}

Routine client(Self& self, Server<Counter> counter, Notes notes) {
  notes->push_back(text_of(co_await counter.call(self, Add{2})));
  counter.cast(self, Add{5});
  notes->push_back(text_of(co_await counter.call(self, Get())));
  notes->push_back(text_of(co_await counter.call(self, Reset())));
  notes->push_back(text_of(co_await counter.call(self, Slow{7})));
  notes->push_back(text_of(co_await call<int>(self, counter.pid(), Unknown())));
  notes->push_back(text_of(co_await counter.call(self, Slow{8}, kMillisecond)));
  notes->push_back(text_of(co_await counter.call(self, Break())));
  notes->push_back(text_of(co_await counter.call(self, Get())));
}

TEST(Servers, AnswerCallsAndTakeCasts) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Notes notes = std::make_shared<Lines>();
    const Server<Counter> counter(w.there().spawn(serve<Counter>, notes, 10));
    w.here().spawn(client, counter, notes);
    w.run_out();
    EXPECT_THAT(*notes, ElementsAre("12", "17", "done", "7", HasSubstr("knows no such request"), "timeout", "destroyed",
                                    "crashed (exception): std::runtime_error: broken", "noproc"));
  });
}

Routine asks_later(Self& self, Server<Counter> counter, Notes notes) {
  notes->push_back(text_of(co_await counter.call(self, Later())));
}

Routine asks_maybe(Self& self, Server<Counter> counter, Notes notes) {
  notes->push_back(text_of(co_await counter.call(self, Maybe{false})));
  notes->push_back(text_of(co_await counter.call(self, Maybe{true})));
}

TEST(Servers, HearOfDownsAndAnswerWhatMayStopThem) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Notes notes = std::make_shared<Lines>();
    const Server<Counter> counter(w.there().spawn(serve<Counter>, notes, 1));
    const Pid other = w.puppet(w.there());
    w.here().send(counter.pid(), Message::of(Watch{other}));
    w.run();
    w.tell_end(other, ExitReason::other("gone"));
    w.run();
    EXPECT_THAT(*notes, ElementsAre("down gone"));
    notes->clear();
    w.here().spawn(asks_maybe, counter, notes);
    w.run_out();
    EXPECT_THAT(*notes, ElementsAre("done", "terminate normal", "destroyed", "normal"));
  });
}

// Hears of the ends of those that it is linked to.
class Linked {
 public:
  using Messages = otp::Messages<Watch>;
  explicit Linked(Notes notes) : notes_(std::move(notes)) {}
  void on(Self& self, Watch watch) { self.link(watch.pid); }
  void on(Self&, Exit& exit) { notes_->push_back("exit " + exit.reason.to_string()); }

 private:
  Notes notes_;
};

TEST(Servers, HearOfLinkedEndsAndLiveOn) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Notes notes = std::make_shared<Lines>();
    const Pid linked = w.there().spawn(serve<Linked>, notes);
    const Pid other = w.puppet(w.here());
    w.here().send(linked, Message::of(Watch{other}));
    w.run();
    w.tell_end(other, ExitReason::other("gone"));
    w.run();
    EXPECT_THAT(*notes, ElementsAre("exit gone"));
    EXPECT_TRUE(w.there().is_alive(linked));
    w.here().exit(linked, Kind::kShutdown);
    w.run();
    EXPECT_FALSE(w.there().is_alive(linked));
  });
}

TEST(Servers, AreAskedFromOutside) {
  SystemClock clock;
  SystemEntropy entropy;
  QuietReactorFactory reactors;
  const Notes notes = std::make_shared<Lines>();
  Runtime runtime({.workers = 2}, {.clock = clock, .entropy = entropy, .reactors = reactors});
  const Server<Counter> counter(runtime.spawn(serve<Counter>, notes, 1));
  EXPECT_EQ(text_of(counter.ask(runtime, Add{4})), "5");
  EXPECT_EQ(text_of(counter.ask(runtime, Reset())), "done");
  EXPECT_EQ(text_of(counter.ask(runtime, Later(), 10 * kMillisecond)), "timeout");
}

TEST(Servers, AnswerLaterAndFromElsewhere) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Notes notes = std::make_shared<Lines>();
    const Server<Counter> counter(w.there().spawn(serve<Counter>, notes, 0));
    w.here().spawn(asks_later, counter, notes);
    w.run();
    EXPECT_THAT(*notes, ElementsAre());
    w.here().send(counter.pid(), Message::of(Answer{3}));
    w.run();
    EXPECT_THAT(*notes, ElementsAre("3"));
  });
}

TEST(Servers, HearOfEndsAndTerminateInOrder) {
  for_seeds(On::kOneNode, [](World& w) {
    const Notes notes = std::make_shared<Lines>();
    const Pid parent = w.puppet(w.here());
    Pid counter;
    w.tell(parent, [&](Self& self) {
      self.trap_exit(true);
      counter = self.runtime().spawn_from(self, {.label = "counter", .link = true}, serve<Counter>, notes, 0).pid;
    });
    w.run();
    w.tell(parent, [&](Self& self) { self.exit(counter, Kind::kShutdown); });
    w.run_out();
    EXPECT_THAT(*notes, ElementsAre("terminate shutdown", "destroyed"));
    EXPECT_THAT(w.seen(parent), ElementsAre("EXIT shutdown"));  // ready() is for supervisors only
  });
}

TEST(Servers, TheEndOfTheParentIsAnOrderToStop) {
  for_seeds(On::kOneNode, [](World& w) {
    const Notes notes = std::make_shared<Lines>();
    const Pid parent = w.puppet(w.here());
    w.tell(parent, [&](Self& self) {
      const Pid counter = self.runtime().spawn_from(self, {.link = true}, serve<Counter>, notes, 0).pid;
      self.runtime().spawn_from(self, {.link = true}, supervise,
                                SupervisorSpec{.children = {child("idler", serve<Counter>, notes, 1)}});
      self.send(counter, Add{1});
    });
    w.run();
    EXPECT_EQ(w.process_count(), 4u);
    w.tell_end(parent, Kind::kNormal);
    w.run_out();
    EXPECT_EQ(w.process_count(), 0u);
    EXPECT_THAT(*notes,
                testing::UnorderedElementsAre("terminate normal", "destroyed", "terminate shutdown", "destroyed"));
  });
}

TEST(Servers, StopByThemselvesWithAReason) {
  for_seeds(On::kOneNode, [](World& w) {
    const Notes notes = std::make_shared<Lines>();
    const Pid parent = w.puppet(w.here());
    w.tell(parent, [&](Self& self) {
      self.trap_exit(true);
      const Pid counter = self.runtime().spawn_from(self, {.link = true}, serve<Counter>, notes, 0).pid;
      self.send(counter, Finish());
    });
    w.run_out();
    EXPECT_THAT(*notes, ElementsAre("terminate finished", "destroyed"));
    EXPECT_THAT(w.seen(parent), ElementsAre("EXIT finished"));
  });
}

TEST(Servers, AKillRunsDestructorsOnly) {
  for_seeds(On::kOneNode, [](World& w) {
    const Notes notes = std::make_shared<Lines>();
    const Pid counter = w.here().spawn(serve<Counter>, notes, 0);
    w.run();
    w.here().exit(counter, Kind::kKill);
    w.run_out();
    EXPECT_THAT(*notes, ElementsAre("destroyed"));
  });
}

TEST(Servers, ASupervisorWaitsForInitAndHearsItsError) {
  for_seeds(On::kOneNode, [](World& w) {
    const Notes notes = std::make_shared<Lines>();
    const Pid parent = w.puppet(w.here());
    w.tell(parent, [&](Self& self) {
      self.trap_exit(true);
      ChildSpec spec = child("counter", serve<Counter>, notes, -1);
      spec.reports_ready = true;
      self.runtime().spawn_from(self, {.link = true}, supervise, SupervisorSpec{.children = {spec}});
    });
    w.run_out();
    ASSERT_EQ(w.seen(parent).size(), 1u);
    EXPECT_THAT(w.seen(parent)[0], HasSubstr("\"counter\""));
    EXPECT_THAT(w.seen(parent)[0], HasSubstr("start: must not be negative"));
  });
}

class Idler {
 public:
  using Messages = otp::Messages<Get>;
  static constexpr Nanoseconds kIdleAfter = 3 * kSecond;
  explicit Idler(Notes notes) : notes_(std::move(notes)) {}
  int on(Self&, Get) { return idled_; }
  std::optional<Stop> on_idle(Self& self) {
    notes_->push_back("idle at " + std::to_string(self.runtime().clock().now() / kSecond));
    if (++idled_ == 2) return Stop();
    return std::nullopt;
  }
  void on(Self&, Message& other) { notes_->push_back(describe(other)); }

 private:
  Notes notes_;
  int idled_ = 0;
};

TEST(Servers, NoticeThatNothingComesAndTakeWhateverComes) {
  for_seeds(On::kOneNode, [](World& w) {
    const Notes notes = std::make_shared<Lines>();
    const Nanoseconds start = w.clock().now() / kSecond;
    const Pid idler = w.here().spawn(serve<Idler>, notes);
    w.run();
    w.clock().advance(2 * kSecond);
    w.here().send(idler, Message::of_text("hello"));
    w.run_out();
    EXPECT_THAT(*notes,
                ElementsAre("hello", "idle at " + std::to_string(start + 5), "idle at " + std::to_string(start + 8)));
    EXPECT_FALSE(w.here().is_alive(idler));
  });
}

// ── State machines ───────────────────────────────────────────────────────────────────────────────────────────────────

struct Unlock {
  int code;
};
struct Push {
  std::string who;
};
struct Count {
  using Reply = int;
};
struct Burn {};
struct Leave {};

struct Knock {};

class Door {
 public:
  struct Locked {};
  struct Open {
    int passed = 0;
  };
  struct Burning {};
  using States = std::variant<Locked, Open, Burning>;
  using Messages = otp::Messages<Unlock, Push, Count, Burn, Leave, Watch, Knock>;
  using Next = otp::Next<States>;

  Door(Notes notes, int code) : notes_(std::move(notes)), code_(code) {}

  void enter(Self&, Locked&) { notes_->push_back("locked"); }
  Next on(Self&, Locked&, const Unlock& unlock) {
    if (unlock.code != code_) return keep();
    return Open();
  }
  Next on(Self&, Locked&, const Push&) { return postpone(); }

  Nanoseconds enter(Self&, Open&) {
    notes_->push_back("open");
    return 5 * kSecond;
  }
  Next on(Self&, Open& open, const Push& push) {
    notes_->push_back(push.who + " passes");
    ++open.passed;
    return keep();
  }
  Task<Next> on(Self& self, Open&, const Burn&) {
    co_await sleep(self, kMillisecond);
    co_return Burning();
  }
  Next on(Self& self, Open& open, const Count&, ReplyTo to) {
    self.reply(to, Message::of(open.passed));
    return keep();
  }
  Next on(Self&, Open&, StateTimeout) { return Locked(); }

  Next on(Self& self, const Count&, ReplyTo to) {
    self.reply(to, Message::of(-1));
    return keep();
  }
  Next on(Self&, const Leave&) { return Stop(); }
  Next on(Self& self, Watch watch) {
    self.monitor(watch.pid);
    self.link(watch.pid);
    return keep();
  }
  Next on(Self&, const Down& down) {
    notes_->push_back("down " + down.reason.to_string());
    return keep();
  }
  Next on(Self&, Exit& exit) {
    notes_->push_back("exit " + exit.reason.to_string());
    return keep();
  }
  Next on(Self&, Open& open, Knock&) { return Open{open.passed + 100}; }  // enters the same state again
  Next on(Self&, Locked&, Knock&) { return keep(); }

 private:
  Notes notes_;
  int code_;
};

TEST(StateMachines, DoWhatTheirStateSays) {
  for_seeds(On::kOneNode, [](World& w) {
    const Notes notes = std::make_shared<Lines>();
    const Pid door = w.here().spawn(run_machine<Door>, notes, 42);
    w.here().send(door, Message::of(Push{"eve"}));
    w.here().send(door, Message::of(Unlock{1}));
    w.run();
    EXPECT_THAT(*notes, ElementsAre("locked"));
    w.here().send(door, Message::of(Push{"adam"}));
    w.here().send(door, Message::of(Unlock{42}));
    w.run();
    // What was postponed comes first, in its order, before what came later.
    EXPECT_THAT(*notes, ElementsAre("locked", "open", "eve passes", "adam passes"));
    w.run_out();
    EXPECT_EQ(notes->back(), "locked");  // by its timeout
    w.here().send(door, Message::of(Leave()));
    w.run();
    EXPECT_FALSE(w.here().is_alive(door));
  });
}

TEST(StateMachines, ATimeoutComesWhateverElseComesAndNotFromAnEarlierState) {
  for_seeds(On::kOneNode, [](World& w) {
    const Notes notes = std::make_shared<Lines>();
    const Pid door = w.here().spawn(run_machine<Door>, notes, 42);
    w.here().send(door, Message::of(Unlock{42}));
    w.run();
    for (int i = 0; i < 4; ++i) {
      w.clock().advance(kSecond);
      w.here().send(door, Message::of(Push{"x"}));
      w.run();
    }
    notes->clear();
    w.clock().advance(kSecond + 10 * kMillisecond);
    w.run();
    w.here().send(door, Message::of(Push{"late"}));
    w.run();
    EXPECT_THAT(*notes, ElementsAre("locked"));
    w.here().send(door, Message::of(Unlock{42}));
    w.run();
    EXPECT_THAT(*notes, ElementsAre("locked", "open", "late passes"));
    w.here().send(door, Message::of(Burn()));
    w.run_out();
    EXPECT_THAT(*notes, ElementsAre("locked", "open", "late passes"));  // it burns, and does not lock
    w.here().exit(door, Kind::kKill);
    w.run();
  });
}

Routine counts(Self& self, Pid door, Notes notes) {
  notes->push_back(text_of(co_await call<int>(self, door, Count())));
}

TEST(StateMachines, AnswerRequestsAndCrashOnWhatTheirStateDoesNotKnow) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Notes notes = std::make_shared<Lines>();
    const Pid door = w.there().spawn(run_machine<Door>, notes, 42);
    w.here().spawn(counts, door, notes);
    w.run();
    EXPECT_THAT(*notes, ElementsAre("locked", "-1"));
    notes->clear();
    const Pid watcher = w.puppet(w.here());
    w.tell(watcher, [door](Self& self) { self.monitor(door); });
    w.run();
    w.here().send(door, Message::of(Burn()));
    w.run();
    ASSERT_EQ(w.seen(watcher).size(), 1u);
    EXPECT_THAT(w.seen(watcher)[0], HasSubstr("crashed (state)"));
    EXPECT_THAT(w.seen(watcher)[0], HasSubstr("Burn"));
    EXPECT_THAT(w.seen(watcher)[0], HasSubstr("Locked"));
  });
}

Routine knocks(Self& self, Pid door, Notes notes) {
  notes->push_back(text_of(co_await call<Done>(self, door, Knock())));
}

TEST(StateMachines, HearOfEndsTakeReferencesAndEnterTheSameStateAgain) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Notes notes = std::make_shared<Lines>();
    const Pid door = w.there().spawn(run_machine<Door>, notes, 42);
    const Pid other = w.puppet(w.there());
    w.here().send(door, Message::of(Watch{other}));
    w.run();
    w.tell_end(other, ExitReason::other("gone"));
    w.run();
    EXPECT_THAT(*notes, testing::UnorderedElementsAre("locked", "down gone", "exit gone"));
    notes->clear();
    w.here().send(door, Message::of(Unlock{42}));
    w.run();
    w.here().spawn(knocks, door, notes);
    w.run();
    EXPECT_THAT(*notes, ElementsAre("open", "open", "done"));
    notes->clear();
    w.here().spawn(counts, door, notes);
    w.run();
    EXPECT_THAT(*notes, ElementsAre("100"));
    w.here().exit(door, Kind::kKill);
    w.run();
  });
}

TEST(StateMachines, WhatTheyDoNotKnowAtAllIsDropped) {
  for_seeds(On::kOneNode, [](World& w) {
    const Notes notes = std::make_shared<Lines>();
    const Pid door = w.here().spawn(run_machine<Door>, notes, 42);
    w.here().send(door, Message::of(Unknown()));
    w.here().send(door, Message::of_text("bytes"));
    w.run();
    EXPECT_TRUE(w.here().is_alive(door));
    w.here().exit(door, Kind::kKill);
    w.run();
  });
}

}  // namespace
}  // namespace rusm::otp::spec
