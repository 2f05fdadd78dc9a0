// An account: a server that alone changes its balance, one step after another. What it remembers is a copy of what is
// in the books, and every batch expects the books to be as it remembers them. So it may be killed at any time: whoever
// comes after it reads the books, and if a batch of the dead one still arrives, the next one fails and reads again.
#pragma once

#include <rusm/otp/server.h>

#include "books.h"

namespace bank {

// Takes the money for an order out of this account and opens the order. kRefused: there is too little.
struct Reserve {
  Order order;
};
// Closes an open order by putting its money into this account. kFull: it takes no more.
struct Credit {
  Order order;
};
// Closes an open order by putting its money back into this account.
struct Refund {
  Order order;
};

// Each is answered with how the order stands, and changes nothing when it is past that step already: it can be asked
// again and again.
class Account {
 public:
  using Messages = rusm::otp::Messages<Reserve, Credit, Refund>;
  Account(Books* books, int number, Cents cents_max) : books_(*books), number_(number), cents_max_(cents_max) {}

  rusm::otp::Task<rusm::Result<>> init(rusm::otp::Self& self);
  rusm::otp::Task<Standing> on(rusm::otp::Self& self, Reserve asked);
  rusm::otp::Task<Standing> on(rusm::otp::Self& self, Credit asked);
  rusm::otp::Task<Standing> on(rusm::otp::Self& self, Refund asked);

 private:
  rusm::otp::Task<Standing> close(rusm::otp::Self& self, Order order, Standing as);
  // Commits a batch that leaves this account with so many cents. False, and all is read again, when it was not as
  // expected.
  rusm::otp::Task<bool> commit(rusm::otp::Self& self, rusm::kv::KvBatch batch, Balance next);
  rusm::otp::Task<> remember(rusm::otp::Self& self);

  Books& books_;
  const int number_;
  const Cents cents_max_;
  Balance balance_;
};

std::string name_of_account(int number);

// Accounts, each restarted by itself.
rusm::otp::SupervisorSpec accounts(Books* books, Beginning beginning);

}  // namespace bank
