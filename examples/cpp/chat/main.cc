// A chat server over TCP. README.md says what it shows; /help what one can say.
#include <rusm/net/listener.h>
#include <rusm/net/tcp.h>
#include <rusm/net/tls_stream.h>
#include <rusm/otp/application.h>
#include <signal.h>
#include <sys/resource.h>

#include <charconv>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "chaos.h"
#include "lobby.h"
#include "session.h"

using namespace rusm;
using namespace rusm::otp;

namespace {

constexpr const char* kUsage =
    "usage: chat [--listen ADDRESS:PORT] [--tls-cert FILE --tls-key FILE] [--connections-max N]\n"
    "            [--idle-seconds N] [--lines-per-second N]\n"
    "            [--chaos SEED [--chaos-every MILLISECONDS]]\n";

struct Arguments {
  net::Address listen = net::Address::ipv4(0x7f000001, 7000);
  std::string tls_certificate;  // empty: without TLS
  std::string tls_key;
  std::uint64_t connections_max = 50'000;
  std::uint64_t chaos_seed = 0;  // 0: none
  std::uint64_t chaos_every_ms = 10;
  chat::Limits limits = {};
};

Result<Arguments> parse(int argc, char** argv) {
  Arguments arguments;
  std::uint64_t idle_seconds = 600;
  std::uint64_t lines_per_second = arguments.limits.lines_per_second;
  const std::map<std::string_view, std::uint64_t*> numbers = {{"--connections-max", &arguments.connections_max},
                                                              {"--idle-seconds", &idle_seconds},
                                                              {"--lines-per-second", &lines_per_second},
                                                              {"--chaos", &arguments.chaos_seed},
                                                              {"--chaos-every", &arguments.chaos_every_ms}};
  for (int i = 1; i < argc; i += 2) {
    const std::string_view name = argv[i];
    const std::string_view text = i + 1 < argc ? argv[i + 1] : "";
    if (name == "--listen") {
      const Result<net::Address> address = net::Address::parse(text);
      if (!address) return std::unexpected(address.error());
      arguments.listen = *address;
      continue;
    }
    if (name == "--tls-cert" || name == "--tls-key") {
      (name == "--tls-cert" ? arguments.tls_certificate : arguments.tls_key) = text;
      continue;
    }
    const auto found = numbers.find(name);
    if (found == numbers.end()) return fail(ErrorCode::kInvalid, std::string(name), "there is no such option");
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), *found->second);
    if (error != std::errc() || rest != text.data() + text.size() || *found->second == 0 ||
        *found->second > 1'000'000'000) {
      return fail(ErrorCode::kInvalid, std::string(name), "takes a whole number from 1 to 1000000000");
    }
  }
  if (arguments.tls_certificate.empty() != arguments.tls_key.empty()) {
    return fail(ErrorCode::kInvalid, "--tls-cert", "takes --tls-key beside it, and the other way round");
  }
  arguments.limits.idle = static_cast<Nanoseconds>(idle_seconds) * kSecond;
  arguments.limits.lines_per_second = static_cast<std::uint32_t>(lines_per_second);
  arguments.limits.lines_at_once = 2 * arguments.limits.lines_per_second;
  return arguments;
}

// A connection takes a descriptor, and the usual limit is 1024.
void raise_descriptor_limit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

// Null when there is to be none.
Result<std::unique_ptr<net::TlsTransport>> tls_over(net::Transport& below, const Clock& clock,
                                                    const Arguments& arguments) {
  if (arguments.tls_certificate.empty()) return nullptr;
  const auto server =
      net::TlsServer::load({.certificate_file = arguments.tls_certificate, .key_file = arguments.tls_key});
  if (!server) return std::unexpected(server.error());
  return std::make_unique<net::TlsTransport>(below, clock, net::TlsTransportParts{.server = *server});
}

// The lobby first, the listener after it: a lobby that is new knows nobody, so that all connect again.
SupervisorSpec tree(const Arguments& arguments, net::Transport& transport) {
  ChildSpec lobby = child("lobby", serve<chat::Lobby>);
  lobby.name = "lobby";
  net::ListenOptions options{.address = arguments.listen, .connections_max = arguments.connections_max};
  options.on_listening = [](const net::Address& address) {
    std::printf("chat listens on %s\n", address.to_string().c_str());
    std::fflush(stdout);
  };
  SupervisorSpec spec{.strategy = Strategy::kRestForOne, .restarts_max = 3, .window = 10 * kSecond};
  spec.children.push_back(std::move(lobby));
  spec.children.push_back(net::listener_child("listener", &transport, options, chat::sessions(arguments.limits)));
  if (arguments.chaos_seed != 0) {
    const auto every = static_cast<Nanoseconds>(arguments.chaos_every_ms) * kMillisecond;
    spec.children.push_back(child("chaos", chat::chaos, arguments.chaos_seed, every));
  }
  return spec;
}

}  // namespace

int main(int argc, char** argv) {
  const Result<Arguments> arguments = parse(argc, argv);
  if (!arguments) {
    std::fprintf(stderr, "chat: %s\n%s", arguments.error().to_string().c_str(), kUsage);
    return 2;
  }
  raise_descriptor_limit();
  // Before any thread is started, so that the signals wait for sigtimedwait().
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  SystemClock clock;
  SystemEntropy entropy;
  Log log({.level = LogLevel::kWarn}, clock);
  net::IoDriver driver;
  net::TcpTransport tcp(driver);
  const Result<std::unique_ptr<net::TlsTransport>> tls = tls_over(tcp, clock, *arguments);
  if (!tls) {
    std::fprintf(stderr, "chat: %s\n", tls.error().to_string().c_str());
    return 1;
  }
  net::Transport& transport = *tls ? static_cast<net::Transport&>(**tls) : tcp;
  Runtime runtime({}, {.clock = clock, .entropy = entropy, .reactors = driver, .log = &log});

  auto running = Applications::start(runtime, {{.name = "chat", .tree = [&](const Settings&) -> Result<SupervisorSpec> {
                                                  return tree(*arguments, transport);
                                                }}});
  if (!running) {
    std::fprintf(stderr, "chat: %s\n", running.error().to_string().c_str());
    return 1;
  }
  for (;;) {
    if (const std::optional<ExitReason> ended = running->wait(50 * kMillisecond)) {
      std::fprintf(stderr, "chat: ended: %s\n", ended->to_string().c_str());
      return 1;
    }
    const timespec at_once = {};
    if (sigtimedwait(&signals, nullptr, &at_once) > 0) break;
  }
  std::printf("chat tells everybody that it stops\n");
  const Result<> end = running->stop();
  (void)runtime.wait_until_empty(kSecond);
  std::printf("processes left: %zu\n", runtime.process_count());
  return end ? 0 : 1;
}
