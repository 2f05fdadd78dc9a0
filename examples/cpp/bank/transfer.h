// A transfer: the process that brings one order to its end, and the tree of the bank.
#pragma once

#include <rusm/otp/supervisor.h>

#include "books.h"

namespace bank {

inline constexpr const char* kTransfers = "bank/transfers";
inline constexpr const char* kRecovery = "bank/recovery";  // ends when what an earlier run left open is closed

// What a transfer is given, and what it sends to `client` at its end.
struct Commission {
  Order order;
  rusm::otp::Pid client;
};
struct Receipt {
  Order order;
  Standing standing;  // kDone, kRefused or kCancelled
};

// Brings an order to its end from wherever it stands.
rusm::otp::Task<Standing> carry_out(rusm::otp::Self& self, Order order);

// The accounts, the transfers, and whoever carries out what an earlier run has left open.
rusm::otp::SupervisorSpec bank_tree(Books* books, Beginning beginning);

}  // namespace bank
