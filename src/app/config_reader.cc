// Reads rusm.toml through the key table: parse_config() of config.h.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>

#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include "app/config.h"
#include "app/config_keys.h"
#include "app/listen_address.h"
#include "http/headers.h"
#include "serve/router.h"
#include "wasm/network_policy.h"

namespace rusm::app {
namespace {

constexpr std::array<std::string_view, 6> kTables = {"node", "log", "engine", "serve", "components", "capabilities"};
constexpr std::array<std::string_view, 3> kBuiltins = {"sandboxed", "network-client", "trusted"};
constexpr std::array<std::string_view, 5> kForeignSources = {"url:", "http:", "https:", "kv:", "inline:"};
// Written by the server itself; a fixed value would break the framing.
constexpr std::array<std::string_view, 5> kReservedHeaders = {"content-length", "transfer-encoding", "connection",
                                                              "upgrade", "trailer"};

bool is_name(std::string_view name) {
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  };
  return !name.empty() && name.size() <= 100 && std::ranges::all_of(name, good);
}

bool is_env_name(std::string_view name) {
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  return !name.empty() && !(name[0] >= '0' && name[0] <= '9') && std::ranges::all_of(name, good);
}

// The value as it stands in a message: a text in quotes, a number, or what kind of thing it is.
std::string shown(const toml::node& node) {
  if (const auto* text = node.as_string()) return fmt::format("\"{}\"", text->get());
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  if (node.is_table()) return "a table";
  if (node.is_array()) return "a list";
  return node.is_floating_point() ? "a number with a fraction" : "a date or time";
}

std::string joined(std::span<const std::string_view> names) {
  return fmt::format("{}", fmt::join(names, ", "));
}

class Reader {
 public:
  Reader(const std::string& path) : path_(path), folder_(std::filesystem::path(path).parent_path()) {
    config_.folder = folder_.string();
    for (const std::string_view name : kBuiltins) config_.capabilities.push_back(builtin_capability(name));
  }

  ConfigResult read(const toml::table& root) {
    for (const auto& [key, node] : root) {
      const std::string_view name = key.str();
      if (std::ranges::find(kTables, name) == kTables.end()) unknown(key, "", name, kTables);
    }
    read_single(root, "node", node_keys(), config_.node);
    read_single(root, "log", log_keys(), config_.log);
    read_single(root, "engine", engine_keys(), config_.engine);
    for (std::string* folder : {&config_.engine.code_cache_dir, &config_.engine.core_dumps, &config_.node.store}) {
      if (!folder->empty()) *folder = (folder_ / *folder).lexically_normal().string();
    }
    // Capabilities before components before routes: each names the one before.
    each_named(root, "capabilities",
               [this](const toml::key& key, const toml::table& table) { capability(key, table); });
    each_named(root, "components", [this](const toml::key& key, const toml::table& table) { component(key, table); });
    serve_list(root);
    if (errors_.empty()) return std::move(config_);
    std::ranges::sort(errors_, {}, [](const Mistake& mistake) { return std::pair(mistake.line, mistake.order); });
    ConfigErrors errors;
    for (Mistake& mistake : errors_)
      errors.push_back({ErrorCode::kInvalid, where(mistake.line), std::move(mistake.text)});
    return std::unexpected(std::move(errors));
  }

 private:
  struct Mistake {
    unsigned line;
    std::size_t order;  // in which it was found
    std::string text;
  };

  std::string where(unsigned line) const { return fmt::format("{}:{}", path_, line); }
  static unsigned line_of(const toml::node& node) { return node.source().begin.line; }
  static unsigned line_of(const toml::key& key) { return key.source().begin.line; }
  template <class At>
  void wrong(const At& at, std::string text) {
    errors_.push_back({line_of(at), errors_.size(), std::move(text)});
  }

  void unknown(const toml::key& key, std::string_view section, std::string_view name,
               std::span<const std::string_view> known) {
    const std::string_view near = nearest(name, known);
    std::string text = section.empty() ? fmt::format("there is no table [{}]", name)
                                       : fmt::format("{}: there is no key {}", section, name);
    text +=
        near.empty() ? fmt::format("; expected one of: {}", joined(known)) : fmt::format("; did you mean {}?", near);
    wrong(key, std::move(text));
  }

  void expected(const toml::node& node, std::string_view section, std::string_view name, std::string_view what,
                std::string_view hint = {}) {
    wrong(node, fmt::format("{} {} = {}: expected {}{}", section, name, shown(node), what, hint));
  }

  // Whether the key, or this value of it, is one that a later version offers; then it was dealt with.
  bool is_later(std::string_view table, std::string_view section, const toml::key& key, const toml::node& node) {
    for (const LaterKey& later : later_keys()) {
      if (later.table != table || later.name != key.str()) continue;
      const auto* flag = node.as_boolean();
      const auto* text = node.as_string();
      if (later.value == "true" && flag != nullptr && !flag->get()) return true;  // off is what it is anyway
      if (!later.value.empty() && later.value != "true" && !(text && text->get() == later.value)) continue;
      const std::string value = later.value.empty() ? std::string() : " = " + shown(node);
      wrong(key, fmt::format("{} {}{} is not offered by this version: {}", section, later.name, value, later.instead));
      return true;
    }
    return false;
  }

  template <class T>
  void read_value(std::string_view section, const Key<T>& key, const toml::node& node, T& out) {
    if (const auto* as_flag = std::get_if<bool T::*>(&key.field)) {
      const auto* flag = node.as_boolean();
      if (!flag) return expected(node, section, key.name, "true or false");
      out.** as_flag = flag->get();
    } else if (const auto* as_number = std::get_if<std::uint64_t T::*>(&key.field)) {
      const auto* number = node.as_integer();
      if (!number || number->get() < 0 || static_cast<std::uint64_t>(number->get()) < key.min ||
          static_cast<std::uint64_t>(number->get()) > key.max) {
        return expected(node, section, key.name, fmt::format("an integer from {} to {}", key.min, key.max));
      }
      out.** as_number = static_cast<std::uint64_t>(number->get());
    } else if (const auto* as_text = std::get_if<std::string T::*>(&key.field)) {
      read_text(section, key, node, &(out.**as_text));
    } else {
      read_texts(section, key.name, node, &(out.*std::get<std::vector<std::string> T::*>(key.field)));
    }
  }

  template <class T>
  void read_text(std::string_view section, const Key<T>& key, const toml::node& node, std::string* out) {
    std::vector<std::string_view> choices;
    for (std::size_t at = 0; at < key.choices.size();) {
      const std::size_t end = std::min(key.choices.find('|', at), key.choices.size());
      choices.push_back(key.choices.substr(at, end - at));
      at = end + 1;
    }
    const auto* text = node.as_string();
    if (!text)
      return expected(node, section, key.name, choices.empty() ? "a text in quotes" : "one of: " + joined(choices));
    if (!choices.empty() && std::ranges::find(choices, std::string_view(text->get())) == choices.end()) {
      const std::string_view near = nearest(text->get(), choices);
      return expected(node, section, key.name, "one of: " + joined(choices),
                      near.empty() ? std::string() : fmt::format("; did you mean {}?", near));
    }
    *out = text->get();
  }

  void read_texts(std::string_view section, std::string_view name, const toml::node& node,
                  std::vector<std::string>* out) {
    const auto* list = node.as_array();
    if (!list) return expected(node, section, name, "a list of texts");
    for (const toml::node& item : *list) {
      if (const auto* text = item.as_string()) {
        out->push_back(text->get());
      } else {
        expected(item, section, name, "a list of texts");
      }
    }
  }

  // Reads the keys of one table. `tables`: names in it that the caller reads itself.
  template <class T>
  void read_keys(std::string_view table_name, std::string_view section, const toml::table& table,
                 std::span<const Key<T>> keys, T& out, std::initializer_list<std::string_view> tables = {}) {
    for (const auto& [key, node] : table) {
      const std::string_view name = key.str();
      if (is_later(table_name, section, key, node) || std::ranges::find(tables, name) != tables.end()) continue;
      const auto found = std::ranges::find(keys, name, &Key<T>::name);
      if (found != keys.end()) {
        read_value(section, *found, node, out);
        continue;
      }
      std::vector<std::string_view> known(tables);
      for (const Key<T>& candidate : keys) known.push_back(candidate.name);
      unknown(key, section, name, known);
    }
  }

  template <class T>
  void read_single(const toml::table& root, std::string_view name, std::span<const Key<T>> keys, T& out) {
    const toml::node* node = root.get(name);
    if (!node) return;
    const auto* table = node->as_table();
    if (!table) return wrong(*node, fmt::format("{} = {}: expected a table, [{}]", name, shown(*node), name));
    read_keys(name, fmt::format("[{}]", name), *table, keys, out);
  }

  template <class F>
  void each_named(const toml::table& root, std::string_view name, F read_one) {
    const toml::node* node = root.get(name);
    if (!node) return;
    const auto* tables = node->as_table();
    if (!tables) return wrong(*node, fmt::format("{} = {}: expected tables, [{}.NAME]", name, shown(*node), name));
    for (const auto& [key, item] : *tables) {
      const auto* table = item.as_table();
      if (!table) {
        wrong(key,
              fmt::format("[{}] {} = {}: expected a table, [{}.{}]", name, key.str(), shown(item), name, key.str()));
      } else if (!is_name(key.str())) {
        wrong(key, fmt::format("[{}.\"{}\"]: a name has letters, digits, - and _, at most 100", name, key.str()));
      } else {
        read_one(key, *table);
      }
    }
  }

  void capability(const toml::key& key, const toml::table& table) {
    const std::string section = fmt::format("[capabilities.{}]", key.str());
    if (std::ranges::find(kBuiltins, key.str()) != kBuiltins.end()) {
      return wrong(key, fmt::format("{}: this name is built in; choose another and inherit from it", section));
    }
    const auto inherits = table["inherits"].value<std::string_view>();
    CapabilityConfig out = builtin_capability(inherits.value_or("sandboxed"));
    out.name = key.str();
    read_keys("capabilities", section, table, capability_keys(), out, {"preopen"});
    network(section, table, &out);
    if (const toml::node* env = table.get("env")) {
      for (const std::string& entry : out.env) {
        if (is_env_name(std::string_view(entry).substr(0, entry.find('=')))) continue;
        wrong(*env, fmt::format("{} env \"{}\": expected NAME or NAME=value", section, entry));
      }
    }
    preopens(section, table, &out);
    config_.capabilities.push_back(std::move(out));
  }

  // A list narrows what is inherited, unless the whole network is asked for beside it.
  void network(const std::string& section, const toml::table& table, CapabilityConfig* out) {
    const toml::node* list = table.get("network");
    const auto allowed = table["allow-network"].value<bool>();
    if (list && allowed == false && !out->network.empty()) {
      wrong(*list, fmt::format("{} has both a network list and allow-network = false: keep one of them", section));
    }
    if (list && !allowed) out->allow_network = false;
    rules(section, "network", table, wasm::NetworkRule::parse);
    rules(section, "network-listen", table, wasm::NetworkRule::parse_listen);
  }

  template <class Parse>
  void rules(const std::string& section, std::string_view name, const toml::table& table, Parse parse) {
    const auto* list = table[name].as_array();
    if (!list) return;  // read_keys has said so
    for (const toml::node& item : *list) {
      const auto* text = item.as_string();
      if (!text) continue;
      if (const Result<wasm::NetworkRule> rule = parse(text->get()); !rule) {
        wrong(item, fmt::format("{} {} {}: {}", section, name, rule.error().where, rule.error().text));
      }
    }
  }

  void preopens(const std::string& section, const toml::table& table, CapabilityConfig* out) {
    const toml::node* node = table.get("preopen");
    if (!node) return;
    constexpr std::string_view kShape = "a list of { host = \"…\", guest = \"…\", read-only = true }";
    const auto* list = node->as_array();
    if (!list) return expected(*node, section, "preopen", kShape);
    for (const toml::node& item : *list) {
      const auto* entry = item.as_table();
      if (!entry) {
        expected(item, section, "preopen", kShape);
        continue;
      }
      PreopenConfig preopen;
      read_keys("preopen", section + " preopen", *entry, preopen_keys(), preopen);
      if (preopen.host.empty()) wrong(item, section + " preopen: host is missing");
      if (preopen.guest.empty()) wrong(item, section + " preopen: guest is missing");
      preopen.host = (folder_ / preopen.host).lexically_normal().string();
      out->preopen.push_back(std::move(preopen));
    }
  }

  void component(const toml::key& key, const toml::table& table) {
    const std::string section = fmt::format("[components.{}]", key.str());
    ComponentConfig out;
    out.name = key.str();
    read_keys("components", section, table, component_keys(), out);
    if (!config_.capability(out.capability)) {
      const toml::node& at = *table.get("capability");
      std::vector<std::string_view> known;
      for (const CapabilityConfig& item : config_.capabilities) known.push_back(item.name);
      not_there(at, fmt::format("{} capability", section), "capability", out.capability, known);
    }
    for (const std::string_view prefix : kForeignSources) {
      if (out.source.starts_with(prefix)) {
        wrong(*table.get("source"),
              fmt::format("{} source \"{}\" is not offered by this version: give the path of a file", section,
                          out.source));
      }
    }
    if (out.source.empty()) out.source = fmt::format("wasm/{}.wasm", out.name);
    out.source = (folder_ / out.source).lexically_normal().string();
    config_.components.push_back(std::move(out));
  }

  void not_there(const toml::node& at, std::string_view what, std::string_view kind, std::string_view name,
                 std::span<const std::string_view> known) {
    const std::string_view near = nearest(name, known);
    std::string text = fmt::format("{} = \"{}\": there is no {} of that name", what, name, kind);
    if (!near.empty()) {
      text += fmt::format("; did you mean {}?", near);
    } else if (known.empty()) {
      text += fmt::format("; add a table [{}.{}]", kind == "component" ? "components" : "capabilities", name);
    } else {
      text += fmt::format("; there are: {}", joined(known));
    }
    wrong(at, std::move(text));
  }

  void check_component(const toml::node& at, std::string_view what, const std::string& name) {
    if (config_.component(name)) return;
    if (name.find('#') != std::string::npos) {
      return wrong(at, fmt::format("{} = \"{}\": actions (component#action) are not offered by this version: give the "
                                   "component alone and let it look at the path",
                                   what, name));
    }
    std::vector<std::string_view> known;
    for (const ComponentConfig& item : config_.components) known.push_back(item.name);
    not_there(at, what, "component", name, known);
  }

  void serve_list(const toml::table& root) {
    const toml::node* node = root.get("serve");
    if (!node) return;
    const auto* list = node->as_array();
    if (!list)
      return wrong(*node, fmt::format("serve is {}: expected a list of tables; write [[serve]]", shown(*node)));
    for (const toml::node& item : *list) {
      if (const auto* table = item.as_table()) {
        listener(*table);
      } else {
        wrong(item, fmt::format("serve has {} in it: expected tables; write [[serve]]", shown(item)));
      }
    }
  }

  void listener(const toml::table& table) {
    ServeConfig out;
    out.where = where(line_of(table));
    read_keys("serve", "[[serve]]", table, serve_keys(), out, {"routes", "headers"});
    const toml::node& at = table.contains("listen") ? *table.get("listen") : table;
    if (const Result<net::Address> address = parse_listen_address(out.listen); !address) {
      wrong(at, "[[serve]] listen: " + address.error().text);
    } else {
      for (const ServeConfig& other : config_.serve) {
        if (other.listen == out.listen && address->port() != 0) {
          wrong(at, fmt::format("[[serve]] listen = \"{}\": {} listens there already", out.listen, other.where));
        }
      }
    }
    serve::Router router;  // only to learn whether it takes the patterns
    each_text(table, "[serve.routes]", "routes", "the name of a component in quotes",
              [&](const toml::key& key, const toml::node& node, std::string value) {
                route(key, node, std::move(value), &router, &out);
              });
    each_text(table, "[serve.headers]", "headers", "a text in quotes",
              [&](const toml::key& key, const toml::node&, std::string value) { header(key, std::move(value), &out); });
    if (const toml::node* node = table.get("component"); node && node->is_string()) {
      if (table.contains("routes")) {
        wrong(*node, "[[serve]] has both component and [serve.routes]: keep one of them");
      } else {
        check_component(*node, "[[serve]] component", out.component);
      }
    } else if (!node && !table.contains("routes")) {
      wrong(table, "[[serve]] says not who answers: add component = \"NAME\" or a table [serve.routes]");
    }
    config_.serve.push_back(std::move(out));
  }

  template <class F>
  void each_text(const toml::table& table, std::string_view section, std::string_view name, std::string_view what,
                 F take) {
    const toml::node* node = table.get(name);
    if (!node) return;
    const auto* entries = node->as_table();
    if (!entries)
      return wrong(*node, fmt::format("[[serve]] {} is {}: expected a table, {}", name, shown(*node), section));
    for (const auto& [key, value] : *entries) {
      if (const auto* text = value.as_string()) {
        take(key, value, text->get());
      } else {
        expected(value, section, fmt::format("\"{}\"", key.str()), what);
      }
    }
  }

  void route(const toml::key& key, const toml::node& node, std::string component, serve::Router* router,
             ServeConfig* out) {
    if (const Result<> added = router->add(key.str(), static_cast<std::uint32_t>(out->routes.size())); !added) {
      wrong(key, fmt::format("[serve.routes] \"{}\": {}", key.str(), added.error().text));
    }
    check_component(node, fmt::format("[serve.routes] \"{}\"", key.str()), component);
    out->routes.push_back({std::string(key.str()), std::move(component), where(line_of(key))});
  }

  void header(const toml::key& key, std::string value, ServeConfig* out) {
    const std::string_view name = key.str();
    const auto is_this = [name](std::string_view other) { return http::equal_names(name, other); };
    if (!http::is_valid_name(name)) {
      wrong(key, fmt::format("[serve.headers] \"{}\" is not the name of a header", name));
    } else if (!http::is_valid_value(value)) {
      wrong(key, fmt::format("[serve.headers] {}: the value has a control character in it", name));
    } else if (std::ranges::any_of(kReservedHeaders, is_this)) {
      wrong(key, fmt::format("[serve.headers] {}: the server writes this header itself", name));
    } else {
      out->headers.push_back({std::string(name), std::move(value)});
    }
  }

  const std::string path_;
  const std::filesystem::path folder_;
  Config config_;
  std::vector<Mistake> errors_;
};

}  // namespace

ConfigResult parse_config(std::string_view text, const std::string& path) {
  const toml::parse_result parsed = toml::parse(text, path);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    return std::unexpected(ConfigErrors{{ErrorCode::kInvalid, fmt::format("{}:{}", path, error.source().begin.line),
                                         fmt::format("not valid TOML: {}", error.description())}});
  }
  return Reader(path).read(parsed.table());
}

}  // namespace rusm::app
