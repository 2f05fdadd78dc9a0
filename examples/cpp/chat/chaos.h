// Chaos: kills sessions, one at a time, chosen at random.
#pragma once

#include <rusm/otp/routine.h>

#include <cstdint>

namespace chat {

rusm::otp::Routine chaos(rusm::otp::Self& self, std::uint64_t seed, rusm::Nanoseconds every);

}  // namespace chat
