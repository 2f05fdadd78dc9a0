#include "net/listener.h"

#include <optional>

#include "base/log.h"
#include "net/accepting.h"
#include "otp/match.h"

namespace rusm::net {
namespace {

constexpr Nanoseconds kLogEvery = 10 * kSecond;
constexpr Nanoseconds kKillEvery = 100 * kMillisecond;  // a connection may have got another process since the last

struct StatusRequest {};

// What a listener is made of. Ends its connections, however it ends itself.
class Listener {
 public:
  Listener(otp::Self& self, std::unique_ptr<Acceptor> acceptor, const ListenOptions& options, StartConnection start)
      : self_(self),
        connections_(make_ref<Connections>(self.runtime())),
        start_(std::move(start)),
        accepting_(std::in_place, self, std::move(acceptor), connections_, options.connections_max) {
    status_.address = accepting_->local().to_string();
  }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener() { connections_->exit_all(otp::ExitReason::Kind::kKill); }

  Accepting::Turn turn() {
    const Accepting::Turn turn = accepting_->turn(take_over_);
    if (turn.first && turn.outcome == Accepting::Outcome::kFull) {
      ++status_.full;
      complain("as many connections as are allowed: accepting pauses until one ends");
    }
    if (turn.first && turn.outcome == Accepting::Outcome::kExhausted) {
      ++status_.exhausted;
      complain(turn.reason + ": accepting pauses until there is room again");
    }
    return turn;
  }

  // The reason to end, if the message is one.
  std::optional<otp::ExitReason> take(otp::Message& message) {
    std::optional<otp::ExitReason> told;
    otp::match(
        message,
        [&](const otp::Exit& exit) {
          if (!exit.reason.is_normal()) told = exit.reason;
        },
        [&](const StatusRequest&, otp::ReplyTo to) {
          status_.connections = connections_->count();
          self_.reply(to, otp::Message::of(status_));
        },
        [](otp::Message&) {});
    return told;
  }

  // Closes the socket; from here on the process is woken when a connection ends.
  void stop_accepting() {
    accepting_.reset();
    connections_->set_starved(true);
  }
  Connections& connections() noexcept { return *connections_; }

 private:
  void complain(const std::string& text) {
    Log* log = self_.runtime().log();
    const Nanoseconds now = self_.runtime().clock().now();
    if (log == nullptr || now < next_log_) return;
    next_log_ = deadline_after(now, kLogEvery);
    log->warn("net", text, {{"address", status_.address}, {"connections", std::to_string(connections_->count())}});
  }

  otp::Self& self_;
  const Ref<Connections> connections_;
  const StartConnection start_;
  const Accepting::Start take_over_ = [this](std::unique_ptr<Stream> stream, std::unique_ptr<Lease> lease) {
    ++status_.accepted;
    const bool started = start_(self_.runtime(), Connection(std::move(stream), std::move(lease)));
    if (!started) ++status_.refused;
    return started;
  };
  std::optional<Accepting> accepting_;
  ListenerStatus status_;
  Nanoseconds next_log_ = 0;
};

// Answers requests until no connection is left, or `span` ns have passed.
otp::Task<> wait_for_the_last(otp::Self& self, Listener& listener, Nanoseconds span) {
  const Nanoseconds until = deadline_after(self.runtime().clock().now(), span);
  while (listener.connections().count() != 0 && self.runtime().clock().now() < until) {
    while (std::optional<otp::Message> message = self.try_receive()) (void)listener.take(*message);
    co_await otp::news(self, until);
  }
}

otp::Task<> drain(otp::Self& self, Listener& listener, Nanoseconds span, Nanoseconds kill_after) {
  listener.stop_accepting();
  if (span > 0) co_await wait_for_the_last(self, listener, span);
  listener.connections().exit_all(otp::ExitReason::Kind::kShutdown);
  co_await wait_for_the_last(self, listener, kill_after);
  while (listener.connections().count() != 0) {
    listener.connections().exit_all(otp::ExitReason::Kind::kKill);
    co_await wait_for_the_last(self, listener, kKillEvery);
  }
}

}  // namespace

otp::Routine listen(otp::Self& self, Transport* transport, ListenOptions options, StartConnection start) {
  self.set_label(options.label);
  auto acceptor = transport->listen(options.address);
  if (!acceptor) co_await otp::end(self, otp::ExitReason::crashed("listen", acceptor.error().to_string()));
  self.trap_exit(true);
  if (options.on_listening) options.on_listening((*acceptor)->local());
  if (options.reports_ready) otp::ready(self);
  Listener listener(self, std::move(*acceptor), options, std::move(start));
  std::optional<otp::ExitReason> told;
  for (;;) {
    while (std::optional<otp::Message> message = self.try_receive()) {
      if (!told) told = listener.take(*message);
    }
    if (told) break;
    const Accepting::Turn turn = listener.turn();
    if (turn.outcome == Accepting::Outcome::kClosed) break;
    if (turn.outcome == Accepting::Outcome::kBusy) {
      co_await otp::yield(self);
    } else {
      co_await otp::news(self, turn.wait_until);
    }
  }
  co_await drain(self, listener, options.drain, options.kill_after);
  if (told) co_await otp::end(self, *told);
}

otp::ChildSpec listener_child(std::string id, Transport* transport, ListenOptions options, StartConnection start) {
  options.reports_ready = true;
  const Nanoseconds patience = deadline_after(deadline_after(options.drain, options.kill_after), kSecond);
  otp::ChildSpec spec = otp::child(std::move(id), listen, transport, std::move(options), std::move(start));
  spec.reports_ready = true;
  spec.shutdown = patience;
  return spec;
}

otp::Task<Result<ListenerStatus>> listener_status(otp::Self& self, otp::Pid listener) {
  auto answer = co_await otp::call(self, listener, otp::Message::of(StatusRequest()));
  if (!answer) co_return fail(ErrorCode::kUnavailable, "listener", answer.error().to_string());
  ListenerStatus* status = answer->get_if<ListenerStatus>();
  if (status == nullptr) co_return fail(ErrorCode::kUnavailable, "listener", "this process is no listener");
  co_return std::move(*status);
}

}  // namespace rusm::net
