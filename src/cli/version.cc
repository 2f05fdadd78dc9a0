#include "cli/version.h"

namespace rusm::cli {

std::string version_text() {
  return "rusm " RUSM_VERSION;
}

}  // namespace rusm::cli
