// The keys of rusm.toml, one row for each: reading, error messages and the documentation's test all use this table.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "app/config.h"

namespace rusm::app {

// One key of the table that is read into a T.
template <class T>
struct Key {
  std::string_view name;
  std::variant<bool T::*, std::uint64_t T::*, std::string T::*, std::vector<std::string> T::*> field;
  std::string_view doc;           // one line for docs/configuration.md
  std::uint64_t min = 0;          // of an integer
  std::uint64_t max = 0;          // of an integer
  std::string_view choices = {};  // of a text: "text|json"; empty: any
};

// A key or a value that is known and not offered by this version. It is refused with its reason.
struct LaterKey {
  std::string_view table;  // "serve"
  std::string_view name;
  std::string_view value;    // refuse only this text, or "true"; empty: every value
  std::string_view instead;  // what to do, or what is missing
};

std::span<const Key<NodeConfig>> node_keys();
std::span<const Key<LogConfig>> log_keys();
std::span<const Key<EngineConfig>> engine_keys();
std::span<const Key<ServeConfig>> serve_keys();
std::span<const Key<ComponentConfig>> component_keys();
std::span<const Key<CapabilityConfig>> capability_keys();
std::span<const Key<PreopenConfig>> preopen_keys();
std::span<const LaterKey> later_keys();

// A key as the documentation shows it.
struct DocumentedKey {
  std::string_view section;  // "[node]"
  std::string_view name;
  std::string type;           // "integer 0…1024", "true or false", "text or json", "list of texts"
  std::string default_value;  // as it would stand in the file
  std::string_view doc;

  // "| `workers` | integer 0…1024 | `0` | … |", a row of docs/configuration.md.
  std::string row() const;
};
std::vector<DocumentedKey> documented_keys();

// The name in `known` that `name` was most likely meant to be; empty when none is near.
std::string_view nearest(std::string_view name, std::span<const std::string_view> known);

}  // namespace rusm::app
