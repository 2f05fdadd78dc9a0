#include "base/assert.h"

#include <cstdio>
#include <cstdlib>

namespace rusm {

void assert_failed(const char* condition, const char* message, const char* file, int line) noexcept {
  std::fprintf(stderr, "rusm: assertion failed at %s:%d: %s (%s). This is a defect in RUSM; please report it.\n", file,
               line, message, condition);
  std::fflush(stderr);
  std::abort();
}

}  // namespace rusm
