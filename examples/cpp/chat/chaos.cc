#include "chaos.h"

#include <rusm/base/entropy.h>

#include "session.h"

using namespace rusm::otp;

namespace chat {

Routine chaos(Self& self, std::uint64_t seed, rusm::Nanoseconds every) {
  rusm::Random random(seed);
  for (;;) {
    co_await sleep(self, every);
    const Groups::Members sessions = self.runtime().members(kSessions);
    if (sessions) self.exit((*sessions)[random.below(sessions->size())], ExitReason::Kind::kKill);
  }
}

}  // namespace chat
