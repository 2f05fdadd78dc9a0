// What is known of one process, and how the last ones ended.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "observe/process_text.h"
#include "observe/text.h"
#include "otp/runtime.h"

namespace rusm::observe {

struct ExitsOptions {
  std::size_t rows = 20;            // at most kExitRowsMax
  std::size_t backtrace_lines = 5;  // of each, at most kBacktraceLinesMax
};
inline constexpr std::size_t kExitRowsMax = 1000;
inline constexpr std::size_t kBacktraceLinesMax = 50;

// The last exits that were not `normal`. Threads: a value.
struct Exits {
  Nanoseconds now = 0;
  std::uint64_t crashes = 0;  // since the start
  std::uint64_t known = 0;    // the runtime keeps the last few hundred
  std::vector<otp::PastExit> rows;
  std::size_t backtrace_lines = 0;
};

Exits look_at_exits(const otp::Runtime& runtime, ExitsOptions options = {});
std::string to_text(const Exits& exits, std::size_t columns = kAnyWidth);
std::string to_json(const Exits& exits);

// Everything about one process. Threads: a value.
struct ProcessReport {
  otp::ProcessInfo info;
  std::vector<std::string> names;
  std::vector<std::string> groups;
  // From its parent upwards, as mention() says it; at most kAncestorsMax.
  std::vector<std::string> ancestors;
  std::uint64_t children = 0;
  // How many there are of each label, the most first; at most kKindsMax of them.
  std::vector<std::pair<std::string, std::uint64_t>> kinds;
};
inline constexpr std::size_t kAncestorsMax = 32;
inline constexpr std::size_t kKindsMax = 10;

// `who`: a registered name, or a pid as "<0.1.2>" or "0.1.2". Looks at every process once, for its children.
// Errors: kNotFound, and how it ended, if that is still known.
Result<ProcessReport> look_at_process(otp::Runtime& runtime, std::string_view who);
Result<ProcessReport> look_at_process(otp::Runtime& runtime, otp::Pid pid);
std::string to_text(const ProcessReport& report, std::size_t columns = kAnyWidth);
std::string to_json(const ProcessReport& report);

}  // namespace rusm::observe
