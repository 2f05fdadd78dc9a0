// JobQueue: hands jobs to workers, and puts a job back when its worker ends before the job is done.
#pragma once

#include <rusm/otp/server.h>

#include <cstdint>
#include <deque>
#include <map>
#include <optional>

namespace jobs {

struct Job {
  int number;
  int attempt;  // counted from 1
};

struct Summary {
  int done = 0;
  int put_back = 0;        // how often a job came back because its worker was gone
  std::int64_t total = 0;  // of all results
};

// A worker asks for a job. Answered when there is one.
struct TakeJob {
  using Reply = Job;
};
// A worker has done its job. Answered with false when the job is not that worker's.
struct FinishJob {
  using Reply = bool;
  Job job;
  std::int64_t result;
};
// Answered when every job is done.
struct AwaitAll {
  using Reply = Summary;
};

class JobQueue {
 public:
  using Messages = rusm::otp::Messages<TakeJob, FinishJob, AwaitAll>;
  explicit JobQueue(int jobs);

  void on(rusm::otp::Self& self, TakeJob, rusm::otp::ReplyTo worker);
  void on(rusm::otp::Self& self, FinishJob finished, rusm::otp::ReplyTo worker);
  void on(rusm::otp::Self& self, AwaitAll, rusm::otp::ReplyTo asking);
  void on(rusm::otp::Self& self, const rusm::otp::Down& down);

 private:
  struct Worker {
    rusm::otp::Reference monitor;
    rusm::otp::ReplyTo request;  // for a job
    std::optional<Job> job;      // nothing: it waits for one
  };

  void hand_out(rusm::otp::Self& self);

  const int jobs_;
  std::deque<Job> waiting_;
  std::map<rusm::otp::Pid, Worker> workers_;
  std::deque<rusm::otp::Pid> idle_;  // workers that wait, and some that are gone
  std::optional<rusm::otp::ReplyTo> asking_;
  Summary summary_;
};

}  // namespace jobs
