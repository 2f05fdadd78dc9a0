#include "bench/start_workloads.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/entropy.h"
#include "base/histogram.h"
#include "otp/runtime.h"
#include "wasm/code_cache.h"
#include "wasm/engine.h"
#include "wasm/guest_factory.h"
#include "wasm/program.h"

namespace rusm::bench {
namespace {

// ── A component of 1 MB, as WebAssembly's binary format writes it ──

constexpr std::size_t kComponentBytes = 1'000'000;

std::string number(std::uint64_t value) {
  std::string bytes;
  do {
    const auto low = static_cast<char>(value & 0x7f);
    value >>= 7;
    bytes += value != 0 ? static_cast<char>(low | 0x80) : low;
  } while (value != 0);
  return bytes;
}

std::string sized(std::string_view content) {
  return number(content.size()) + std::string(content);
}

std::string section(char id, std::string_view content) {
  return id + sized(content);
}

std::string bytes(std::initializer_list<int> values) {
  return {values.begin(), values.end()};
}

// (param i32) (result i32) with one local, which it mixes with constants that no other function has.
std::string function(int index) {
  constexpr int kMixes = 24;
  std::string body = bytes({1, 1, 0x7f});
  for (int i = 0; i < kMixes; ++i) {
    body += bytes({0x20, 0, 0x41}) + number(0x40'0000 + index * kMixes + i);  // local.get 0, i32.const
    body += bytes({0x6c, 0x20, 1, 0x73, 0x21, 1});                            // i32.mul, local.get 1, xor, set
  }
  return sized(body + bytes({0x20, 1, 0x0b}));
}

std::string core_module() {
  std::string functions;
  int count = 0;
  while (functions.size() < kComponentBytes) functions += function(count++);
  const std::string run = sized(bytes({0, 0x41, 5, 0x10, 7, 0x1a, 0x0b}));  // calls the eighth function
  std::string types;
  for (int i = 0; i < count; ++i) types += '\0';
  return std::string("\0asm\1\0\0\0", 8) + section(1, bytes({2, 0x60, 1, 0x7f, 1, 0x7f, 0x60, 0, 0})) +
         section(3, number(count + 1) + types + '\1') + section(5, bytes({1, 0, 1})) +
         section(7, number(1) + sized("run") + '\0' + number(count)) + section(10, number(count + 1) + functions + run);
}

std::string large_component() {
  const std::string run = sized("run");
  return std::string("\0asm\x0d\0\1\0", 8) + section(1, core_module()) +
         section(2, bytes({1, 0, 0, 0})) +                     // (instantiate $m)
         section(6, bytes({1, 0, 0, 1, 0}) + run) +            // (alias core export)
         section(7, bytes({1, 0x40, 0, 1, 0})) +               // (func)
         section(8, bytes({1, 0, 0, 0, 0, 0})) +               // (canon lift)
         section(11, bytes({1, 0}) + run + bytes({1, 0, 0}));  // (export "run")
}

// Keeps the reason of one that did not run to its end.
class Ends final : public otp::EventHook {
 public:
  void on_exit(otp::Pid, const otp::ExitReason& reason, std::string_view) noexcept override {
    if (!reason.is_normal()) failure = reason.to_string();
  }
  std::string failure;
};

struct Node {
  static Result<std::unique_ptr<Node>> open(const Options& options, const std::filesystem::path& folder) {
    std::unique_ptr<Node> node(new Node(options));
    const wasm::Capabilities capabilities;
    auto engine =
        wasm::Engine::open({.memory_bytes_max = capabilities.memory_bytes_max, .workers = node->runtime.workers()});
    if (!engine) return std::unexpected(std::move(engine.error()));
    node->engine = std::move(*engine);
    auto cache = wasm::CodeCache::open(folder, *node->engine, node->entropy);
    if (!cache) return std::unexpected(std::move(cache.error()));
    node->cache = std::make_unique<wasm::CodeCache>(std::move(*cache));
    return node;
  }

  Result<> load_and_run(std::string_view wasm) {
    auto program = wasm::Program::from_bytes(
        *engine, cache.get(), std::as_bytes(std::span(wasm)), "bench guest",
        {.name = "bench", .entry = wasm::Entry::kExport, .function = "run", .capabilities = {}});
    if (!program) return std::unexpected(std::move(program.error()));
    wasm::GuestMaker maker(std::move(*program), runtime);
    Result<otp::BodyPtr> body = maker.make({});
    if (!body) return std::unexpected(std::move(body.error()));
    runtime.spawn_body(std::move(*body));
    runtime.wait_until_empty(kNever);
    if (!ends.failure.empty()) return fail(ErrorCode::kInternal, "bench guest", ends.failure);
    return {};
  }

  SystemClock clock;
  SystemEntropy entropy;
  otp::QuietReactorFactory reactors;
  Ends ends;
  std::unique_ptr<wasm::Engine> engine;  // outlives the runtime, whose workers have entered it
  otp::Runtime runtime;
  std::unique_ptr<wasm::CodeCache> cache;

 private:
  explicit Node(const Options& options)
      : runtime({.workers = options.workers},
                {.clock = clock, .entropy = entropy, .reactors = reactors, .hook = &ends}) {}
};

struct Folder {
  std::filesystem::path path = std::filesystem::temp_directory_path() / fmt::format("rusm-bench-{}", getpid());
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

struct Starts {
  Histogram times;
  Nanoseconds spent = 0;
  double count = 0;

  void add(Nanoseconds start, Nanoseconds end) {
    times.record(static_cast<std::uint64_t>(end - start));
    spent += end - start;
    ++count;
  }
  Measurement measured(unsigned workers) const {
    return {.value = count * 1e9 / static_cast<double>(spent),
            .unit = "starts/s",
            .p50_ns = times.percentile(0.5),
            .p99_ns = times.percentile(0.99),
            .workers = workers};
  }
};

}  // namespace

Result<Measurement> cold_start(const Options& options) {
  const Folder folder;
  const std::string wasm = large_component();
  auto opened = Node::open(options, folder.path);
  if (!opened) return std::unexpected(std::move(opened.error()));
  Node& node = **opened;
  if (Result<> compiled = node.load_and_run(wasm); !compiled) return std::unexpected(std::move(compiled.error()));
  Starts starts;
  for (const Nanoseconds end = node.clock.now() + options.span(); node.clock.now() < end;) {
    const Nanoseconds start = node.clock.now();
    if (Result<> run = node.load_and_run(wasm); !run) return std::unexpected(std::move(run.error()));
    starts.add(start, node.clock.now());
  }
  return starts.measured(node.runtime.workers());
}

Result<Measurement> node_start(const Options& options) {
  const Folder folder;
  const std::string wasm = large_component();
  const SystemClock clock;
  Starts starts;
  unsigned workers = 0;
  for (const Nanoseconds end = clock.now() + options.span(); starts.count == 0 || clock.now() < end;) {
    const Nanoseconds start = clock.now();
    auto node = Node::open(options, folder.path);
    if (!node) return std::unexpected(std::move(node.error()));
    if (Result<> run = (*node)->load_and_run(wasm); !run) return std::unexpected(std::move(run.error()));
    const Nanoseconds done =
        clock.now();  // what is taken down after that does not count, nor does the one that compiles
    if (workers != 0) starts.add(start, done);
    workers = (*node)->runtime.workers();
  }
  return starts.measured(workers);
}

}  // namespace rusm::bench
