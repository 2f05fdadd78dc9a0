// Environment: where the values of environment variables come from when a capability grants them by name.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace rusm::app {

// The value of a variable of this program's own environment; main() gives it.
using EnvironmentLookup = std::function<std::optional<std::string>(std::string_view name)>;

// Threads: immutable after construction.
class Environment {
 public:
  explicit Environment(EnvironmentLookup own) : own_(std::move(own)) {}

  // Adds the lines NAME=value of a file; blank lines, # comments, a leading "export " and quotes around the whole value
  // are understood. A file that does not exist adds nothing. Errors: kInvalid with file:line, kIo.
  Result<> add_file(const std::string& path);

  // The program's own variable, else the file's.
  std::optional<std::string> find(std::string_view name) const;

  // "NAME" or "NAME=value" to pairs. Names that have no value are left out and put into `missing`.
  std::vector<std::pair<std::string, std::string>> resolve(const std::vector<std::string>& entries,
                                                           std::vector<std::string>* missing) const;

 private:
  EnvironmentLookup own_;
  std::map<std::string, std::string, std::less<>> from_files_;
};

}  // namespace rusm::app
