// Runtime: one node's processes and the workers that run them.
//
// A runtime is built from parts that its owner holds and that outlive it (no globals): a clock, a source of randomness,
// reactors, a log. Several runtimes can live in one program.
//
// Deterministic mode (Options::deterministic_seed): no threads. step() runs one process, chosen by the seed, with a
// budget chosen by the seed; time is the SimulatedClock that the test moves.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <expected>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/clock.h"
#include "base/entropy.h"
#include "base/log.h"
#include "otp/blocking.h"
#include "otp/insight.h"
#include "otp/process_table.h"
#include "otp/reactor.h"
#include "otp/registry.h"
#include "otp/remote_link.h"

namespace rusm::otp {

class Worker;

// Called when something happens to a process, on the worker where it happens: must be quick and must not throw.
// Threads: any worker.
class EventHook {
 public:
  virtual ~EventHook() = default;
  virtual void on_spawn(Pid) noexcept {}
  virtual void on_exit(Pid, const ExitReason&, std::string_view /*label*/) noexcept {}
  virtual void on_node(std::uint32_t /*node*/, bool /*up*/) noexcept {}
  // A native step has been running for `span` ns without an await; other workers go on meanwhile.
  virtual void on_long_step(Pid, Nanoseconds /*span*/) noexcept {}
  // Whether on_arrival is wanted: asked once, when the runtime is built.
  virtual bool traces_arrivals() const noexcept { return false; }
  // A process takes an envelope out of its inbox: a signal acts next, a message goes to the mailbox.
  virtual void on_arrival(Pid, const Envelope&) noexcept {}
};

// Sums over all workers since the start.
struct Counters {
  std::uint64_t spawns = 0;
  std::uint64_t exits = 0;
  std::uint64_t crashes = 0;  // exits with kCrashed or kLimit
  std::uint64_t sends = 0;
  std::uint64_t sheds = 0;  // messages for which a bounded mailbox had no room
  std::uint64_t steps = 0;
  std::uint64_t steals = 0;
  std::uint64_t parks = 0;
  std::uint64_t long_steps = 0;
};

// How large a runtime is, and how it runs.
struct RuntimeOptions {
  unsigned workers = 0;  // 0: one for each core
  // Slots; memory is taken as they are used. Rounded up to thousands; each worker keeps some free ones for itself.
  std::uint32_t processes_max = 1u << 24;
  std::int32_t reductions_per_slice = 2000;  // awaits and sends until a process has to let others run
  std::uint32_t node = 0;                    // this node's number in its cluster
  unsigned blocking_threads_max = 16;        // for what blocks; started when needed
  Nanoseconds long_step = 10 * kMillisecond;
  std::optional<std::uint64_t> deterministic_seed = {};
};

// The outside of a runtime. All of it outlives the runtime.
struct RuntimeParts {
  const Clock& clock;
  Entropy& entropy;
  ReactorFactory& reactors;
  Log* log = nullptr;
  EventHook* hook = nullptr;
  RemoteLink* remote = nullptr;
};

// How long a call waits unless it says otherwise.
inline constexpr Nanoseconds kCallTimeout = 5 * kSecond;

// What a watcher of nodes receives.
struct NodeChange {
  std::uint32_t node;
  bool up;
};

// What a watcher of a group receives.
struct GroupChange {
  std::string group;
  Pid pid;
  bool joined;  // false: left, or ended
};

// What a process is given at its start.
struct SpawnOptions {
  std::string label = {};  // what people see it as
  // Registered before it runs, and freed with its end. When the name is taken nothing is spawned; whereis() says by
  // whom.
  std::string name = {};
  // Under whom people see it; spawn_from puts the spawning process unless it is given, if there is a label.
  Pid parent = {};
  bool link = false;     // with the spawning process; only for Runtime::spawn_from
  bool monitor = false;  // by the spawning process; only for Runtime::spawn_from
  // Its parent, a supervisor, waits until it says ready().
  bool awaited = false;
  // Limits of the mailbox: messages (at most MailboxRoom::kMessagesMax) and their bytes, envelopes of 48 bytes included
  // (at most 16 GiB). 0: no limit of its own; both 0: unbounded. Signals always get in, and of what timers send values;
  // their bytes take room as if they were sent.
  std::uint32_t mailbox_messages_max = 0;
  std::uint64_t mailbox_bytes_max = 0;
  MailboxOverflow mailbox_overflow = MailboxOverflow::kShed;
  // Called on a worker once the process has ended, after its links and monitors were told. Must not block.
  std::move_only_function<void(Pid, const ExitReason&)> on_exit = {};
};

// A picture of a process while it goes on. Threads: a value.
struct ProcessInfo {
  enum class State : std::uint8_t { kActive, kWaiting, kWaitingForSignals };
  Pid pid;
  State state;               // kActive: runs, or waits for its turn
  Wait wait;                 // for what it waits, unless it is active
  std::uint64_t reductions;  // spent in past steps: one each, and one for each await and send
  std::uint32_t received;    // messages that it has seen (EXIT and DOWN that became messages too), modulo 2^32
  // What it has seen and not received. Unless the mailbox is bounded, what came since it last ran is not among it.
  std::uint32_t mailbox_length;
  std::uint64_t mailbox_bytes;
  std::string label;
  Pid parent;    // under whom it is shown; empty when nobody said
  bool awaited;  // it was started by a supervisor that waits, or waited, for its ready()
};

// What spawn_from() returns.
struct Spawned {
  Pid pid;              // empty when processes_max are alive, or its name is taken or invalid
  Reference reference;  // of the monitor, if asked for
};

// Threads: any thread, except construction and destruction.
class Runtime {
 public:
  Runtime(RuntimeOptions options, RuntimeParts parts);
  // Kills what still lives and joins the workers.
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // Starts `function(Self&, args...)`, which returns a Routine. Returns an empty pid when processes_max are alive, or
  // the name in the options is taken or invalid.
  template <class F, class... Args>
  Pid spawn(F function, Args... args) {
    return spawn_with(SpawnOptions(), std::move(function), std::move(args)...);
  }
  template <class F, class... Args>
  Pid spawn_with(SpawnOptions options, F function, Args... args) {
    Process* process = acquire();
    if (process == nullptr) return Pid();
    return launch(*process, make_body(*process, function, args...), std::move(options), nullptr).pid;
  }
  // Starts any body. Takes it over even when it fails.
  Pid spawn_body(BodyPtr body, SpawnOptions options = {});
  // The same from a process, atomically linked and monitored as the options say.
  Spawned spawn_from(Process& parent, BodyPtr body, SpawnOptions options);
  template <class F, class... Args>
  Spawned spawn_from(Process& parent, SpawnOptions options, F function, Args... args) {
    Process* process = acquire();
    if (process == nullptr) return {};
    return launch(*process, make_body(*process, function, args...), std::move(options), &parent);
  }

  // A request that was received and is sent on is an ordinary message: hand over its reply_to() to let another answer.
  void send(Pid to, Message message) noexcept { try_send(to, std::move(message)); }
  // False when the receiver's mailbox is full, or the message cannot go to its node, and the message is gone. True says
  // nothing about its arrival.
  bool try_send(Pid to, Message message) noexcept { return post(to, std::move(message).release_plain()); }
  // As OTP's exit/2 from outside. kKill cannot be trapped.
  void exit(Pid target, ExitReason reason) noexcept;
  // Makes `pid` look again at what it waits for. Idempotent, cheap, harmless when nothing has changed.
  void wake(Pid pid) noexcept;
  bool is_alive(Pid pid) const noexcept;
  // What is known of a process without stopping it, in O(1); nothing when it is not alive.
  std::optional<ProcessInfo> info(Pid pid) const noexcept;
  // The processes that are alive, in no order. O(processes that ever were alive at once).
  std::vector<Pid> processes() const;
  std::size_t process_count() const noexcept;
  // How processes ended that did not end `normal`: the last few hundred, the latest first.
  std::vector<PastExit> last_exits() const;
  Counters counters() const noexcept;

  // ── Timers without an owner, which last until they fire; see Process::send_after ──
  // Whether it may still fire.
  bool is_armed(TimerId id) const noexcept { return timers_.is_armed(id); }
  TimerId send_after(Nanoseconds span, Pid to, Message message) {
    return start_timer(nullptr, span, to, std::move(message).release_plain());
  }
  std::optional<Nanoseconds> cancel(TimerId timer) noexcept;

  // ── Names: several for a process are allowed; each is free again before anyone hears of its process's end ──
  // kExists: the name is taken. kNotFound: the process is gone. kInvalid: the name is empty or longer than
  // Registry::kNameBytesMax, or the process is of another node.
  Result<> register_name(std::string_view name, Pid pid);
  // False when nobody has it.
  bool unregister_name(std::string_view name);
  // Takes no lock. An empty pid when nobody has the name.
  Pid whereis(std::string_view name) const noexcept { return registry_.find(name); }
  // False when nobody has the name.
  bool send(std::string_view name, Message message) noexcept;
  std::vector<std::pair<std::string, Pid>> names() const { return registry_.list(); }

  // ── Groups: a process is in a group once, and leaves it when it ends, before anyone hears of that ──
  // kExists: it is in there already. kNotFound, kInvalid: as for names.
  Result<> join(std::string_view group, Pid pid);
  bool leave(std::string_view group, Pid pid);
  // A picture of the members; null when there are none.
  Groups::Members members(std::string_view group) { return groups_.members(group); }
  // Copies the bytes to each member; what one sender broadcasts arrives in order. Returns how many it was sent to.
  std::size_t broadcast(std::string_view group, std::span<const std::byte> bytes);
  // Sends an exit signal to each member. Returns to how many.
  std::size_t exit_group(std::string_view group, const ExitReason& reason);
  // From now on `watcher`, a process of this node, receives a GroupChange for each change; returns the members at that
  // moment, null for none.
  Groups::Members watch_group(std::string_view group, Pid watcher);
  void unwatch_group(std::string_view group, Pid watcher);
  std::vector<std::string> groups() const { return groups_.list(); }
  // Takes no picture of the members: O(1).
  bool is_member(std::string_view group, Pid pid) { return groups_.has_member(group, pid); }

  // Delivers a message or signal to a process of this node or, through the RemoteLink, of another. A signal that owes
  // an answer gets one when the process is not there. False for a message that a full mailbox did not take.
  bool post(Pid to, EnvelopePtr envelope) noexcept;

  const Clock& clock() const noexcept { return parts_.clock; }
  Entropy& entropy() const noexcept { return parts_.entropy; }
  Log* log() const noexcept { return parts_.log; }
  std::uint32_t node() const noexcept { return options_.node; }
  unsigned workers() const noexcept { return static_cast<unsigned>(workers_.size()); }
  // The worker on which the caller runs, or workers() when it is not one of this runtime's.
  unsigned current_worker() const noexcept;
  Reference make_reference() noexcept;
  void set_remote(RemoteLink* remote) noexcept { remote_.store(remote, std::memory_order_release); }

  // ── For threads that are not workers; they block ──
  // Asks a process and waits for its answer, as call() does.
  std::expected<Message, ExitReason> ask(Pid server, Message request, Nanoseconds timeout = kCallTimeout);
  // Waits for the end of a process and returns its reason; noproc when there is none; nothing when `timeout` ns have
  // passed first.
  std::optional<ExitReason> wait_for(Pid pid, Nanoseconds timeout);
  // Asks every process to end (an exit signal `shutdown`, which can be trapped), and kills those that are left after
  // `timeout` ns. Returns those.
  std::vector<Pid> shutdown(Nanoseconds timeout);

  // ── Other nodes: told by whoever implements the RemoteLink ──
  // A connection to `node` stands.
  void node_up(std::uint32_t node);
  // It is lost, and nothing comes over it any more: links, monitors and calls between here and there end with
  // noconnection.
  void node_down(std::uint32_t node);
  // From now on `watcher` receives a NodeChange for each change.
  void watch_nodes(Pid watcher);

  // Returns when no process is alive, or false when `timeout` ns have passed first. Not for workers.
  bool wait_until_empty(Nanoseconds timeout);
  // Kills every process.
  void kill_all() noexcept;

  // Deterministic mode: runs one process; false when none is runnable.
  bool step();
  // Deterministic mode: steps until nothing is runnable; with a clock also moves it on to timers that are due, until
  // none is left.
  void run_until_idle(SimulatedClock* clock = nullptr);
  // Deterministic mode: when the clock has to be moved on to for the next timer, at the latest; kNever when there is
  // none.
  Nanoseconds next_timer() const noexcept;

 private:
  friend class Process;
  friend class Worker;

  Process* find(Pid pid) const noexcept { return table_.find(pid); }
  Process* acquire();
  // Of one that never was.
  void give_back(Process& process) noexcept;
  template <class F, class... Args>
  BodyPtr make_body(Process& process, F& function, Args&... args) {
    try {
      return function(process, std::move(args)...).release();
    } catch (...) {
      give_back(process);
      throw;
    }
  }
  void give_back(Process& process, Worker* worker) noexcept;
  Spawned launch(Process& process, BodyPtr body, SpawnOptions options, Process* parent);
  void reject(Pid to, EnvelopePtr envelope, ExitReason why) noexcept;
  void push(Process& process, Pid to, EnvelopePtr envelope, Worker* worker) noexcept;
  void post_due(Pid to, EnvelopePtr envelope) noexcept;
  bool shed(Process& process, Pid to, EnvelopePtr envelope, Worker* worker) noexcept;
  void bound_mailbox(Process& process, const SpawnOptions& options) noexcept;
  // Puts a process that the caller made runnable into a queue. `chatty`: the running one has news for it. `worker`: the
  // caller's, null when it is not one of ours.
  void schedule(Process& process, bool chatty, Worker* worker) noexcept;
  // A chain of processes by their next_; at most half a run queue and one.
  struct Batch {
    Process* first;
    std::uint32_t count;
  };
  void inject(Process& process) noexcept { inject(Batch{&process, 1}); }
  void inject(Batch batch) noexcept;
  Process* take_injected(Worker* worker) noexcept;
  void wake_idle_worker() noexcept;
  bool mark_idle_worker() noexcept;
  void finish(Process& process, Worker& worker) noexcept;
  std::unique_ptr<ProcessDetail> vacate(Process& process, Worker* worker) noexcept;
  void settle(Process& process, Pid pid, Envelope* leftover) noexcept;
  // Makes a link or a monitor between its receiver and a process of another node.
  bool binds(const Envelope& envelope) const noexcept {
    return envelope.from && envelope.from.node() != options_.node &&
           (envelope.kind == EnvelopeKind::kLink || envelope.kind == EnvelopeKind::kMonitor || envelope.is_request());
  }
  void note_interest(Pid pid, std::uint32_t node);
  void drop_interest(Pid pid, std::uint32_t node) noexcept;
  void tell_node_change(std::uint32_t node, bool up);
  // Whether `pid` may be given a name, or be in a group of that name.
  Result<> check_claim(std::string_view name, Pid pid) const;
  void run_blocking(Ref<BlockingJob> job, Pid pid);
  TimerId start_timer(Process* owner, Nanoseconds span, Pid to, EnvelopePtr envelope);
  TimerId start_repeat(Process* owner, Nanoseconds period, Pid to, std::move_only_function<Message()> make);
  MessageTimer* acquire_timer();
  TimerId arm(Process* owner, MessageTimer* timer, Nanoseconds span, Pid to);
  void end_timers(ProcessDetail& detail, Worker& worker) noexcept;
  void give_back(MessageTimer* timer) noexcept;
  // Wakes and posts what was due. `order`: room to sort in.
  using DueOrder = std::pair<Nanoseconds, std::uint32_t>;
  void deliver(std::vector<DueTimer>* due, std::vector<DueOrder>* order) noexcept;
  bool holds(Pid pid, const Claim& claim) noexcept;
  void release(Pid pid, const Claim& claim) noexcept;
  bool leave_group(std::string_view group, Pid pid) noexcept;
  void report_exit(Pid pid, const ExitReason& reason, std::string_view label, Worker& worker) noexcept;
  // Whether the process got its name, or wants none.
  bool take_name(Process& process, std::string name);
  void set_tag(Process& process, SpawnOptions& options, const Process* parent);
  void note_empty() noexcept;

  // Constant after construction.
  const RuntimeOptions options_;
  const RuntimeParts parts_;
  const bool traces_arrivals_;
  const std::uint32_t slots_kept_;  // free ones, by each worker
  std::atomic<RemoteLink*> remote_;
  ProcessTable table_;
  Registry registry_;
  Groups groups_;
  Tags tags_;
  TimerTable timers_;
  std::unique_ptr<Reactor> reactor_;
  std::vector<std::unique_ptr<Worker>> workers_;

  // Self-synchronised.
  std::atomic<std::uint32_t> searching_{0};      // workers that look for work
  std::atomic<std::uint32_t> idle_{0};           // workers that are parked
  std::atomic<std::uint32_t> guards_{0};         // of them, those that look after the others before long
  std::atomic<std::uint64_t> injected_size_{0};  // of injected_, to look without the lock
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint64_t> outside_spawns_{0};
  std::atomic<std::uint64_t> outside_sends_{0};
  std::atomic<std::uint64_t> outside_sheds_{0};
  std::atomic<std::uint64_t> outside_references_{0};
  std::atomic<bool> empty_watched_{false};

  std::mutex injected_mutex_;
  std::deque<Batch> injected_;  // guarded by injected_mutex_

  std::mutex nodes_mutex_;
  std::unordered_map<std::uint32_t, std::unordered_set<Pid>> interested_;  // in a node; guarded by nodes_mutex_
  std::unordered_set<Pid> node_watchers_;                                  // guarded by nodes_mutex_

  std::mutex outside_mutex_;
  SlotList outside_slots_;               // guarded by outside_mutex_
  TimerTable::FreeList outside_timers_;  // guarded by outside_mutex_

  std::unique_ptr<BlockingPool> blocking_;  // constant between construction and destruction

  std::mutex empty_mutex_;
  std::condition_variable empty_condition_;
};

}  // namespace rusm::otp
