#include "wasm/program.h"

#include <fmt/format.h>

#include <cerrno>
#include <fstream>
#include <vector>

#include "otp/runtime.h"
#include "wasm/code_cache.h"
#include "wasm/engine.h"

namespace rusm::wasm {
namespace {

Result<std::vector<std::byte>> read_file(const std::filesystem::path& path) {
  std::error_code problem;
  const std::filesystem::file_status status = std::filesystem::status(path, problem);
  if (!std::filesystem::exists(status)) return fail(ErrorCode::kNotFound, path.string(), "there is no such file");
  if (!std::filesystem::is_regular_file(status)) return fail(ErrorCode::kInvalid, path.string(), "is not a file");
  const std::uintmax_t size = std::filesystem::file_size(path, problem);
  if (problem) return fail(ErrorCode::kIo, path.string(), problem.message());
  if (size > Program::kFileBytesMax) {
    return fail(ErrorCode::kInvalid, path.string(), fmt::format("is larger than {} MiB", Program::kFileBytesMax >> 20));
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(ErrorCode::kIo, path.string(), fmt::format("cannot be opened: {}", errno_text(errno)));
  std::vector<std::byte> bytes(size);
  if (!file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size))) {
    return fail(ErrorCode::kIo, path.string(), "cannot be read to its end");
  }
  return bytes;
}

Result<ComponentPtr> load_artifact(Engine& engine, Tier tier, std::span<const std::byte> artifact,
                                   const std::string& where) {
  rusm_component* component = nullptr;
  Buffer error;
  const rusm_status status = rusm_component_load(engine.raw(tier), to_bytes(artifact), &component, error.out());
  if (status != RUSM_STATUS_OK) return bridge_error(status, where, error);
  return ComponentPtr(component);
}

Entry first_entry(const rusm_component_info& info) {
  if ((info.entries & RUSM_ENTRY_BIT_HTTP) != 0) return Entry::kHttp;
  return (info.entries & RUSM_ENTRY_BIT_COMMAND) != 0 ? Entry::kCommand : Entry::kExport;
}

// From the cache if it has it, else compiled; what was compiled is put into the cache.
Result<ComponentPtr> component_of(Engine& engine, Tier tier, const CodeCache* cache, std::span<const std::byte> wasm,
                                  const std::string& where) {
  std::optional<CodeCache::Key> key;
  if (cache != nullptr) {
    key = cache->key_of(wasm, tier);
    if (std::optional<std::vector<std::byte>> artifact = cache->find(*key)) {
      if (Result<ComponentPtr> component = load_artifact(engine, tier, *artifact, where)) return component;
    }
  }
  Buffer artifact;
  Buffer error;
  const EngineOptions& options = engine.options();
  const rusm_compile_limits limits = {
      .wasm_bytes_max = Program::kFileBytesMax,
      .functions_max = options.compile_functions_max,
      .function_bytes_max = options.compile_function_bytes_max,
      .time_ms_max = static_cast<std::uint64_t>(options.compile_time_max / kMillisecond),
  };
  const rusm_status status = rusm_compile(engine.raw(tier), to_bytes(wasm), &limits, artifact.out(), error.out());
  if (status != RUSM_STATUS_OK) return bridge_error(status, where, error);
  if (cache != nullptr) cache->put(*key, artifact.bytes());
  return load_artifact(engine, tier, artifact.bytes(), where);
}

}  // namespace

Result<std::shared_ptr<Program>> Program::load(Engine& engine, const CodeCache* cache,
                                               const std::filesystem::path& path, ProgramOptions options) {
  Result<std::vector<std::byte>> bytes = read_file(path);
  if (!bytes) return std::unexpected(std::move(bytes.error()));
  return from_bytes(engine, cache, *bytes, path.string(), std::move(options));
}

namespace {

// More memories, tables or instances than one slot of the pool may have, in Wasmtime's words. Not: more bytes of
// globals and the like ("requires N bytes"), which would be the host's memory beside every limit in the overflow, too.
bool is_too_much_for_pool(const Error& error) {
  return error.text.find("exceeds the") != std::string::npos && error.text.find("requires") == std::string::npos;
}

}  // namespace

Result<std::shared_ptr<Program>> Program::from_bytes(Engine& engine, const CodeCache* cache,
                                                     std::span<const std::byte> wasm, std::string where,
                                                     ProgramOptions options) {
  // What the pool could never hold is not even loaded there.
  Tier tier = Tier::kPool;
  Result<ComponentPtr> component = component_of(engine, tier, cache, wasm, where);
  if (!component && engine.slots().overflow().total() != 0 && is_too_much_for_pool(component.error())) {
    tier = Tier::kOverflow;
    if (Result<ComponentPtr> other = component_of(engine, tier, cache, wasm, where)) component = std::move(other);
  }
  if (!component) return std::unexpected(std::move(component.error()));
  rusm_component_info info;
  rusm_component_describe(component->get(), &info);
  SlotNeeds needs = engine.slots_needed(info);
  if (tier == Tier::kOverflow) needs.pool = 0;
  if (needs.most() == 0) {
    return fail(
        ErrorCode::kInvalid, where,
        fmt::format("one instance takes {} core instances, {} memories and {} tables: more than the engine has; "
                    "raise max_instances in [engine]",
                    info.core_instances, info.memories, info.tables));
  }
  if (info.memory_bytes_initial > options.capabilities.memory_bytes_max) {
    return fail(ErrorCode::kInvalid, where,
                fmt::format("starts with a memory of {} bytes, but may have {}: raise its memory limit",
                            info.memory_bytes_initial, options.capabilities.memory_bytes_max));
  }
  Result<GrantsPtr> grants = options.capabilities.to_grants();
  if (!grants) return std::unexpected(std::move(grants.error()));
  if (options.entry == Entry::kAny) options.entry = first_entry(info);
  const std::shared_ptr<Program> program(
      new Program(engine, cache, std::move(options), std::move(where), *std::move(grants), needs));
  Result<ProgramPtr> made = program->made_for(*component);
  if (!made) return std::unexpected(std::move(made.error()));
  if (tier == Tier::kOverflow) {
    program->overflow_ = std::move(*made);
    program->code_ = Code::kThere;
    return program;
  }
  program->pool_ = std::move(*made);
  if (needs.overflow != 0) program->wasm_.assign(wasm.begin(), wasm.end());
  return program;
}

Result<ProgramPtr> Program::made_for(const ComponentPtr& component) const {
  rusm_entry entry = RUSM_ENTRY_HTTP;
  if (options_.entry == Entry::kCommand) entry = RUSM_ENTRY_COMMAND;
  if (options_.entry == Entry::kExport) entry = RUSM_ENTRY_EXPORT;
  rusm_program* program = nullptr;
  Buffer error;
  const rusm_status status =
      rusm_program_new(component.get(), entry, to_bytes(options_.function), &program, error.out());
  if (status != RUSM_STATUS_OK) return bridge_error(status, where_, error);
  return ProgramPtr(program);
}

const rusm_program* Program::raw(Tier tier) const noexcept {
  if (tier == Tier::kPool) [[likely]]
    return pool_.get();
  const std::lock_guard lock(mutex_);
  return overflow_.get();
}

Result<bool> Program::wait_for(Tier tier, otp::Runtime& runtime, otp::Pid pid) noexcept {
  if (tier == Tier::kPool) return true;
  const std::lock_guard lock(mutex_);
  if (code_ == Code::kThere) return true;
  if (code_ == Code::kFailed) return std::unexpected(*failure_);
  if (code_ == Code::kNone && !engine_.make_overflow_of(shared_from_this())) {
    return fail(ErrorCode::kUnavailable, options_.name, "the system gives no thread to make its code for the overflow");
  }
  code_ = Code::kUnderWay;
  waiters_.insert_or_assign(pid.raw(), &runtime);
  return false;
}

void Program::stop_waiting(otp::Pid pid) noexcept {
  const std::lock_guard lock(mutex_);
  waiters_.erase(pid.raw());
}

void Program::make_overflow() noexcept {
  const auto make = [this]() -> Result<ProgramPtr> {
    Result<ComponentPtr> component = component_of(engine_, Tier::kOverflow, cache_ ? &*cache_ : nullptr, wasm_, where_);
    if (!component) return std::unexpected(std::move(component.error()));
    return made_for(*component);
  };
  Result<ProgramPtr> made = make();
  // Under the lock, so that who stopped waiting is not woken: its runtime may be gone.
  const std::lock_guard lock(mutex_);
  code_ = made ? Code::kThere : Code::kFailed;
  if (made) overflow_ = std::move(*made);
  if (!made) failure_ = std::move(made.error());
  wasm_ = {};
  for (const auto& [pid, runtime] : waiters_) runtime->wake(otp::Pid::from_raw(pid));
  waiters_.clear();
}

}  // namespace rusm::wasm
