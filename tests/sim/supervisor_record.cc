#include "sim/supervisor_record.h"

#include <algorithm>

namespace rusm::otp::sim {

Record::Record(const Life& life)
    : life_(life),
      inputs_(life.inputs.begin(), life.inputs.end()),
      deeds_(life.deeds.begin(), life.deeds.end()),
      now_(life.began) {}

std::optional<Input> Record::next(Nanoseconds deadline, Pid child) {
  if (inputs_.empty()) {
    // Time goes on when nothing happens, so a deadline passes; unless its own end came first.
    if (deadline == kNever || (kill_reached_it() && deeds_.size() == 1)) throw OutOfInputs();
    now_ = deadline;
    return std::nullopt;
  }
  const Nanoseconds at = inputs_.front().at;
  if (deadline != kNever && at >= deadline) {
    const bool killed = find_signal(child, Deed::What::kKill) != deeds_.end();
    if (at - deadline > kSameTime || killed) {
      now_ = std::max(now_, deadline);
      return std::nullopt;
    }
  }
  now_ = std::max(now_, at);
  Input input = std::move(inputs_.front());
  inputs_.pop_front();
  return input;
}

std::optional<Input> Record::next_before_deed() {
  if (inputs_.empty() || inputs_.front().deeds_before > deeds_done_) return std::nullopt;
  return next();
}

void Record::done(std::deque<Deed>::iterator deed) {
  if (deed->at > now_ + kSameTime || deed->at < now_ - kSameTime) {
    throw Contradiction{"not at " + std::to_string(now_ / kMillisecond) + " ms: " + to_string(*deed)};
  }
  deeds_.erase(deed);
  ++deeds_done_;
}

Pid Record::has_started(const std::string& name) {
  if (deeds_.empty()) throw Contradiction{"it should have started " + name};
  const Deed deed = deeds_.front();
  if (next_is_end() && kill_reached_it()) throw OutOfInputs();
  if (deed.what != Deed::What::kStart || deed.name != name) {
    throw Contradiction{"it should have started " + name + ", and did: " + to_string(deed)};
  }
  done(deeds_.begin());
  return deed.child;
}

std::deque<Deed>::iterator Record::find_signal(Pid child, Deed::What what) {
  for (auto deed = deeds_.begin(); deed != deeds_.end(); ++deed) {
    if (deed->what == what && deed->child == child) return deed;
    if (!tells_many_ || deed->at > deeds_.front().at + kSameTime) break;
  }
  return deeds_.end();
}

void Record::has_told(Pid child, Deed::What what) {
  if (const auto deed = find_signal(child, what); deed != deeds_.end()) return done(deed);
  const auto end = std::ranges::find_if(
      inputs_, [&](const Input& input) { return input.what == Input::What::kDown && input.from == child; });
  if (end == inputs_.end() ? !kill_reached_it() : end->at - now_ > kSameTime) {
    throw Contradiction{"it should have sent an exit signal to " + child.to_string()};
  }
}

void Record::has_ended(const ExitReason& reason) {
  if (deeds_.empty()) throw Contradiction{"it should have ended: " + reason.to_string()};
  if (next_is_kill() && kill_reached_it()) return is_over();
  const ExitReason was = deeds_.front().reason;
  if (!next_is_end() || was.kind() != reason.kind()) {
    throw Contradiction{"it should have ended: " + reason.to_string() + ", and did: " + to_string(deeds_.front())};
  }
  if (reason.crash_kind() == "start" &&
      was.text().find("\"" + std::string(reason.text()) + "\"") == std::string_view::npos) {
    throw Contradiction{"its reason should name " + std::string(reason.text()) + ": " + was.to_string()};
  }
  done(deeds_.begin());
  is_over();
}

void Record::is_over() {
  if (deeds_.empty() || (next_is_kill() && kill_reached_it() && deeds_.size() == 1)) return;
  throw Contradiction{"it should not have done: " + to_string(deeds_.front())};
}

bool Record::ended_before_it_began() const {
  return deeds_.size() == 1 && next_is_end() && !inputs_.empty() && inputs_.front().what == Input::What::kOrderToStop &&
         deeds_.front().reason == inputs_.front().reason;
}

}  // namespace rusm::otp::sim
