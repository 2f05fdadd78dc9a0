#include "otp/server.h"

namespace rusm::otp {

void detail::report_unknown(Self& self, const Message& message) {
  if (message.is_request()) self.reply(message.reply_to(), Message::of(NotUnderstood()));
  if (Log* log = self.runtime().log()) {
    const char* kind = message.is_exit()      ? "EXIT"
                       : message.is_down()    ? "DOWN"
                       : message.is_request() ? "a request"
                       : message.is_bytes()   ? "bytes"
                                              : "a value";
    log->warn("server", "a message for which there is no handler was dropped",
              {{"pid", self.pid().to_string()}, {"message", kind}, {"from", message.from().to_string()}});
  }
}

Task<ExitReason> stop_process(Self& self, Pid pid, ExitReason reason, Nanoseconds timeout) {
  const Reference reference = self.monitor(pid);
  const auto its_end = [reference](const Message& m) { return m.is_down() && m.reference() == reference; };
  self.exit(pid, std::move(reason));
  if (std::optional<Message> down = co_await receive_if_for(self, timeout, its_end)) co_return down->reason();
  self.exit(pid, ExitReason::Kind::kKill);
  const Message down = co_await receive_if(self, its_end);
  co_return down.reason();
}

}  // namespace rusm::otp
