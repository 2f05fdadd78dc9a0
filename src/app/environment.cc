#include "app/environment.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>

namespace rusm::app {
namespace {

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

}  // namespace

Result<> Environment::add_file(const std::string& path) {
  errno = 0;
  std::ifstream file(path);
  if (!file) {
    if (errno == ENOENT) return {};
    return fail(ErrorCode::kIo, path, "cannot be opened: " + errno_text(errno));
  }
  std::string text;
  for (int number = 1; std::getline(file, text); ++number) {
    std::string_view line = trimmed(text);
    if (line.empty() || line.starts_with('#')) continue;
    if (line.starts_with("export ")) line = trimmed(line.substr(std::strlen("export ")));
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos || equals == 0) {
      return fail(ErrorCode::kInvalid, fmt::format("{}:{}", path, number), "expected NAME=value");
    }
    std::string_view value = trimmed(line.substr(equals + 1));
    if (value.size() >= 2 && (value.front() == '"' || value.front() == '\'') && value.back() == value.front()) {
      value = value.substr(1, value.size() - 2);
    }
    from_files_.insert_or_assign(std::string(trimmed(line.substr(0, equals))), std::string(value));
  }
  if (file.bad()) return fail(ErrorCode::kIo, path, "cannot be read");
  return {};
}

std::optional<std::string> Environment::find(std::string_view name) const {
  if (own_) {
    if (std::optional<std::string> value = own_(name)) return value;
  }
  const auto found = from_files_.find(name);
  return found == from_files_.end() ? std::nullopt : std::optional(found->second);
}

std::vector<std::pair<std::string, std::string>> Environment::resolve(const std::vector<std::string>& entries,
                                                                      std::vector<std::string>* missing) const {
  std::vector<std::pair<std::string, std::string>> resolved;
  for (const std::string& entry : entries) {
    const std::size_t equals = entry.find('=');
    if (equals != std::string::npos) {
      resolved.emplace_back(entry.substr(0, equals), entry.substr(equals + 1));
    } else if (std::optional<std::string> value = find(entry)) {
      resolved.emplace_back(entry, std::move(*value));
    } else {
      missing->push_back(entry);
    }
  }
  return resolved;
}

}  // namespace rusm::app
