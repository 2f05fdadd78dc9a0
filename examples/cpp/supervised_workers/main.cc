// Jobs that get done although everybody who does them fails now and then. README.md draws the tree.
//
//   supervised_workers [--jobs N] [--workers N] [--seed N]
#include <rusm/otp/application.h>
#include <signal.h>

#include <charconv>
#include <cstdio>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "job_queue.h"
#include "office.h"
#include "worker.h"

using namespace rusm::otp;

namespace {

// Counts how the processes end that are no workers of the runtime itself, by their labels. Threads: any thread.
class EndCounter final : public EventHook {
 public:
  void on_exit(Pid, const ExitReason& reason, std::string_view label) noexcept override {
    if (reason.is_normal()) return;
    const std::scoped_lock lock(mutex_);
    ++ends_[std::string(label) + ' ' + std::string(name_of(reason.kind()))];
  }
  std::map<std::string, int> ends() const {
    const std::scoped_lock lock(mutex_);
    return ends_;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, int> ends_;  // guarded by mutex_
};

ApplicationSpec application(int jobs, int workers, jobs::Mishaps mishaps) {
  return {.name = "jobs",
          .settings = {{"jobs", jobs}, {"workers", workers}},
          .tree = [mishaps](const Settings& settings) -> rusm::Result<SupervisorSpec> {
            const auto jobs = settings.get<std::int64_t>("jobs");
            const auto workers = settings.get<std::int64_t>("workers");
            if (!jobs) return std::unexpected(jobs.error());
            if (!workers) return std::unexpected(workers.error());
            ChildSpec queue = child("queue", serve<jobs::JobQueue>, static_cast<int>(*jobs));
            queue.name = "queue";
            ChildSpec crew = child_supervisor("crew", jobs::crew());
            crew.name = "crew";
            return SupervisorSpec{
                .strategy = Strategy::kOneForOne,
                .restarts_max = 1'000'000,
                .backoff = Backoff{.first = rusm::kMillisecond, .max = 100 * rusm::kMillisecond},
                .children = {std::move(queue), child_supervisor("office", jobs::office(mishaps)), std::move(crew),
                             child("foreman", jobs::foreman, static_cast<int>(*workers), mishaps)}};
          }};
}

struct Arguments {
  int jobs = 1000;
  int workers = 8;
  jobs::Mishaps mishaps = {};
};

bool parse(int argc, char** argv, Arguments* arguments) {
  for (int i = 1; i < argc; i += 2) {
    const std::string_view name = argv[i];
    const std::string_view text = i + 1 < argc ? argv[i + 1] : "";
    int number = 0;
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || rest != text.data() + text.size() || number < 1 || number > 1'000'000) return false;
    if (name == "--jobs") {
      arguments->jobs = number;
    } else if (name == "--workers") {
      arguments->workers = number;
    } else if (name == "--seed") {
      arguments->mishaps.seed = static_cast<std::uint64_t>(number);
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  if (!parse(argc, argv, &arguments)) {
    std::fprintf(stderr, "usage: supervised_workers [--jobs N] [--workers N] [--seed N]\n");
    return 2;
  }
  // Before any thread is started, so that the signals wait for sigtimedwait().
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  rusm::SystemClock clock;
  rusm::SystemEntropy entropy;
  QuietReactorFactory reactors;
  EndCounter ends;
  Runtime runtime({}, {.clock = clock, .entropy = entropy, .reactors = reactors, .hook = &ends});

  auto running = Applications::start(runtime, {application(arguments.jobs, arguments.workers, arguments.mishaps)});
  if (!running) {
    std::fprintf(stderr, "supervised_workers: %s\n", running.error().to_string().c_str());
    return 1;
  }
  std::printf("supervised_workers: %d jobs, %d workers\n", arguments.jobs, arguments.workers);
  std::fflush(stdout);
  bool stopped = false;
  while (!stopped && !running->wait(20 * rusm::kMillisecond)) {
    const timespec at_once = {};
    stopped = sigtimedwait(&signals, nullptr, &at_once) > 0;
  }
  if (stopped) std::printf("stopped before the end\n");
  if (const rusm::Result<> end = running->stop(); !end) {
    std::fprintf(stderr, "supervised_workers: %s\n", end.error().to_string().c_str());
    return 1;
  }
  for (const auto& [what, times] : ends.ends()) std::printf("ended: %s, %d times\n", what.c_str(), times);
  (void)runtime.wait_until_empty(rusm::kSecond);
  std::printf("processes left: %zu\n", runtime.process_count());
  return 0;
}
