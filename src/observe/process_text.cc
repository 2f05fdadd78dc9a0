#include "observe/process_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "observe/text.h"

namespace rusm::observe {

Doing doing_of(const otp::ProcessInfo& info) noexcept {
  if (info.state == otp::ProcessInfo::State::kActive) return Doing::kRunning;
  switch (info.wait) {
    case otp::Wait::kMessage:
      return Doing::kMessage;
    case otp::Wait::kTime:
      return Doing::kTime;
    case otp::Wait::kAnswer:
      return Doing::kAnswer;
    case otp::Wait::kBlocking:
      return Doing::kBlocking;
    case otp::Wait::kStream:
      return Doing::kStream;
    case otp::Wait::kSocket:
      return Doing::kSocket;
    case otp::Wait::kOther:
      return Doing::kNews;
  }
  return Doing::kNews;
}

std::string_view name_of(Doing doing) noexcept {
  static constexpr std::array<std::string_view, kDoings> kNames = {"running",  "message", "time",   "answer",
                                                                   "blocking", "stream",  "socket", "news"};
  return kNames[static_cast<std::size_t>(doing)];
}

std::string text_of(const DoingCounts& counts, std::string_view separator) {
  std::string text;
  for (std::size_t i = 0; i < kDoings; ++i) {
    if (counts[i] == 0) continue;
    if (!text.empty()) text += separator;
    text += fmt::format("{} {}", count_text(counts[i]), name_of(static_cast<Doing>(i)));
  }
  return text.empty() ? "none" : text;
}

Names::Names(const otp::Runtime& runtime) {
  for (auto& [name, pid] : runtime.names()) names_.emplace_back(pid, std::move(name));
  std::ranges::sort(names_);
}

std::string_view Names::first_of(otp::Pid pid) const noexcept {
  const auto it = std::ranges::lower_bound(names_, pid, {}, &std::pair<otp::Pid, std::string>::first);
  return it == names_.end() || it->first != pid ? std::string_view() : std::string_view(it->second);
}

std::vector<std::string> Names::all_of(otp::Pid pid) const {
  std::vector<std::string> names;
  const auto found = std::ranges::equal_range(names_, pid, {}, &std::pair<otp::Pid, std::string>::first);
  for (const auto& [owner, name] : found) names.push_back(name);
  return names;
}

std::string mention(const otp::Runtime& runtime, const Names& names, otp::Pid pid, std::size_t width_max) {
  if (!pid) return {};
  if (const std::string_view name = names.first_of(pid); !name.empty()) return printable(name, width_max);
  const auto info = runtime.info(pid);
  if (info && !info->label.empty()) return printable(info->label, width_max);
  return printable(pid.to_string() + (info || pid.node() != runtime.node() ? "" : " (ended)"), width_max);
}

}  // namespace rusm::observe
