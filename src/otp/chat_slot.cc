#include "otp/chat_slot.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace rusm::otp {
namespace {

long membarrier(int command) noexcept {
  return syscall(SYS_membarrier, command, 0, 0);
}

// Registered once for the program, at the first use.
bool can_barrier() noexcept {
  static const bool registered = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;
  return registered;
}

}  // namespace

Process* ChatSlot::steal() noexcept {
  if (empty() || !can_barrier()) return nullptr;
  const std::scoped_lock lock(thieves_);
  thief_.store(true, std::memory_order_relaxed);
  Process* process = nullptr;
  if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0 && !claimed_.load(std::memory_order_acquire)) {
    process = slot_.load(std::memory_order_acquire);  // partner: put
    // Into an empty slot the owner puts without a claim: then there is nothing to clear.
    if (process != nullptr) slot_.store(nullptr, std::memory_order_relaxed);
  }
  thief_.store(false, std::memory_order_release);  // partner: wait_for_thief
  return process;
}

void ChatSlot::wait_for_thief() noexcept {
  // The thief saw the claim and gives up, or it is about to finish; either way it does not wait for us.
  while (thief_.load(std::memory_order_acquire)) __builtin_ia32_pause();
}

}  // namespace rusm::otp
