#include "net/resolve.h"

#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "net/host_port.h"
#include "otp/match.h"

namespace rusm::net {
namespace {

constexpr std::size_t kHostBytesMax = 253;  // of a name in DNS
constexpr std::size_t kLookUpsWaitingMax = 10'000;
constexpr int kTriesMax = 20;
constexpr const char* kResolver = "net.resolver";

struct FreeList {
  void operator()(addrinfo* list) const noexcept { freeaddrinfo(list); }
};

std::unexpected<Error> unresolved(const std::string& host, int error, int error_number) {
  switch (error) {
    case EAI_NONAME:
    case EAI_NODATA:
      return fail(ErrorCode::kNotFound, host, "there is no host of this name: check how it is written");
    case EAI_AGAIN:
      return fail(ErrorCode::kUnavailable, host, "the name servers do not answer: check the network and resolv.conf");
    case EAI_MEMORY:
      return fail(ErrorCode::kLimit, host, "no memory to look the name up");
    case EAI_SYSTEM:
      return fail(error_number == EMFILE || error_number == ENFILE ? ErrorCode::kLimit : ErrorCode::kIo, host,
                  "cannot be looked up: " + errno_text(error_number));
    default:
      return fail(ErrorCode::kUnavailable, host, std::string("cannot be looked up: ") + gai_strerror(error));
  }
}

// The address that `host` spells out, if it is one.
std::optional<Address> literal(const std::string& host, std::uint16_t port) {
  const std::string text = host.contains(':') ? "[" + host + "]" : host;
  Result<Address> address = Address::parse(text + ":" + std::to_string(port));
  if (!address) return std::nullopt;
  return *address;
}

using Answer = Result<std::vector<Address>>;

struct Question {
  std::string host;
  std::uint16_t port;
  LookUp look_up;
  Nanoseconds until;  // when whoever asks loses patience
};

// Looks one name up.
otp::Routine answer_one(otp::Self& self, Question question, otp::ReplyTo to) {
  Answer answer = co_await otp::blocking(self, [&] { return question.look_up(question.host, question.port); });
  if (answer && answer->size() > kAddressesMax) answer->resize(kAddressesMax);
  self.reply(to, otp::Message::local(std::move(answer)));
}

// What the resolver has to do.
struct Waiting {
  Question question;
  otp::ReplyTo to;
};

// The resolver of a runtime, a process under a name, which is there while names are looked up. It lets at most
// kLookUpsMax run: nobody ends them before the system gives up, so that its count is one of busy threads.
otp::Routine answer_all(otp::Self& self) {
  std::deque<Waiting> waiting;
  std::size_t running = 0;
  do {
    otp::Message message = co_await otp::receive(self);
    if (message.is_down()) {
      --running;
    } else if (Question* question = message.get_if<Question>(); question != nullptr && message.is_request()) {
      if (waiting.size() < kLookUpsWaitingMax) {
        waiting.push_back({std::move(*question), message.reply_to()});
      } else {
        Answer full = fail(ErrorCode::kLimit, question->host, "too many names are waiting to be looked up");
        self.reply(message.reply_to(), otp::Message::local(std::move(full)));
      }
    }
    while (running < kLookUpsMax && !waiting.empty()) {
      Waiting next = std::move(waiting.front());
      waiting.pop_front();
      if (self.runtime().clock().now() >= next.question.until) continue;
      const std::string host = next.question.host;
      const otp::ReplyTo to = next.to;
      const otp::Spawned started =
          self.runtime().spawn_from(self, {.label = "lookup", .monitor = true, .mailbox_messages_max = 1}, answer_one,
                                    std::move(next.question), std::move(next.to));
      if (started.pid) {
        ++running;
      } else {
        self.reply(to, otp::Message::local(Answer(fail(ErrorCode::kLimit, host, "there are too many processes"))));
      }
    }
  } while (running > 0 || !waiting.empty());
}

// The pid of the resolver, which is started when there is none.
otp::Pid resolver(otp::Runtime& runtime) {
  if (const otp::Pid pid = runtime.whereis(kResolver)) return pid;
  if (const otp::Pid pid = runtime.spawn_with({.label = "resolver", .name = kResolver}, answer_all)) return pid;
  return runtime.whereis(kResolver);  // another may have been faster
}

}  // namespace

Result<Endpoint> Endpoint::parse(std::string_view text) {
  const std::optional<HostPort> split = split_host_port(text);
  if (!split || split->host.size() > kHostBytesMax) {
    return fail(ErrorCode::kInvalid, std::string(text), "expected a host and a port, such as example.com:443");
  }
  return Endpoint{std::string(split->host), split->port};
}

std::string Endpoint::to_string() const {
  return (host.contains(':') ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<std::vector<Address>> look_up_in_system(std::string host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  errno = 0;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  const int error_number = errno;
  const std::unique_ptr<addrinfo, FreeList> list(found);
  if (error != 0) return unresolved(host, error, error_number);
  std::vector<Address> addresses;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    sockaddr_storage system{};
    std::memcpy(&system, at->ai_addr, std::min<std::size_t>(at->ai_addrlen, sizeof(system)));
    const Address address = Address::from_system(system).with_port(port);
    if (std::ranges::find(addresses, address) == addresses.end()) addresses.push_back(address);
  }
  if (addresses.empty()) return unresolved(host, EAI_NONAME, 0);
  return addresses;
}

otp::Task<Result<std::vector<Address>>> resolve(otp::Self& self, std::string host, std::uint16_t port,
                                                Nanoseconds timeout) {
  return resolve(self, std::move(host), port, timeout, look_up_in_system);
}

otp::Task<Result<std::vector<Address>>> resolve(otp::Self& self, std::string host, std::uint16_t port,
                                                Nanoseconds timeout, LookUp look_up) {
  if (const std::optional<Address> address = literal(host, port)) co_return std::vector{*address};
  if (host.empty() || host.size() > kHostBytesMax || host.contains('\0')) {
    co_return fail(ErrorCode::kInvalid, host.substr(0, kHostBytesMax), "no name of a host");
  }
  const Clock& clock = self.runtime().clock();
  const Nanoseconds until = deadline_after(clock.now(), timeout);
  for (int tries = 1;; ++tries) {
    const Nanoseconds left = until == kNever ? kNever : std::max<Nanoseconds>(until - clock.now(), 0);
    auto answer = co_await otp::call(self, resolver(self.runtime()),
                                     otp::Message::local(Question{host, port, look_up, until}), left);
    if (answer) {
      Answer* got = answer->get_if<Answer>();
      if (got == nullptr) co_return fail(ErrorCode::kUnavailable, host, "another process has the resolver's name");
      co_return std::move(*got);
    }
    const otp::ExitReason::Kind why = answer.error().kind();
    if (why == otp::ExitReason::Kind::kTimeout) {
      co_return fail(ErrorCode::kTimeout, host, "was not looked up in time: check the network and resolv.conf");
    }
    // The resolver may have ended, as there was nothing to do, just when it was asked.
    const bool ended = why == otp::ExitReason::Kind::kNormal || why == otp::ExitReason::Kind::kNoProc;
    if (!ended || tries == kTriesMax) {
      co_return fail(ErrorCode::kUnavailable, host, "cannot be looked up: " + answer.error().to_string());
    }
    co_await otp::yield(self);
  }
}

otp::Task<Result<Connection>> connect(otp::Self& self, Transport& transport, std::string endpoint,
                                      Nanoseconds timeout) {
  return connect(self, transport, std::move(endpoint), timeout, look_up_in_system);
}

otp::Task<Result<Connection>> connect(otp::Self& self, Transport& transport, std::string endpoint, Nanoseconds timeout,
                                      LookUp look_up) {
  const Clock& clock = self.runtime().clock();
  const Nanoseconds until = deadline_after(clock.now(), timeout);
  const Result<Endpoint> there = Endpoint::parse(endpoint);
  if (!there) co_return std::unexpected(there.error());
  Result<std::vector<Address>> addresses = co_await resolve(self, there->host, there->port, timeout, look_up);
  if (!addresses) co_return std::unexpected(std::move(addresses.error()));
  Error last{ErrorCode::kNotFound, endpoint, "has no address"};
  for (std::size_t i = 0; i < addresses->size(); ++i) {
    const auto rest = static_cast<Nanoseconds>(addresses->size() - i);
    const Nanoseconds left = until == kNever ? kNever : std::max<Nanoseconds>(until - clock.now(), 0);
    Result<Connection> connection =
        co_await connect(self, transport, (*addresses)[i], there->host, left == kNever ? kNever : left / rest);
    if (connection) co_return connection;
    last = std::move(connection.error());
  }
  last.where = endpoint + " (" + last.where + ")";
  co_return std::unexpected(std::move(last));
}

}  // namespace rusm::net
