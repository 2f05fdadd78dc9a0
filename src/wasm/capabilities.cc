#include "wasm/capabilities.h"

namespace rusm::wasm {

Result<GrantsPtr> Capabilities::to_grants() const {
  std::vector<rusm_bytes> raw_args;
  std::vector<rusm_env> raw_env;
  std::vector<rusm_preopen> raw_preopens;
  for (const std::string& arg : args) raw_args.push_back(to_bytes(arg));
  for (const auto& [name, value] : env) raw_env.push_back({to_bytes(name), to_bytes(value)});
  for (const Preopen& preopen : preopens) {
    raw_preopens.push_back({to_bytes(preopen.host_path), to_bytes(preopen.guest_path), preopen.read_only});
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
      .network = network,
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
