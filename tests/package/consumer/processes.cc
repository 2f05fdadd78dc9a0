// What coroutine bodies can do, as another project builds it: each part prints one line when all was as it should be.
#include <rusm/otp.h>

#include <cstdio>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "tracked.h"

using namespace rusm;
using namespace rusm::otp;

namespace {

constexpr Nanoseconds kDeadline = 60 * kSecond;

void expect(bool fine, const char* what) {
  if (!fine) throw std::runtime_error(what);
}

struct Ask {
  int number = 0;
  std::string text;
};
struct Answer {
  int number = 0;
  std::string text;
};
struct Break {};

Routine server(Self& self, Tracked tracked) {
  for (;;) {
    Message message = co_await receive(self);
    match(
        message,
        [&](const Ask& ask, ReplyTo to) {
          self.reply(to, Message::of(Answer{ask.number + tracked.number(), ask.text + "!"}));
        },
        [&](const Break&) { throw std::runtime_error("told to break"); });
  }
}

Routine calls(Self& self, Pid server_pid) {
  for (int i = 0; i < 100; ++i) {
    auto asked = call<Answer>(self, server_pid, Ask{i, "a text of more letters than a string has room for"});
    const std::expected<Answer, ExitReason> answer = co_await asked;
    expect(answer && answer->number == i + 7 && answer->text.ends_with("for!"), "an answer");
  }
  auto nobody = co_await call<int>(self, Pid(), 1);
  expect(!nobody && nobody.error().kind() == ExitReason::Kind::kNoProc, "noproc");
}

Routine receives(Self& self) {
  self.send(self.pid(), Message::local(Tracked(9)));
  self.send(self.pid(), std::string("first"));
  self.send(self.pid(), 5);
  const std::string first = co_await receive<std::string>(self);
  const Tracked tracked = co_await receive<Tracked>(self);
  expect(first == "first" && tracked.number() == 9, "by type");
  const std::variant<std::string, int> either = co_await receive<std::string, int>(self);
  expect(std::get<int>(either) == 5, "by one of two types");

  self.send(self.pid(), 6);
  auto awaited = receive_if(self, [wanted = 6, kept = Tracked(1)](const Message& message) {
    return message.get_if<int>() != nullptr && *message.get_if<int>() == wanted && kept.number() == 1;
  });
  const Message six = co_await awaited;
  expect(six.get_if<int>() != nullptr, "by a predicate");
  expect(!co_await receive_for(self, kMillisecond), "nothing within a millisecond");
  expect(!co_await receive_if_for(self, 0, [](const Message&) { return true; }), "nothing now");
}

Routine timers(Self& self) {
  self.send_after(2 * kMillisecond, self.pid(), Message::of(std::string("second")));
  self.send_after(kMillisecond, self.pid(), Message::of(std::string("first")));
  const TimerId never = self.send_after(kSecond * 3600, self.pid(), Message::of(std::string("third")));
  expect(co_await receive<std::string>(self) == "first", "the first timer");
  expect(co_await receive<std::string>(self) == "second", "the second timer");
  expect(self.cancel(never).has_value(), "the time that was left");
  const TimerId often = self.send_every(kMillisecond, self.pid(), 1);
  for (int i = 0; i < 3; ++i) expect(co_await receive<int>(self) == 1, "a repeated timer");
  self.cancel(often);
  co_await sleep(self, kMillisecond);
}

Task<Tracked> sum(Self& self, Tracked a, Tracked b) {
  co_await yield(self);
  if (a.number() < 0) throw std::invalid_argument("negative");
  co_return Tracked(a.number() + b.number());
}
Task<int> depth(Self& self, int n, Tracked tracked) {
  if (n == 0) co_return tracked.number();
  co_return co_await depth(self, n - 1, Tracked(tracked.number() + 1));
}
Routine tasks(Self& self, std::unique_ptr<Tracked> owned) {
  for (int i = 0; i < 50; ++i) {
    const Tracked result = co_await sum(self, Tracked(i), *owned);
    expect(result.number() == i + owned->number(), "a sum");
    bool caught = false;
    try {
      (void)co_await sum(self, Tracked(-1), *owned);
    } catch (const std::invalid_argument&) {
      caught = true;
    }
    expect(caught, "an exception through a task");
    expect(co_await depth(self, 20, Tracked(1)) == 21, "tasks in tasks");
    auto elsewhere = blocking(self, [i, kept = Tracked(4)] { return i + kept.number(); });
    expect(co_await elsewhere == i + 4, "what blocks");
  }
}

Routine waits_in_receive(Self& self, Tracked tracked) {
  const Tracked local(tracked.number());
  for (;;) (void)co_await receive(self);
}
Task<> waits_long(Self& self, Tracked tracked) {
  co_await sleep(self, kNever);
  (void)tracked.number();
}
Routine waits_in_task(Self& self, Tracked tracked) {
  co_await waits_long(self, Tracked(tracked.number()));
}
Routine waits_in_call(Self& self, Pid mute, Tracked tracked) {
  auto asked = call<Answer>(self, mute, Ask{tracked.number(), "a question that is never answered, whatever is done"});
  (void)co_await asked;
}
Routine kills(Self& self) {
  const Pid mute = self.runtime().spawn(waits_in_receive, Tracked(0));
  for (int i = 0; i < 100; ++i) {
    std::vector<Pid> pids;
    pids.push_back(self.runtime().spawn_from(self, {.monitor = true}, waits_in_receive, Tracked(1)).pid);
    pids.push_back(self.runtime().spawn_from(self, {.monitor = true}, waits_in_task, Tracked(2)).pid);
    pids.push_back(self.runtime().spawn_from(self, {.monitor = true}, waits_in_call, mute, Tracked(3)).pid);
    if (i % 2 == 0) co_await yield(self);
    for (const Pid pid : pids) self.exit(pid, ExitReason::Kind::kKill);
    for (std::size_t n = 0; n < pids.size(); ++n) {
      const Message down = co_await receive(self);
      expect(down.is_down() && down.reason().kind() == ExitReason::Kind::kKilled, "DOWN killed");
    }
  }
  self.exit(mute, ExitReason::Kind::kKill);
}

Routine worker(Self& self, std::string word) {
  for (;;) {
    Message message = co_await receive(self);
    match(message, [&](const Break&) { throw std::runtime_error("worker " + word); });
  }
}
ChildSpec named_worker(const std::string& name) {
  ChildSpec spec = child(name, worker, name);
  spec.name = name;
  return spec;
}
Routine supervisors(Self& self) {
  const Pid supervisor =
      self.runtime()
          .spawn_from(self, {.parent = self.pid(), .link = true}, supervise,
                      SupervisorSpec{.restarts_max = 1000, .children = {named_worker("a"), named_worker("b")}})
          .pid;
  const ChildSpec third = named_worker("c");
  const Result<Pid> started = co_await start_child(self, supervisor, third);
  expect(started.has_value(), "a third child");
  for (int i = 0; i < 50; ++i) {
    const Pid before = self.runtime().whereis("b");
    self.monitor(before);
    self.send(before, Break());
    const Message down = co_await receive(self);
    expect(down.reason().to_string().find("worker b") != std::string::npos, "the crash and its text");
    while (!self.runtime().whereis("b") || self.runtime().whereis("b") == before) co_await yield(self);
  }
  const Result<std::vector<ChildInfo>> children = co_await which_children(self, supervisor);
  expect(children && children->size() == 3 && children->front().id == "a", "three children");
  const Result<> gone = co_await terminate_child(self, supervisor, std::string("nobody"));
  expect(!gone && gone.error().code == ErrorCode::kNotFound, "an error as a value");
}

// Options with which the end of a process is known here.
SpawnOptions telling(std::promise<ExitReason>& ended) {
  SpawnOptions options;
  options.on_exit = [&ended](Pid, const ExitReason& reason) { ended.set_value(reason); };
  return options;
}

template <class... Args>
bool run(Runtime& runtime, const char* what, Args... args) {
  std::promise<ExitReason> ended;
  runtime.spawn_with(telling(ended), std::move(args)...);
  const ExitReason reason = ended.get_future().get();
  std::printf("%s: %s\n", what, reason.to_string().c_str());
  return reason.is_normal();
}

}  // namespace

int main() {
  bool fine = true;
  {
    SystemClock clock;
    SystemEntropy entropy;
    QuietReactorFactory reactors;
    Runtime runtime({}, {clock, entropy, reactors});
    std::promise<ExitReason> broken;
    const Pid asked = runtime.spawn_with(telling(broken), server, Tracked(7));
    fine &= run(runtime, "calls", calls, asked);
    fine &= run(runtime, "receives", receives);
    fine &= run(runtime, "timers", timers);
    fine &= run(runtime, "tasks", tasks, std::make_unique<Tracked>(3));
    fine &= run(runtime, "kills", kills);
    fine &= run(runtime, "supervisors", supervisors);
    runtime.send(asked, Message::of(Break()));
    std::printf("%s\n", broken.get_future().get().to_string().c_str());
    fine &= runtime.shutdown(kDeadline).empty();
  }
  std::printf("alive %d, mistakes %d\n", Tracked::alive(), Tracked::mistakes());
  return fine && Tracked::alive() == 0 && Tracked::mistakes() == 0 ? 0 : 1;
}
