// ExitReason: why a process ended, as data. Cheap to copy; the detail is shared and immutable.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/refcount.h"

namespace rusm::otp {

// Threads: a value.
class ExitReason {
 public:
  enum class Kind : std::uint8_t {
    kNormal,        // the body returned
    kShutdown,      // asked to stop by its supervisor or the node
    kKilled,        // ended by kill
    kNoProc,        // there was no such process
    kNoConnection,  // the connection to its node was lost
    kCrashed,       // an exception, a trap, a fault of the host
    kTimeout,       // a deadline passed
    kLimit,         // a limit was reached; crash_kind() says which: "memory", "cpu", …
    kOther,         // the process's own words; text() holds them
    kKill,          // only as a signal: the order to end, which cannot be trapped
  };

  ExitReason() = default;
  ExitReason(Kind kind) : kind_(kind) {}  // NOLINT(google-explicit-constructor): a kind is a reason
  static ExitReason crashed(std::string crash_kind, std::string text, std::string backtrace = {});
  static ExitReason limit(std::string which, std::string text, std::string backtrace = {});
  static ExitReason other(std::string text);

  Kind kind() const { return kind_; }
  bool is_normal() const { return kind_ == Kind::kNormal; }
  // For kCrashed "exception", "trap", "host"…; for kLimit the limit's name; else empty.
  std::string_view crash_kind() const { return detail_ ? std::string_view(detail_->kind) : std::string_view(); }
  std::string_view text() const { return detail_ ? std::string_view(detail_->text) : std::string_view(); }
  // One frame a line; may be empty.
  std::string_view backtrace() const { return detail_ ? std::string_view(detail_->backtrace) : std::string_view(); }

  // The same with a text and a backtrace of at most kShortBytes each.
  static constexpr std::size_t kShortBytes = 4096;
  ExitReason shortened() const;

  // "normal", "killed", "crashed (trap): unreachable", … without the backtrace.
  std::string to_string() const;
  bool operator==(const ExitReason& other) const;

 private:
  struct Detail : RefCounted {
    Detail(std::string k, std::string t, std::string b)
        : kind(std::move(k)), text(std::move(t)), backtrace(std::move(b)) {}
    const std::string kind;
    const std::string text;
    const std::string backtrace;
  };

  Kind kind_ = Kind::kNormal;
  Ref<const Detail> detail_;
};

// "normal", "shutdown", "killed", "noproc", …
std::string_view name_of(ExitReason::Kind kind) noexcept;

}  // namespace rusm::otp
