// A bank that never loses a cent, whoever is killed. README.md says why.
#include <fcntl.h>
#include <rusm/kv/durable_kv_store.h>
#include <rusm/kv/memory_kv_store.h>
#include <rusm/otp/application.h>
#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "books.h"
#include "chaos.h"
#include "tally.h"
#include "teller.h"
#include "transfer.h"

using namespace rusm;
using namespace rusm::otp;

namespace {

constexpr const char* kUsage =
    "usage: bank [--store FOLDER] [--accounts N] [--cents N] [--tellers N] [--orders N] [--seed N]\n"
    "            [--chaos SEED [--chaos-every MICROSECONDS]] [--acknowledged FILE]\n"
    "       bank verify --store FOLDER [--acknowledged FILE]\n";

struct Arguments {
  bool verify = false;
  std::string store;  // empty: in memory
  std::string acknowledged;
  std::uint64_t accounts = 32;
  std::uint64_t cents = 100'000;
  std::uint64_t tellers = 16;
  std::uint64_t orders = 500;  // of each teller
  std::uint64_t seed = 1;
  std::uint64_t chaos = 0;  // 0: none
  std::uint64_t chaos_every = 500;
};

Result<Arguments> parse(int argc, char** argv) {
  Arguments arguments;
  const std::map<std::string_view, std::uint64_t*> numbers = {
      {"--accounts", &arguments.accounts},      {"--cents", &arguments.cents}, {"--tellers", &arguments.tellers},
      {"--orders", &arguments.orders},          {"--seed", &arguments.seed},   {"--chaos", &arguments.chaos},
      {"--chaos-every", &arguments.chaos_every}};
  const std::map<std::string_view, std::string*> texts = {{"--store", &arguments.store},
                                                          {"--acknowledged", &arguments.acknowledged}};
  int at = 1;
  if (argc > 1 && std::string_view(argv[1]) == "verify") {
    arguments.verify = true;
    ++at;
  }
  for (; at < argc; at += 2) {
    const std::string name = argv[at];
    const std::string_view text = at + 1 < argc ? argv[at + 1] : "";
    if (const auto found = texts.find(name); found != texts.end() && !text.empty()) {
      *found->second = text;
      continue;
    }
    const auto found = numbers.find(name);
    if (found == numbers.end()) return fail(ErrorCode::kInvalid, name, "there is no such option");
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), *found->second);
    if (error != std::errc() || rest != text.data() + text.size() || *found->second < 1 ||
        *found->second > 10'000'000) {
      return fail(ErrorCode::kInvalid, name, "takes a whole number from 1 to 10000000");
    }
  }
  if (arguments.accounts < 2) return fail(ErrorCode::kInvalid, "--accounts", "a transfer needs two");
  if (arguments.tellers > 0xffff) return fail(ErrorCode::kInvalid, "--tellers", "takes at most 65535");
  if (arguments.verify && arguments.store.empty()) return fail(ErrorCode::kInvalid, "verify", "needs a --store");
  return arguments;
}

std::string in_words(bank::Cents cents) {
  char text[64];
  std::snprintf(text, sizeof text, "%lld.%02lld", static_cast<long long>(cents / 100),
                static_cast<long long>(cents % 100));
  return text;
}

// True when the books are in order.
bool report(const kv::KvStore& store, bank::Beginning beginning, const std::vector<bank::Closed>& acknowledged) {
  const Result<bank::Audit> audit = bank::audit(store, beginning);
  if (!audit) {
    std::fprintf(stderr, "bank: %s\n", audit.error().to_string().c_str());
    return false;
  }
  const auto count = [&](bank::Standing standing) {
    const auto found = audit->counts.find(standing);
    return found == audit->counts.end() ? 0 : found->second;
  };
  std::printf("orders: %d done, %d refused for lack of money, %d cancelled at a full account, %d open\n",
              count(bank::Standing::kDone), count(bank::Standing::kRefused), count(bank::Standing::kCancelled),
              count(bank::Standing::kOpen));
  std::printf("money: %s in the accounts and %s on its way, of %s\n", in_words(audit->in_accounts).c_str(),
              in_words(audit->open).c_str(), in_words(beginning.all()).c_str());
  const std::vector<std::string> faults = bank::faults_of(*audit, acknowledged);
  for (const std::string& fault : faults) std::printf("WRONG: %s\n", fault.c_str());
  std::printf("acknowledged: %zu orders; %s\n", acknowledged.size(),
              faults.empty() ? "each is in the books once, and every account is what its orders make of it"
                             : "the books are not in order");
  return faults.empty();
}

// Waits until these are done; false when a signal came first.
bool wait_for(Runtime& runtime, const std::vector<Pid>& processes, const sigset_t& signals) {
  for (const Pid pid : processes) {
    while (!runtime.wait_for(pid, 20 * kMillisecond)) {
      const timespec at_once = {};
      if (sigtimedwait(&signals, nullptr, &at_once) > 0) return false;
    }
  }
  return true;
}

// Runs the bank until its tellers are done.
Result<> run(const Arguments& arguments, bank::Books& books, bank::Beginning beginning, std::uint64_t run,
             bank::Tally& tally, const sigset_t& signals) {
  SystemClock clock;
  SystemEntropy entropy;
  QuietReactorFactory reactors;
  bank::Kills kills;
  Runtime runtime({}, {.clock = clock, .entropy = entropy, .reactors = reactors});
  auto running = Applications::start(runtime, {{.name = "bank", .tree = [&](const Settings&) -> Result<SupervisorSpec> {
                                                  return bank::bank_tree(&books, beginning);
                                                }}});
  if (!running) return std::unexpected(running.error());

  std::vector<Pid> others{runtime.spawn(bank::auditor, &books, beginning.all(), 5 * kMillisecond, &tally)};
  if (arguments.chaos != 0) {
    const Nanoseconds every = static_cast<Nanoseconds>(arguments.chaos_every) * kMicrosecond;
    others.push_back(runtime.spawn(bank::chaos, arguments.chaos, every, &kills));
  }
  std::vector<Pid> tellers;
  for (std::uint64_t i = 0; i < arguments.tellers; ++i) {
    tellers.push_back(runtime.spawn(bank::teller,
                                    bank::Plan{.run = run,
                                               .teller = static_cast<int>(i),
                                               .orders = static_cast<int>(arguments.orders),
                                               .accounts = beginning.accounts,
                                               .cents_max = beginning.cents / 2 + 1,
                                               .seed = arguments.seed + (run << 16)},
                                    &tally));
  }
  tellers.push_back(runtime.whereis(bank::kRecovery));
  const bool finished = wait_for(runtime, tellers, signals);
  if (!finished) std::printf("stopped before the end\n");
  for (const Pid pid : others) runtime.exit(pid, ExitReason::Kind::kKill);
  const Result<> stopped = running->stop();
  (void)runtime.shutdown(kSecond);

  const bank::Tally::Counts counts = tally.counts();
  std::printf("killed: %d accounts, %d transfers, %d supervisors with all that was under them\n", kills.accounts.load(),
              kills.transfers.load(), kills.supervisors.load());
  std::printf("looks: %d saw all the money, %d saw less or more, %d saw too much going on\n",
              counts.looks - counts.wrong_looks, counts.wrong_looks, counts.vain_looks);
  if (counts.wrong_looks != 0) return fail(ErrorCode::kCorrupt, "auditor", "has seen money vanish or appear");
  if (finished && tally.acknowledged().size() != arguments.tellers * arguments.orders) {
    return fail(ErrorCode::kInternal, "tellers", "have ended before their orders were acknowledged");
  }
  return stopped;
}

Result<bool> open_and_run(const Arguments& arguments, const sigset_t& signals) {
  kv::MemoryKvStore memory;
  std::unique_ptr<kv::DurableKvStore> durable;
  if (!arguments.store.empty()) {
    auto opened = kv::DurableKvStore::open({.folder = arguments.store});
    if (!opened) return std::unexpected(opened.error());
    durable = std::move(*opened);
  }
  kv::KvStore& store = durable ? static_cast<kv::KvStore&>(*durable) : memory;
  const bank::Beginning wanted{static_cast<int>(arguments.accounts), static_cast<bank::Cents>(arguments.cents)};
  const Result<bank::Beginning> beginning = bank::begin_with(store, wanted);
  if (!beginning) return std::unexpected(beginning.error());

  if (arguments.verify) {
    Result<std::vector<bank::Closed>> acknowledged;
    if (!arguments.acknowledged.empty()) acknowledged = bank::read_acknowledged(arguments.acknowledged);
    if (!acknowledged) return std::unexpected(acknowledged.error());
    return report(store, *beginning, *acknowledged);
  }
  const int file = arguments.acknowledged.empty()
                       ? -1
                       : open(arguments.acknowledged.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file < 0 && !arguments.acknowledged.empty()) {
    return fail(ErrorCode::kIo, arguments.acknowledged, errno_text(errno));
  }
  const Result<std::uint64_t> number = bank::count_run(store);
  if (!number) return std::unexpected(number.error());
  std::printf("bank: %d accounts with %s each; run %llu\n", beginning->accounts, in_words(beginning->cents).c_str(),
              static_cast<unsigned long long>(*number + 1));
  std::fflush(stdout);

  bank::Tally tally(file);
  bank::MemoryBooks memory_books(store);
  std::optional<bank::DurableBooks> durable_books;
  if (durable) durable_books.emplace(*durable);
  bank::Books& books = durable ? static_cast<bank::Books&>(*durable_books) : memory_books;
  if (const Result<> done = run(arguments, books, *beginning, *number, tally, signals); !done) {
    return std::unexpected(done.error());
  }
  return report(store, *beginning, tally.acknowledged());
}

}  // namespace

int main(int argc, char** argv) {
  const Result<Arguments> arguments = parse(argc, argv);
  if (!arguments) {
    std::fprintf(stderr, "bank: %s\n%s", arguments.error().to_string().c_str(), kUsage);
    return 2;
  }
  // Before any thread is started, so that the signals wait for sigtimedwait().
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  const Result<bool> in_order = open_and_run(*arguments, signals);
  if (!in_order) std::fprintf(stderr, "bank: %s\n", in_order.error().to_string().c_str());
  return in_order && *in_order ? 0 : 1;
}
