// The ledger: what is written where, and how it is held against itself.
//
//   accounts  number   "cents version"           the version counts the changes, so that no two states look alike
//   open      order    "from to cents"           the money is on its way: in no account, but here
//   closed    order    "done from to cents", "refused …" or "cancelled …"
//   bank      "accounts", "cents", "runs"        how many accounts it began with, what was in each, how often it ran
//
// The rule of the house: no batch changes the sum of all accounts and all open orders.
#pragma once

#include <rusm/kv/kv_store.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bank {

using Cents = std::int64_t;

// Whoever gives an order chooses its id, and gives it again with the same id when the answer is lost.
struct Order {
  std::uint64_t id;
  int from;
  int to;
  Cents cents;
  bool operator==(const Order&) const = default;
};

enum class Standing : std::uint8_t {
  kUnknown,
  kOpen,
  kDone,
  kRefused,    // there was not enough money
  kCancelled,  // the other account takes no more; the money is back
  kFull,       // an answer only: the account takes no more
};
std::string_view name_of(Standing standing);

struct Balance {
  Cents cents = 0;
  std::int64_t version = 0;
  bool operator==(const Balance&) const = default;
};

// ── As it is written ──
std::string text_of(const Balance& balance);
std::string text_of(const Order& order);                     // of one that is open
std::string text_of(const Order& order, Standing standing);  // of one that is closed
std::string key_of(int account);
std::string key_of(const Order& order);
std::optional<Balance> balance_of(std::string_view text);
std::optional<Order> order_of(std::string_view key, std::string_view text);
struct Closed {
  Order order;
  Standing standing;
  bool operator==(const Closed&) const = default;
};
std::optional<Closed> closed_of(std::string_view key, std::string_view text);

struct Beginning {
  int accounts;
  Cents cents;  // in each
  Cents all() const { return accounts * cents; }
};

// Opens the accounts, unless there are some already; then these are what it returns. They block as the store does.
rusm::Result<Beginning> begin_with(rusm::kv::KvStore& store, Beginning wanted);
// How often the bank has run before.
rusm::Result<std::uint64_t> count_run(rusm::kv::KvStore& store);

// What the books say as a whole. Nobody may write meanwhile.
struct Audit {
  Cents in_accounts = 0;
  Cents open = 0;
  std::map<std::uint64_t, Closed> closed;
  std::map<Standing, int> counts;
  // An account that is not what its orders make of it, a sum that is another, a line that cannot be read.
  std::vector<std::string> faults;
};
rusm::Result<Audit> audit(const rusm::kv::KvStore& store, Beginning beginning);

}  // namespace bank
