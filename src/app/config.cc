#include "app/config.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <memory>

namespace rusm::app {
namespace {

template <class T>
const T* find_named(const std::vector<T>& in, std::string_view name) noexcept {
  for (const T& item : in) {
    if (item.name == name) return &item;
  }
  return nullptr;
}

std::unexpected<ConfigErrors> one(ErrorCode code, const std::string& where, std::string text) {
  return std::unexpected(ConfigErrors{Error{code, where, std::move(text)}});
}

}  // namespace

const ComponentConfig* Config::component(std::string_view name) const noexcept {
  return find_named(components, name);
}
const CapabilityConfig* Config::capability(std::string_view name) const noexcept {
  return find_named(capabilities, name);
}

CapabilityConfig builtin_capability(std::string_view name) {
  CapabilityConfig capability;
  if (name == "network-client") {
    capability.name = capability.inherits = "network-client";
    capability.allow_network = true;
  } else if (name == "trusted") {
    capability.name = capability.inherits = "trusted";
    capability.allow_network = true;
    capability.allow_stdio = true;
    capability.allow_spawn = true;
    capability.allow_process_control = true;
    capability.allow_storage = true;
    capability.max_memory_mb = 1'024;
    capability.max_cpu_ms = 0;
  }
  return capability;
}

ConfigResult load_config(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"), &std::fclose);
  if (!file) {
    if (errno == ENOENT) {
      return one(ErrorCode::kNotFound, path,
                 "there is no such file: give its path with --config, or make one; README.md shows how");
    }
    return one(ErrorCode::kIo, path, "cannot be opened: " + errno_text(errno));
  }
  std::string text(kConfigBytesMax + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file.get()));
  if (std::ferror(file.get())) return one(ErrorCode::kIo, path, "cannot be read: " + errno_text(errno));
  if (text.size() > kConfigBytesMax) {
    return one(ErrorCode::kLimit, path, fmt::format("the file has more than {} bytes", kConfigBytesMax));
  }
  return parse_config(text, path);
}

}  // namespace rusm::app
