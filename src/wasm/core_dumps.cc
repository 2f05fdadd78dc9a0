#include "wasm/core_dumps.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <vector>

namespace rusm::wasm {
namespace {

constexpr std::string_view kPrefix = "rusm-";
constexpr std::string_view kSuffix = ".core";
constexpr std::string_view kPartSuffix = ".core.part";
// A file that is not whole after so long never will be: whoever wrote it was killed.
constexpr std::chrono::minutes kPartAgeMax{1};
// The memory that is dumped at most, whatever the folder may hold: it is copied while others wait for the worker.
constexpr std::uint64_t kDumpBytesMax = 16 << 20;

bool write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

// A pid in a file's name: "0.1.2".
std::string plain(otp::Pid pid) {
  std::string text = pid.to_string();
  std::erase_if(text, [](char c) { return c == '<' || c == '>'; });
  return text;
}

// A component's name as a part of a file's name.
std::string plain(std::string_view name) {
  std::string text(name.substr(0, 64));
  for (char& c : text) {
    const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
    if (!good) c = '_';
  }
  return text;
}

bool is_own(const std::filesystem::path& path, std::string_view suffix) {
  const std::string name = path.filename().native();
  return name.starts_with(kPrefix) && name.ends_with(suffix);
}

void remove_old_parts(const std::filesystem::path& folder) {
  const auto until = std::filesystem::file_time_type::clock::now() - kPartAgeMax;
  std::error_code problem;
  for (std::filesystem::directory_iterator it(folder, problem), end; !problem && it != end; it.increment(problem)) {
    std::error_code gone;
    if (!is_own(it->path(), kPartSuffix) || !it->is_regular_file(gone)) continue;
    if (const auto at = it->last_write_time(gone); !gone && at < until) std::filesystem::remove(it->path(), gone);
  }
}

}  // namespace

Result<std::unique_ptr<CoreDumps>> CoreDumps::open(std::filesystem::path folder, std::uint64_t total_bytes_max,
                                                   Nanoseconds interval, Log* log) {
  std::error_code problem;
  std::filesystem::create_directories(folder, problem);
  if (problem) return fail(ErrorCode::kIo, folder.string(), "cannot be made: " + problem.message());
  if (access(folder.c_str(), W_OK | X_OK) != 0) {
    return fail(ErrorCode::kDenied, folder.string(), "core dumps cannot be written here: " + errno_text(errno));
  }
  remove_old_parts(folder);
  return std::unique_ptr<CoreDumps>(new CoreDumps(std::move(folder), total_bytes_max, interval, log));
}

CoreDumps::CoreDumps(std::filesystem::path folder, std::uint64_t total_bytes_max, Nanoseconds interval, Log* log)
    : folder_(std::move(folder)), total_bytes_max_(total_bytes_max), interval_(interval), log_(log), thread_([this] {
        run();
      }) {}

CoreDumps::~CoreDumps() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  news_.notify_all();
  thread_.join();
}

// Takes note of it if so. The caller holds mutex_.
bool CoreDumps::is_due(std::string_view component, Nanoseconds now) noexcept {
  std::erase_if(last_, [&](const auto& entry) { return now - entry.second >= interval_; });
  return last_.try_emplace(std::string(component), now).second;
}

std::string CoreDumps::keep(std::string_view component, otp::Pid pid, Nanoseconds now,
                            const std::function<bool(std::uint64_t)>& make, Buffer& dump) noexcept {
  std::uint64_t number;
  {
    const std::lock_guard lock(mutex_);
    if (promised_ >= kWaitingMax || !is_due(component, now)) return {};
    ++promised_;
    number = ++number_;
  }
  const bool made = make(std::min(total_bytes_max_, kDumpBytesMax)) && dump.bytes().size() <= total_bytes_max_;
  std::string said;
  {
    const std::lock_guard lock(mutex_);
    if (made) {
      const std::string name =
          fmt::format("{}{}.{}.{}.{}{}", kPrefix, plain(component), plain(pid), getpid(), number, kSuffix);
      said = fmt::format("; core dump: {}", (folder_ / name).string());
      waiting_.push_back({folder_ / name, std::move(dump)});
    } else {
      --promised_;
    }
  }
  news_.notify_all();
  return said;
}

void CoreDumps::flush() noexcept {
  std::unique_lock lock(mutex_);
  news_.wait(lock, [this] { return promised_ == 0; });
}

void CoreDumps::run() noexcept {
  std::unique_lock lock(mutex_);
  for (;;) {
    news_.wait(lock, [this] { return stop_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    const Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    make_room(next.dump.bytes().size());
    write(next);
    lock.lock();
    --promised_;
    news_.notify_all();
  }
}

// Under its name only when it is whole: nobody takes a part for the dump.
void CoreDumps::write(const Waiting& waiting) noexcept {
  const std::filesystem::path temporary =
      waiting.path.parent_path() / (waiting.path.stem().string() + std::string(kPartSuffix));
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  const bool written =
      fd >= 0 && write_all(fd, waiting.dump.bytes()) && rename(temporary.c_str(), waiting.path.c_str()) == 0;
  const int problem = errno;
  if (fd >= 0) close(fd);
  if (written) return;
  unlink(temporary.c_str());
  if (log_ != nullptr) {
    log_->warn("engine", "a core dump cannot be written",
               {{"file", waiting.path.string()}, {"reason", errno_text(problem)}});
  }
}

// Removes the oldest dumps until `bytes` more fit.
void CoreDumps::make_room(std::uint64_t bytes) noexcept {
  struct Old {
    std::filesystem::path path;
    std::filesystem::file_time_type at;
    std::uint64_t bytes;
  };
  std::vector<Old> olds;
  std::uint64_t total = bytes;
  std::error_code problem;
  for (std::filesystem::directory_iterator it(folder_, problem), end; !problem && it != end; it.increment(problem)) {
    std::error_code gone;
    if (!is_own(it->path(), kSuffix) || !it->is_regular_file(gone)) continue;
    Old old{it->path(), it->last_write_time(gone), it->file_size(gone)};
    if (gone) continue;
    total += old.bytes;
    olds.push_back(std::move(old));
  }
  std::ranges::sort(olds, {}, &Old::at);
  for (const Old& old : olds) {
    if (total <= total_bytes_max_) return;
    if (std::filesystem::remove(old.path, problem)) total -= old.bytes;
  }
}

}  // namespace rusm::wasm
