#include "job_queue.h"

#include <utility>

using namespace rusm::otp;

namespace jobs {

JobQueue::JobQueue(int jobs) : jobs_(jobs) {
  for (int number = 1; number <= jobs; ++number) waiting_.push_back({number, 1});
}

void JobQueue::on(Self& self, TakeJob, ReplyTo worker) {
  workers_[worker.caller] = {self.monitor(worker.caller), worker, std::nullopt};
  idle_.push_back(worker.caller);
  hand_out(self);
}

void JobQueue::on(Self& self, FinishJob finished, ReplyTo worker) {
  const auto found = workers_.find(worker.caller);
  const bool known = found != workers_.end() && found->second.job && found->second.job->number == finished.job.number;
  if (known) {
    self.demonitor(found->second.monitor);
    workers_.erase(found);
    ++summary_.done;
    summary_.total += finished.result;
  }
  self.reply(worker, Message::of(known));
  if (summary_.done == jobs_ && asking_) self.reply(*std::exchange(asking_, std::nullopt), Message::of(summary_));
}

void JobQueue::on(Self& self, AwaitAll, ReplyTo asking) {
  asking_ = asking;
  if (summary_.done == jobs_) self.reply(*std::exchange(asking_, std::nullopt), Message::of(summary_));
}

void JobQueue::on(Self& self, const Down& down) {
  const auto found = workers_.find(down.from);
  if (found == workers_.end()) return;
  if (const std::optional<Job> job = found->second.job) {
    waiting_.push_front({job->number, job->attempt + 1});
    ++summary_.put_back;
  }
  workers_.erase(found);
  hand_out(self);
}

void JobQueue::hand_out(Self& self) {
  while (!waiting_.empty() && !idle_.empty()) {
    const auto found = workers_.find(idle_.front());
    idle_.pop_front();
    if (found == workers_.end()) continue;
    found->second.job = waiting_.front();
    waiting_.pop_front();
    self.reply(found->second.request, Message::of(*found->second.job));
  }
}

}  // namespace jobs
