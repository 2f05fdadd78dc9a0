// CoreDumps: what crashed guests leave behind, as files that the tools for WebAssembly's core dumps read.
//
//   FOLDER/rusm-NAME.PID.NODE.NUMBER.core    PID as 0.1.2, NODE the system's process; mode 0600, for a dump holds
//                                            whatever the guest had in its memory
//
// A dump is made where the guest ran, while others wait for that worker: so of small memories only, and of each
// component one in a while. A thread of its own writes them; a few wait in line, and when that is full a crash leaves
// none, so that a storm of crashes costs little. Before one is written the oldest go until all together stay within
// their limit; other files in the folder are left alone.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "otp/pid.h"
#include "wasm/bridge.h"

namespace rusm::wasm {

// Threads: any thread.
class CoreDumps {
 public:
  // Makes the folder when it is missing. Errors: kIo, kDenied when it cannot be used.
  // `interval` lies at least between two dumps of one component.
  static Result<std::unique_ptr<CoreDumps>> open(std::filesystem::path folder, std::uint64_t total_bytes_max,
                                                 Nanoseconds interval, Log* log = nullptr);
  // Writes what waits in line.
  ~CoreDumps();
  CoreDumps(const CoreDumps&) = delete;
  CoreDumps& operator=(const CoreDumps&) = delete;

  // If there is room in line and the component's last dump lies back far enough, has `make` fill `dump` (false: there
  // is nothing to dump) and takes it over. Returns what the exit reason says of it: "; core dump: PATH", why there is
  // none, or nothing.
  std::string keep(std::string_view component, otp::Pid pid, Nanoseconds now,
                   const std::function<bool(std::uint64_t)>& make, Buffer& dump) noexcept;
  // Returns once all that was kept so far is on disk, or was given up.
  void flush() noexcept;

 private:
  struct Waiting {
    std::filesystem::path path;
    Buffer dump;
  };
  static constexpr std::size_t kWaitingMax = 4;

  CoreDumps(std::filesystem::path folder, std::uint64_t total_bytes_max, Nanoseconds interval, Log* log);
  bool is_due(std::string_view component, Nanoseconds now) noexcept;
  void run() noexcept;
  void write(const Waiting& waiting) noexcept;
  void make_room(std::uint64_t bytes) noexcept;

  const std::filesystem::path folder_;
  const std::uint64_t total_bytes_max_;
  const Nanoseconds interval_;
  Log* const log_;

  std::mutex mutex_;
  std::condition_variable news_;
  std::deque<Waiting> waiting_;  // guarded by mutex_
  std::size_t promised_ = 0;     // guarded by mutex_: places taken, those being made or written included
  std::uint64_t number_ = 0;     // guarded by mutex_
  std::map<std::string, Nanoseconds, std::less<>> last_;  // guarded by mutex_: younger than the interval
  bool stop_ = false;                                     // guarded by mutex_
  std::thread thread_;
};

}  // namespace rusm::wasm
