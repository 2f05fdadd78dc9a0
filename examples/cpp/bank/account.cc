#include "account.h"

#include <stdexcept>
#include <utility>

using namespace rusm::otp;
using rusm::Result;
using rusm::kv::KvBatch;

namespace bank {

Task<Result<>> Account::init(Self& self) {
  co_await remember(self);
  co_return Result<>();
}

Task<Standing> Account::on(Self& self, Reserve asked) {
  const Order& order = asked.order;
  for (;;) {
    KvBatch batch;
    batch.expect("accounts", key_of(number_), text_of(balance_));
    batch.expect_absent("open", key_of(order)).expect_absent("closed", key_of(order));
    const bool enough = balance_.cents >= order.cents;
    Balance next = balance_;
    if (enough) {
      next = {balance_.cents - order.cents, balance_.version + 1};
      batch.set("accounts", key_of(number_), text_of(next)).set("open", key_of(order), text_of(order));
    } else {
      batch.set("closed", key_of(order), text_of(order, Standing::kRefused));
    }
    if (co_await commit(self, std::move(batch), next)) co_return enough ? Standing::kOpen : Standing::kRefused;
    const Standing standing = co_await standing_of(self, books_, order);
    if (standing != Standing::kUnknown) co_return standing;
  }
}

Task<Standing> Account::on(Self& self, Credit asked) {
  if (balance_.cents + asked.order.cents <= cents_max_) co_return co_await close(self, asked.order, Standing::kDone);
  const Standing standing = co_await standing_of(self, books_, asked.order);
  co_return standing == Standing::kOpen ? Standing::kFull : standing;
}

Task<Standing> Account::on(Self& self, Refund asked) {
  co_return co_await close(self, asked.order, Standing::kCancelled);
}

Task<Standing> Account::close(Self& self, Order order, Standing as) {
  for (;;) {
    const Balance next = {balance_.cents + order.cents, balance_.version + 1};
    KvBatch batch;
    batch.expect("accounts", key_of(number_), text_of(balance_)).expect("open", key_of(order), text_of(order));
    batch.set("accounts", key_of(number_), text_of(next));
    batch.remove("open", key_of(order)).set("closed", key_of(order), text_of(order, as));
    if (co_await commit(self, std::move(batch), next)) co_return as;
    const Standing standing = co_await standing_of(self, books_, order);
    if (standing != Standing::kOpen) co_return standing;
  }
}

Task<bool> Account::commit(Self& self, KvBatch batch, Balance next) {
  const rusm::kv::KvOutcome outcome = value_or_crash(co_await books_.commit(self, std::move(batch)));
  if (outcome.applied()) {
    balance_ = next;
  } else {
    co_await remember(self);
  }
  co_return outcome.applied();
}

Task<> Account::remember(Self& self) {
  const std::optional<std::string> text = value_or_crash(co_await books_.read(self, "accounts", key_of(number_)));
  const std::optional<Balance> balance = text ? balance_of(*text) : std::nullopt;
  if (!balance) throw std::runtime_error("account " + key_of(number_) + " cannot be read");
  balance_ = *balance;
}

std::string name_of_account(int number) {
  return "bank/account/" + std::to_string(number);
}

SupervisorSpec accounts(Books* books, Beginning beginning) {
  SupervisorSpec spec{.restarts_max = 1'000'000};
  for (int i = 0; i < beginning.accounts; ++i) {
    ChildSpec account = child("account " + std::to_string(i), serve<Account>, books, i, 2 * beginning.cents);
    account.name = name_of_account(i);
    spec.children.push_back(std::move(account));
  }
  return spec;
}

}  // namespace bank
