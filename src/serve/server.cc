#include "serve/server.h"

#include <algorithm>
#include <utility>

#include "otp/routine.h"
#include "serve/connection.h"
#include "serve/server_core.h"

namespace rusm::serve {
namespace {

constexpr int kAcceptsInARow = 64;
constexpr Nanoseconds kBackOffMin = 10 * kMillisecond;
constexpr Nanoseconds kBackOffMax = kSecond;
constexpr Nanoseconds kKillPoll = 5 * kMillisecond;

enum class Accepting : std::uint8_t { kBlocked, kPaused, kBusy, kClosed };

// Accepts what is there, and starts its processes.
Accepting accept_some(otp::Runtime& runtime, const Ref<ServerCore>& core, net::Acceptor& acceptor, bool paused) {
  for (int i = 0; i < kAcceptsInARow; ++i) {
    if (core->connections() >= core->options().connections_max) {
      if (!paused) core->count(Count::kConnectionsFull);
      return Accepting::kPaused;
    }
    auto stream = acceptor.try_accept();
    if (!stream) {
      switch (stream.error()) {
        case net::AcceptFailure::kWouldBlock:
          return Accepting::kBlocked;
        case net::AcceptFailure::kClosed:
          return Accepting::kClosed;
        case net::AcceptFailure::kExhausted:
          if (!paused) {
            core->count(Count::kAcceptExhausted);
            if (Log* log = runtime.log()) log->warn("serve", "out of file descriptors or memory: accepting pauses");
          }
          return Accepting::kPaused;
      }
    }
    core->count(Count::kConnections);
    // When no process is to be had the stream is closed with its frame.
    (void)runtime.spawn(serve_connection, std::make_unique<Lease>(core), std::move(*stream));
    paused = false;
  }
  return Accepting::kBusy;
}

// Accepts connections until the server drains. When there is no room for more it tries again after a while, and as
// soon as a connection ends.
otp::Routine accept_connections(otp::Self& self, Ref<ServerCore> core, std::unique_ptr<net::Acceptor> acceptor) {
  self.set_label("acceptor");
  core->set_acceptor(self.pid());
  acceptor->set_owner(self.pid());
  Nanoseconds back_off = 0;
  while (!core->draining()) {
    const Accepting outcome = accept_some(self.runtime(), core, *acceptor, back_off != 0);
    if (outcome == Accepting::kClosed) break;
    if (outcome == Accepting::kBusy) {
      co_await otp::yield(self);
      continue;
    }
    if (outcome == Accepting::kBlocked) {
      core->set_starved(false);
      back_off = 0;
      co_await otp::news(self);
      continue;
    }
    core->set_starved(true);
    back_off = std::clamp(2 * back_off, kBackOffMin, kBackOffMax);
    co_await otp::news(self, deadline_after(self.runtime().clock().now(), back_off));
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
  if (!runtime.spawn(accept_connections, core, std::move(*acceptor))) {
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
  return core_->connections();
}

std::uint32_t Server::requests_in_flight() const noexcept {
  return core_->admission().in_flight();
}

void Server::begin_drain() {
  core_->begin_drain();
}

bool Server::drain(Nanoseconds timeout) {
  begin_drain();
  if (core_->wait_until_empty(timeout)) return true;
  do {
    kill();
  } while (!core_->wait_until_empty(kKillPoll));
  return false;
}

void Server::kill() {
  core_->kill_connections();
}

}  // namespace rusm::serve
