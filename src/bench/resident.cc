#include "bench/resident.h"

#include <unistd.h>

#include <fstream>

namespace rusm::bench {

std::uint64_t resident_bytes() {
  std::uint64_t pages = 0;
  std::ifstream file("/proc/self/statm");
  file >> pages >> pages;
  return pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace rusm::bench
