// Whether one guest may do more than another: a child never may more than its parent.
#pragma once

#include <optional>
#include <string>

#include "wasm/capabilities.h"

namespace rusm::wasm {

// What `child` may that `parent` may not, the first thing that is found, as "more memory" or "the network"; nothing
// when it may nothing more.
std::optional<std::string> excess(const Capabilities& child, const Capabilities& parent);

}  // namespace rusm::wasm
