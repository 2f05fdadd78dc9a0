// A supervisor as its documentation describes it, to be held against a real one: it is given everything that reached
// the real one, in its order and with its times, and says what that should have done.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "otp/supervisor.h"
#include "otp/supervisor_messages.h"

namespace rusm::otp::sim {

// Something that reached a supervisor.
struct Input {
  enum class What { kDown, kReady, kDeclined, kOrderToStop, kRequest };
  What what = What::kDown;
  Nanoseconds at = 0;
  std::size_t deeds_before = 0;  // that were done when it came
  Pid from = {};                 // the child (down, ready, declined)
  ExitReason reason = {};
  std::optional<detail::OrderRequest> request = {};
};

// Something that a supervisor did.
struct Deed {
  enum class What { kStart, kStop, kKill, kEnd };
  What what = What::kStart;
  std::string id = {};  // of the child that it tried to start
  Pid child = {};       // that it started (empty: it could not), or that an exit signal reached
  ExitReason reason = {};
};
std::string to_string(const Deed& deed);
std::string to_string(const Input& input);

// The life of one supervisor.
struct Life {
  Nanoseconds began = 0;
  std::vector<Input> inputs;
  std::vector<Deed> deeds;
  std::vector<std::string> answers;  // to requests, in their order: "fine" or the name of an error
  bool kill_reached_it = false;
};

// What it did wrong; empty when nothing.
std::string judge(const SupervisorSpec& spec, const Life& life);

}  // namespace rusm::otp::sim
