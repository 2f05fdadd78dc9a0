// Workers and the foreman who hires them.
#pragma once

#include <rusm/otp/supervisor.h>

#include "office.h"

namespace jobs {

// Takes jobs and does them. Crashes when its mishaps say so: before a job is done, or right after it.
rusm::otp::Routine worker(rusm::otp::Self& self, Mishaps mishaps);

// Its workers come and go.
rusm::otp::SupervisorSpec crew();

// Hires so many workers, waits until every job is done, says what came of it, and asks the tree to stop.
rusm::otp::Routine foreman(rusm::otp::Self& self, int workers, Mishaps mishaps);

}  // namespace jobs
