#include "worker.h"

#include <cstdio>
#include <stdexcept>
#include <string>

using namespace rusm::otp;

namespace jobs {

Routine worker(Self& self, Mishaps mishaps) {
  self.set_label("worker");
  const auto queue = Server<JobQueue>::find(self.runtime(), "queue");
  for (;;) {
    const std::expected<Job, ExitReason> job = co_await queue.call(self, TakeJob(), rusm::kNever);
    if (!job) throw std::runtime_error("no queue: " + job.error().to_string());
    const std::string name = "job " + std::to_string(job->number);

    const bool clumsy = fate(mishaps, *job, 2) % 100 < static_cast<std::uint64_t>(mishaps.worker_percent);
    const bool before = fate(mishaps, *job, 3) % 2 == 0;
    if (clumsy && before) throw std::runtime_error("dropped " + name);

    const auto clerk = Server<Clerk>::find(self.runtime(), "clerk");
    const std::expected<std::optional<std::int64_t>, ExitReason> price = co_await clerk.call(self, PriceOf{*job});
    if (!price || !*price) throw std::runtime_error("no price for " + name);
    const std::expected<bool, ExitReason> taken = co_await queue.call(self, FinishJob{*job, **price});
    if (!taken || !*taken) throw std::runtime_error("nobody wants " + name);

    if (clumsy) throw std::runtime_error("slipped after " + name);
  }
}

SupervisorSpec crew() {
  return {.strategy = Strategy::kSimpleOneForOne,
          .restarts_max = 1'000'000,
          .backoff = Backoff{.first = rusm::kMillisecond, .max = 20 * rusm::kMillisecond, .quiet = rusm::kSecond},
          .dynamic = dynamic_child<Mishaps>(worker)};
}

Routine foreman(Self& self, int workers, Mishaps mishaps) {
  // Whoever replaces the crew or the queue needs a new foreman too.
  const Pid crew = self.runtime().whereis("crew");
  const auto queue = Server<JobQueue>::find(self.runtime(), "queue");
  self.link(crew);
  self.link(queue.pid());

  for (int i = 0; i < workers; ++i) {
    const rusm::Result<Pid> hired = co_await start_child(self, crew, Message::of(mishaps));
    if (!hired) throw std::runtime_error(hired.error().to_string());
  }
  const std::expected<Summary, ExitReason> all = co_await queue.call(self, AwaitAll(), rusm::kNever);
  if (!all) throw std::runtime_error("no queue: " + all.error().to_string());
  std::printf("done: %d jobs, each once; total %lld\n", all->done, static_cast<long long>(all->total));
  std::printf("put back: %d times, as the worker was gone\n", all->put_back);

  self.exit(self.parent(), ExitReason::Kind::kShutdown);
  (void)co_await receive(self);  // the order to stop comes back down the tree
}

}  // namespace jobs
