#include "base/log.h"

#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <bit>

namespace rusm {
namespace {

constexpr std::array<std::string_view, 5> kLevelNames = {"off", "error", "warn", "info", "debug"};

std::string_view name_of(LogLevel level) noexcept {
  return kLevelNames[static_cast<std::size_t>(level)];
}

void append_timestamp(std::string* out, Nanoseconds wall) {
  const time_t seconds = wall / kSecond;
  tm parts{};
  gmtime_r(&seconds, &parts);
  fmt::format_to(std::back_inserter(*out), "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", parts.tm_year + 1900,
                 parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                 wall % kSecond / kMillisecond);
}

// Control characters become escapes, so that a guest's text cannot forge a line of the log.
void append_escaped(std::string* out, std::string_view text, bool quote) {
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (quote && (c == '"' || c == '\\')) {
      *out += '\\';
      *out += c;
    } else if (c == '\n') {
      *out += "\\n";
    } else if (u < 0x20 || u == 0x7f) {
      fmt::format_to(std::back_inserter(*out), "\\u{:04x}", u);
    } else {
      *out += c;
    }
  }
}

void append_value(std::string* out, std::string_view value) {
  const bool plain = !value.empty() && value.find_first_of(" \"\\=\n\t") == std::string_view::npos;
  if (!plain) *out += '"';
  append_escaped(out, value, !plain);
  if (!plain) *out += '"';
}

void append_json(std::string* out, std::string_view key, std::string_view value) {
  *out += '"';
  append_escaped(out, key, true);
  *out += "\":\"";
  append_escaped(out, value, true);
  *out += '"';
}

void write_all(std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    const ssize_t n = ::write(STDERR_FILENO, bytes.data(), bytes.size());
    if (n < 0 && errno != EINTR) return;
    if (n > 0) bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

}  // namespace

bool parse_log_level(std::string_view name, LogLevel* out) noexcept {
  for (std::size_t i = 0; i < kLevelNames.size(); ++i) {
    if (kLevelNames[i] == name) {
      *out = static_cast<LogLevel>(i);
      return true;
    }
  }
  return false;
}

Log::Log(LogOptions options, const Clock& clock) : Log(options, clock, write_all) {}

Log::Log(LogOptions options, const Clock& clock, Sink sink) : options_(options), clock_(clock), sink_(std::move(sink)) {
  const std::uint64_t lines = std::bit_ceil<std::uint64_t>(options.ring_lines_max < 2 ? 2 : options.ring_lines_max);
  mask_ = lines - 1;
  cells_ = std::make_unique<Cell[]>(lines);
  for (std::uint64_t i = 0; i < lines; ++i) cells_[i].turn.store(i, std::memory_order_relaxed);
  thread_ = std::thread([this] { run(); });
}

Log::~Log() {
  stop_.store(true);
  signal_.fetch_add(1);
  signal_.notify_all();
  thread_.join();
}

std::string Log::format_line(LogLevel level, std::string_view area, std::string_view message,
                             std::initializer_list<LogField> fields) const {
  std::string line;
  line.reserve(160);
  if (options_.format == LogFormat::kJson) {
    line += "{\"ts\":\"";
    append_timestamp(&line, clock_.wall());
    line += "\",";
    append_json(&line, "level", name_of(level));
    line += ',';
    append_json(&line, "area", area);
    line += ',';
    append_json(&line, "msg", message);
    for (const LogField& field : fields) {
      line += ',';
      append_json(&line, field.key, field.value);
    }
    line += '}';
  } else {
    append_timestamp(&line, clock_.wall());
    fmt::format_to(std::back_inserter(line), " {:<5} {:<7} ", name_of(level), area);
    append_escaped(&line, message, false);
    for (const LogField& field : fields) {
      line += ' ';
      line += field.key;
      line += '=';
      append_value(&line, field.value);
    }
  }
  if (line.size() > options_.line_bytes_max) {
    line.resize(options_.line_bytes_max);
    line += "… (cut)";
  }
  line += '\n';
  return line;
}

void Log::write(LogLevel level, std::string_view area, std::string_view message,
                std::initializer_list<LogField> fields) noexcept try {
  if (!wants(level)) return;
  if (!push(format_line(level, area, message, fields))) {
    dropped_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  // Partner: run(), which sets asleep_ and then looks at the ring once more.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (asleep_.load(std::memory_order_relaxed)) {
    signal_.fetch_add(1, std::memory_order_release);
    signal_.notify_one();
  }
} catch (...) {
  dropped_.fetch_add(1, std::memory_order_relaxed);  // out of memory while formatting
}

bool Log::push(std::string&& line) noexcept {
  std::uint64_t at = head_.load(std::memory_order_relaxed);
  for (;;) {
    Cell& cell = cells_[at & mask_];
    const std::uint64_t turn = cell.turn.load(std::memory_order_acquire);  // partner: the release stores below, pop()
    if (turn == at) {
      if (head_.compare_exchange_weak(at, at + 1, std::memory_order_relaxed)) {
        cell.line = std::move(line);
        cell.turn.store(at + 1, std::memory_order_release);
        return true;
      }
    } else if (turn < at) {
      return false;
    } else {
      at = head_.load(std::memory_order_relaxed);
    }
  }
}

bool Log::pop(std::string* line) noexcept {
  Cell& cell = cells_[tail_ & mask_];
  if (cell.turn.load(std::memory_order_acquire) != tail_ + 1) return false;
  *line = std::move(cell.line);
  cell.line = std::string();
  cell.turn.store(tail_ + mask_ + 1, std::memory_order_release);
  ++tail_;
  return true;
}

void Log::run() noexcept {
  std::string line;
  for (;;) {
    const std::uint32_t seen = signal_.load(std::memory_order_acquire);
    while (pop(&line)) {
      sink_(line);
      written_.store(tail_, std::memory_order_release);
      written_.notify_all();
    }
    const std::uint64_t dropped = dropped_.load(std::memory_order_relaxed);
    if (dropped != dropped_reported_) {
      sink_(format_line(LogLevel::kWarn, "log", "lines dropped because the log could not keep up",
                        {{"lines", std::to_string(dropped - dropped_reported_)}}));
      dropped_reported_ = dropped;
    }
    if (stop_.load(std::memory_order_acquire)) {
      if (head_.load(std::memory_order_acquire) == tail_) return;
      continue;
    }
    asleep_.store(true, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (cells_[tail_ & mask_].turn.load(std::memory_order_acquire) != tail_ + 1) signal_.wait(seen);
    asleep_.store(false, std::memory_order_relaxed);
  }
}

void Log::flush() noexcept {
  const std::uint64_t wanted = head_.load(std::memory_order_acquire);
  for (;;) {
    const std::uint64_t seen = written_.load(std::memory_order_acquire);
    if (seen >= wanted) return;
    written_.wait(seen);
  }
}

}  // namespace rusm
