#include "sim/supervisor_life.h"

namespace rusm::otp::sim {
namespace {

std::string to_string(const Request& request) {
  const std::string child = request.pid ? request.pid.to_string() : request.id;
  switch (request.what) {
    case Request::What::kStart:
      return (request.dynamic ? "start by argument " : "start ") + request.spec.id;
    case Request::What::kTerminate:
      return "terminate " + child;
    case Request::What::kRestart:
      return "restart " + child;
    case Request::What::kDelete:
      return "delete " + child;
    case Request::What::kWhich:
      return "which children?";
    case Request::What::kCount:
      return "how many children?";
  }
  return {};
}

std::string time_text(Nanoseconds at) {
  return "at " + std::to_string(at / kMillisecond) + " ms: ";
}

const char* state_text(ChildState state) {
  switch (state) {
    case ChildState::kStarting:
      return " starts";
    case ChildState::kRunning:
      return " runs";
    case ChildState::kStopping:
      return " stops";
    case ChildState::kStopped:
      return " is stopped";
    case ChildState::kWaiting:
      return " waits";
  }
  return "";
}

}  // namespace

std::string to_string(const Deed& deed) {
  const std::string at = time_text(deed.at);
  switch (deed.what) {
    case Deed::What::kStart:
      return at + "start " + deed.name + (deed.child ? " as " + deed.child.to_string() : " in vain");
    case Deed::What::kStop:
      return at + "stop " + deed.child.to_string();
    case Deed::What::kKill:
      return at + "kill " + deed.child.to_string();
    case Deed::What::kEnd:
      return at + "end: " + deed.reason.to_string();
  }
  return {};
}

std::string to_string(const Input& input) {
  const std::string at = time_text(input.at);
  switch (input.what) {
    case Input::What::kDown:
      return at + input.from.to_string() + " ended: " + input.reason.to_string();
    case Input::What::kReady:
      return at + input.from.to_string() + " is ready";
    case Input::What::kDeclined:
      return at + input.from.to_string() + " declined";
    case Input::What::kOrderToStop:
      return at + "told to stop: " + input.reason.to_string();
    case Input::What::kDue:
      return at + "child " + std::to_string(input.child) + " has waited, " + std::to_string(input.wait);
    case Input::What::kRequest:
      return at + input.from.to_string() + " asks: " + to_string(*input.request);
  }
  return {};
}

std::string answer_text(const detail::Answer& answer) {
  if (answer.error) return std::string(rusm::name_of(answer.error->first));
  return answer.pid ? answer.pid.to_string() : "fine";
}

std::string answer_text(const std::vector<ChildInfo>& children) {
  std::string text = "children:";
  for (const ChildInfo& child : children) {
    text += " [" + child.id + state_text(child.state) + (child.pid ? " as " + child.pid.to_string() : "") + ", " +
            std::to_string(static_cast<int>(child.restart)) + "]";
  }
  return text;
}

std::string answer_text(const ChildCounts& counts) {
  return std::to_string(counts.specs) + " children, " + std::to_string(counts.active) + " live, " +
         std::to_string(counts.waiting) + " wait";
}

}  // namespace rusm::otp::sim
