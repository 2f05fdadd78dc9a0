// What the cases share.
#pragma once

#include <errno.h>

#include <cstdio>
#include <span>
#include <string_view>

struct Case {
  std::string_view name;
  int (*run)();  // 0 if the promise is kept
};

// The functions of preview 1 that the C library hides.
std::span<const Case> preview1_cases();

// Says what is wrong; the case fails.
inline int no(const char* what) {
  std::fprintf(stderr, "%s (errno %d)\n", what, errno);
  return 1;
}
