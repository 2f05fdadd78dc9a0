// A command for the tests of `rusm run`; see ../README.md for what each word does.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace {

int print_arguments(int argc, char** argv) {
  for (int i = 2; i < argc; ++i) std::puts(argv[i]);
  return 0;
}

int print_variable(const char* name) {
  const char* value = std::getenv(name);
  std::puts(value == nullptr ? "(not set)" : value);
  return value == nullptr ? 1 : 0;
}

// Copies until the end; 2 when either side breaks.
int copy(std::FILE* from, std::FILE* to) {
  char buffer[4096];
  while (size_t size = std::fread(buffer, 1, sizeof buffer, from)) {
    if (std::fwrite(buffer, 1, size, to) != size) return 2;
  }
  return std::ferror(from) != 0 || std::fflush(to) != 0 ? 2 : 0;
}

int print_file(const char* path) {
  std::FILE* file = std::fopen(path, "rb");
  if (file == nullptr) {
    std::perror(path);
    return 1;
  }
  int result = copy(file, stdout);
  std::fclose(file);
  return result;
}

int write_file(const char* path, const char* text) {
  std::FILE* file = std::fopen(path, "wb");
  if (file == nullptr || std::fputs(text, file) < 0 || std::fclose(file) != 0) {
    std::perror(path);
    return 1;
  }
  return 0;
}

// The name is looked for in the backtrace.
[[gnu::noinline]] void fail_on_purpose() {
  __builtin_trap();
}

[[noreturn]] void spin() {
  for (volatile unsigned turns = 0;;) turns = turns + 1;
}

[[noreturn]] void hog() {
  constexpr size_t kBlockBytes = 1024 * 1024;
  for (;;) {
    void* block = std::malloc(kBlockBytes);
    if (block == nullptr) std::abort();
    std::memset(block, 1, kBlockBytes);
    asm volatile("" : : "r"(block) : "memory");
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::string_view word = argc > 1 ? argv[1] : "";
  if (word == "args") return print_arguments(argc, argv);
  if (word == "env" && argc > 2) return print_variable(argv[2]);
  if (word == "echo") return copy(stdin, stdout);
  if (word == "exit" && argc > 2) return std::atoi(argv[2]);
  if (word == "stderr" && argc > 2) return std::fprintf(stderr, "%s\n", argv[2]) < 0;
  if (word == "read" && argc > 2) return print_file(argv[2]);
  if (word == "write" && argc > 3) return write_file(argv[2], argv[3]);
  if (word == "trap") fail_on_purpose();
  if (word == "spin") spin();
  if (word == "hog") hog();
  std::fputs("usage: cli args|env|echo|exit|stderr|read|write|trap|spin|hog ...\n", stderr);
  return 64;
}
