// TopList: which processes do the most, as top(1) shows it.
//
// Rates are what has changed since the last look. A look goes over every process once: 0.3 µs for each, about. It
// remembers 16 bytes for each process that is alive (for each slot of the table, to be exact), and while it looks holds
// 8 more for each, and what is shown. No process is stopped and no worker is waited for.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "observe/process_text.h"
#include "observe/text.h"
#include "otp/runtime.h"

namespace rusm::observe {

enum class TopOrder : std::uint8_t { kReductions, kMessages, kMailbox, kBytes, kPid };
// "reductions", "messages", "mailbox", "bytes", "pid".
std::string_view name_of(TopOrder order) noexcept;
std::optional<TopOrder> parse_top_order(std::string_view name) noexcept;

struct TopOptions {
  TopOrder order = TopOrder::kReductions;
  std::size_t rows = 20;  // at most TopList::kRowsMax
};

// What the operating system knows of this program.
struct HostUsage {
  Nanoseconds cpu = 0;  // CPU time of all threads so far
  std::uint64_t resident_bytes = 0;
};
HostUsage host_usage() noexcept;

// Something that the program counts beside what the runtime does, such as how often a limit was met.
struct NamedCount {
  std::string name;
  std::uint64_t count = 0;
};
using CountsSource = std::function<std::vector<NamedCount>()>;

struct TopRow {
  otp::ProcessInfo info;
  std::string name;    // registered, else the label; printable
  std::string parent;  // as mention() says it
  double reductions_per_second = 0;
  double messages_per_second = 0;
};

// Threads: a value.
struct TopReport {
  std::int64_t os_pid = 0;
  Nanoseconds uptime = 0;  // since the TopList was made
  unsigned workers = 0;
  HostUsage usage;
  DoingCounts doing = {};
  std::uint64_t processes = 0;
  otp::Counters total;
  // What the rates are over; 0: this was the first look, and all rates are 0.
  Nanoseconds window = 0;
  otp::Counters since;  // within the window
  Nanoseconds cpu_since = 0;
  // How often each limit was met since the start; empty where nobody counts them.
  std::vector<NamedCount> limits;
  // The latest ends that were not normal, at most kTopExits; with the runtime's time.
  Nanoseconds now = 0;
  std::vector<otp::PastExit> exits;
  TopOrder order = TopOrder::kReductions;
  std::vector<TopRow> rows;  // the first of `order` first

  double per_second(std::uint64_t count) const noexcept {
    return window <= 0 ? 0 : static_cast<double>(count) * 1e9 / static_cast<double>(window);
  }
};

inline constexpr std::size_t kTopExits = 2;
// Lines of at most `columns` columns. The first, at most kTopHeaderLines, are sums, limits, exits and the titles.
inline constexpr std::size_t kTopHeaderLines = 6 + kTopExits;
std::string to_text(const TopReport& report, std::size_t columns = kAnyWidth);
std::string to_json(const TopReport& report);

// Threads: one at a time, and none of the runtime's workers.
class TopList {
 public:
  static constexpr std::size_t kRowsMax = 1000;
  // A report that comes sooner after the last look than this leaves that as it is, so that several who ask in turns do
  // not shorten each other's windows to nothing.
  static constexpr Nanoseconds kWindowMin = 400 * kMillisecond;

  // `runtime` outlives it.
  // `limits` is called by report(); may be empty.
  explicit TopList(otp::Runtime& runtime, std::function<HostUsage()> usage = host_usage, CountsSource limits = {});

  // A look and its report, against the last look.
  TopReport report(TopOptions options = {});
  // A look that only later ones are held against.
  void look() { (void)report({.rows = 0}); }
  // How long ago the last look was; nothing when there was none.
  std::optional<Nanoseconds> last_look() const noexcept;
  // Forgets the last look and gives its memory back.
  void forget() noexcept;

 private:
  // What was seen in one slot.
  struct Seen {
    std::uint32_t generation = 0;
    std::uint32_t received = 0;
    std::uint64_t reductions = 0;
  };
  struct Candidate {
    otp::ProcessInfo info;
    std::uint64_t reductions;  // since the last look
    std::uint32_t received;
    std::uint64_t key;  // the greater comes first; of the same, who did more
  };
  static bool comes_before(const Candidate& a, const Candidate& b) noexcept;

  Candidate compare(otp::ProcessInfo info, bool remember);
  std::vector<Candidate> scan(TopOptions options, bool remember, TopReport* report);

  otp::Runtime& runtime_;
  const std::function<HostUsage()> usage_;
  const CountsSource limits_;
  const Nanoseconds started_;

  std::optional<Nanoseconds> looked_at_;
  otp::Counters counters_;
  Nanoseconds cpu_ = 0;
  std::vector<Seen> seen_;  // by the index of the slot
};

}  // namespace rusm::observe
