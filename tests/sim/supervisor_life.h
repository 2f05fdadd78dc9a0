// The life of a supervisor as it is seen from outside: what reached it, and what it did.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "otp/supervisor.h"
#include "otp/supervisor_messages.h"

namespace rusm::otp::sim {

// What somebody asked it for.
struct Request {
  enum class What { kStart, kTerminate, kRestart, kDelete, kWhich, kCount };
  What what = What::kCount;
  bool dynamic = false;  // kStart: by an argument
  ChildSpec spec = {};   // kStart: what is to be started; without a start function when the argument stood for nothing
  std::string id = {};   // of a child, or
  Pid pid = {};
};

// Something that reached it.
struct Input {
  enum class What { kDown, kReady, kDeclined, kOrderToStop, kDue, kRequest };
  What what = What::kDown;
  Nanoseconds at = 0;
  std::size_t deeds_before = 0;  // that were done when it came
  Pid from = {};                 // the child (down, ready, declined) or who asks
  ExitReason reason = {};
  std::uint64_t child = 0;  // whose wait for its restart is over (due), as the supervisor counts children,
  std::uint64_t wait = 0;   // and the wait, as it counts those
  std::optional<Request> request = {};
};

// Something that it did.
struct Deed {
  enum class What { kStart, kStop, kKill, kEnd };
  What what = What::kStart;
  Nanoseconds at = 0;
  std::string name = {};  // of the child that it tried to start: its id, or what this world calls a dynamic one
  Pid child = {};         // that it started (empty: it could not), or that an exit signal reached
  ExitReason reason = {};
};

struct Life {
  Nanoseconds began = 0;
  std::vector<Input> inputs;
  std::vector<Deed> deeds;
  std::map<Pid, std::string> answers;  // whom it answered: what
  bool kill_reached_it = false;
};

std::string to_string(const Input& input);
std::string to_string(const Deed& deed);

// As they stand in Life::answers.
std::string answer_text(const detail::Answer& answer);
std::string answer_text(const std::vector<ChildInfo>& children);
std::string answer_text(const ChildCounts& counts);

}  // namespace rusm::otp::sim
