#include "teller.h"

#include <rusm/base/entropy.h>
#include <rusm/otp/match.h>
#include <rusm/otp/supervisor.h>

#include "transfer.h"

using namespace rusm::otp;

namespace bank {
namespace {

// One try to have an order carried out; nothing when whoever did it was killed.
Task<std::optional<Receipt>> attempt(Self& self, Order order) {
  const Pid transfers = self.runtime().whereis(kTransfers);
  const rusm::Result<Pid> started = co_await start_child(self, transfers, Message::of(Commission{order, self.pid()}));
  if (!started) {
    co_await sleep(self, rusm::kMillisecond);  // until there are transfers again
    co_return std::nullopt;
  }
  const Reference reference = self.monitor(*started);
  std::optional<Receipt> receipt;
  for (bool waiting = true; waiting;) {
    Message message = co_await receive(self);
    match(
        message,
        [&](const Receipt& come) {
          if (come.order != order) return;  // of a transfer that was taken for dead
          receipt = come;
          waiting = false;
        },
        [&](const Down& down) { waiting = down.reference != reference; });
  }
  self.demonitor(reference);
  co_return receipt;
}

}  // namespace

Routine teller(Self& self, Plan plan, Tally* tally) {
  self.set_label("teller");
  rusm::Random random(plan.seed + static_cast<std::uint64_t>(plan.teller));
  const auto below = [&random](std::int64_t bound) {
    return static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(bound)));
  };
  for (int i = 0; i < plan.orders; ++i) {
    const auto from = static_cast<int>(below(plan.accounts));
    const auto to = static_cast<int>((from + 1 + below(plan.accounts - 1)) % plan.accounts);
    const std::uint64_t id =
        (plan.run << 40) | (static_cast<std::uint64_t>(plan.teller) << 24) | static_cast<std::uint64_t>(i);
    const Order order{.id = id, .from = from, .to = to, .cents = 1 + below(plan.cents_max)};
    std::optional<Receipt> receipt;
    while (!receipt) receipt = co_await attempt(self, order);
    tally->acknowledge({order, receipt->standing});
  }
}

Routine auditor(Self& self, Books* books, Cents expected, rusm::Nanoseconds every, Tally* tally) {
  self.set_label("auditor");
  for (;;) {
    if (const std::optional<Cents> all = co_await look(self, *books)) {
      tally->see(*all, expected);
    } else {
      tally->see_nothing();
    }
    co_await sleep(self, every);
  }
}

}  // namespace bank
