#include "office.h"

#include <rusm/base/entropy.h>

#include <stdexcept>
#include <string>

using namespace rusm::otp;

namespace jobs {

std::uint64_t fate(const Mishaps& mishaps, Job job, std::uint64_t salt) {
  const auto number = static_cast<std::uint64_t>(job.number);
  return rusm::Random(mishaps.seed + (number << 40) + (static_cast<std::uint64_t>(job.attempt) << 16) + salt).next();
}

std::int64_t Prices::on(Self&, PriceOf asked) {
  const bool fails = fate(mishaps_, asked.job, 1) % 1000 < static_cast<std::uint64_t>(mishaps_.prices_permille);
  if (fails) throw std::runtime_error("the price of job " + std::to_string(asked.job.number) + " is smudged");
  return 100 + asked.job.number % 7;
}

Task<std::optional<std::int64_t>> Clerk::on(Self& self, PriceOf asked) {
  const std::expected<std::int64_t, ExitReason> price = co_await prices_.call(self, asked);
  co_return price ? std::optional(*price) : std::nullopt;
}

SupervisorSpec office(Mishaps mishaps) {
  ChildSpec prices = child("prices", serve<Prices>, mishaps);
  prices.name = "prices";
  ChildSpec clerk = child("clerk", serve<Clerk>);
  clerk.name = "clerk";
  return {.strategy = Strategy::kRestForOne,
          .restarts_max = 2,
          .window = rusm::kSecond,
          .children = {std::move(prices), std::move(clerk)}};
}

}  // namespace jobs
