// Log: structured lines that never block the caller. A line is put into a bounded ring; one thread writes them out.
// When the ring is full the line is dropped and counted; the count is written as soon as there is room.
//
// Text:  2026-01-31T12:00:00.123Z info  serve  request failed  pid=<0.17.3> status=500 id=5f0c…
// JSON:  {"ts":"2026-01-31T12:00:00.123Z","level":"info","area":"serve","msg":"request failed","status":"500"}
//
// The ring is the bounded multi-producer queue by Dmitry Vyukov.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "base/clock.h"

namespace rusm {

enum class LogLevel : std::uint8_t { kOff, kError, kWarn, kInfo, kDebug };
enum class LogFormat : std::uint8_t { kText, kJson };

// The level called `name` ("off", "error", "warn", "info", "debug"), or false.
bool parse_log_level(std::string_view name, LogLevel* out) noexcept;

// A name and its value, behind the message of a line.
struct LogField {
  std::string_view key;
  std::string value;
};

// What is written, how, and how much of it at most.
struct LogOptions {
  LogLevel level = LogLevel::kInfo;
  LogFormat format = LogFormat::kText;
  std::uint32_t ring_lines_max = 8192;   // rounded up to a power of two
  std::uint32_t line_bytes_max = 16384;  // a longer line is cut and marked
};

// Threads: any thread, except that destruction is exclusive; it writes what is in the ring first.
class Log {
 public:
  // Takes whole lines with their newline, on the log's own thread. It may block; callers of write() do not notice.
  using Sink = std::function<void(std::string_view lines)>;

  Log(LogOptions options, const Clock& clock, Sink sink);
  // Writes to standard error.
  Log(LogOptions options, const Clock& clock);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  bool wants(LogLevel level) const noexcept { return level <= options_.level && level != LogLevel::kOff; }
  // `area` is the part of the system that speaks: "serve", "engine", "otp".
  void write(LogLevel level, std::string_view area, std::string_view message,
             std::initializer_list<LogField> fields = {}) noexcept;
  void error(std::string_view area, std::string_view message, std::initializer_list<LogField> fields = {}) noexcept {
    if (wants(LogLevel::kError)) write(LogLevel::kError, area, message, fields);
  }
  void warn(std::string_view area, std::string_view message, std::initializer_list<LogField> fields = {}) noexcept {
    if (wants(LogLevel::kWarn)) write(LogLevel::kWarn, area, message, fields);
  }
  void info(std::string_view area, std::string_view message, std::initializer_list<LogField> fields = {}) noexcept {
    if (wants(LogLevel::kInfo)) write(LogLevel::kInfo, area, message, fields);
  }
  void debug(std::string_view area, std::string_view message, std::initializer_list<LogField> fields = {}) noexcept {
    if (wants(LogLevel::kDebug)) write(LogLevel::kDebug, area, message, fields);
  }

  // Lines dropped so far because the ring was full.
  std::uint64_t dropped() const noexcept { return dropped_.load(std::memory_order_relaxed); }
  // Returns when every line written before the call has reached the sink. Blocks: not for workers.
  void flush() noexcept;

 private:
  struct Cell {
    std::atomic<std::uint64_t> turn;
    std::string line;
  };

  void run() noexcept;
  bool push(std::string&& line) noexcept;
  bool pop(std::string* line) noexcept;
  std::string format_line(LogLevel level, std::string_view area, std::string_view message,
                          std::initializer_list<LogField> fields) const;

  // Constant after construction.
  const LogOptions options_;
  const Clock& clock_;
  const Sink sink_;
  std::uint64_t mask_ = 0;
  std::unique_ptr<Cell[]> cells_;

  // Self-synchronised.
  std::atomic<std::uint64_t> head_{0};     // next place to write
  std::atomic<std::uint64_t> written_{0};  // lines that have reached the sink
  std::atomic<std::uint64_t> dropped_{0};
  std::atomic<std::uint32_t> signal_{0};
  std::atomic<bool> asleep_{false};
  std::atomic<bool> stop_{false};

  // The log's own thread only.
  std::uint64_t tail_ = 0;
  std::uint64_t dropped_reported_ = 0;
  std::thread thread_;
};

}  // namespace rusm
