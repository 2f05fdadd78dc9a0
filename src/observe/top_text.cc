// How a TopReport is written.
#include <fmt/format.h>

#include <algorithm>

#include "observe/json_writer.h"
#include "observe/top_list.h"

namespace rusm::observe {
namespace {

struct Column {
  std::string_view title;
  Align align;
};

constexpr std::size_t kName = 1;
constexpr std::size_t kParent = 7;
constexpr std::array<Column, 8> kColumns = {{{"PID", Align::kLeft},
                                             {"NAME", Align::kLeft},
                                             {"STATE", Align::kLeft},
                                             {"MAILBOX", Align::kRight},
                                             {"BYTES", Align::kRight},
                                             {"RED/S", Align::kRight},
                                             {"MSG/S", Align::kRight},
                                             {"PARENT", Align::kLeft}}};
using Cells = std::array<std::string, kColumns.size()>;
constexpr std::size_t kNarrowest = 8;  // of NAME and PARENT

Cells cells_of(const TopRow& row, bool has_rates) {
  return {row.info.pid.to_string(),
          row.name.empty() ? "-" : row.name,
          std::string(name_of(doing_of(row.info))),
          count_text(row.info.mailbox_length),
          count_text(row.info.mailbox_bytes),
          has_rates ? rate_text(row.reductions_per_second) : "-",
          has_rates ? rate_text(row.messages_per_second) : "-",
          row.parent};
}

// Narrows NAME and PARENT until a line fits.
void fit(std::array<std::size_t, kColumns.size()>* widths, std::size_t columns) {
  std::size_t line = kColumns.size() - 1;
  for (const std::size_t width : *widths) line += width;
  for (const std::size_t flexible : {kParent, kName}) {
    if (line <= columns) return;
    std::size_t& width = (*widths)[flexible];
    const std::size_t narrower = std::max(kNarrowest, width - std::min(width, line - columns));
    line -= width - std::min(width, narrower);
    width = std::min(width, narrower);
  }
}

std::string line_of(const Cells& cells, const std::array<std::size_t, kColumns.size()>& widths, std::size_t columns) {
  std::string line;
  for (std::size_t i = 0; i < kColumns.size(); ++i) {
    if (i != 0) line += ' ';
    line += padded(printable(cells[i], widths[i]), widths[i], kColumns[i].align);
  }
  line.erase(line.find_last_not_of(' ') + 1);
  return printable(line, columns) + '\n';
}

constexpr std::size_t kLabelWidthMax = 32;
constexpr std::size_t kReasonWidthMax = 200;

// The most frequent first; "none" if no limit was met.
std::string limits_text(std::vector<NamedCount> limits) {
  std::erase_if(limits, [](const NamedCount& limit) { return limit.count == 0; });
  std::ranges::sort(limits, [](const NamedCount& a, const NamedCount& b) {
    return a.count != b.count ? a.count > b.count : a.name < b.name;
  });
  std::string text;
  for (const NamedCount& limit : limits) {
    text += fmt::format("{}{} {}", text.empty() ? "" : "  ", printable(limit.name, kLabelWidthMax),
                        count_text(limit.count));
  }
  return text.empty() ? "none" : text;
}

// With the innermost frame, which says where.
std::string exit_text(const otp::PastExit& exit, Nanoseconds now) {
  const std::string_view backtrace = exit.reason.backtrace();
  std::string_view frame = backtrace.substr(0, backtrace.find('\n'));
  frame.remove_prefix(std::min(frame.find_first_not_of(' '), frame.size()));
  const std::string label = printable(exit.label, kLabelWidthMax);
  return fmt::format("ended {} ago: {}{}{}  {}{}{}", span_text(now - exit.at), exit.pid.to_string(),
                     label.empty() ? "" : " ", label, printable(exit.reason.to_string(), kReasonWidthMax),
                     frame.empty() ? "" : "  ", printable(frame, kReasonWidthMax));
}

std::string header_of(const TopReport& report, std::size_t columns) {
  const otp::Counters& since = report.since;
  const auto rate = [&](std::uint64_t count) { return rate_text(report.per_second(count)); };
  const std::string cpu =
      report.window <= 0 ? "-" : fmt::format("{:.0f}%", 100 * report.per_second(report.cpu_since) / 1e9);
  std::string text;
  const auto line = [&](const std::string& l) { text += printable(l, columns) + '\n'; };
  line(fmt::format("node {}  up {}  {} worker{}  cpu {}  memory {}", report.os_pid, span_text(report.uptime),
                   report.workers, report.workers == 1 ? "" : "s", cpu, size_text(report.usage.resident_bytes)));
  line(fmt::format("processes {}: {}", count_text(report.processes), text_of(report.doing)));
  if (report.window <= 0) {
    line("per second: nothing to compare with yet");
  } else {
    line(fmt::format("per second, over {}: spawns {}  exits {}  crashes {}  messages {}  steps {}  sheds {}",
                     span_text(report.window), rate(since.spawns), rate(since.exits), rate(since.crashes),
                     rate(since.sends), rate(since.steps), rate(since.sheds)));
  }
  line(fmt::format("since the start: spawns {}  crashes {}  messages {}  sheds {}  long steps {}",
                   count_text(report.total.spawns), count_text(report.total.crashes), count_text(report.total.sends),
                   count_text(report.total.sheds), count_text(report.total.long_steps)));
  if (!report.limits.empty()) line("limits met: " + limits_text(report.limits));
  for (const otp::PastExit& exit : report.exits) line(exit_text(exit, report.now));
  return text;
}

void write_counters(const otp::Counters& counters, JsonWriter* json) {
  json->open('{')
      .field("spawns", counters.spawns)
      .field("exits", counters.exits)
      .field("crashes", counters.crashes)
      .field("messages", counters.sends)
      .field("sheds", counters.sheds)
      .field("steps", counters.steps)
      .field("long_steps", counters.long_steps)
      .close('}');
}

}  // namespace

std::string to_text(const TopReport& report, std::size_t columns) {
  std::array<std::size_t, kColumns.size()> widths;
  Cells titles;
  for (std::size_t i = 0; i < kColumns.size(); ++i) {
    titles[i] = kColumns[i].title;
    widths[i] = titles[i].size();
  }
  std::vector<Cells> rows;
  for (const TopRow& row : report.rows) {
    rows.push_back(cells_of(row, report.window > 0));
    for (std::size_t i = 0; i < kColumns.size(); ++i) widths[i] = std::max(widths[i], width_of(rows.back()[i]));
  }
  fit(&widths, columns);
  std::string text = header_of(report, columns) + line_of(titles, widths, columns);
  for (const Cells& cells : rows) text += line_of(cells, widths, columns);
  return text;
}

std::string to_json(const TopReport& report) {
  JsonWriter json;
  json.open('{')
      .field("node", report.os_pid)
      .field("uptime_s", static_cast<double>(report.uptime) / 1e9)
      .field("workers", report.workers)
      .field("cpu_s", static_cast<double>(report.usage.cpu) / 1e9)
      .field("resident_bytes", report.usage.resident_bytes)
      .field("processes", report.processes);
  json.key("states").open('{');
  for (std::size_t i = 0; i < kDoings; ++i) json.field(name_of(static_cast<Doing>(i)), report.doing[i]);
  json.close('}').key("total");
  write_counters(report.total, &json);
  json.field("window_s", static_cast<double>(report.window) / 1e9)
      .field("window_cpu_s", static_cast<double>(report.cpu_since) / 1e9)
      .key("window");
  write_counters(report.since, &json);
  json.key("limits").open('{');
  for (const NamedCount& limit : report.limits) json.field(limit.name, limit.count);
  json.close('}').key("exits").open('[');
  for (const otp::PastExit& exit : report.exits) {
    json.open('{')
        .field("pid", exit.pid.to_string())
        .field("label", exit.label)
        .field("ago_s", static_cast<double>(report.now - exit.at) / 1e9)
        .field("reason", exit.reason.to_string())
        .close('}');
  }
  json.close(']').field("sort", name_of(report.order)).key("top").open('[');
  for (const TopRow& row : report.rows) {
    json.open('{')
        .field("pid", row.info.pid.to_string())
        .field("name", row.name)
        .field("label", row.info.label)
        .field("state", name_of(doing_of(row.info)))
        .field("mailbox", row.info.mailbox_length)
        .field("mailbox_bytes", row.info.mailbox_bytes)
        .field("reductions", row.info.reductions)
        .field("reductions_per_s", row.reductions_per_second)
        .field("messages_per_s", row.messages_per_second)
        .field("parent", row.info.parent ? row.info.parent.to_string() : "")
        .field("parent_name", row.parent)
        .close('}');
  }
  json.close(']').close('}');
  return std::move(json).take() + '\n';
}

}  // namespace rusm::observe
