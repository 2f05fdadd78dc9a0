#include "bench/store_workloads.h"

#include <stdlib.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "base/histogram.h"
#include "bench/bench_node.h"
#include "bench/gate.h"
#include "kv/durable_kv_store.h"
#include "kv/kv_process.h"
#include "otp/routine.h"

namespace rusm::bench {
namespace {

using namespace rusm::otp;  // NOLINT(google-build-using-namespace): this file is about nothing else

constexpr unsigned kWriters = 64;
constexpr std::uint64_t kKeys = 10'000;
constexpr std::size_t kValueBytes = 100;

// Goes with what is in it.
class BenchFolder {
 public:
  BenchFolder() {
    const char* chosen = getenv("RUSM_BENCH_DIR");
    // Not the temporary folder of the system: that may be in memory.
    std::string name = std::string(chosen != nullptr ? chosen : "/var/tmp") + "/rusm-bench-XXXXXX";
    if (mkdtemp(name.data()) != nullptr) path_ = name;
  }
  ~BenchFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  BenchFolder(const BenchFolder&) = delete;
  BenchFolder& operator=(const BenchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::string key_of(std::uint64_t number) {
  std::string digits = std::to_string(number);
  return "key/" + std::string(6 - digits.size(), '0') + digits;
}

// The value begins with a counter, which is what is changed.
std::string changed(std::string value) {
  std::uint64_t counter = 0;
  value.resize(kValueBytes, 'x');
  std::memcpy(&counter, value.data(), sizeof counter);
  ++counter;
  std::memcpy(value.data(), &counter, sizeof counter);
  return value;
}

struct Written {
  std::mutex mutex;
  // Guarded by mutex.
  std::uint64_t count = 0;
  Histogram each;
  std::optional<Error> error;
};

Routine writer(Self& self, kv::DurableKvStore* store, Nanoseconds until, std::uint64_t seed, Written* written,
               std::shared_ptr<Gate> gate) {
  const Clock& clock = self.runtime().clock();
  Random random(seed);
  Histogram each;
  std::optional<Error> error;
  for (Nanoseconds start = clock.now(); start < until && !error;) {
    const std::string key = key_of(random.below(kKeys));
    bool swapped = false;
    while (!swapped && !error) {
      Result<std::optional<std::string>> seen = co_await kv::get(self, *store, "bench", key);
      if (!seen) {
        error = seen.error();
        break;
      }
      std::string next = changed(seen->value_or(""));
      const Result<bool> done =
          co_await kv::compare_and_set(self, *store, "bench", key, std::move(*seen), std::move(next));
      if (done) {
        swapped = *done;
      } else {
        error = done.error();
      }
    }
    const Nanoseconds now = clock.now();
    if (swapped) each.record(static_cast<std::uint64_t>(now - start));
    start = now;
  }
  {
    const std::scoped_lock lock(written->mutex);
    written->count += each.count();
    written->each.merge(each);
    if (error) written->error = error;
  }
  gate->arrive();
}

}  // namespace

Result<Measurement> kv(const Options& options) {
  const BenchFolder folder;
  if (folder.path().empty()) return fail(ErrorCode::kIo, "kv", "cannot make a temporary folder: " + errno_text(errno));
  const Result<std::unique_ptr<kv::DurableKvStore>> store = kv::DurableKvStore::open({.folder = folder.path() / "kv"});
  if (!store) return std::unexpected(store.error());
  kv::KvBatch batch;
  for (std::uint64_t i = 0; i < kKeys; ++i) batch.set("bench", key_of(i), changed(""));
  if (const Result<kv::KvOutcome> filled = (*store)->commit(std::move(batch)); !filled) {
    return std::unexpected(filled.error());
  }
  Written written;
  BenchNode node(options);
  const auto gate = std::make_shared<Gate>(kWriters);
  const Nanoseconds start = node.clock.now();
  for (unsigned i = 0; i < kWriters; ++i) {
    node.runtime.spawn(writer, store->get(), start + options.span(), std::uint64_t{i} + 1, &written, gate);
  }
  gate->wait();
  const Measurement measured = node.measured(static_cast<double>(written.count), "writes/s", start, &written.each);
  if (written.error) return std::unexpected(*written.error);
  return measured;
}

}  // namespace rusm::bench
