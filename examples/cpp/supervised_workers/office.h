// The office: a price list that fails now and then, and a clerk who asks it. The clerk knows the price list by its pid,
// so that a new price list needs a new clerk: a pair for Strategy::kRestForOne.
#pragma once

#include <rusm/otp/server.h>

#include <cstdint>
#include <optional>

#include "job_queue.h"

namespace jobs {

// How often what fails, and in which of all the possible runs.
struct Mishaps {
  std::uint64_t seed = 1;
  int worker_percent = 10;  // of the attempts
  int prices_permille = 10;
};

// One of all that could happen to an attempt at a job: the same in every run with this seed.
std::uint64_t fate(const Mishaps& mishaps, Job job, std::uint64_t salt);

struct PriceOf {
  Job job;
};

class Prices {
 public:
  using Messages = rusm::otp::Messages<PriceOf>;
  explicit Prices(Mishaps mishaps) : mishaps_(mishaps) {}
  std::int64_t on(rusm::otp::Self&, PriceOf asked);

 private:
  const Mishaps mishaps_;
};

class Clerk {
 public:
  using Messages = rusm::otp::Messages<PriceOf>;
  explicit Clerk(rusm::otp::Self& self) : prices_(rusm::otp::Server<Prices>::find(self.runtime(), "prices")) {}
  // Nothing while there is no price list.
  rusm::otp::Task<std::optional<std::int64_t>> on(rusm::otp::Self& self, PriceOf asked);

 private:
  const rusm::otp::Server<Prices> prices_;
};

rusm::otp::SupervisorSpec office(Mishaps mishaps);

}  // namespace jobs
