// Books: the store as the bank's processes use it, whether it waits for a disk or not.
#pragma once

#include <rusm/kv/durable_kv_store.h>
#include <rusm/otp/routine.h>

#include <optional>
#include <string>
#include <vector>

#include "ledger.h"

namespace bank {

// Threads: any thread. Outlives the processes.
class Books {
 public:
  virtual ~Books() = default;
  virtual rusm::otp::Task<rusm::Result<std::optional<std::string>>> read(rusm::otp::Self& self, std::string bucket,
                                                                         std::string key) = 0;
  virtual rusm::otp::Task<rusm::Result<rusm::kv::KvPage>> list(rusm::otp::Self& self, std::string bucket,
                                                               std::string after) = 0;
  // A process that is killed while it waits for this has committed, or not, or will have soon.
  virtual rusm::otp::Task<rusm::Result<rusm::kv::KvOutcome>> commit(rusm::otp::Self& self, rusm::kv::KvBatch batch) = 0;
};

// Over a store that never blocks.
class MemoryBooks final : public Books {
 public:
  explicit MemoryBooks(rusm::kv::KvStore& store) : store_(store) {}
  rusm::otp::Task<rusm::Result<std::optional<std::string>>> read(rusm::otp::Self& self, std::string bucket,
                                                                 std::string key) override;
  rusm::otp::Task<rusm::Result<rusm::kv::KvPage>> list(rusm::otp::Self& self, std::string bucket,
                                                       std::string after) override;
  rusm::otp::Task<rusm::Result<rusm::kv::KvOutcome>> commit(rusm::otp::Self& self, rusm::kv::KvBatch batch) override;

 private:
  rusm::kv::KvStore& store_;
};

class DurableBooks final : public Books {
 public:
  explicit DurableBooks(rusm::kv::DurableKvStore& store) : store_(store) {}
  rusm::otp::Task<rusm::Result<std::optional<std::string>>> read(rusm::otp::Self& self, std::string bucket,
                                                                 std::string key) override;
  rusm::otp::Task<rusm::Result<rusm::kv::KvPage>> list(rusm::otp::Self& self, std::string bucket,
                                                       std::string after) override;
  rusm::otp::Task<rusm::Result<rusm::kv::KvOutcome>> commit(rusm::otp::Self& self, rusm::kv::KvBatch batch) override;

 private:
  rusm::kv::DurableKvStore& store_;
};

// The value, or an exception: the process crashes, and its supervisor decides.
template <class T>
T value_or_crash(rusm::Result<T> result) {
  if (!result) throw std::runtime_error(result.error().to_string());
  return std::move(*result);
}

// How an order stands. What it says may have changed since; only a batch that expects it makes it sure.
rusm::otp::Task<Standing> standing_of(rusm::otp::Self& self, Books& books, Order order);

// All the money, in accounts and on its way, at one moment; nothing when there was too much going on to see one. First
// everything is read, then a batch that writes nothing expects all of it: when it applies, all of it was true at once.
rusm::otp::Task<std::optional<Cents>> look(rusm::otp::Self& self, Books& books);

}  // namespace bank
