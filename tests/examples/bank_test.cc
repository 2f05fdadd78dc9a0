// The bank of examples/cpp/bank in deterministic runtimes: one step at a time, in virtual time, with processes killed
// at any step, and the books added up after each.
#include <gtest/gtest.h>
#include <rusm/base/entropy.h>
#include <rusm/kv/memory_kv_store.h>
#include <rusm/otp/server.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "account.h"
#include "books.h"
#include "tally.h"
#include "teller.h"
#include "transfer.h"

namespace bank {
namespace {

using namespace rusm::otp;
using rusm::Result;
using rusm::kv::KvBatch;
using rusm::kv::KvOutcome;

#ifdef RUSM_SANITIZED
constexpr std::uint64_t kSeeds = 100;
#else
constexpr std::uint64_t kSeeds = 600;
#endif

// RUSM_BANK_SEEDS=N runs so many.
std::uint64_t seeds() {
  const char* text = std::getenv("RUSM_BANK_SEEDS");
  return text == nullptr ? kSeeds : std::strtoull(text, nullptr, 10);
}

constexpr Beginning kBeginning{.accounts = 4, .cents = 100};
constexpr int kTellers = 3;
constexpr int kOrders = 6;
constexpr int kKills = 30;

struct Write {
  KvBatch batch;
};

// Does what it is asked in its own time, also for those who are dead by then.
class Disk {
 public:
  using Messages = rusm::otp::Messages<Write>;
  Disk(rusm::kv::KvStore* store, int* unmet) : store_(store), unmet_(unmet) {}
  Task<Result<KvOutcome>> on(Self& self, Write write) {
    co_await yield(self);
    Result<KvOutcome> outcome = store_->commit(std::move(write.batch));
    if (outcome && !outcome->applied()) ++*unmet_;
    co_return outcome;
  }

 private:
  rusm::kv::KvStore* store_;
  int* unmet_;
};

class DiskBooks final : public Books {
 public:
  DiskBooks(rusm::kv::KvStore& store, Pid disk) : store_(store), disk_(disk) {}
  Task<Result<std::optional<std::string>>> read(Self& self, std::string bucket, std::string key) override {
    co_await yield(self);
    co_return store_.get(bucket, key);
  }
  Task<Result<rusm::kv::KvPage>> list(Self& self, std::string bucket, std::string after) override {
    co_await yield(self);
    co_return store_.list(bucket, "", after);
  }
  Task<Result<KvOutcome>> commit(Self& self, KvBatch batch) override {
    auto asked = disk_.call(self, Write{std::move(batch)}, rusm::kNever);
    std::expected<Result<KvOutcome>, ExitReason> outcome = co_await asked;
    if (!outcome) throw std::runtime_error("no disk: " + outcome.error().to_string());
    co_return std::move(*outcome);
  }

 private:
  rusm::kv::KvStore& store_;
  const Server<Disk> disk_;
};

struct Totals {
  std::map<Standing, int> closed;
  int kills = 0;
  int restarts = 0;  // of the whole bank
  int unmet = 0;     // batches that found something else than they expected
  int looks = 0;
};

class World {
 public:
  World(std::uint64_t seed, Totals* totals)
      : totals_(totals),
        random_(seed),
        runtime_({.deterministic_seed = seed}, {.clock = clock_, .entropy = entropy_, .reactors = reactors_}),
        disk_(runtime_.spawn(serve<Disk>, &store_, &totals->unmet)),
        books_(store_, disk_) {
    EXPECT_TRUE(begin_with(store_, kBeginning));
    for (int i = 0; i < kTellers; ++i) {
      const Plan plan{.run = 0, .teller = i, .orders = kOrders, .accounts = 4, .cents_max = 70, .seed = seed * 64};
      outside_.push_back(runtime_.spawn(teller, plan, &tally_));
    }
    outside_.push_back(disk_);
    auditor_ = runtime_.spawn(auditor, &books_, kBeginning.all(), rusm::kMillisecond, &tally_);
    outside_.push_back(auditor_);
  }
  ~World() {
    runtime_.kill_all();
    runtime_.run_until_idle();
  }

  void run() {
    while (tally_.acknowledged().size() < kTellers * kOrders) {
      if (!runtime_.is_alive(bank_)) open_the_bank();
      ASSERT_NO_FATAL_FAILURE(step());
      ASSERT_EQ(all_money(), kBeginning.all());
      if (kills_ < kKills && random_.below(20) == 0) kill_one();
    }
    const Result<Audit> audit = bank::audit(store_, kBeginning);
    ASSERT_TRUE(audit) << audit.error().to_string();
    EXPECT_EQ(faults_of(*audit, tally_.acknowledged()), std::vector<std::string>());
    EXPECT_EQ(audit->closed.size(), static_cast<std::size_t>(kTellers * kOrders));
    EXPECT_EQ(audit->open, 0);
    EXPECT_EQ(tally_.counts().wrong_looks, 0);
    for (const auto& [standing, count] : audit->counts) totals_->closed[standing] += count;
    totals_->kills += kills_;
    totals_->looks += tally_.counts().looks;
  }

 private:
  void open_the_bank() {
    if (bank_) ++totals_->restarts;
    bank_ = runtime_.spawn(supervise, bank_tree(&books_, kBeginning));
  }

  void step() {
    if (runtime_.step()) return;
    const rusm::Nanoseconds next = runtime_.next_timer();
    ASSERT_NE(next, rusm::kNever) << "nobody has anything left to do, and not every order is acknowledged";
    clock_.advance_to(next);
  }

  void kill_one() {
    std::vector<Pid> victims = runtime_.processes();
    std::erase_if(victims, [this](Pid pid) { return std::ranges::find(outside_, pid) != outside_.end(); });
    if (victims.empty()) return;
    runtime_.exit(victims[random_.below(victims.size())], ExitReason::Kind::kKill);
    ++kills_;
  }

  // As nobody writes between two steps.
  Cents all_money() const {
    Cents all = 0;
    for (int i = 0; i < kBeginning.accounts; ++i) {
      all += balance_of(store_.get("accounts", key_of(i))->value_or("")).value_or(Balance()).cents;
    }
    for (const std::string& key : store_.list("open", "", "")->keys) {
      all += order_of(key, store_.get("open", key)->value_or("")).value_or(Order()).cents;
    }
    return all;
  }

  Totals* const totals_;
  rusm::Random random_;
  rusm::SimulatedClock clock_;
  rusm::SeededEntropy entropy_{7};
  QuietReactorFactory reactors_;
  rusm::kv::MemoryKvStore store_;
  Tally tally_;
  Runtime runtime_;
  Pid disk_;
  DiskBooks books_;
  Pid bank_;
  Pid auditor_;
  std::vector<Pid> outside_;
  int kills_ = 0;
};

TEST(Bank, LosesNoCentWhoeverIsKilled) {
  Totals totals;
  for (std::uint64_t seed = 1; seed <= seeds(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World(seed, &totals).run();
    if (testing::Test::HasFailure()) return;
  }
  // All that this is about has happened.
  EXPECT_GT(totals.closed[Standing::kDone], 0);
  EXPECT_GT(totals.closed[Standing::kRefused], 0);
  EXPECT_GT(totals.closed[Standing::kCancelled], 0);
  EXPECT_GT(totals.restarts, 0);
  EXPECT_GT(totals.unmet, 0);
  EXPECT_GT(totals.looks, 0);
  EXPECT_GT(totals.kills, static_cast<int>(seeds()) * kKills / 2);
}

}  // namespace
}  // namespace bank
