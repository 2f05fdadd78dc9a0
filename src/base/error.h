// Error: an operating error as a value that a user can act on. Functions return std::expected<T, Error>.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace rusm {

enum class ErrorCode : std::uint8_t {
  kInvalid,      // input that can never be accepted
  kNotFound,     // a file, a name or a process that is not there
  kExists,       // a name, a port or a file that is taken
  kDenied,       // a capability or a permission is missing
  kLimit,        // a named limit was reached; trying later can help
  kUnavailable,  // the system is out of something, or shutting down
  kTimeout,      // a deadline passed
  kCorrupt,      // data fails its check
  kIo,           // the operating system reported a failure
  kInternal,     // a defect of ours that was contained
};

// "invalid", "not_found", … as they stand in logs.
std::string_view name_of(ErrorCode code) noexcept;

// Threads: a value.
struct [[nodiscard]] Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string where;  // file:line, key, address or name that the text speaks of; may be empty
  std::string text;   // what happened and what to do, a sentence without a final full stop

  // "where: text".
  std::string to_string() const;
};

template <class T = void>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(ErrorCode code, std::string where, std::string text) {
  return std::unexpected(Error{code, std::move(where), std::move(text)});
}

// The text of an errno value: "No space left on device".
std::string errno_text(int error_number);

}  // namespace rusm
