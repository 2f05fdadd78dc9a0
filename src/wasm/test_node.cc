#include "wasm/test_node.h"

#include <fstream>
#include <sstream>

namespace rusm::wasm {

std::string http_guest() {
  std::ifstream file(RUSM_HTTP_GUEST);
  EXPECT_TRUE(file) << RUSM_HTTP_GUEST;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace rusm::wasm
