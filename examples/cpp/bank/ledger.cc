#include "ledger.h"

#include <array>
#include <charconv>
#include <functional>
#include <utility>

using rusm::Error;
using rusm::ErrorCode;
using rusm::Result;

namespace bank {
namespace {

constexpr std::array<std::pair<Standing, std::string_view>, 3> kClosed = {
    {{Standing::kDone, "done "}, {Standing::kRefused, "refused "}, {Standing::kCancelled, "cancelled "}}};

// The whole numbers in a text, one space between them.
template <std::size_t kCount>
std::optional<std::array<std::int64_t, kCount>> numbers(std::string_view text) {
  std::array<std::int64_t, kCount> all{};
  const char* at = text.data();
  const char* const end = at + text.size();
  for (std::size_t i = 0; i < kCount; ++i) {
    if (i > 0 && (at == end || *at++ != ' ')) return std::nullopt;
    const auto [rest, error] = std::from_chars(at, end, all[i]);
    if (error != std::errc()) return std::nullopt;
    at = rest;
  }
  return at == end ? std::optional(all) : std::nullopt;
}

Result<std::optional<std::int64_t>> number_at(const rusm::kv::KvStore& store, std::string_view key) {
  const Result<std::optional<std::string>> text = store.get("bank", key);
  if (!text) return std::unexpected(text.error());
  if (!*text) return std::nullopt;
  const auto number = numbers<1>(**text);
  if (!number) return rusm::fail(ErrorCode::kCorrupt, "bank/" + std::string(key), "is no number");
  return (*number)[0];
}

Result<> for_each(const rusm::kv::KvStore& store, std::string_view bucket,
                  const std::function<void(const std::string& key, const std::string& value)>& see) {
  std::string after;
  for (;;) {
    const Result<rusm::kv::KvPage> page = store.list(bucket, "", after);
    if (!page) return std::unexpected(page.error());
    for (const std::string& key : page->keys) {
      const Result<std::optional<std::string>> value = store.get(bucket, key);
      if (!value) return std::unexpected(value.error());
      see(key, value->value_or(""));
    }
    if (!page->more) return {};
    after = page->keys.back();
  }
}

}  // namespace

std::string_view name_of(Standing standing) {
  switch (standing) {
    case Standing::kUnknown:
      return "unknown";
    case Standing::kOpen:
      return "open";
    case Standing::kDone:
      return "done";
    case Standing::kRefused:
      return "refused";
    case Standing::kCancelled:
      return "cancelled";
    case Standing::kFull:
      break;
  }
  return "full";
}

std::string text_of(const Balance& balance) {
  return std::to_string(balance.cents) + ' ' + std::to_string(balance.version);
}
std::string text_of(const Order& order) {
  return std::to_string(order.from) + ' ' + std::to_string(order.to) + ' ' + std::to_string(order.cents);
}
std::string text_of(const Order& order, Standing standing) {
  return std::string(name_of(standing)) + ' ' + text_of(order);
}
std::string key_of(int account) {
  return std::to_string(account);
}
std::string key_of(const Order& order) {
  return std::to_string(order.id);
}

std::optional<Balance> balance_of(std::string_view text) {
  const auto parts = numbers<2>(text);
  return parts ? std::optional(Balance{(*parts)[0], (*parts)[1]}) : std::nullopt;
}

std::optional<Order> order_of(std::string_view key, std::string_view text) {
  const auto id = numbers<1>(key);
  const auto parts = numbers<3>(text);
  if (!id || !parts) return std::nullopt;
  return Order{static_cast<std::uint64_t>((*id)[0]), static_cast<int>((*parts)[0]), static_cast<int>((*parts)[1]),
               (*parts)[2]};
}

std::optional<Closed> closed_of(std::string_view key, std::string_view text) {
  for (const auto& [standing, word] : kClosed) {
    if (!text.starts_with(word)) continue;
    const std::optional<Order> order = order_of(key, text.substr(word.size()));
    return order ? std::optional(Closed{*order, standing}) : std::nullopt;
  }
  return std::nullopt;
}

Result<Beginning> begin_with(rusm::kv::KvStore& store, Beginning wanted) {
  rusm::kv::KvBatch batch;
  batch.expect_absent("bank", "accounts");
  batch.set("bank", "accounts", std::to_string(wanted.accounts)).set("bank", "cents", std::to_string(wanted.cents));
  batch.set("bank", "runs", "0");
  for (int i = 0; i < wanted.accounts; ++i) batch.set("accounts", key_of(i), text_of(Balance{wanted.cents, 0}));
  const Result<rusm::kv::KvOutcome> outcome = store.commit(std::move(batch));
  if (!outcome) return std::unexpected(outcome.error());
  if (outcome->applied()) return wanted;

  const auto accounts = number_at(store, "accounts");
  const auto cents = number_at(store, "cents");
  if (!accounts) return std::unexpected(accounts.error());
  if (!cents) return std::unexpected(cents.error());
  if (!*accounts || !*cents) return rusm::fail(ErrorCode::kCorrupt, "bank", "does not say how it began");
  return Beginning{static_cast<int>(**accounts), **cents};
}

Result<std::uint64_t> count_run(rusm::kv::KvStore& store) {
  for (;;) {
    const auto runs = number_at(store, "runs");
    if (!runs) return std::unexpected(runs.error());
    const std::int64_t before = runs->value_or(0);
    const Result<bool> counted =
        store.compare_and_set("bank", "runs", std::to_string(before), std::to_string(before + 1));
    if (!counted) return std::unexpected(counted.error());
    if (*counted) return static_cast<std::uint64_t>(before);
  }
}

Result<Audit> audit(const rusm::kv::KvStore& store, Beginning beginning) {
  Audit audit;
  std::map<int, Cents> expected;
  for (int i = 0; i < beginning.accounts; ++i) expected[i] = beginning.cents;

  const Result<> open = for_each(store, "open", [&](const std::string& key, const std::string& value) {
    const std::optional<Order> order = order_of(key, value);
    if (!order) return audit.faults.push_back("open/" + key + " cannot be read: " + value);
    audit.open += order->cents;
    expected[order->from] -= order->cents;
    ++audit.counts[Standing::kOpen];
  });
  const Result<> closed = for_each(store, "closed", [&](const std::string& key, const std::string& value) {
    const std::optional<Closed> record = closed_of(key, value);
    if (!record) return audit.faults.push_back("closed/" + key + " cannot be read: " + value);
    audit.closed[record->order.id] = *record;
    ++audit.counts[record->standing];
    if (record->standing != Standing::kDone) return;
    expected[record->order.from] -= record->order.cents;
    expected[record->order.to] += record->order.cents;
  });
  const Result<> accounts = for_each(store, "accounts", [&](const std::string& key, const std::string& value) {
    const std::optional<Balance> balance = balance_of(value);
    if (!balance) return audit.faults.push_back("accounts/" + key + " cannot be read: " + value);
    audit.in_accounts += balance->cents;
    const Cents wanted = expected[std::stoi(key)];
    if (balance->cents == wanted && wanted >= 0) return;
    audit.faults.push_back("account " + key + " has " + std::to_string(balance->cents) + " cents; its orders make " +
                           std::to_string(wanted));
  });
  for (const Result<>* read : {&open, &closed, &accounts}) {
    if (!*read) return std::unexpected(read->error());
  }
  const Cents all = audit.in_accounts + audit.open;
  if (all != beginning.all()) {
    audit.faults.push_back("there are " + std::to_string(all) + " cents; there were " +
                           std::to_string(beginning.all()));
  }
  return audit;
}

}  // namespace bank
