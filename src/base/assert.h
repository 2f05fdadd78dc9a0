// RUSM_ASSERT(condition, "what went wrong"): an error of ours, on in every build. It prints and aborts.
// Never on anything that a guest, a peer, a client or a file can influence: those are operating errors (error.h).
#pragma once

namespace rusm {
[[noreturn]] void assert_failed(const char* condition, const char* message, const char* file, int line) noexcept;
}  // namespace rusm

#define RUSM_ASSERT(condition, message)                                    \
  do {                                                                     \
    if (!(condition)) [[unlikely]] {                                       \
      ::rusm::assert_failed(#condition, message, __FILE_NAME__, __LINE__); \
    }                                                                      \
  } while (false)
