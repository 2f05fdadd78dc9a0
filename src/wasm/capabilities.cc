#include "wasm/capabilities.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "wasm/capability_limits.h"

namespace rusm::wasm {
namespace {

rusm_network_rule to_raw(const NetworkRule& rule) {
  rusm_network_rule raw{};
  switch (rule.kind) {
    case NetworkRule::Kind::kPublic:
      raw.kind = RUSM_NETWORK_RULE_KIND_PUBLIC;
      break;
    case NetworkRule::Kind::kHost:
      raw.kind = RUSM_NETWORK_RULE_KIND_HOST;
      break;
    case NetworkRule::Kind::kSubdomains:
      raw.kind = RUSM_NETWORK_RULE_KIND_SUBDOMAINS;
      break;
    case NetworkRule::Kind::kNetwork:
      raw.kind = RUSM_NETWORK_RULE_KIND_NETWORK;
      break;
  }
  raw.host = to_bytes(rule.host);
  std::copy(rule.address.begin(), rule.address.end(), raw.address);
  raw.prefix_bits = rule.prefix_bits;
  raw.port_first = rule.port_first;
  raw.port_last = rule.port_last;
  return raw;
}

std::vector<rusm_network_rule> to_raw(const std::vector<NetworkRule>& rules) {
  std::vector<rusm_network_rule> raw;
  for (const NetworkRule& rule : rules) raw.push_back(to_raw(rule));
  return raw;
}

// The folder without links and detours; as it is written if the system cannot tell.
std::filesystem::path plain_path(const std::string& folder) {
  std::error_code problem;
  std::filesystem::path plain = std::filesystem::weakly_canonical(folder, problem);
  if (problem) plain = std::filesystem::path(folder).lexically_normal();
  return plain.has_filename() ? plain : plain.parent_path();
}

bool is_within(const std::filesystem::path& inner, const std::filesystem::path& outer) {
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

// The child's folder as far as the parent has it: the one that was looked at, not what its links may lead to later.
std::optional<Preopen> intersect(const std::vector<Preopen>& parent, Preopen child) {
  const std::filesystem::path folder = plain_path(child.host_path);
  bool found = false;
  bool may_write = false;
  for (const Preopen& own : parent) {
    if (!is_within(folder, plain_path(own.host_path))) continue;
    found = true;
    may_write |= !own.read_only;
  }
  if (!found) return std::nullopt;
  child.host_path = folder.string();
  child.read_only |= !may_write;
  return child;
}

// Each policy once; none at all if either side has none.
std::vector<NetworkPolicy> intersect(const std::vector<NetworkPolicy>& parent,
                                     const std::vector<NetworkPolicy>& child) {
  if (parent.empty() || child.empty()) return {};
  std::vector<NetworkPolicy> both = parent;
  for (const NetworkPolicy& policy : child) {
    if (std::ranges::find(both, policy) == both.end()) both.push_back(policy);
  }
  return both;
}

}  // namespace

Capabilities Capabilities::intersect(const Capabilities& parent, const Capabilities& child) {
  Capabilities out;
  for_each_limit([&](auto limit, const char*) { out.*limit = std::min(parent.*limit, child.*limit); });
  out.stdio = std::min(parent.stdio, child.stdio);
  out.network = wasm::intersect(parent.network, child.network);
  out.args = child.args;
  out.actor = ActorRights::intersect(parent.actor, child.actor);
  out.actor_limits = ActorLimits::intersect(parent.actor_limits, child.actor_limits);
  for (const auto& variable : child.env) {
    if (std::ranges::find(parent.env, variable) != parent.env.end()) out.env.push_back(variable);
  }
  for (const Preopen& folder : child.preopens) {
    if (std::optional<Preopen> kept = wasm::intersect(parent.preopens, folder))
      out.preopens.push_back(std::move(*kept));
  }
  return out;
}

Result<GrantsPtr> Capabilities::to_grants() const {
  std::vector<rusm_bytes> raw_args;
  std::vector<rusm_env> raw_env;
  std::vector<rusm_preopen> raw_preopens;
  for (const std::string& arg : args) raw_args.push_back(to_bytes(arg));
  for (const auto& [name, value] : env) raw_env.push_back({to_bytes(name), to_bytes(value)});
  for (const Preopen& preopen : preopens) {
    raw_preopens.push_back({to_bytes(preopen.host_path), to_bytes(preopen.guest_path), preopen.read_only});
  }
  std::vector<std::vector<rusm_network_rule>> raw_rules;
  std::vector<rusm_network_policy> raw_network;
  raw_rules.reserve(2 * network.size());
  for (const NetworkPolicy& policy : network) {
    const std::vector<rusm_network_rule>& reach = raw_rules.emplace_back(to_raw(policy.reach));
    const std::vector<rusm_network_rule>& listen = raw_rules.emplace_back(to_raw(policy.listen));
    raw_network.push_back({reach.data(), reach.size(), listen.data(), listen.size()});
  }
  rusm_stdio raw_stdio = RUSM_STDIO_NONE;
  if (stdio == Stdio::kLog) raw_stdio = RUSM_STDIO_LOG;
  if (stdio == Stdio::kInherit) raw_stdio = RUSM_STDIO_INHERIT;
  const rusm_grants_config config = {
      .memory_bytes_max = memory_bytes_max,
      .table_elements_max = table_elements_max,
      .hostcall_bytes_max = hostcall_bytes_max,
      .resources_max = resources_max,
      .http_fields_bytes_max = http_fields_bytes_max,
      .random_bytes_max = random_bytes_max,
      .stdio = raw_stdio,
      .network = raw_network.data(),
      .network_count = raw_network.size(),
      .http_requests_max = http_requests_max,
      .http_timeout_ms_max = static_cast<std::uint64_t>(http_timeout_max / kMillisecond),
      .args = raw_args.data(),
      .arg_count = raw_args.size(),
      .env = raw_env.data(),
      .env_count = raw_env.size(),
      .preopens = raw_preopens.data(),
      .preopen_count = raw_preopens.size(),
  };
  rusm_grants* grants = nullptr;
  Buffer error;
  const rusm_status status = rusm_grants_new(&config, &grants, error.out());
  if (status != RUSM_STATUS_OK) return bridge_error(status, "capabilities", error);
  return GrantsPtr(grants);
}

}  // namespace rusm::wasm
