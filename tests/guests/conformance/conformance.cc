// What WASI promises to a program, one case a word: ends with 0 if the promise is kept. ../README.md lists the cases.
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <string>

#include "cases.h"

namespace {

bool read_all(const char* path, std::string* out) {
  const int fd = open(path, O_RDONLY);
  if (fd < 0) return false;
  char buffer[64];
  ssize_t n;
  while ((n = read(fd, buffer, sizeof buffer)) > 0) out->append(buffer, static_cast<size_t>(n));
  close(fd);
  return n == 0;
}

long long nanoseconds(clockid_t clock) {
  timespec now{};
  if (clock_gettime(clock, &now) != 0) return -1;
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

int monotonic_clock() {
  long long before = nanoseconds(CLOCK_MONOTONIC);
  for (int i = 0; i < 1000; ++i) {
    const long long now = nanoseconds(CLOCK_MONOTONIC);
    if (now < before) return no("it went back");
    before = now;
  }
  timespec grain{};
  if (clock_getres(CLOCK_MONOTONIC, &grain) != 0 || (grain.tv_sec == 0 && grain.tv_nsec == 0))
    return no("no resolution");
  return 0;
}

int wall_clock() {
  // 2020-01-01 and 2100-01-01.
  const long long seconds = nanoseconds(CLOCK_REALTIME) / 1'000'000'000LL;
  return seconds > 1'577'836'800LL && seconds < 4'102'444'800LL ? 0 : no("not the time of day");
}

int sleeping() {
  const long long before = nanoseconds(CLOCK_MONOTONIC);
  const timespec span{0, 3'000'000};
  if (nanosleep(&span, nullptr) != 0) return no("nanosleep");
  return nanoseconds(CLOCK_MONOTONIC) - before >= 3'000'000 ? 0 : no("woke too early");
}

int random_bytes() {
  std::array<unsigned char, 64> a{};
  std::array<unsigned char, 64> b{};
  if (getentropy(a.data(), a.size()) != 0 || getentropy(b.data(), b.size()) != 0) return no("getentropy");
  return a != b && a != std::array<unsigned char, 64>{} ? 0 : no("the same twice");
}

int standard_input() {
  char byte;
  return read(0, &byte, 1) == 0 ? 0 : no("it is not at its end");
}

int standard_output() {
  constexpr std::string_view kLine = "a line\n";
  if (write(1, kLine.data(), kLine.size()) != static_cast<ssize_t>(kLine.size())) return no("write");
  return isatty(1) == 0 ? 0 : no("it says that it is a terminal");
}

int polling() {
  pollfd out{1, POLLOUT, 0};
  return poll(&out, 1, 1000) == 1 && (out.revents & POLLOUT) != 0 ? 0 : no("standard output is not ready");
}

int reading() {
  std::string text;
  if (!read_all("/in/a.txt", &text) || text != "the text of a") return no("not what is in the file");
  struct stat info{};
  if (stat("/in/a.txt", &info) != 0 || info.st_size != 13 || !S_ISREG(info.st_mode)) return no("stat");
  const int fd = open("/in/a.txt", O_RDONLY);
  char part[4] = {};
  if (lseek(fd, 4, SEEK_SET) != 4 || read(fd, part, 4) != 4 || std::memcmp(part, "text", 4) != 0) return no("lseek");
  if (pread(fd, part, 3, 0) != 3 || std::memcmp(part, "the", 3) != 0) return no("pread");
  return 0;
}

int listing() {
  DIR* folder = opendir("/in");
  if (folder == nullptr) return no("opendir");
  int files = 0;
  while (const dirent* entry = readdir(folder)) files += entry->d_name[0] != '.';
  closedir(folder);
  return files == 2 ? 0 : no("not the two names that are there");
}

int missing() {
  if (open("/in/none", O_RDONLY) >= 0 || errno != ENOENT) return no("a file that is not there");
  if (open("/elsewhere", O_RDONLY) >= 0) return no("a path outside of every folder");
  return 0;
}

int read_only() {
  if (open("/in/new", O_WRONLY | O_CREAT, 0600) >= 0) return no("a file was made");
  if (open("/in/a.txt", O_WRONLY) >= 0) return no("a file was opened for writing");
  if (unlink("/in/a.txt") == 0 || mkdir("/in/folder", 0700) == 0) return no("the folder was changed");
  if (rename("/in/a.txt", "/in/b.txt") == 0) return no("a file was renamed");
  return 0;
}

int escaping() {
  std::string text;
  for (const char* path : {"/in/../secret", "/in/link", "/in/./../../secret", "/in/sub/../../secret"}) {
    if (read_all(path, &text)) return no(path);
  }
  return 0;
}

int writing() {
  const int fd = open("/out/file", O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (fd < 0 || write(fd, "hello", 5) != 5) return no("write");
  if (ftruncate(fd, 4) != 0) return no("ftruncate");
  close(fd);
  std::string text;
  if (!read_all("/out/file", &text) || text != "hell") return no("not what was written");
  if (rename("/out/file", "/out/other") != 0 || mkdir("/out/folder", 0700) != 0) return no("rename or mkdir");
  if (unlink("/out/other") != 0 || rmdir("/out/folder") != 0) return no("unlink or rmdir");
  return 0;
}

int appending() {
  const int fd = open("/out/log", O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (fd < 0 || write(fd, "a", 1) != 1 || lseek(fd, 0, SEEK_SET) != 0 || write(fd, "b", 1) != 1) return no("write");
  std::string text;
  const bool good = read_all("/out/log", &text) && text == "ab";
  unlink("/out/log");
  return good ? 0 : no("it wrote over what was there");
}

int times() {
  struct stat info{};
  if (stat("/in/a.txt", &info) != 0) return no("stat");
  const long long now = nanoseconds(CLOCK_REALTIME) / 1'000'000'000LL;
  return info.st_mtim.tv_sec > now - 86'400 && info.st_mtim.tv_sec <= now + 60 ? 0 : no("not when it was written");
}

int arguments(int argc, char** argv) {
  return argc == 4 && std::string_view(argv[2]) == "two words" && argv[3][0] == '\0' ? 0 : no("not the arguments");
}

int environment() {
  const char* value = std::getenv("GIVEN");
  if (value == nullptr || std::string_view(value) != "by name") return no("not the value");
  return std::getenv("PATH") == nullptr ? 0 : no("more than was given");
}

constexpr Case kCases[] = {
    {"monotonic-clock", monotonic_clock},
    {"wall-clock", wall_clock},
    {"sleep", sleeping},
    {"random", random_bytes},
    {"stdin", standard_input},
    {"stdout", standard_output},
    {"poll", polling},
    {"read", reading},
    {"list", listing},
    {"missing", missing},
    {"read-only", read_only},
    {"escape", escaping},
    {"write", writing},
    {"append", appending},
    {"times", times},
    {"environment", environment},
};

}  // namespace

int main(int argc, char** argv) {
  const std::string_view wanted = argc > 1 ? argv[1] : "";
  if (wanted == "arguments") return arguments(argc, argv);
  if (wanted == "exit-code") return 7;
  for (const Case& one : kCases) {
    if (one.name == wanted) return one.run();
  }
  for (const Case& one : preview1_cases()) {
    if (one.name == wanted) return one.run();
  }
  return no("there is no such case");
}
