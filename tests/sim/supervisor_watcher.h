// Watches a node, and writes the life of each supervisor on it.
#pragma once

#include <map>

#include "otp/runtime.h"
#include "sim/supervisor_life.h"
#include "spec/fixture.h"

namespace rusm::otp::sim {

// What a dynamic child is made of in these worlds; the spec's id is only what the world calls it.
struct Wanted {
  static constexpr bool kLocalOnly = true;
  ChildSpec spec;
};

// Threads: one.
class SupervisorWatcher final : public EventHook {
 public:
  bool traces_arrivals() const noexcept override { return true; }
  void on_arrival(Pid to, const Envelope& envelope) noexcept override;
  void on_exit(Pid pid, const ExitReason& reason, std::string_view label) noexcept override;

  // To be told by whoever starts them. Of a client: whom it asks.
  void note_supervisor(Pid supervisor);
  void note_start(Pid supervisor, const std::string& name, Pid child);  // empty: in vain
  void note_client(Pid client, Pid supervisor) { clients_[client] = supervisor; }

  bool is_supervisor(Pid pid) const { return lives_.contains(pid); }
  bool is_client(Pid pid) const { return clients_.contains(pid); }
  const std::map<Pid, Life>& lives() const { return lives_; }
  const std::map<Pid, Pid>& parents() const { return parents_; }  // of every child there ever was: its supervisor

  spec::World* world = nullptr;

 private:
  Nanoseconds now() const { return world->clock().now(); }
  void note_input(Life& life, const Envelope& envelope);
  void note_order(Pid supervisor, Pid child, const Envelope& envelope);
  void note_answer(Pid client, const Envelope& envelope);

  std::map<Pid, Life> lives_;
  std::map<Pid, Pid> parents_;
  std::map<Pid, Pid> clients_;
};

}  // namespace rusm::otp::sim
