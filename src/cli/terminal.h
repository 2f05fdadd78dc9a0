// Terminal: a screen that is drawn again and again, and keys that act at once.
#pragma once

#include <termios.h>

#include <csignal>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/clock.h"

namespace rusm::cli {

struct TerminalSize {
  std::size_t columns;
  std::size_t rows;
};
// Of standard output; nothing when it is no terminal, or does not say.
std::optional<TerminalSize> terminal_size() noexcept;

// While it lives, the terminal shows another screen than before, keys are not echoed and arrive at once, also Ctrl-C;
// signals that would end the program are taken by wait(), so that the terminal is put back first.
// Threads: the main thread, and no other is there yet.
class Terminal {
 public:
  enum class Event : std::uint8_t { kTime, kKey, kResized, kQuit };
  struct News {
    Event event;
    char key = '\0';
  };

  // Nothing unless standard input and output are a terminal.
  static std::optional<Terminal> open() noexcept;
  ~Terminal();
  Terminal(Terminal&& other) noexcept;
  Terminal& operator=(Terminal&&) = delete;

  // Shows these lines in the place of what was there; `emphasised` of them, counted from 0, in reverse. What does not
  // fit on the screen is left out. REQUIRES: no line is wider than the screen.
  void draw(std::string_view lines, std::size_t emphasised);
  // A key, another size or the end; kTime when `timeout` ns have passed first.
  News wait(Nanoseconds timeout) noexcept;

 private:
  Terminal(int signals, const termios& before, const sigset_t& mask_before)
      : signals_(signals), before_(before), mask_before_(mask_before) {}

  int signals_;  // -1: moved from
  termios before_;
  sigset_t mask_before_;
};

}  // namespace rusm::cli
