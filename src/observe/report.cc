#include "observe/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "observe/json_writer.h"

namespace rusm::observe {
namespace {

constexpr std::size_t kMentionWidthMax = 64;
constexpr std::size_t kReasonWidthMax = 1000;
// Of a label that is compared or counted.
constexpr std::size_t kLabelWidthMax = 64;

std::string joined(const std::vector<std::string>& texts, std::string_view separator) {
  std::string all;
  for (const std::string& text : texts) {
    if (!all.empty()) all += separator;
    all += printable(text, kMentionWidthMax);
  }
  return all;
}

// The lines of `text` that are not empty.
std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (end != 0) lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

void count_children(const otp::Runtime& runtime, otp::Pid parent, ProcessReport* report) {
  constexpr std::size_t kCountedMax = 10'000;  // labels; those of later children count as others
  std::unordered_map<std::string, std::uint64_t> counts;
  for (const otp::Pid pid : runtime.processes()) {
    const auto info = runtime.info(pid);
    if (!info || info->parent != parent) continue;
    ++report->children;
    std::string label = printable(info->label, kLabelWidthMax);
    if (counts.size() < kCountedMax || counts.contains(label)) ++counts[std::move(label)];
  }
  report->kinds.assign(counts.begin(), counts.end());
  const std::size_t kept = std::min(kKindsMax, report->kinds.size());
  std::ranges::partial_sort(
      report->kinds, report->kinds.begin() + static_cast<std::ptrdiff_t>(kept),
      [](const auto& a, const auto& b) { return a.second != b.second ? a.second > b.second : a.first < b.first; });
  report->kinds.resize(kept);
}

std::string state_text(const otp::ProcessInfo& info) {
  const Doing doing = doing_of(info);
  if (doing == Doing::kRunning) return "running, or ready to run";
  return fmt::format(
      "waits for {}{}", name_of(doing),
      info.state == otp::ProcessInfo::State::kWaitingForSignals ? " (messages stay in the mailbox)" : "");
}

std::unexpected<Error> not_alive(const otp::Runtime& runtime, otp::Pid pid) {
  for (const otp::PastExit& exit : runtime.last_exits()) {
    if (exit.pid != pid) continue;
    return fail(ErrorCode::kNotFound, pid.to_string(),
                fmt::format("it ended {} ago: {}", span_text(runtime.clock().now() - exit.at),
                            printable(exit.reason.to_string(), kReasonWidthMax)));
  }
  return fail(ErrorCode::kNotFound, pid.to_string(), "there is no such process; it has ended, or never was");
}

}  // namespace

Exits look_at_exits(const otp::Runtime& runtime, ExitsOptions options) {
  Exits exits{.now = runtime.clock().now(), .crashes = runtime.counters().crashes, .rows = runtime.last_exits()};
  exits.known = exits.rows.size();
  exits.rows.resize(std::min({exits.rows.size(), options.rows, kExitRowsMax}));
  exits.backtrace_lines = std::min(options.backtrace_lines, kBacktraceLinesMax);
  return exits;
}

std::string to_text(const Exits& exits, std::size_t columns) {
  if (exits.rows.empty()) return printable("no process has ended other than normally", columns) + '\n';
  std::string text =
      printable(fmt::format("{} of the last {} exits that were not normal; {} crash{} since the start",
                            exits.rows.size(), exits.known, count_text(exits.crashes), exits.crashes == 1 ? "" : "es"),
                columns) +
      '\n';
  std::size_t pid_width = 3;
  std::size_t label_width = 5;
  for (const otp::PastExit& exit : exits.rows) {
    pid_width = std::max(pid_width, exit.pid.to_string().size());
    label_width = std::max(label_width, width_of(printable(exit.label, kLabelWidthMax / 2)));
  }
  const auto line = [&](const std::string& age, std::string pid, std::string label, const std::string& reason) {
    const std::string start = padded(age, 7, Align::kRight) + ' ' + padded(std::move(pid), pid_width, Align::kLeft) +
                              ' ' + padded(std::move(label), label_width, Align::kLeft) + ' ';
    text += printable(start + reason, columns) + '\n';
  };
  line("AGO", "PID", "LABEL", "REASON");
  for (const otp::PastExit& exit : exits.rows) {
    line(span_text(exits.now - exit.at), exit.pid.to_string(), printable(exit.label, kLabelWidthMax / 2),
         printable(exit.reason.to_string(), kReasonWidthMax));
    const std::vector<std::string_view> frames = lines_of(exit.reason.backtrace());
    const std::size_t shown = std::min(frames.size(), exits.backtrace_lines);
    for (std::size_t i = 0; i < shown; ++i) {
      text += printable("          " + printable(frames[i], kReasonWidthMax), columns) + '\n';
    }
    if (shown < frames.size())
      text += printable(fmt::format("          … {} more lines", frames.size() - shown), columns) + '\n';
  }
  return text;
}

std::string to_json(const Exits& exits) {
  JsonWriter json;
  json.open('{').field("crashes", exits.crashes).field("known", exits.known).key("exits").open('[');
  for (const otp::PastExit& exit : exits.rows) {
    json.open('{')
        .field("pid", exit.pid.to_string())
        .field("label", exit.label)
        .field("ago_s", static_cast<double>(exits.now - exit.at) / 1e9)
        .field("kind", name_of(exit.reason.kind()))
        .field("reason", exit.reason.to_string())
        .key("backtrace")
        .open('[');
    const std::vector<std::string_view> frames = lines_of(exit.reason.backtrace());
    for (std::size_t i = 0; i < std::min(frames.size(), exits.backtrace_lines); ++i) json.value(frames[i]);
    json.close(']').close('}');
  }
  json.close(']').close('}');
  return std::move(json).take() + '\n';
}

Result<ProcessReport> look_at_process(otp::Runtime& runtime, std::string_view who) {
  if (otp::Registry::is_valid(who)) {
    if (const otp::Pid pid = runtime.whereis(who)) return look_at_process(runtime, pid);
  }
  std::optional<otp::Pid> pid = otp::Pid::parse(who);
  if (!pid) pid = otp::Pid::parse(fmt::format("<{}>", who));
  if (pid) return look_at_process(runtime, *pid);
  return fail(ErrorCode::kNotFound, printable(who, kMentionWidthMax),
              "no process has this name; a pid is written as <0.1.2> or 0.1.2");
}

Result<ProcessReport> look_at_process(otp::Runtime& runtime, otp::Pid pid) {
  auto info = runtime.info(pid);
  if (!info) return not_alive(runtime, pid);
  ProcessReport report{.info = std::move(*info), .names = {}, .groups = {}, .ancestors = {}, .kinds = {}};
  const Names names(runtime);
  report.names = names.all_of(pid);
  for (const std::string& group : runtime.groups()) {
    if (runtime.is_member(group, pid)) report.groups.push_back(group);
  }
  std::ranges::sort(report.groups);
  for (otp::Pid above = report.info.parent; above && report.ancestors.size() < kAncestorsMax;) {
    report.ancestors.push_back(mention(runtime, names, above, kMentionWidthMax));
    const auto next = runtime.info(above);
    if (!next || next->parent == pid || next->parent == above) break;
    above = next->parent;
  }
  count_children(runtime, pid, &report);
  return report;
}

std::string to_text(const ProcessReport& report, std::size_t columns) {
  const otp::ProcessInfo& info = report.info;
  std::string text;
  const auto line = [&](std::string_view key, const std::string& value) {
    if (!value.empty()) text += printable(fmt::format("{:<12}{}", key, value), columns) + '\n';
  };
  line("pid", info.pid.to_string());
  line("names", joined(report.names, ", "));
  line("label", printable(info.label, kReasonWidthMax));
  line("state", state_text(info));
  line("mailbox", fmt::format("{} message{}, {}", count_text(info.mailbox_length), info.mailbox_length == 1 ? "" : "s",
                              size_text(info.mailbox_bytes)));
  line("received", fmt::format("{} message{}", count_text(info.received), info.received == 1 ? "" : "s"));
  line("reductions", count_text(info.reductions));
  line("groups", joined(report.groups, ", "));
  line("under", joined(report.ancestors, " ← "));
  if (info.awaited) line("start", "its supervisor waits, or waited, until it said that it is ready");
  std::string kinds;
  std::uint64_t others = report.children;
  for (const auto& [label, count] : report.kinds) {
    kinds +=
        fmt::format("{}{} {}", kinds.empty() ? ": " : ", ", count_text(count), label.empty() ? "without label" : label);
    others -= count;
  }
  if (others != 0) kinds += fmt::format(", {} others", count_text(others));
  if (report.children != 0) line("children", count_text(report.children) + kinds);
  return text;
}

std::string to_json(const ProcessReport& report) {
  const otp::ProcessInfo& info = report.info;
  JsonWriter json;
  json.open('{').field("pid", info.pid.to_string()).key("names").open('[');
  for (const std::string& name : report.names) json.value(name);
  json.close(']')
      .field("label", info.label)
      .field("state", name_of(doing_of(info)))
      .field("signals_only", info.state == otp::ProcessInfo::State::kWaitingForSignals)
      .field("mailbox", info.mailbox_length)
      .field("mailbox_bytes", info.mailbox_bytes)
      .field("received", info.received)
      .field("reductions", info.reductions)
      .field("parent", info.parent ? info.parent.to_string() : "")
      .field("awaited", info.awaited)
      .key("groups")
      .open('[');
  for (const std::string& group : report.groups) json.value(group);
  json.close(']').key("under").open('[');
  for (const std::string& above : report.ancestors) json.value(above);
  json.close(']').field("children", report.children).key("children_by_label").open('[');
  for (const auto& [label, count] : report.kinds) {
    json.open('{').field("label", label).field("count", count).close('}');
  }
  json.close(']').close('}');
  return std::move(json).take() + '\n';
}

}  // namespace rusm::observe
