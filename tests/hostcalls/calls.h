// Calls: what a node offers to guests, and the guests that call all of it.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rusm::hostcalls {

// One function as it is imported, with its types on the wire. Threads: a value.
struct HostCall {
  std::string module;  // "rusm", "wasi:io/streams@0.2.12"
  std::string name;
  std::vector<std::string> params;  // "i32", "i64"
  std::string result;               // "" when it has none

  // Of RUSM, not of WASI.
  bool is_own() const { return module == "rusm" || module.starts_with("rusm:"); }
};

// The functions that one of the two guests calls, in the order of its table, and that guest. Threads: immutable.
class Calls {
 public:
  // What core modules may import. The guest is a module that is made here.
  static Calls of_modules();
  // What components may import. The guest is tests/hostcalls/caller.
  static Calls of_components();

  const std::vector<HostCall>& all() const noexcept { return all_; }
  // By "send", or "actor#send" for the interface rusm:runtime/actor; the first of several.
  std::optional<std::size_t> find(std::string_view name) const;
  // The numbers of those that are RUSM's own.
  const std::vector<std::size_t>& own() const noexcept { return own_; }
  const std::string& guest() const noexcept { return guest_; }

 private:
  Calls(const char* list, std::string (*guest)(const std::vector<HostCall>&));

  std::vector<HostCall> all_;
  std::vector<std::size_t> own_;
  std::string guest_;  // bytes or text of WebAssembly
};

}  // namespace rusm::hostcalls
