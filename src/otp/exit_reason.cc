#include "otp/exit_reason.h"

namespace rusm::otp {

ExitReason ExitReason::crashed(std::string crash_kind, std::string text, std::string backtrace) {
  ExitReason reason(Kind::kCrashed);
  reason.detail_ = make_ref<const Detail>(std::move(crash_kind), std::move(text), std::move(backtrace));
  return reason;
}

ExitReason ExitReason::limit(std::string which, std::string text, std::string backtrace) {
  ExitReason reason(Kind::kLimit);
  reason.detail_ = make_ref<const Detail>(std::move(which), std::move(text), std::move(backtrace));
  return reason;
}

ExitReason ExitReason::other(std::string text) {
  ExitReason reason(Kind::kOther);
  reason.detail_ = make_ref<const Detail>(std::string(), std::move(text), std::string());
  return reason;
}

ExitReason ExitReason::shortened() const {
  if (text().size() <= kShortBytes && backtrace().size() <= kShortBytes && crash_kind().size() <= kShortBytes) {
    return *this;
  }
  ExitReason reason(kind_);
  reason.detail_ = make_ref<const Detail>(std::string(crash_kind().substr(0, kShortBytes)),
                                          std::string(text().substr(0, kShortBytes)),
                                          std::string(backtrace().substr(0, kShortBytes)));
  return reason;
}

std::string ExitReason::to_string() const {
  if (kind_ == Kind::kOther) return std::string(text());
  std::string out(name_of(kind_));
  if (!detail_) return out;
  out.append(" (").append(crash_kind()).append("): ").append(text());
  return out;
}

bool ExitReason::operator==(const ExitReason& other) const {
  return kind_ == other.kind_ && crash_kind() == other.crash_kind() && text() == other.text();
}

std::string_view name_of(ExitReason::Kind kind) noexcept {
  switch (kind) {
    case ExitReason::Kind::kNormal:
      return "normal";
    case ExitReason::Kind::kShutdown:
      return "shutdown";
    case ExitReason::Kind::kKilled:
      return "killed";
    case ExitReason::Kind::kNoProc:
      return "noproc";
    case ExitReason::Kind::kNoConnection:
      return "noconnection";
    case ExitReason::Kind::kCrashed:
      return "crashed";
    case ExitReason::Kind::kTimeout:
      return "timeout";
    case ExitReason::Kind::kLimit:
      return "limit";
    case ExitReason::Kind::kOther:
      return "other";
    case ExitReason::Kind::kKill:
      return "kill";
  }
  return "unknown";
}

}  // namespace rusm::otp
