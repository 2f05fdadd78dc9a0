// CoreDumps: what crashed guests leave behind, as files that the tools for WebAssembly's core dumps read.
//
//   FOLDER/NAME.PID.NUMBER.core      PID as 0.1.2; mode 0600, for a dump holds whatever the guest had in its memory
//
// A thread of its own writes them; a few wait in line, and when that is full a crash leaves none, so that a storm of
// crashes costs little. Before one is written the oldest go until all together stay within their limit.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "otp/pid.h"
#include "wasm/bridge.h"

namespace rusm::wasm {

// Threads: any thread.
class CoreDumps {
 public:
  // Makes the folder when it is missing. Errors: kIo, kDenied when it cannot be used.
  static Result<std::unique_ptr<CoreDumps>> open(std::filesystem::path folder, std::uint64_t total_bytes_max,
                                                 Log* log = nullptr);
  // Writes what waits in line.
  ~CoreDumps();
  CoreDumps(const CoreDumps&) = delete;
  CoreDumps& operator=(const CoreDumps&) = delete;

  // If there is room in line, has `make` fill `dump` (false: there is nothing to dump) and takes it over. Returns what
  // the exit reason says of it: "; core dump: PATH", why there is none, or nothing.
  std::string keep(std::string_view component, otp::Pid pid, const std::function<bool(std::uint64_t)>& make,
                   Buffer& dump) noexcept;
  // Returns once all that was kept so far is on disk, or was given up.
  void flush() noexcept;

 private:
  struct Waiting {
    std::filesystem::path path;
    Buffer dump;
  };
  static constexpr std::size_t kWaitingMax = 4;

  CoreDumps(std::filesystem::path folder, std::uint64_t total_bytes_max, Log* log);
  void run() noexcept;
  void write(const Waiting& waiting) noexcept;
  void make_room(std::uint64_t bytes) noexcept;

  const std::filesystem::path folder_;
  const std::uint64_t total_bytes_max_;
  Log* const log_;

  std::mutex mutex_;
  std::condition_variable news_;
  std::deque<Waiting> waiting_;  // guarded by mutex_
  std::size_t promised_ = 0;     // guarded by mutex_: places taken, those being made or written included
  std::uint64_t number_ = 0;     // guarded by mutex_
  bool stop_ = false;            // guarded by mutex_
  std::thread thread_;
};

}  // namespace rusm::wasm
