// Kills a process that writes to a durable store with several threads, at a random instant, again and again, and looks
// each time whether all that it acknowledged is there, and every batch whole.
//
//   rusm_kv_kill --rounds 1000 [--seed N] [--in-memory]
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/entropy.h"
#include "base/test_folder.h"
#include "kv/durable_kv_store.h"

namespace rusm::kv {
namespace {

constexpr std::uint64_t kThreads = 4;
constexpr std::uint64_t kSlots = 16;  // keys of each thread
constexpr Nanoseconds kRunMax = 25 * kMillisecond;
constexpr int kAnswerMsMax = 60'000;

// What the child reports: this write of this thread to this key was acknowledged.
struct Acknowledged {
  std::uint64_t thread;
  std::uint64_t slot;
  std::uint64_t number;
};

std::string key_of(std::uint64_t thread, std::uint64_t slot) {
  return std::to_string(thread) + "/" + std::to_string(slot);
}

// From the number alone, so that the parent knows what must be there.
std::string value_of(std::uint64_t thread, std::uint64_t slot, std::uint64_t number) {
  Random random(number * 1000 + thread * 100 + slot);
  std::string value = std::to_string(number) + ":";
  value.resize(value.size() + (random.below(50) == 0 ? random.below(20'000) : random.below(300)),
               static_cast<char>('a' + random.below(26)));
  return value;
}

DurableKvOptions options_of(const std::filesystem::path& folder) {
  // A short log, so that it is moved into the main file all the time.
  return {.folder = folder, .readers_max = 1, .log_pages_max = 48};
}

// Each batch writes one number to two buckets, and moves the newest of the thread on from what it was.
void write_on(DurableKvStore& store, std::uint64_t thread, std::uint64_t number) {
  Random random(number + thread);
  for (;; ++number) {
    const std::uint64_t slot = random.below(kSlots);
    const std::string value = value_of(thread, slot, number);
    KvBatch batch;
    batch.set("one", key_of(thread, slot), value).set("two", key_of(thread, slot), value);
    const Result<KvOutcome> outcome = store.commit(std::move(batch));
    if (!outcome || !outcome->applied()) {
      std::fprintf(stderr, "child: %s\n", outcome ? "not applied" : outcome.error().to_string().c_str());
      _exit(3);
    }
    const Acknowledged done{.thread = thread, .slot = slot, .number = number};
    if (::write(STDOUT_FILENO, &done, sizeof done) != static_cast<ssize_t>(sizeof done)) _exit(4);
  }
}

int run_child(const std::filesystem::path& folder, std::uint64_t number) {
  Result<std::unique_ptr<DurableKvStore>> store = DurableKvStore::open(options_of(folder));
  if (!store) {
    std::fprintf(stderr, "child: %s\n", store.error().to_string().c_str());
    return 2;
  }
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < kThreads; ++t) threads.emplace_back([&, t] { write_on(**store, t, number); });
  for (std::thread& thread : threads) thread.join();
  return 0;
}

struct Child {
  pid_t pid = -1;
  int pipe = -1;
};

Child start_child(const std::filesystem::path& folder, std::uint64_t number) {
  std::array<int, 2> ends{};
  RUSM_ASSERT(pipe(ends.data()) == 0, "no pipe");
  const std::string path = folder.string();
  const std::string from = std::to_string(number);
  const pid_t pid = fork();
  RUSM_ASSERT(pid >= 0, "no process");
  if (pid == 0) {
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    execl("/proc/self/exe", "rusm_kv_kill", "--child", path.c_str(), "--from", from.c_str(), nullptr);
    _exit(5);
  }
  close(ends[1]);
  return {.pid = pid, .pipe = ends[0]};
}

using Numbers = std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t>;

// Reads what is there until the deadline, or the end of the pipe.
std::uint64_t read_reports(int pipe, Nanoseconds deadline, Numbers* acknowledged) {
  std::uint64_t count = 0;
  for (;;) {
    const Nanoseconds left = deadline == kNever ? kSecond * 60 : deadline - SystemClock().now();
    pollfd waits{.fd = pipe, .events = POLLIN, .revents = 0};
    if (left <= 0 || poll(&waits, 1, static_cast<int>(left / kMillisecond) + 1) <= 0) return count;
    Acknowledged done{};
    const ssize_t got = ::read(pipe, &done, sizeof done);
    if (got != static_cast<ssize_t>(sizeof done)) return count;
    (*acknowledged)[{done.thread, done.slot}] = done.number;
    ++count;
  }
}

int complain(const std::string& what) {
  std::fprintf(stderr, "rusm_kv_kill: %s\n", what.c_str());
  return 1;
}

// Takes what is there now over into `acknowledged`: from now on it must stay.
int check(const std::filesystem::path& folder, Numbers* acknowledged) {
  const Result<std::unique_ptr<DurableKvStore>> opened = DurableKvStore::open(options_of(folder));
  if (!opened) return complain(opened.error().to_string());
  const DurableKvStore& store = **opened;
  if (const Result<> whole = store.check(); !whole) return complain(whole.error().to_string());
  for (std::uint64_t thread = 0; thread < kThreads; ++thread) {
    for (std::uint64_t slot = 0; slot < kSlots; ++slot) {
      const std::string key = key_of(thread, slot);
      const std::string one = store.get("one", key)->value_or("0:");
      if (one != store.get("two", key)->value_or("0:")) return complain("half a batch is there: " + key);
      const std::uint64_t number = std::stoull(one);
      std::uint64_t& wanted = (*acknowledged)[{thread, slot}];
      if (number < wanted) {
        return complain(key + " has number " + std::to_string(number) + "; acknowledged was " + std::to_string(wanted));
      }
      if (number != 0 && one != value_of(thread, slot, number)) return complain("a value is not whole: " + key);
      wanted = number;
    }
  }
  return 0;
}

int run_rounds(std::uint64_t rounds, std::uint64_t seed, bool in_memory) {
  const TestFolder tests(in_memory ? folder_in_memory() : std::filesystem::temp_directory_path());
  const std::filesystem::path folder = tests.path() / "store";
  Random random(seed);
  Numbers acknowledged;
  std::uint64_t writes = 0;
  for (std::uint64_t round = 1; round <= rounds; ++round) {
    const Child child = start_child(folder, round << 32);
    // Some are killed while they open the store, or move the log of the one before.
    if (random.below(4) != 0) {
      pollfd waits{.fd = child.pipe, .events = POLLIN, .revents = 0};
      if (poll(&waits, 1, kAnswerMsMax) <= 0) return complain("the child does not write");
    }
    const Nanoseconds until = SystemClock().now() + static_cast<Nanoseconds>(random.below(kRunMax));
    writes += read_reports(child.pipe, until, &acknowledged);
    kill(child.pid, SIGKILL);
    writes += read_reports(child.pipe, kNever, &acknowledged);
    close(child.pipe);
    int status = 0;
    waitpid(child.pid, &status, 0);
    if (!WIFSIGNALED(status)) return complain("the child ended by itself");
    if (check(folder, &acknowledged) != 0) {
      return complain("round " + std::to_string(round) + " of seed " + std::to_string(seed));
    }
  }
  if (writes < rounds / 2) return complain("hardly anything was written: this proves nothing");
  std::printf("%llu rounds, %llu acknowledged writes, none lost\n", static_cast<unsigned long long>(rounds),
              static_cast<unsigned long long>(writes));
  return 0;
}

}  // namespace
}  // namespace rusm::kv

int main(int argc, char** argv) {
  CLI::App app("kills a writer of a durable store again and again, and looks what is left");
  std::uint64_t rounds = 100;
  std::uint64_t seed = 1;
  std::uint64_t from = 0;
  bool in_memory = false;
  std::string child;
  app.add_option("--rounds", rounds, "how often");
  app.add_option("--seed", seed, "of the instants");
  app.add_flag("--in-memory", in_memory, "in a folder in memory, where more rounds go into a second");
  app.add_option("--child", child, "the store to write to: for the program itself");
  app.add_option("--from", from, "the first number to write: for the program itself");
  CLI11_PARSE(app, argc, argv);
  return child.empty() ? rusm::kv::run_rounds(rounds, seed, in_memory) : rusm::kv::run_child(child, from);
}
