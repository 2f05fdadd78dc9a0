// Program: a component ready to run, with what its instances may do. Made once, at start; instances are made from it.
#pragma once

#include <rusm_bridge.h>

#include <filesystem>
#include <memory>
#include <string>

#include "base/error.h"
#include "wasm/bridge.h"
#include "wasm/capabilities.h"

namespace rusm::wasm {

class CodeCache;
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

// Threads: any thread; immutable. Outlives its bodies; the engine outlives it.
class Program {
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

  const rusm_program* raw() const noexcept { return program_.get(); }
  const rusm_grants* grants() const noexcept { return grants_.get(); }
  Engine& engine() const noexcept { return engine_; }
  const std::string& name() const noexcept { return options_.name; }
  Entry entry() const noexcept { return options_.entry; }
  const Capabilities& capabilities() const noexcept { return options_.capabilities; }
  std::uint32_t slots_needed() const noexcept { return slots_needed_; }

 private:
  Program(Engine& engine, ProgramOptions options, ProgramPtr program, GrantsPtr grants, std::uint32_t slots_needed)
      : engine_(engine),
        options_(std::move(options)),
        program_(std::move(program)),
        grants_(std::move(grants)),
        slots_needed_(slots_needed) {}

  Engine& engine_;
  const ProgramOptions options_;
  const ProgramPtr program_;
  const GrantsPtr grants_;
  const std::uint32_t slots_needed_;
};

}  // namespace rusm::wasm
