// How a process is spoken of in all reports: its state, its names, its parent.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "otp/runtime.h"

namespace rusm::observe {

// What a process does: runs, or what it waits for.
enum class Doing : std::uint8_t { kRunning, kMessage, kTime, kAnswer, kBlocking, kStream, kSocket, kNews };
inline constexpr std::size_t kDoings = 8;
using DoingCounts = std::array<std::uint64_t, kDoings>;

Doing doing_of(const otp::ProcessInfo& info) noexcept;
// "running", "message", "time", …; "news" is anything else that it waits for.
std::string_view name_of(Doing doing) noexcept;
// "3 running, 12 message": those that are not 0; "none" when all are.
std::string text_of(const DoingCounts& counts, std::string_view separator = ", ");

// The registered names of some processes. Threads: a value.
class Names {
 public:
  // The names of every process. Time and memory: O(names).
  explicit Names(const otp::Runtime& runtime);
  // The first of them in the order of the alphabet; empty when it has none.
  std::string_view first_of(otp::Pid pid) const noexcept;
  // In the order of the alphabet.
  std::vector<std::string> all_of(otp::Pid pid) const;

 private:
  std::vector<std::pair<otp::Pid, std::string>> names_;  // sorted
};

// How another process is mentioned: registered name, else label, else pid; "<0.1.2> (ended)" when it lives no more, and
// "" for no process.
std::string mention(const otp::Runtime& runtime, const Names& names, otp::Pid pid, std::size_t width_max);

}  // namespace rusm::observe
