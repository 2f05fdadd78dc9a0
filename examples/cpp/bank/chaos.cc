#include "chaos.h"

#include <rusm/base/entropy.h>

#include <vector>

using namespace rusm::otp;

namespace bank {

Routine chaos(Self& self, std::uint64_t seed, rusm::Nanoseconds every, Kills* kills) {
  self.set_label("chaos");
  rusm::Random random(seed);
  Runtime& runtime = self.runtime();
  for (;;) {
    co_await sleep(self, every);
    const std::vector<Pid> all = runtime.processes();
    const Pid victim = all[random.below(all.size())];
    const std::optional<ProcessInfo> info = runtime.info(victim);
    if (!info) continue;
    std::atomic<int>* count = nullptr;
    if (info->label.starts_with("account ")) count = &kills->accounts;
    if (info->label == "transfer") count = &kills->transfers;
    if (info->label == "accounts" || info->label == "transfers") count = &kills->supervisors;
    if (count == nullptr) continue;
    self.exit(victim, ExitReason::Kind::kKill);
    ++*count;
  }
}

}  // namespace bank
