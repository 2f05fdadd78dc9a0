#include "bench/http_workloads.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "app/node.h"
#include "base/entropy.h"
#include "base/log.h"
#include "http/exchange.h"
#include "net/epoll_reactor.h"
#include "net/tcp.h"
#include "serve/server.h"

namespace rusm::bench {
namespace {

constexpr std::string_view kDefaultComponent = "examples/hello/wasm/hello.wasm";

// "1.23ms" as nanoseconds.
std::uint64_t parse_span(const char* text) {
  double value = 0;
  char unit[8] = {};
  if (std::sscanf(text, "%lf%7s", &value, unit) != 2) return 0;
  const double scale = std::strcmp(unit, "us") == 0 ? 1e3 : std::strcmp(unit, "ms") == 0 ? 1e6 : 1e9;
  return static_cast<std::uint64_t>(value * scale);
}

// Reads what wrk prints. A response that is not 2xx fails the run: an error page is not what is measured.
Result<Measurement> parse_wrk(std::FILE* output) {
  Measurement measured{.unit = "requests/s"};
  std::string all;
  char line[256];
  char span[32];
  while (std::fgets(line, sizeof line, output) != nullptr) {
    all += line;
    if (std::sscanf(line, " 50%% %31s", span) == 1) measured.p50_ns = parse_span(span);
    if (std::sscanf(line, " 99%% %31s", span) == 1) measured.p99_ns = parse_span(span);
    std::sscanf(line, "Requests/sec: %lf", &measured.value);
    if (std::strstr(line, "Non-2xx") != nullptr || std::strstr(line, "Socket errors") != nullptr) {
      return fail(ErrorCode::kInternal, "wrk", std::string("the server did not answer every request: ") + line);
    }
  }
  if (measured.value == 0) {
    return fail(ErrorCode::kUnavailable, "wrk", "gave no result (is it installed? apt-get install wrk): " + all);
  }
  return measured;
}

Result<Measurement> drive(const net::Address& address, const Options& options, unsigned workers) {
  const std::string command =
      fmt::format("wrk -t1 -c64 -d{}s --latency http://{}/ 2>&1",
                  std::max(1, static_cast<int>(std::lround(options.seconds))), address.to_string());
  std::FILE* output = ::popen(command.c_str(), "r");
  if (output == nullptr) return fail(ErrorCode::kIo, "wrk", "cannot be started: " + errno_text(errno));
  Result<Measurement> measured = parse_wrk(output);
  ::pclose(output);
  if (measured) measured->workers = workers;
  return measured;
}

class HelloBody final : public otp::Body {
 public:
  explicit HelloBody(Ref<http::Exchange> exchange) : exchange_(std::move(exchange)) {}
  otp::Step resume(otp::Process&, otp::Budget) noexcept override {
    static constexpr std::string_view kBody = "hello\n";
    http::ResponseHead head;
    head.headers.add("content-type", "text/plain");
    head.headers.add("content-length", "6");
    exchange_->respond(std::move(head));
    exchange_->response_body.write(std::as_bytes(std::span(kBody)));
    exchange_->response_body.finish();
    return otp::Step::kExit;
  }

 private:
  const Ref<http::Exchange> exchange_;
};

class HelloMaker final : public otp::BodyMaker {
 public:
  Result<otp::BodyPtr> make(otp::StartArgument argument) noexcept override {
    auto* exchange = dynamic_cast<http::Exchange*>(argument.attachment.get());
    if (exchange == nullptr) return fail(ErrorCode::kInvalid, "hello", "answers HTTP requests only");
    argument.attachment.leak();
    return otp::BodyPtr(new HelloBody(Ref<http::Exchange>::adopt(exchange)));
  }
};

class HelloFactory final : public otp::BodyFactory {
 public:
  std::shared_ptr<otp::BodyMaker> find(std::string_view) const noexcept override { return maker_; }

 private:
  std::shared_ptr<otp::BodyMaker> maker_ = std::make_shared<HelloMaker>();
};

}  // namespace

Result<Measurement> http(const Options& options) {
  SystemClock clock;
  SystemEntropy entropy;
  Log log({.level = LogLevel::kError}, clock);
  const app::EnvironmentLookup environment = [](std::string_view) { return std::nullopt; };
  const std::string component(options.component.empty() ? kDefaultComponent : std::string_view(options.component));
  app::Config config;
  config.node.workers = options.workers;
  config.capabilities.push_back(app::builtin_capability("sandboxed"));
  app::ComponentConfig& guest = config.components.emplace_back();
  guest.name = "bench";
  guest.source = component;
  app::ServeConfig& listener = config.serve.emplace_back();
  listener.listen = "127.0.0.1:0";
  listener.component = guest.name;
  auto node = app::Node::start(std::move(config), {clock, entropy, log, environment});
  if (!node) return std::unexpected(node.error().front());
  return drive((*node)->endpoints().front().address, options, (*node)->runtime().workers());
}

Result<Measurement> http_native(const Options& options) {
  SystemClock clock;
  SystemEntropy entropy;
  net::IoDriver driver;
  net::TcpTransport transport(driver);
  otp::Runtime runtime({.workers = options.workers}, {.clock = clock, .entropy = entropy, .reactors = driver});
  const HelloFactory factory;
  const auto listen = net::Address::parse("127.0.0.1:0");
  if (!listen) return std::unexpected(listen.error());
  serve::ServeOptions serving;
  serving.listen = *listen;
  serving.routes.push_back({.pattern = "GET /", .handler = "hello"});
  auto server = serve::Server::start(runtime, transport, factory, std::move(serving));
  if (!server) return std::unexpected(server.error());
  return drive((*server)->address(), options, runtime.workers());
}

}  // namespace rusm::bench
