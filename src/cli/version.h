// The version of this build.
#pragma once

#include <string>

namespace rusm::cli {

// "rusm 0.1.0".
std::string version_text();

}  // namespace rusm::cli
