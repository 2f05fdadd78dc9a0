#include "cli/terminal.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

namespace rusm::cli {
namespace {

constexpr std::string_view kEnter = "\x1b[?1049h\x1b[?25l";  // the other screen, no cursor
constexpr std::string_view kLeave = "\x1b[?25h\x1b[?1049l";

void write_all(std::string_view text) noexcept {
  while (!text.empty()) {
    const ssize_t size = write(STDOUT_FILENO, text.data(), text.size());
    if (size < 0 && errno != EINTR) return;  // the terminal has gone: wait() says so
    text.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
  }
}

}  // namespace

std::optional<TerminalSize> terminal_size() noexcept {
  winsize size = {};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return std::nullopt;
  return TerminalSize{size.ws_col, size.ws_row};
}

std::optional<Terminal> Terminal::open() noexcept {
  termios before;
  if (isatty(STDOUT_FILENO) != 1 || tcgetattr(STDIN_FILENO, &before) != 0) return std::nullopt;
  sigset_t watched;
  sigemptyset(&watched);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH}) sigaddset(&watched, signal);
  const int signals = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0) return std::nullopt;
  sigset_t mask_before;
  pthread_sigmask(SIG_BLOCK, &watched, &mask_before);
  termios raw = before;
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ISIG);
  raw.c_cc[VMIN] = 0;
  raw.c_cc[VTIME] = 0;
  tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw);
  write_all(kEnter);
  return Terminal(signals, before, mask_before);
}

Terminal::Terminal(Terminal&& other) noexcept
    : signals_(std::exchange(other.signals_, -1)), before_(other.before_), mask_before_(other.mask_before_) {}

Terminal::~Terminal() {
  if (signals_ < 0) return;
  write_all(kLeave);
  tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
  close(signals_);
  pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
}

void Terminal::draw(std::string_view lines, std::size_t emphasised) {
  const TerminalSize size = terminal_size().value_or(TerminalSize{80, 24});
  std::string out = "\x1b[H";
  for (std::size_t row = 0; row < size.rows && !lines.empty(); ++row) {
    const std::string_view line = lines.substr(0, lines.find('\n'));
    lines.remove_prefix(std::min(line.size() + 1, lines.size()));
    if (row != 0) out += '\n';
    if (row == emphasised) out += "\x1b[7m";
    out += line;
    if (row == emphasised) out += "\x1b[27m";
    out += "\x1b[K";
  }
  write_all(out + "\x1b[J");
}

Terminal::News Terminal::wait(Nanoseconds timeout) noexcept {
  constexpr char kCtrlC = 3;
  constexpr char kCtrlD = 4;
  pollfd polled[] = {{STDIN_FILENO, POLLIN, 0}, {signals_, POLLIN, 0}};
  const Nanoseconds ms = std::clamp<Nanoseconds>(timeout / kMillisecond, 0, 3'600'000);
  if (poll(polled, 2, static_cast<int>(ms)) <= 0) return {Event::kTime};
  signalfd_siginfo info;
  if (read(signals_, &info, sizeof(info)) == sizeof(info)) {
    return {info.ssi_signo == SIGWINCH ? Event::kResized : Event::kQuit};
  }
  char key = '\0';
  if (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q' || key == kCtrlC || key == kCtrlD) {
    return {Event::kQuit};
  }
  return {Event::kKey, key};
}

}  // namespace rusm::cli
