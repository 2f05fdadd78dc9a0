#include "serve/server.h"

#include <utility>

#include "net/accepting.h"
#include "otp/routine.h"
#include "serve/connection.h"
#include "serve/server_core.h"

namespace rusm::serve {
namespace {

constexpr Nanoseconds kKillPoll = 5 * kMillisecond;

void note_pause(otp::Runtime& runtime, ServerCore& core, const net::Accepting::Turn& turn) {
  if (turn.outcome == net::Accepting::Outcome::kFull) core.count(Count::kConnectionsFull);
  if (turn.outcome != net::Accepting::Outcome::kExhausted) return;
  core.count(Count::kAcceptExhausted);
  if (Log* log = runtime.log()) log->warn("serve", "accepting pauses: " + turn.reason);
}

// Accepts connections until the server drains.
otp::Routine accept_connections(otp::Self& self, Ref<ServerCore> core, std::unique_ptr<net::Acceptor> acceptor) {
  net::Accepting accepting(self, std::move(acceptor), core->connections(), core->options().connections_max);
  const net::Accepting::Start start = [&](std::unique_ptr<net::Stream> stream, std::unique_ptr<net::Lease> lease) {
    core->count(Count::kConnections);
    // When no process is to be had the stream is closed with its frame.
    return static_cast<bool>(self.runtime().spawn_with({.label = "connection", .parent = self.pid()}, serve_connection,
                                                       core, std::move(lease), std::move(stream)));
  };
  while (!core->draining()) {
    // Nobody has anything to say to it: what guests send it must not wait here.
    while (self.try_receive()) {
    }
    const net::Accepting::Turn turn = accepting.turn(start);
    if (turn.outcome == net::Accepting::Outcome::kClosed) break;
    if (turn.first) note_pause(self.runtime(), *core, turn);
    if (turn.outcome == net::Accepting::Outcome::kBusy) {
      co_await otp::yield(self);
    } else {
      co_await otp::news(self, turn.wait_until);
    }
  }
}

}  // namespace

Server::Server(Ref<ServerCore> core, const net::Address& address) : core_(std::move(core)), address_(address) {}

Result<std::unique_ptr<Server>> Server::start(otp::Runtime& runtime, net::Transport& transport,
                                              const otp::BodyFactory& factory, ServeOptions options) {
  for (const auto& [name, value] : options.headers) {
    if (!http::is_valid_name(name) || !http::is_valid_value(value)) {
      return fail(ErrorCode::kInvalid, name, "a header has a name of letters, digits and -, and a value on one line");
    }
  }
  Router router;
  std::vector<ServerCore::Handler> handlers;
  for (const RouteOptions& route : options.routes) {
    if (Result<> added = router.add(route.pattern, static_cast<std::uint32_t>(handlers.size())); !added) {
      return std::unexpected(std::move(added.error()));
    }
    std::shared_ptr<otp::BodyMaker> maker = factory.find(route.handler);
    if (!maker) return fail(ErrorCode::kNotFound, route.handler, "there is no handler of that name");
    handlers.push_back({route.handler, std::move(maker)});
  }
  auto acceptor = transport.listen(options.listen);
  if (!acceptor) return std::unexpected(std::move(acceptor.error()));
  const net::Address address = (*acceptor)->local();
  auto core = make_ref<ServerCore>(runtime, std::move(options), std::move(router), std::move(handlers));
  if (!runtime.spawn_with({.label = "listener " + address.to_string()}, accept_connections, core,
                          std::move(*acceptor))) {
    return fail(ErrorCode::kLimit, address.to_string(), "there are too many processes");
  }
  return std::unique_ptr<Server>(new Server(std::move(core), address));
}

Server::~Server() {
  begin_drain();
  kill();
}

ServeCounters Server::counters() const noexcept {
  return core_->counters();
}

std::size_t Server::connections() const noexcept {
  return core_->connections()->count();
}

std::uint32_t Server::requests_in_flight() const noexcept {
  return core_->admission().in_flight();
}

void Server::begin_drain() {
  core_->begin_drain();
}

bool Server::drain(Nanoseconds timeout) {
  begin_drain();
  if (core_->connections()->wait_until_empty(timeout)) return true;
  do {
    kill();
  } while (!core_->connections()->wait_until_empty(kKillPoll));
  return false;
}

void Server::kill() {
  core_->connections()->exit_all(otp::ExitReason::Kind::kKill);
}

}  // namespace rusm::serve
