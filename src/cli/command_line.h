// The command line as a value. Parsing it touches nothing: no file, no environment, no output.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "observe/request.h"

namespace rusm::cli {

// Exit codes. A guest's own exit code passes through `rusm run`; the last three follow the shell's and timeout(1)'s
// habits.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitMisuse = 2;
inline constexpr int kExitTimeout = 124;  // --timeout passed
inline constexpr int kExitTrap = 134;     // the guest trapped
inline constexpr int kExitLimit = 137;    // the guest reached a limit on memory or CPU time

// rusm serve
struct ServeCommand {
  std::string config = "rusm.toml";
  std::string listen;  // empty: as the file says
};

// rusm check
struct CheckCommand {
  std::string config = "rusm.toml";
};

// --dir HOST::GUEST[:ro]
struct Folder {
  std::string host;
  std::string guest;
  bool read_only = false;
};

// rusm run
struct RunCommand {
  std::string file;
  std::vector<std::string> args;  // for the guest, without its own name
  std::vector<Folder> folders;
  std::vector<std::string> env;  // NAME, or NAME=value
  bool allow_network = false;
  std::uint64_t max_memory_mb = 1024;
  Nanoseconds timeout = kNever;
};

// rusm bench
struct BenchCommand {
  std::string workload;  // empty: list them
  double seconds = 3;
  unsigned workers = 0;  // 0: one for each core
  bool json = false;
  std::string component;  // for the workloads that run one; empty: their own
};

// rusm top, tree, exits and process
struct ObserveCommand {
  observe::Request request;
  std::string node;             // empty: the only one
  bool rows_are_given = false;  // else on a terminal as many as fit
  bool once = false;
  Nanoseconds interval = 2 * kSecond;
};

// Print and end: help, the version, or what was wrong with the command line.
struct PrintCommand {
  std::string text;
  int exit_code = kExitOk;  // anything but kExitOk goes to standard error
};

using Command = std::variant<ServeCommand, CheckCommand, RunCommand, BenchCommand, ObserveCommand, PrintCommand>;

Command parse_command_line(int argc, const char* const* argv);

// "500ms", "30s", "2m", "1h"; a bare number is seconds. Errors: kInvalid.
Result<Nanoseconds> parse_duration(std::string_view text);
// "HOST::GUEST", "HOST::GUEST:ro"; "HOST" alone is seen under the same path. Errors: kInvalid.
Result<Folder> parse_folder(std::string_view text);

}  // namespace rusm::cli
