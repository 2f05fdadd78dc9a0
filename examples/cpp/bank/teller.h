// Those outside the bank: tellers, who give orders until each is acknowledged, and an auditor, who counts the money
// while they do.
#pragma once

#include <rusm/otp/routine.h>

#include "books.h"
#include "tally.h"

namespace bank {

struct Plan {
  std::uint64_t run;  // of the program; no two runs and no two tellers give the same id to an order
  int teller;
  int orders;
  int accounts;
  Cents cents_max;  // in one order
  std::uint64_t seed;
};

rusm::otp::Routine teller(rusm::otp::Self& self, Plan plan, Tally* tally);
rusm::otp::Routine auditor(rusm::otp::Self& self, Books* books, Cents expected, rusm::Nanoseconds every, Tally* tally);

}  // namespace bank
