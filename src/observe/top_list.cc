#include "observe/top_list.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

namespace rusm::observe {
namespace {

constexpr std::array<std::string_view, 5> kOrders = {"reductions", "messages", "mailbox", "bytes", "pid"};
constexpr std::size_t kNameWidthMax = 64;

otp::Counters difference(const otp::Counters& now, const otp::Counters& before) noexcept {
  return {.spawns = now.spawns - before.spawns,
          .exits = now.exits - before.exits,
          .crashes = now.crashes - before.crashes,
          .sends = now.sends - before.sends,
          .sheds = now.sheds - before.sheds,
          .steps = now.steps - before.steps,
          .steals = now.steals - before.steals,
          .parks = now.parks - before.parks,
          .long_steps = now.long_steps - before.long_steps};
}

std::uint64_t resident_bytes() noexcept {
  const int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  std::array<char, 128> text;
  const ssize_t size = read(fd, text.data(), text.size());
  close(fd);
  const char* const end = text.data() + std::max<ssize_t>(size, 0);
  const char* const space = std::find<const char*>(text.data(), end, ' ');
  std::uint64_t pages = 0;
  if (space != end) std::from_chars(space + 1, end, pages);
  return pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

std::string_view name_of(TopOrder order) noexcept {
  return kOrders[static_cast<std::size_t>(order)];
}

std::optional<TopOrder> parse_top_order(std::string_view name) noexcept {
  const auto it = std::ranges::find(kOrders, name);
  if (it == kOrders.end()) return std::nullopt;
  return static_cast<TopOrder>(it - kOrders.begin());
}

HostUsage host_usage() noexcept {
  timespec cpu = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
  return {.cpu = cpu.tv_sec * kSecond + cpu.tv_nsec, .resident_bytes = resident_bytes()};
}

TopList::TopList(otp::Runtime& runtime, std::function<HostUsage()> usage, CountsSource limits)
    : runtime_(runtime), usage_(std::move(usage)), limits_(std::move(limits)), started_(runtime.clock().now()) {}

std::optional<Nanoseconds> TopList::last_look() const noexcept {
  if (!looked_at_) return std::nullopt;
  return runtime_.clock().now() - *looked_at_;
}

void TopList::forget() noexcept {
  looked_at_.reset();
  seen_ = {};
}

bool TopList::comes_before(const Candidate& a, const Candidate& b) noexcept {
  if (a.key != b.key) return a.key > b.key;
  return a.reductions != b.reductions ? a.reductions > b.reductions : a.info.pid < b.info.pid;
}

TopList::Candidate TopList::compare(otp::ProcessInfo info, bool remember) {
  const std::uint32_t index = info.pid.index();
  if (index >= seen_.size()) seen_.resize(std::max<std::size_t>(index + 1, seen_.size() + seen_.size() / 4));
  Seen& seen = seen_[index];
  Candidate candidate{.info = {}, .reductions = info.reductions, .received = info.received, .key = 0};
  // One that began since the last look did all that it did within the window.
  if (seen.generation == info.pid.generation()) {
    candidate.reductions = info.reductions >= seen.reductions ? info.reductions - seen.reductions : 0;
    candidate.received = info.received - seen.received;
  }
  if (remember) seen = {info.pid.generation(), info.received, info.reductions};
  candidate.info = std::move(info);
  return candidate;
}

std::vector<TopList::Candidate> TopList::scan(TopOptions options, bool remember, TopReport* report) {
  const std::size_t rows = std::min(options.rows, kRowsMax);
  // A heap whose front is the one that is the first to go.
  std::vector<Candidate> best;
  for (const otp::Pid pid : runtime_.processes()) {
    auto info = runtime_.info(pid);
    if (!info) continue;  // it has ended since
    ++report->processes;
    ++report->doing[static_cast<std::size_t>(doing_of(*info))];
    Candidate candidate = compare(std::move(*info), remember);
    switch (options.order) {
      case TopOrder::kReductions:
        candidate.key = candidate.reductions;
        break;
      case TopOrder::kMessages:
        candidate.key = candidate.received;
        break;
      case TopOrder::kMailbox:
        candidate.key = candidate.info.mailbox_length;
        break;
      case TopOrder::kBytes:
        candidate.key = candidate.info.mailbox_bytes;
        break;
      case TopOrder::kPid:
        candidate.key = ~candidate.info.pid.raw();
        break;
    }
    if (best.size() == rows) {
      if (rows == 0 || !comes_before(candidate, best.front())) continue;
      std::ranges::pop_heap(best, comes_before);
      best.pop_back();
    }
    best.push_back(std::move(candidate));
    std::ranges::push_heap(best, comes_before);
  }
  std::ranges::sort_heap(best, comes_before);
  return best;
}

TopReport TopList::report(TopOptions options) {
  const Nanoseconds now = runtime_.clock().now();
  TopReport report;
  report.os_pid = getpid();
  report.uptime = now - started_;
  report.workers = runtime_.workers();
  report.usage = usage_();
  report.total = runtime_.counters();
  if (limits_) report.limits = limits_();
  report.now = now;
  report.exits = runtime_.last_exits();
  if (report.exits.size() > kTopExits) report.exits.resize(kTopExits);
  report.order = options.order;
  if (looked_at_) {
    report.window = now - *looked_at_;
    report.since = difference(report.total, counters_);
    report.cpu_since = report.usage.cpu - cpu_;
  }
  const bool first = !looked_at_;
  const bool remember = first || report.window >= kWindowMin;
  for (Candidate& candidate : scan(options, remember, &report)) {
    TopRow row{.info = std::move(candidate.info), .name = {}, .parent = {}};
    row.reductions_per_second = report.per_second(candidate.reductions);
    row.messages_per_second = report.per_second(candidate.received);
    report.rows.push_back(std::move(row));
  }
  if (remember) {
    looked_at_ = now;
    counters_ = report.total;
    cpu_ = report.usage.cpu;
  }
  if (report.rows.empty()) return report;
  const Names names(runtime_);
  for (TopRow& row : report.rows) {
    const std::string_view name = names.first_of(row.info.pid);
    row.name = printable(name.empty() ? row.info.label : name, kNameWidthMax);
    row.parent = mention(runtime_, names, row.info.parent, kNameWidthMax);
  }
  return report;
}

}  // namespace rusm::observe
