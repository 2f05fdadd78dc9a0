// What threads outside of the runtime wait for: each wait is a small process that does the waiting for them.
#include <future>
#include <utility>

#include "otp/routine.h"
#include "otp/runtime.h"

namespace rusm::otp {
namespace {

using Reply = std::expected<Message, ExitReason>;
using End = std::optional<ExitReason>;

Routine asks(Self& self, std::promise<Reply> promise, Pid server, Message request, Nanoseconds timeout) {
  promise.set_value(co_await call(self, server, std::move(request), timeout));
}

Routine watches(Self& self, std::promise<End> promise, Pid pid, Nanoseconds timeout) {
  const Reference reference = self.monitor(pid);
  const auto down = co_await receive_if_for(self, timeout, [reference](const Message& message) {
    return message.is_down() && message.reference() == reference;
  });
  promise.set_value(down ? End(down->reason()) : End());
}

// What the process promised, or `otherwise` when it was killed before it could say.
template <class T>
T outcome(std::future<T> future, T otherwise) {
  try {
    return future.get();
  } catch (const std::future_error&) {
    return otherwise;
  }
}

}  // namespace

std::expected<Message, ExitReason> Runtime::ask(Pid server, Message request, Nanoseconds timeout) {
  std::promise<Reply> promise;
  std::future<Reply> future = promise.get_future();
  if (!spawn(asks, std::move(promise), server, std::move(request), timeout)) {
    return std::unexpected(ExitReason::limit("processes", "there are too many"));
  }
  return outcome(std::move(future), Reply(std::unexpected(ExitReason(ExitReason::Kind::kKilled))));
}

std::optional<ExitReason> Runtime::wait_for(Pid pid, Nanoseconds timeout) {
  std::promise<End> promise;
  std::future<End> future = promise.get_future();
  if (!spawn(watches, std::move(promise), pid, timeout)) return std::nullopt;
  return outcome(std::move(future), End());
}

}  // namespace rusm::otp
