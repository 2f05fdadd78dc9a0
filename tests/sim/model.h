// Model: what Erlang's rules say of links, monitors, exit signals, mailboxes, names and calls, written to be read, not
// to be fast. It is told what processes do, in the order in which they do it, and what reaches them; it holds what they
// see against what they should see. The first contradiction is kept.
//
// A signal is on the wire between nodes (where that takes time), then in the receiver's inbox, then it acts. The model
// does not choose when: it is told, and only checks that what acts was next. Its rules are OTP's, an unlink with its id
// and acknowledgement included.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "otp/message.h"
#include "otp/runtime.h"

namespace rusm::otp::sim {

// A signal or a message, wherever it is.
struct Sent {
  EnvelopeKind kind;
  Pid from;
  Reference reference = 0;
  ExitReason reason = {};
  std::string text = {};  // of a message; of a DOWN, the name that was monitored
  // Not 0: one of several that one event sent; among each other they may come in any order.
  int group = 0;
};

struct OnTheWire {
  Pid to;
  Sent sent;
  int group = 0;
};

std::string describe(const Sent& sent);

class Model {
 public:
  // `takes_time`: what goes to another node is on the wire first.
  explicit Model(bool takes_time) : takes_time_(takes_time) {}

  // ── What a process does; called right after the real one did it ──
  void spawn(Pid pid) { processes_[pid]; }
  void spawn_from(Pid parent, Pid pid, bool link, Reference monitor);
  void trap(Pid pid, bool on) { doing(pid).traps = on; }
  void send(Pid from, Pid to, std::string text);
  void link(Pid from, Pid to);
  void unlink(Pid from, Pid to);
  void monitor(Pid from, Pid to, Reference reference, std::string name = {});
  void demonitor(Pid pid, Reference reference);
  void exit(Pid from, Pid to, ExitReason reason);
  void call(Pid from, Pid to, Reference reference, std::string text);
  void reply(Pid from, ReplyTo to, std::string text);
  // It gives up waiting for the answer.
  void abandon(Pid pid);
  void register_name(Pid by, const std::string& name, Pid pid, bool taken);
  void unregister_name(Pid by, const std::string& name, bool done);
  void look_up(Pid by, const std::string& name, Pid found);
  // It ends by itself, at once.
  void end(Pid pid, ExitReason reason) { doing(pid).ends = std::move(reason); }

  // ── What it sees ──
  // The first message for which `wanted` is true. Null: nothing, although it waited until `deadline`.
  using Wanted = std::function<bool(const Sent&)>;
  void received(Pid pid, const Message* message, const Wanted& wanted, Nanoseconds now, Nanoseconds deadline);
  // It slept.
  void slept(Pid pid, Nanoseconds now, Nanoseconds deadline);
  // The answer to its call. Null: none in time.
  void answered(Pid pid, const PendingCall& call, Nanoseconds now, Nanoseconds deadline);

  // ── What happens ──
  // The wire hands something over.
  void delivered(Pid to, const Envelope& envelope);
  // An envelope leaves the inbox of its process.
  void arrived(Pid pid, const Envelope& envelope);
  // It has ended, and everyone was told.
  void ended(Pid pid, const ExitReason& reason);
  // The connection between the nodes is lost, with what was on its way.
  void lost();

  // Nothing moves any more.
  void check_rest(const std::function<bool(Pid)>& is_alive);

  // What was wrong first; empty when nothing was.
  const std::string& error() const { return error_; }
  bool is_connected() const { return connected_; }
  // Of the monitors that `pid` has, or had until their DOWN came.
  std::vector<Reference> references_of(Pid pid) const;
  std::size_t events() const { return events_; }

 private:
  struct Call {
    Reference reference = 0;
    Pid server;
    std::optional<std::string> reply = {};
    std::optional<ExitReason> failure = {};
    bool done() const { return reply || failure; }
  };
  struct Process {
    bool alive = true;
    bool traps = false;
    std::optional<ExitReason> ends;  // it does nothing more, and will end so
    std::deque<Sent> inbox;
    std::deque<Sent> mailbox;
    std::map<Pid, std::uint64_t> links;  // peer → 0, or the id of an unlink that is not acknowledged
    std::uint64_t unlinks = 0;
    std::map<Reference, std::pair<Pid, std::string>> monitors;  // → target and, if it was given by name, that
    std::set<std::pair<Reference, Pid>> watched_by;
    std::optional<Call> call;
  };

  Process& doing(Pid pid);
  void check_lost(Pid pid, const Process& process);
  void fail(const std::string& what);
  void post(std::uint32_t at, Pid to, Sent sent);
  void arrive(Pid to, Sent sent);
  void reject(std::uint32_t at, Pid to, const Sent& sent, ExitReason::Kind why);
  void act(Pid pid, const Sent& sent);
  void act_exit(Process& process, Pid pid, const Sent& sent);
  void act_link_exit(Process& process, const Sent& sent);
  void act_down(Process& process, const Sent& sent);
  void act_reply(Process& process, Pid pid, const Sent& sent);
  void lose_node(Pid pid, std::uint32_t node);
  void die(Process& process, ExitReason reason);
  void put_aside(Process& process, const Sent& leftover);

  const bool takes_time_;
  std::map<Pid, Process> processes_;
  std::map<std::uint32_t, std::deque<OnTheWire>> wires_;        // by the node they lead to
  std::map<std::pair<std::uint32_t, std::string>, Pid> names_;  // of each node
  bool connected_ = true;
  int groups_ = 0;
  std::size_t events_ = 0;
  std::string error_;
};

}  // namespace rusm::otp::sim
