// From configuration to the engine: what a guest may do, how the engine is sized, where compiled code is kept.
#pragma once

#include <optional>
#include <string>

#include "app/config.h"
#include "app/environment.h"
#include "base/entropy.h"
#include "base/log.h"
#include "wasm/capabilities.h"
#include "wasm/code_cache.h"
#include "wasm/engine.h"

namespace rusm::app {

// Variables that are granted by name and have no value are left out; a warning names them.
wasm::Capabilities to_capabilities(const CapabilityConfig& config, const Environment& environment, Log& log);

// Whether the folders that it grants can be opened. Errors: kNotFound, kDenied, kInvalid for what is not a folder.
Result<> check_folders(const CapabilityConfig& config);

// `config` was read without mistakes.
wasm::EngineOptions to_engine_options(const Config& config);

// $XDG_CACHE_HOME/rusm/code, else $HOME/.cache/rusm/code; empty when neither is set.
std::string default_code_cache_dir(const EnvironmentLookup& environment);

// The cache, or nothing when it is switched off or cannot be used; a warning says why: a node runs without one.
std::optional<wasm::CodeCache> open_code_cache(const EngineConfig& config, const wasm::Engine& engine,
                                               const EnvironmentLookup& environment, Entropy& entropy, Log& log);

}  // namespace rusm::app
