#include "books.h"

#include <rusm/kv/kv_process.h>

#include <stdexcept>
#include <utility>

using namespace rusm::otp;
using rusm::Result;
using rusm::kv::KvBatch;
using rusm::kv::KvOutcome;
using rusm::kv::KvPage;

namespace bank {

Task<Result<std::optional<std::string>>> MemoryBooks::read(Self&, std::string bucket, std::string key) {
  co_return store_.get(bucket, key);
}
Task<Result<KvPage>> MemoryBooks::list(Self&, std::string bucket, std::string after) {
  co_return store_.list(bucket, "", after);
}
Task<Result<KvOutcome>> MemoryBooks::commit(Self& self, KvBatch batch) {
  Result<KvOutcome> outcome = store_.commit(std::move(batch));
  co_await yield(self);  // as with a disk, it may be killed between the deed and the news of it
  co_return outcome;
}

Task<Result<std::optional<std::string>>> DurableBooks::read(Self& self, std::string bucket, std::string key) {
  return rusm::kv::get(self, store_, std::move(bucket), std::move(key));
}
Task<Result<KvPage>> DurableBooks::list(Self& self, std::string bucket, std::string after) {
  return rusm::kv::list(self, store_, std::move(bucket), "", std::move(after));
}
Task<Result<KvOutcome>> DurableBooks::commit(Self& self, KvBatch batch) {
  auto committed = rusm::kv::commit(self, store_, std::move(batch));
  co_return co_await committed;
}

Task<Standing> standing_of(Self& self, Books& books, Order order) {
  // Open before closed: that is the way an order goes.
  if (value_or_crash(co_await books.read(self, "open", key_of(order)))) co_return Standing::kOpen;
  const std::optional<std::string> text = value_or_crash(co_await books.read(self, "closed", key_of(order)));
  if (!text) co_return Standing::kUnknown;
  const std::optional<Closed> closed = closed_of(key_of(order), *text);
  if (!closed) throw std::runtime_error("closed/" + key_of(order) + " cannot be read: " + *text);
  co_return closed->standing;
}

namespace {

// Adds what is in a bucket to `batch`, as expected. What vanishes meanwhile is left out: the batch fails then anyway.
Task<> expect_all(Self& self, Books& books, std::string bucket, KvBatch* batch) {
  std::string after;
  for (;;) {
    const KvPage page = value_or_crash(co_await books.list(self, bucket, after));
    for (const std::string& key : page.keys) {
      const std::optional<std::string> value = value_or_crash(co_await books.read(self, bucket, key));
      if (value) batch->expect(bucket, key, *value);
    }
    if (!page.more) co_return;
    after = page.keys.back();
  }
}

}  // namespace

Task<std::optional<Cents>> look(Self& self, Books& books) {
  KvBatch batch;
  // An order that is opened or closed changes an account, and an account that was changed is never as it was before:
  // when the accounts are as they were read, so are the open orders.
  co_await expect_all(self, books, "accounts", &batch);
  co_await expect_all(self, books, "open", &batch);
  Cents all = 0;
  for (const auto& [bucket, key, value] : batch.expectations) {
    if (bucket == "accounts") {
      all += balance_of(*value).value_or(Balance()).cents;
    } else if (const std::optional<Order> order = order_of(key, *value)) {
      all += order->cents;
    }
  }
  const KvOutcome outcome = value_or_crash(co_await books.commit(self, std::move(batch)));
  co_return outcome.applied() ? std::optional(all) : std::nullopt;
}

}  // namespace bank
