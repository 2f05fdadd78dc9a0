#include "otp/runtime.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "base/assert.h"
#include "otp/worker.h"

namespace rusm::otp {
namespace {

unsigned worker_count(const RuntimeOptions& options) {
  if (options.deterministic_seed) return 1;
  return options.workers != 0 ? options.workers : std::max(1u, std::thread::hardware_concurrency());
}

constexpr Nanoseconds kShutdownPoll = 5 * kMillisecond;

}  // namespace

Runtime::Runtime(RuntimeOptions options, RuntimeParts parts)
    : options_(options),
      parts_(parts),
      traces_arrivals_(parts.hook != nullptr && parts.hook->traces_arrivals()),
      slots_kept_(std::clamp(options.processes_max / (16 * worker_count(options)), 2 * ProcessTable::kBatch, 4096u)),
      remote_(parts.remote),
      table_(*this, std::clamp<std::uint32_t>(options.processes_max, 1, Pid::kIndexMax + 1), parts.entropy.next_u64()) {
  RUSM_ASSERT(options.node <= Pid::kNodeMax, "a node number has 10 bits");
  blocking_ = std::make_unique<BlockingPool>(*this, options_.blocking_threads_max);
  const unsigned count = worker_count(options_);
  reactor_ = parts_.reactors.make(*this, count);
  for (unsigned i = 0; i < count; ++i) workers_.push_back(std::make_unique<Worker>(*this, i));
  if (options_.deterministic_seed) return;
  for (const auto& worker : workers_) worker->start();
}

Runtime::~Runtime() {
  do {
    kill_all();
    if (options_.deterministic_seed) run_until_idle();
  } while (!wait_until_empty(kShutdownPoll));
  stopping_.store(true);
  for (const auto& worker : workers_) worker->interrupt();
  for (const auto& worker : workers_) worker->join();
  blocking_.reset();  // bodies of killed processes may still be in its hands
}

unsigned Runtime::current_worker() const noexcept {
  const Worker* worker = Worker::current_of(*this);
  return worker != nullptr ? worker->index() : workers();
}

Reference Runtime::make_reference() noexcept {
  // node 10 | worker 10 | count 44: unique in the cluster, for references meet at the processes that they watch.
  const Reference node = Reference{options_.node} << 54;
  if (Worker* worker = Worker::current_of(*this)) {
    return node | (Reference{worker->index() + 1} << 44) | ++worker->references;
  }
  return node | (outside_references_.fetch_add(1, std::memory_order_relaxed) + 1);
}

Process* Runtime::acquire() {
  if (Worker* worker = Worker::current_of(*this)) {
    SlotList& slots = worker->slots;
    Process* slot = slots.pop();
    if (slot == nullptr && table_.refill(&slots)) slot = slots.pop();
    return slot;
  }
  const std::scoped_lock lock(outside_mutex_);
  Process* slot = outside_slots_.pop();
  if (slot == nullptr && table_.refill(&outside_slots_)) slot = outside_slots_.pop();
  return slot;
}

// The slot of a process that is no more, or never was.
void Runtime::give_back(Process& process, Worker* worker) noexcept {
  if (worker != nullptr) {
    worker->slots.push(&process);
    if (worker->slots.size() > slots_kept_) table_.give_back(&worker->slots);
  } else {
    const std::scoped_lock lock(outside_mutex_);
    outside_slots_.push(&process);
  }
}

void Runtime::give_back(Process& process) noexcept {
  give_back(process, Worker::current_of(*this));
}

Pid Runtime::spawn_body(BodyPtr body, SpawnOptions options) {
  Process* process = acquire();
  if (process == nullptr) return Pid();
  return launch(*process, std::move(body), std::move(options), nullptr).pid;
}

Spawned Runtime::spawn_from(Process& parent, BodyPtr body, SpawnOptions options) {
  Process* process = acquire();
  if (process == nullptr) return {};
  return launch(*process, std::move(body), std::move(options), &parent);
}

Spawned Runtime::launch(Process& process, BodyPtr body, SpawnOptions options, Process* parent) {
  Spawned spawned{.pid = process.pid(), .reference = 0};
  process.body_ = body.release();
  if (options.mailbox_messages_max != 0 || options.mailbox_bytes_max != 0) bound_mailbox(process, options);
  // From here on it can be addressed by whoever finds its name; it does not run yet.
  process.inbox_.store(0, std::memory_order_release);
  if (!options.name.empty() && !take_name(process, std::move(options.name))) {
    const auto detail = vacate(process, Worker::current_of(*this));
    if (detail && detail->tagged) (void)tags_.take(spawned.pid);
    return {};
  }
  if (parent != nullptr && options.link) {
    process.detail().parent = parent->pid();
    parent->detail().links.put(spawned.pid, 0);
    process.detail().links.put(parent->pid(), 0);
  }
  if (parent != nullptr && options.monitor) {
    spawned.reference = make_reference();
    parent->detail().watching.put(spawned.reference, spawned.pid);
    process.detail().watched_by.put({spawned.reference, parent->pid()}, {});
  }
  if (!options.label.empty() || options.parent) set_tag(process, options, parent);
  if (options.on_exit) process.detail().on_exit = std::move(options.on_exit);
  Worker* worker = Worker::current_of(*this);
  if (worker != nullptr) {
    worker->counters.spawns.add();
  } else {
    outside_spawns_.fetch_add(1, std::memory_order_relaxed);
  }
  if (parts_.hook != nullptr) parts_.hook->on_spawn(spawned.pid);
  // Who links and watches what it starts is its supervisor, and waits for it next: the two take turns on this worker.
  schedule(process, options.link && options.monitor, worker);
  return spawned;
}

bool Runtime::take_name(Process& process, std::string name) {
  if (!Registry::is_valid(name) || !registry_.insert(name, process.pid())) return false;
  process.detail().claims.put({Claim::Kind::kName, std::move(name)}, {});
  return true;
}

void Runtime::set_tag(Process& process, SpawnOptions& options, const Process* parent) {
  process.detail().tagged = true;
  if (options.parent) process.detail().parent = options.parent;
  if (!options.parent && parent != nullptr) options.parent = parent->pid();
  tags_.set(process.pid(), {std::move(options.label), options.parent, options.awaited});
}

void Runtime::exit(Pid target, ExitReason reason) noexcept {
  post(target, make_exit_signal(EnvelopeKind::kExit, Pid(), 0, std::move(reason)));
}

void Runtime::wake(Pid pid) noexcept {
  Process* process = find(pid);
  if (process != nullptr && process->wake()) schedule(*process, true, Worker::current_of(*this));
}

bool Runtime::post(Pid to, EnvelopePtr envelope) noexcept {
  Worker* worker = Worker::current_of(*this);
  if (worker != nullptr) {
    worker->counters.sends.add();
  } else {
    outside_sends_.fetch_add(1, std::memory_order_relaxed);
  }
  if (to.node() != options_.node) [[unlikely]] {
    if (!to) {
      reject(to, std::move(envelope), ExitReason::Kind::kNoProc);
      return true;
    }
    if (!encode_for_travel(&envelope)) {
      reject(to, std::move(envelope),
             ExitReason::crashed("codec", "the message has no codec: it cannot go to another node"));
      return false;
    }
    RemoteLink* remote = remote_.load(std::memory_order_acquire);  // partner: set_remote
    if (remote != nullptr) envelope = remote->deliver(to, std::move(envelope));
    if (envelope) reject(to, std::move(envelope), ExitReason::Kind::kNoConnection);
    return true;
  }
  Process* process = find(to);
  if (process == nullptr) {
    reject(to, std::move(envelope), ExitReason::Kind::kNoProc);
    return true;
  }
  if (process->is_bounded() && !is_signal(envelope->kind) && !process->take_room(*envelope, to.generation()))
      [[unlikely]] {
    return shed(*process, to, std::move(envelope), worker);
  }
  push(*process, to, std::move(envelope), worker);
  return true;
}

// What a timer sends. Bytes take room as if they were sent, so that timers fill no mailbox beyond its bound. Values
// always get in: they are the node's own, such as the end of a state's timeout, and must not be lost.
void Runtime::post_due(Pid to, EnvelopePtr envelope) noexcept {
  Process* process = find(to);
  if (process == nullptr) {
    post(to, std::move(envelope));
    return;
  }
  Worker* worker = Worker::current_of(*this);
  if (process->is_bounded() && envelope->kind == EnvelopeKind::kBytes &&
      !process->take_room(*envelope, to.generation())) [[unlikely]] {
    shed(*process, to, std::move(envelope), worker);
  } else {
    push(*process, to, std::move(envelope), worker);
  }
}

void Runtime::push(Process& process, Pid to, EnvelopePtr envelope, Worker* worker) noexcept {
  envelope->generation = to.generation();
  // Noted before it is handled: should that node be lost meanwhile, the loss comes behind it.
  if (binds(*envelope)) [[unlikely]]
    note_interest(to, envelope->from.node());
  Envelope* pushed = envelope.release();
  switch (process.push(pushed)) {
    case Process::Push::kDone:
      return;
    case Process::Push::kSchedule:
      return schedule(process, true, worker);
    case Process::Push::kClosed:
      return reject(to, EnvelopePtr(pushed), ExitReason::Kind::kNoProc);
  }
}

// A bounded mailbox has no room.
bool Runtime::shed(Process& process, Pid to, EnvelopePtr envelope, Worker* worker) noexcept {
  if (worker != nullptr) {
    worker->counters.sheds.add();
  } else {
    outside_sheds_.fetch_add(1, std::memory_order_relaxed);
  }
  const bool request = envelope->is_request();
  // Ended once; what comes until then is shed.
  auto exits = MailboxOverflow::kExit;
  const bool first =
      process.overflow_.compare_exchange_strong(exits, MailboxOverflow::kShed, std::memory_order_relaxed);
  if (!request && !first) return false;
  const ExitReason reason = ExitReason::limit("mailbox", "it is full");
  if (first) post(to, make_exit_signal(EnvelopeKind::kLimit, Pid(), 0, reason));
  if (request) reject(to, std::move(envelope), reason);
  return false;
}

void Runtime::bound_mailbox(Process& process, const SpawnOptions& options) noexcept {
  const std::uint64_t messages = options.mailbox_messages_max != 0 ? options.mailbox_messages_max : UINT64_MAX;
  const std::uint64_t units =
      options.mailbox_bytes_max != 0 ? options.mailbox_bytes_max / MailboxRoom::kUnit : UINT64_MAX;
  const std::uint64_t room = MailboxRoom::of(process.pid().generation(), std::min(messages, MailboxRoom::kMessagesMax),
                                             std::min(units, MailboxRoom::kUnitsMax));
  process.load_.store(room, std::memory_order_relaxed);
  process.room_.store(room, std::memory_order_relaxed);
  process.overflow_.store(
      options.mailbox_overflow == MailboxOverflow::kExit ? MailboxOverflow::kExit : MailboxOverflow::kShed,
      std::memory_order_relaxed);
}

// `to` is not there. A message vanishes; a signal that owes an answer gets it.
void Runtime::reject(Pid to, EnvelopePtr envelope, ExitReason why) noexcept {
  const Pid from = envelope->from;
  const Reference reference = envelope->reference;
  const EnvelopeKind kind = envelope->kind;
  const bool request = envelope->is_request();
  if (binds(*envelope) && !is_alive(to)) drop_interest(to, from.node());
  if (kind == EnvelopeKind::kClaim) release(to, claim_of(*envelope));
  envelope.reset();
  if (kind == EnvelopeKind::kReply && why.kind() == ExitReason::Kind::kCrashed) {
    post(to, make_exit_signal(EnvelopeKind::kDown, from, reference, std::move(why)));  // an answer all the same
  } else if (kind == EnvelopeKind::kLink) {
    post(from, make_exit_signal(EnvelopeKind::kLinkExit, to, 0, std::move(why)));
  } else if (kind == EnvelopeKind::kMonitor || request) {
    post(from, make_exit_signal(EnvelopeKind::kDown, to, reference, std::move(why)));
  } else if (kind == EnvelopeKind::kUnlink) {
    post(from, make_signal(EnvelopeKind::kUnlinkAck, to, reference));
  }
}

void Runtime::schedule(Process& process, bool chatty, Worker* worker) noexcept {
  if (worker != nullptr) {
    // Between steps nothing runs that could chat: news from sockets and timers queues up.
    worker->enqueue(process, chatty && worker->running_.load(std::memory_order_relaxed) != nullptr);
  } else {
    inject(process);
    // seq_cst on both: partner is Worker::sleep.
    if (idle_.load() > 0) wake_idle_worker();
  }
}

void Runtime::inject(Batch batch) noexcept {
  const std::scoped_lock lock(injected_mutex_);
  injected_.push_back(batch);
  injected_size_.fetch_add(batch.count);
}

// A fair share at once, so that the lock is taken rarely; under it nothing of a process is touched, which may be cold.
Process* Runtime::take_injected(Worker* worker) noexcept {
  constexpr std::uint32_t kMost = RunQueue::kCapacity / 2 + 1;
  if (injected_size_.load(std::memory_order_relaxed) == 0) return nullptr;
  std::array<Batch, kMost> taken;
  std::uint32_t batches = 0;
  std::uint32_t count = 0;
  {
    const std::scoped_lock lock(injected_mutex_);
    const std::uint64_t share =
        worker == nullptr ? 1 : std::min<std::uint64_t>(1 + injected_size_.load() / workers_.size(), kMost);
    while (count < share && !injected_.empty() && count + injected_.front().count <= kMost) {
      count += injected_.front().count;
      taken[batches++] = injected_.front();
      injected_.pop_front();
    }
    injected_size_.fetch_sub(count);
  }
  if (batches == 0) return nullptr;
  Process* const first = taken[0].first;
  for (std::uint32_t i = 0; i < batches; ++i) {
    Process* process = taken[i].first;
    for (std::uint32_t left = taken[i].count; left > 0; --left) {
      Process* const after = process->next_;
      if (process != first && !worker->queue_.push(process)) {
        inject(Batch{process, left});  // no room: in its chain
        break;
      }
      process = after;
    }
  }
  return first;
}

// Wakes one parked worker to search, unless one searches already.
void Runtime::wake_idle_worker() noexcept {
  do {
    std::uint32_t none = 0;
    if (!searching_.compare_exchange_strong(none, 1)) return;
    if (mark_idle_worker()) return;
    // While this was counted as a search, another's injection may have trusted in it.
  } while (searching_.fetch_sub(1) == 1 && injected_size_.load() != 0 && idle_.load() != 0);
}

bool Runtime::mark_idle_worker() noexcept {
  for (const auto& worker : workers_) {
    if (worker.get() == Worker::current()) continue;  // it is getting up already
    if (!worker->parked_.load() || worker->wake_to_search_.exchange(true)) continue;
    // It may have got up meanwhile without seeing the mark; then the mark is taken back, by whoever comes first.
    if (!worker->parked_.load() && worker->wake_to_search_.exchange(false)) continue;
    worker->interrupt();
    return true;
  }
  return false;
}

// Makes the slot one that nobody lives in. From here on the pid addresses nothing, then nothing more comes in.
std::unique_ptr<ProcessDetail> Runtime::vacate(Process& process, Worker* worker) noexcept {
  const Pid pid = process.pid();
  BodyPtr(std::exchange(process.body_, nullptr)).reset();
  process.waiter_ = nullptr;
  process.pid_.store(Pid(options_.node, pid.index(), pid.generation() + 1).raw(), std::memory_order_release);
  const std::uintptr_t word = process.inbox_.exchange(Process::kClosed, std::memory_order_acq_rel);
  settle(process, pid, reinterpret_cast<Envelope*>(word & ~Process::kFlags));

  process.exit_reason_ = ExitReason();
  auto detail = std::move(process.detail_);
  process.clear_mailbox();
  if (detail) Envelope::destroy_list(std::exchange(detail->stash_head, nullptr));
  process.trap_exit_ = process.exit_pending_ = process.woken_ = process.yield_ = false;
  process.wait_step_ = Step::kWait;
  process.wait_.store(Wait::kOther, std::memory_order_relaxed);
  process.overflow_.store(MailboxOverflow::kUnbounded, std::memory_order_relaxed);
  process.load_.store(0, std::memory_order_relaxed);
  process.received_.store(0, std::memory_order_relaxed);
  process.reductions_.store(0, std::memory_order_relaxed);
  if (pid.generation() < Pid::kGenerationMax) give_back(process, worker);  // else retired: it has used them up
  return detail;
}

void Runtime::finish(Process& process, Worker& worker) noexcept {
  const Pid pid = process.pid();
  if (process.detail_ && process.detail_->blocking) {
    BodyPtr body(std::exchange(process.body_, nullptr));
    body = process.detail_->blocking->abandon(std::move(body));
  }
  // First the body, whose destructors may still do something in the process's name.
  BodyPtr(std::exchange(process.body_, nullptr)).reset();
  if (process.detail_) {
    TimerWheel::cancel(&process.detail_->timer);
    end_timers(*process.detail_, worker);
    for (const auto& [claim, none] : process.detail_->claims) release(pid, claim);
  }
  const ExitReason reason = std::exchange(process.exit_reason_, {});
  const auto detail = vacate(process, &worker);  // only then do others hear of it

  Tag tag;
  if (detail && detail->tagged) tag = tags_.take(pid);
  if (!reason.is_normal()) worker.last_exits.add({pid, tag.label, reason.shortened(), worker.recent_time()});
  if (detail) {
    for (const auto& [node, none] : detail->nodes) drop_interest(pid, node);
    for (auto& [reference, target] : detail->watching)
      post(target, make_signal(EnvelopeKind::kDemonitor, pid, reference));
    for (auto& [peer, unlinking] : detail->links) {
      if (unlinking == 0) post(peer, make_exit_signal(EnvelopeKind::kLinkExit, pid, 0, reason));
    }
    for (auto& [watch, none] : detail->watched_by) {
      post(watch.watcher, make_exit_signal(EnvelopeKind::kDown, pid, watch.reference, reason));
    }
  }
  report_exit(pid, reason, tag.label, worker);
  if (detail && detail->on_exit) detail->on_exit(pid, reason);
  worker.counters.exits.add();
  if (empty_watched_.load(std::memory_order_relaxed)) note_empty();
}

// What was still in the inbox: who asked for an answer gets it, and what changes links and monitors counts.
void Runtime::settle(Process& process, Pid pid, Envelope* leftover) noexcept {
  // First what it should have given up: others hear of its end by the answers below.
  for (const Envelope* envelope = leftover; envelope != nullptr; envelope = envelope->next) {
    if (envelope->kind == EnvelopeKind::kClaim) release(pid, claim_of(*envelope));
  }
  while (leftover != nullptr) {
    EnvelopePtr envelope(std::exchange(leftover, leftover->next));
    const Pid to(options_.node, pid.index(), envelope->generation);
    const bool ours = to == pid;
    ProcessDetail* detail = process.detail_.get();
    if (ours && detail != nullptr) {
      const std::uint64_t* unlinking = nullptr;
      switch (envelope->kind) {
        case EnvelopeKind::kUnlink:
          unlinking = detail->links.find(envelope->from);
          if (unlinking != nullptr && *unlinking == 0) detail->links.erase(envelope->from);
          break;
        case EnvelopeKind::kLinkExit:
          detail->links.erase(envelope->from);
          break;
        case EnvelopeKind::kDemonitor:
          detail->watched_by.erase({envelope->reference, envelope->from});
          break;
        case EnvelopeKind::kDown:
          detail->watching.erase(envelope->reference);
          break;
        default:
          break;
      }
    }
    reject(to, std::move(envelope), ExitReason::Kind::kNoProc);
  }
}

void Runtime::report_exit(Pid pid, const ExitReason& reason, std::string_view label, Worker& worker) noexcept {
  const bool crashed = reason.kind() == ExitReason::Kind::kCrashed || reason.kind() == ExitReason::Kind::kLimit;
  if (crashed) {
    worker.counters.crashes.add();
    if (parts_.log != nullptr && parts_.log->wants(LogLevel::kWarn)) {
      parts_.log->warn("otp", "process crashed",
                       {{"pid", pid.to_string()},
                        {"label", std::string(label)},
                        {"reason", reason.to_string()},
                        {"backtrace", std::string(reason.backtrace())}});
    }
  }
  if (parts_.hook != nullptr) parts_.hook->on_exit(pid, reason, label);
}

void Runtime::kill_all() noexcept {
  table_.for_each([this](Process& process) {
    if ((process.inbox_.load(std::memory_order_relaxed) & Process::kClosed) == 0) {
      exit(process.pid(), ExitReason::Kind::kKill);
    }
  });
}

void Runtime::note_empty() noexcept {
  const std::scoped_lock lock(empty_mutex_);
  empty_condition_.notify_all();
}

bool Runtime::wait_until_empty(Nanoseconds timeout) {
  const auto start = std::chrono::steady_clock::now();
  empty_watched_.store(true);
  std::unique_lock lock(empty_mutex_);
  while (process_count() != 0) {
    if (std::chrono::steady_clock::now() - start >= std::chrono::nanoseconds(timeout)) return false;
    // The counters are not published with the notification: look again soon in any case.
    empty_condition_.wait_for(lock, std::chrono::milliseconds(1));
  }
  return true;
}

// Without threads the call is made at once.
void Runtime::run_blocking(Ref<BlockingJob> job, Pid pid) {
  if (options_.deterministic_seed) return BlockingPool::run_here(*job, *this, pid);
  blocking_->submit(std::move(job), pid);
}

std::vector<Pid> Runtime::shutdown(Nanoseconds timeout) {
  for (const Pid pid : processes()) exit(pid, ExitReason::Kind::kShutdown);
  std::vector<Pid> left;
  if (wait_until_empty(timeout)) return left;
  left = processes();
  do {
    kill_all();
  } while (!wait_until_empty(kShutdownPoll));
  return left;
}

bool Runtime::step() {
  RUSM_ASSERT(options_.deterministic_seed.has_value(), "step() is for the deterministic mode");
  Worker& worker = *workers_.front();
  Worker* const previous = worker.enter();
  const bool ran = worker.step();
  Worker::leave(previous);
  return ran;
}

void Runtime::run_until_idle(SimulatedClock* clock) {
  for (;;) {
    while (step()) {
    }
    if (clock == nullptr) return;
    const Nanoseconds due = next_timer();
    if (due == kNever) return;
    clock->advance_to(due);
  }
}

Nanoseconds Runtime::next_timer() const noexcept {
  return workers_.front()->timers().next_due();
}

}  // namespace rusm::otp
