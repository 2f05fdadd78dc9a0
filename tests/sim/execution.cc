#include "sim/execution.h"

#include <map>
#include <stdexcept>
#include <utility>
#include <vector>

#include "sim/model.h"
#include "spec/fixture.h"

namespace rusm::otp::sim {
namespace {

using spec::World;
using Why = ExitReason::Kind;

constexpr int kNames = 3;

class Execution final : public EventHook {
 public:
  Execution(const Program& program, Seen* seen, Fault fault)
      : seen_(seen),
        fault_(fault),
        model_(program.two_nodes && World::links_take_time(program.seed)),
        instructions_(kActorsMax),
        world_(program.seed, program.two_nodes, this) {
    for (const Instruction& instruction : program.instructions) instructions_[instruction.who].push_back(instruction);
    world_.on_delivery([this](Pid to, const Envelope& envelope) { model_.delivered(to, envelope); });
  }

  std::string run();

 private:
  bool traces_arrivals() const noexcept override { return true; }
  void on_arrival(Pid pid, const Envelope& envelope) noexcept override { model_.arrived(pid, envelope); }

  static Routine act(Self& self, Execution* execution, std::size_t number);
  static Task<> wait(Self& self, Execution& execution, const Instruction& instruction);
  static Task<> call(Self& self, Execution& execution, const Instruction& instruction);
  static Task<> end(Self& self, Execution& execution, const Instruction& instruction);

  void operate(Self& self, const Instruction& instruction);
  void spawn(Self& self, const Instruction& instruction);
  void monitor_name(Self& self, const Instruction& instruction);
  void demonitor(Self& self, const Instruction& instruction);
  void exit(Self& self, const Instruction& instruction);
  void send(Self& self, Pid to);
  void send_name(Self& self, const Instruction& instruction);
  void do_register(Self& self, const Instruction& instruction);
  void lose();
  void reply(Self& self, ReplyTo to);
  // As if other threads ran.
  void meanwhile(Self& self);
  // What was received, or that nothing was.
  void note(Self& self, const Message* message, const Model::Wanted& wanted, Nanoseconds deadline);
  void answer(Self& self, const Message& request);

  SpawnOptions options() {
    return {.on_exit = [this](Pid pid, const ExitReason& reason) {
      model_.ended(pid, reason);
      if (!reason.is_normal()) ++seen_->crashes;
    }};
  }
  Pid whom(const Instruction& instruction) const { return actors_[instruction.whom % actors_.size()]; }
  static std::string name_of(const Instruction& instruction) {
    return "name " + std::to_string(instruction.amount % kNames);
  }
  std::string new_text(Pid from) { return from.to_string() + " " + std::to_string(++texts_); }
  ExitReason new_reason() { return ExitReason::other("reason " + std::to_string(++texts_)); }

  Seen* const seen_;
  const Fault fault_;
  Model model_;
  std::vector<std::vector<Instruction>> instructions_;  // of each actor
  std::vector<Pid> actors_;
  std::vector<ReplyTo> unanswered_;
  bool nested_ = false;
  int texts_ = 0;
  World world_;  // first to go: its processes use the rest
};

const Model::Wanted kAnything = [](const Sent&) { return true; };

// ── What an actor does ───────────────────────────────────────────────────────────────────────────────────────────────

void Execution::operate(Self& self, const Instruction& instruction) {
  const Pid other = whom(instruction);
  switch (instruction.op) {
    case Op::kSpawn:
      return spawn(self, instruction);
    case Op::kLink:
      if (fault_ != Fault::kForgetsLink) self.link(other);
      return model_.link(self.pid(), other);
    case Op::kUnlink:
      if (fault_ != Fault::kForgetsUnlink) self.unlink(other);
      return model_.unlink(self.pid(), other);
    case Op::kMonitor:
      return model_.monitor(self.pid(), other, self.monitor(other));
    case Op::kMonitorName:
      return monitor_name(self, instruction);
    case Op::kDemonitor:
      return demonitor(self, instruction);
    case Op::kTrap:
      if (fault_ != Fault::kDoesNotTrap) self.trap_exit(instruction.amount % 4 != 0);
      return model_.trap(self.pid(), instruction.amount % 4 != 0);
    case Op::kExit:
      return exit(self, instruction);
    case Op::kSend:
      for (int i = 0; i <= instruction.amount % 4; ++i) send(self, other);
      return;
    case Op::kSendName:
      return send_name(self, instruction);
    case Op::kRegister:
      return do_register(self, instruction);
    case Op::kUnregister: {
      const std::string name = name_of(instruction);
      return model_.unregister_name(self.pid(), name, self.runtime().unregister_name(name));
    }
    case Op::kReply:
      if (unanswered_.empty()) return;
      return reply(self, unanswered_[instruction.amount % unanswered_.size()]);
    case Op::kLose:
      return lose();
    default:
      return;  // those that wait
  }
}

void Execution::spawn(Self& self, const Instruction& instruction) {
  if (actors_.size() == kActorsMax) return;
  SpawnOptions how = options();
  how.link = instruction.amount % 2 != 0;
  how.monitor = instruction.amount / 2 % 2 != 0;
  const bool link = how.link;
  const Spawned child = self.runtime().spawn_from(self, std::move(how), act, this, actors_.size());
  actors_.push_back(child.pid);
  model_.spawn_from(self.pid(), child.pid, link, child.reference);
}

void Execution::monitor_name(Self& self, const Instruction& instruction) {
  const std::string name = name_of(instruction);
  const Pid target = self.runtime().whereis(name);
  model_.look_up(self.pid(), name, target);
  model_.monitor(self.pid(), target, self.monitor(name), name);
}

void Execution::demonitor(Self& self, const Instruction& instruction) {
  const std::vector<Reference> own = model_.references_of(self.pid());
  if (own.empty()) return;
  const Reference reference = own[instruction.amount % own.size()];
  if (fault_ != Fault::kForgetsDemonitor) self.demonitor(reference);
  model_.demonitor(self.pid(), reference);
}

void Execution::exit(Self& self, const Instruction& instruction) {
  const ExitReason reasons[] = {Why::kNormal, Why::kShutdown, Why::kKill, new_reason()};
  const ExitReason& reason = reasons[instruction.amount % 4];
  self.exit(whom(instruction), reason);
  model_.exit(self.pid(), whom(instruction), reason);
}

void Execution::send(Self& self, Pid to) {
  const std::string text = new_text(self.pid());
  self.send(to, Message::of_text(text));
  if (fault_ == Fault::kSendsTwice && texts_ % 4 == 0) self.send(to, Message::of_text(text));
  model_.send(self.pid(), to, text);
}

void Execution::send_name(Self& self, const Instruction& instruction) {
  const std::string name = name_of(instruction);
  const Pid to = self.runtime().whereis(name);
  model_.look_up(self.pid(), name, to);
  const std::string text = new_text(self.pid());
  if (self.runtime().send(name, Message::of_text(text))) model_.send(self.pid(), to, text);
}

void Execution::do_register(Self& self, const Instruction& instruction) {
  const Pid pid = instruction.amount % 2 == 0 ? self.pid() : whom(instruction);
  const std::string name = name_of(instruction);
  const bool taken = self.runtime().register_name(name, pid).has_value();
  model_.register_name(self.pid(), name, pid, taken);
}

void Execution::lose() {
  if (!world_.two_nodes() || !model_.is_connected()) return;
  model_.lost();
  world_.disconnect();
}

// ── What an actor waits for ──────────────────────────────────────────────────────────────────────────────────────────

void Execution::meanwhile(Self& self) {
  if (nested_) return;
  nested_ = true;
  world_.go_on_around(self.runtime());
  nested_ = false;
}

void Execution::note(Self& self, const Message* message, const Model::Wanted& wanted, Nanoseconds deadline) {
  model_.received(self.pid(), message, wanted, world_.clock().now(), deadline);
  if (message == nullptr) {
    ++seen_->timeouts;
  } else if (message->is_down()) {
    ++seen_->downs;
  } else if (message->is_exit()) {
    ++seen_->exits;
  } else {
    ++seen_->messages;
    if (message->is_request()) answer(self, *message);
  }
}

// Half of the requests at once; the others perhaps later, by anyone.
void Execution::answer(Self& self, const Message& request) {
  if (world_.random().below(2) == 0) return unanswered_.push_back(request.reply_to());
  reply(self, request.reply_to());
}

// A second time too: it has no effect then.
void Execution::reply(Self& self, ReplyTo to) {
  const std::string text = new_text(self.pid());
  if (fault_ != Fault::kLosesReplies) self.reply(to, Message::of_text(text));
  model_.reply(self.pid(), to, text);
}

Task<> Execution::wait(Self& self, Execution& execution, const Instruction& instruction) {
  Nanoseconds span = instruction.amount / 2 * (instruction.amount % 2) * kMicrosecond;
  // So that the others have a chance, and it does not wait for ever.
  if (instruction.op == Op::kReceive) span = kMillisecond;
  const Nanoseconds deadline = self.runtime().clock().now() + span;
  const std::string from = execution.whom(instruction).to_string() + " ";
  std::optional<Message> message;
  Model::Wanted wanted = kAnything;
  switch (instruction.op) {
    case Op::kReceive:
    case Op::kReceiveFor:
      message = co_await receive_for(self, span);
      break;
    case Op::kReceiveFrom:
      message = co_await receive_if_for(self, span, [&from](const Message& m) { return m.text().starts_with(from); });
      wanted = [from](const Sent& sent) { return sent.kind == EnvelopeKind::kBytes && sent.text.starts_with(from); };
      break;
    case Op::kReceiveDown:
      message = co_await receive_if_for(self, span, [](const Message& m) { return m.is_down() || m.is_exit(); });
      wanted = [](const Sent& sent) { return sent.kind != EnvelopeKind::kBytes; };
      break;
    case Op::kYield:
      co_return co_await yield(self);
    case Op::kSleep:
      co_await sleep(self, span);
      execution.model_.slept(self.pid(), self.runtime().clock().now(), deadline);
      co_return;
    default:
      co_return;
  }
  execution.note(self, message ? &*message : nullptr, wanted, deadline);
}

// As call() does, in its parts: the model has to know the reference.
Task<> Execution::call(Self& self, Execution& execution, const Instruction& instruction) {
  struct Asked {
    ~Asked() {
      if (call.reference == 0 || call.done) return;
      self.abandon(call);
      model.abandon(self.pid());
    }
    Self& self;
    Model& model;
    PendingCall call;
  } asked{self, execution.model_, {}};
  const Pid server = execution.whom(instruction);
  if (server == self.pid()) co_return;
  const std::string text = execution.new_text(self.pid());
  self.ask(asked.call, server, Message::of_text(text));
  execution.model_.call(self.pid(), server, asked.call.reference, text);
  const Nanoseconds deadline = self.runtime().clock().now() + (1 + instruction.amount) * kMicrosecond;
  while (!asked.call.done && self.runtime().clock().now() < deadline) co_await news(self, deadline);
  execution.model_.answered(self.pid(), asked.call, self.runtime().clock().now(), deadline);
  if (!asked.call.done) {
    ++execution.seen_->timeouts;
  } else {
    ++(asked.call.reply ? execution.seen_->replies : execution.seen_->failed_calls);
  }
}

Task<> Execution::end(Self& self, Execution& execution, const Instruction& instruction) {
  if (instruction.amount % 4 == 1) {
    execution.model_.end(self.pid(), ExitReason::crashed("exception", "std::runtime_error: simulated"));
    throw std::runtime_error("simulated");
  }
  const ExitReason reason = instruction.amount % 4 == 2 ? ExitReason(Why::kKill) : execution.new_reason();
  execution.meanwhile(self);  // what comes in now finds it ended
  execution.model_.end(self.pid(), reason);
  co_await otp::end(self, reason);
}

Routine Execution::act(Self& self, Execution* execution, std::size_t number) {
  ++execution->seen_->processes;
  for (const Instruction& instruction : execution->instructions_[number]) {
    if (instruction.op == Op::kCall) {
      co_await call(self, *execution, instruction);
    } else if (instruction.op == Op::kEnd && instruction.amount % 4 == 0) {
      execution->model_.end(self.pid(), Why::kNormal);
      co_return;
    } else if (instruction.op == Op::kEnd) {
      co_await end(self, *execution, instruction);
    } else {
      execution->operate(self, instruction);
      execution->meanwhile(self);
      co_await wait(self, *execution, instruction);
    }
  }
  for (;;) {
    const Message message = co_await receive(self);
    execution->note(self, &message, kAnything, kNever);
  }
}

std::string Execution::run() {
  for (std::size_t i = 0; i < kFirstActors; ++i) {
    Runtime& runtime = i % 2 == 0 ? world_.here() : world_.there();
    actors_.push_back(runtime.spawn_with(options(), act, this, i));
    model_.spawn(actors_.back());
  }
  world_.run_out();
  model_.check_rest(
      [this](Pid pid) { return (pid.node() == world_.here().node() ? world_.here() : world_.there()).is_alive(pid); });
  seen_->events += model_.events();
  return model_.error();
}

}  // namespace

thread_local Present present;

std::string execute(const Program& program, Seen* seen, Fault fault) {
  Seen unseen;
  return Execution(program, seen != nullptr ? seen : &unseen, fault).run();
}

std::string explore(std::uint64_t first_seed, std::uint64_t count, Seen* seen, Fault fault) {
  for (std::uint64_t seed = first_seed; seed < first_seed + count; ++seed) {
    for (const bool two_nodes : {false, true}) {
      present = {.seed = seed, .two_nodes = two_nodes};
      const Program program = make_program(seed, two_nodes);
      const std::string error = execute(program, seen, fault);
      if (error.empty()) continue;
      const Program small =
          shrink(program, [&](const Program& less) { return !execute(less, nullptr, fault).empty(); });
      std::string numbers;
      for (const Instruction& instruction : small.instructions) {
        numbers += (numbers.empty() ? "" : ",") + std::to_string(instruction.number);
      }
      return error + "\nshrunk to: " + execute(small, nullptr, fault) + "\n" + to_string(small) +
             "repeat with: " RUSM_SIM_PROGRAM " --seed " + std::to_string(seed) +
             (two_nodes ? " --two-nodes" : " --one-node") + (numbers.empty() ? "" : " --keep " + numbers);
    }
  }
  return {};
}

}  // namespace rusm::otp::sim
