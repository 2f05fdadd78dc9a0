#include "transfer.h"

#include <utility>

#include "account.h"

using namespace rusm::otp;

namespace bank {
namespace {

// Asks an account until it answers: one that was killed has a successor soon.
template <class Request>
Task<Standing> ask(Self& self, int account, Request request) {
  for (;;) {
    const auto server = Server<Account>::find(self.runtime(), name_of_account(account));
    const std::expected<Standing, ExitReason> answer = co_await server.call(self, request);
    if (answer) co_return *answer;
    co_await sleep(self, rusm::kMillisecond);
  }
}

Routine transfer(Self& self, Commission commission) {
  self.set_label("transfer");
  const Standing standing = co_await carry_out(self, commission.order);
  self.send(commission.client, Receipt{commission.order, standing});
}

Routine recovery(Self& self, Books* books) {
  std::string after;
  for (bool more = true; more;) {
    const rusm::kv::KvPage page = value_or_crash(co_await books->list(self, "open", after));
    for (const std::string& key : page.keys) {
      const std::optional<std::string> text = value_or_crash(co_await books->read(self, "open", key));
      const std::optional<Order> order = text ? order_of(key, *text) : std::nullopt;
      if (order) (void)co_await carry_out(self, *order);
      after = key;
    }
    more = page.more;
  }
}

}  // namespace

Task<Standing> carry_out(Self& self, Order order) {
  Standing standing = co_await ask(self, order.from, Reserve{order});
  if (standing == Standing::kOpen) standing = co_await ask(self, order.to, Credit{order});
  if (standing == Standing::kFull) standing = co_await ask(self, order.from, Refund{order});
  co_return standing;
}

SupervisorSpec bank_tree(Books* books, Beginning beginning) {
  ChildSpec like;
  like.restart = Restart::kTemporary;  // whoever gave the order gives it again
  SupervisorSpec transfers{.strategy = Strategy::kSimpleOneForOne,
                           .dynamic = dynamic_child<Commission>(transfer, std::move(like))};
  ChildSpec transfers_child = child_supervisor("transfers", std::move(transfers));
  transfers_child.name = kTransfers;
  ChildSpec recovery_child = child("recovery", recovery, books);
  recovery_child.restart = Restart::kTransient;
  recovery_child.name = kRecovery;
  return {.restarts_max = 1'000'000,
          .backoff = Backoff{.first = rusm::kMillisecond, .max = 5 * rusm::kMillisecond},
          .children = {child_supervisor("accounts", accounts(books, beginning)), std::move(transfers_child),
                       std::move(recovery_child)}};
}

}  // namespace bank
