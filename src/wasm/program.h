// Program: a component ready to run, with what its instances may do. Made once, at start; instances are made from it.
#pragma once

#include <rusm_bridge.h>

#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "otp/pid.h"
#include "wasm/bridge.h"
#include "wasm/capabilities.h"
#include "wasm/code_cache.h"
#include "wasm/slots.h"

namespace rusm::otp {
class Runtime;
}

namespace rusm::wasm {

class Engine;

enum class Entry : std::uint8_t {
  kHttp,     // wasi:http/incoming-handler: one request
  kCommand,  // wasi:cli/run of a component, _start of a core module
  kExport,   // a function without parameters and results
  kAny,      // the first of kHttp, kCommand and kExport that it has; entry() says which
};

struct ProgramOptions {
  std::string name;  // for logs
  Entry entry = Entry::kHttp;
  std::string function;  // for kExport
  Capabilities capabilities;
};

// Its code for the overflow, which is compiled with other settings, is made when the first instance is to go there:
// once, on a thread of the engine. Until then such instances wait.
//
// Threads: any thread; immutable but for that code. Outlives its bodies; the engine and the code cache outlive it.
class Program : public std::enable_shared_from_this<Program> {
 public:
  // The largest file that is taken for a component.
  static constexpr std::uint64_t kFileBytesMax = 512 << 20;

  // Reads and compiles a file, or takes its code from `cache` (may be null). Takes as long as compiling takes.
  // Errors: kNotFound, kIo for the file; kInvalid for one that is not WebAssembly, has not this entry, imports what
  // nobody offers, or takes more than the engine has; kLimit for one that is too much to compile; all with the file's
  // name and what to do.
  static Result<std::shared_ptr<Program>> load(Engine& engine, const CodeCache* cache,
                                               const std::filesystem::path& path, ProgramOptions options);
  // The same from bytes: a component or core module, binary or text.
  static Result<std::shared_ptr<Program>> from_bytes(Engine& engine, const CodeCache* cache,
                                                     std::span<const std::byte> wasm, std::string where,
                                                     ProgramOptions options);

  // The code for `tier`; null when it is not there yet, or never will be: see wait_for().
  const rusm_program* raw(Tier tier) const noexcept;
  // True when raw(tier) is there; else its making has begun, if it had not, and `pid` will be woken after it. An error
  // when it cannot be made.
  Result<bool> wait_for(Tier tier, otp::Runtime& runtime, otp::Pid pid) noexcept;
  // `pid` will not be woken any more.
  void stop_waiting(otp::Pid pid) noexcept;
  const rusm_grants* grants() const noexcept { return grants_.get(); }
  Engine& engine() const noexcept { return engine_; }
  const std::string& name() const noexcept { return options_.name; }
  Entry entry() const noexcept { return options_.entry; }
  const Capabilities& capabilities() const noexcept { return options_.capabilities; }
  const SlotNeeds& needs() const noexcept { return needs_; }
  // For the engine's thread: makes the code for the overflow and wakes who waits for it.
  void make_overflow() noexcept;

 private:
  enum class Code : std::uint8_t { kNone, kUnderWay, kThere, kFailed };

  Program(Engine& engine, const CodeCache* cache, ProgramOptions options, std::string where, GrantsPtr grants,
          SlotNeeds needs)
      : engine_(engine),
        cache_(cache != nullptr ? std::optional(*cache) : std::nullopt),
        options_(std::move(options)),
        where_(std::move(where)),
        grants_(std::move(grants)),
        needs_(needs) {}

  Result<ProgramPtr> made_for(const ComponentPtr& component) const;

  Engine& engine_;
  const std::optional<CodeCache> cache_;  // its own: the overflow's code may be made after the caller's is gone
  const ProgramOptions options_;
  const std::string where_;
  const GrantsPtr grants_;
  const SlotNeeds needs_;
  ProgramPtr pool_;  // constant once loaded

  mutable std::mutex mutex_;  // over what follows
  Code code_ = Code::kNone;
  std::vector<std::byte> wasm_;  // until it is compiled
  ProgramPtr overflow_;
  std::optional<Error> failure_;
  std::unordered_map<std::uint64_t, otp::Runtime*> waiters_;  // by pid; no more than the overflow has slots
};

}  // namespace rusm::wasm
