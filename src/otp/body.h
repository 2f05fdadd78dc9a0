// Body: what a process does. The process core knows nothing more of it, be it a coroutine or a WebAssembly instance.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string_view>

#include "base/error.h"
#include "base/refcount.h"

namespace rusm::otp {

class Process;
struct SpawnOptions;

// How much a body may do before it has to yield: awaits and sends each cost one.
struct Budget {
  std::int32_t reductions;
};

enum class Step : std::uint8_t {
  kYield,        // out of budget: goes to the back of the run queue
  kWait,         // wants to be resumed after a message, a signal or a wake
  kWaitSignals,  // wants to be resumed after a signal or a wake; messages stay in the mailbox
  kExit,         // ended; Process::set_exit_reason was called unless the reason is normal
};

// What a process waits for, as people see it.
enum class Wait : std::uint8_t { kOther, kMessage, kTime, kAnswer, kBlocking, kStream, kSocket };
// "message", "time", …
std::string_view name_of(Wait wait) noexcept;

// Threads: resumed and destroyed by one worker at a time, not always the same one.
class Body {
 public:
  Body(const Body&) = delete;
  Body& operator=(const Body&) = delete;

  // Runs until it yields, waits or ends. Being resumed without cause is always possible.
  virtual Step resume(Process& self, Budget budget) noexcept = 0;
  // Ends it wherever it stands and frees its memory; called once, never while it runs.
  virtual void destroy() noexcept { delete this; }

 protected:
  Body() = default;
  virtual ~Body() = default;
};

// Ends a body with its owner.
struct DestroyBody {
  void operator()(Body* body) const noexcept { body->destroy(); }
};
using BodyPtr = std::unique_ptr<Body, DestroyBody>;

// Something that a process is given at its start beside bytes, such as an HTTP exchange.
class Attachment : public RefCounted {};

// What a body is made from.
struct StartArgument {
  std::span<const std::byte> bytes;  // valid during make() only
  Ref<Attachment> attachment;
};

// Makes bodies of one kind: a component with its capabilities, a native function.
// Threads: any thread.
class BodyMaker {
 public:
  virtual ~BodyMaker() = default;
  // Errors: kLimit when there is no room for another instance now; kInvalid when the argument does not fit.
  virtual Result<BodyPtr> make(StartArgument argument) noexcept = 0;
  // Puts what limits the processes of these bodies, such as the room of their mailboxes, into the options for one.
  virtual void limit(SpawnOptions& /*options*/) const noexcept {}
};

// The seam through which child specs, routes, remote spawn and guests' spawn start bodies by name.
// Threads: any thread.
class BodyFactory {
 public:
  virtual ~BodyFactory() = default;
  // Null when there is nothing of that name. The maker outlives the caller's pointer.
  virtual std::shared_ptr<BodyMaker> find(std::string_view name) const noexcept = 0;
};

}  // namespace rusm::otp
