#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "app/config.h"
#include "app/listen_address.h"
#include "app/node.h"
#include "app/signals.h"
#include "cli/commands.h"

namespace rusm::cli {
namespace {

void print_errors(const std::vector<Error>& errors) {
  for (const Error& error : errors) fmt::print(stderr, "{}\n", error.to_string());
}

// The first of `routes` with this method and a path that needs no filling in; empty when there is none.
std::string path_to_try(const std::vector<app::RouteConfig>& routes, std::string_view method) {
  for (const app::RouteConfig& route : routes) {
    const std::size_t space = route.pattern.find(' ');
    if (space == std::string::npos || std::string_view(route.pattern).substr(0, space) != method) continue;
    std::string path = route.pattern.substr(space + 1);
    if (path.find_first_of(":*") == std::string::npos) return path;
  }
  return {};
}

// What a person who starts it wants to know: where it is, what is there, and how to try it.
void announce(const app::Node& node) {
  for (const app::Node::Endpoint& endpoint : node.endpoints()) {
    const std::string url = fmt::format("http://{}", endpoint.address.to_string());
    fmt::print("\nServing {}/  (Ctrl-C stops)\n", url);
    for (const app::RouteConfig& route : endpoint.config->routes) {
      fmt::print("  {:<24} {}\n", route.pattern, route.component);
    }
    if (!endpoint.config->component.empty()) fmt::print("  {:<24} {}\n", "/*", endpoint.config->component);
    fmt::print("Try:\n  curl -i {}{}\n", url,
               endpoint.config->component.empty() ? path_to_try(endpoint.config->routes, "GET") : std::string("/"));
    if (const std::string path = path_to_try(endpoint.config->routes, "POST"); !path.empty()) {
      fmt::print("  curl --data-binary 'hello, process' {}{}\n", url, path);
    }
  }
  fmt::print("\n");
  std::fflush(stdout);
}

// Puts --listen in the place of what the file says; returns an exit code other than kExitOk when that cannot be done.
int override_listen(const ServeCommand& command, app::Config* config) {
  if (command.listen.empty()) return kExitOk;
  if (const Result<net::Address> address = app::parse_listen_address(command.listen); !address) {
    fmt::print(stderr, "rusm: --listen {}\n", address.error().text);
    return kExitMisuse;
  }
  if (config->serve.size() != 1) {
    fmt::print(stderr, "rusm: --listen stands for the one listener of a file, but {} has {}\n", command.config,
               config->serve.size());
    return kExitMisuse;
  }
  config->serve.front().listen = command.listen;
  config->serve.front().where = "the command line";
  return kExitOk;
}

}  // namespace

int serve(const ServeCommand& command, const app::EnvironmentLookup& environment) {
  // Before any other thread, so that none of them is chosen to be interrupted.
  Result<app::SignalWatch> signals = app::SignalWatch::open();
  if (!signals) {
    print_errors({signals.error()});
    return kExitFailure;
  }
  app::ConfigResult config = app::load_config(command.config);
  if (!config) {
    print_errors(config.error());
    return kExitFailure;
  }
  if (const int code = override_listen(command, &*config); code != kExitOk) return code;

  LogOptions log_options;
  parse_log_level(config->log.level, &log_options.level);
  if (config->log.format == "json") log_options.format = LogFormat::kJson;
  const SystemClock clock;
  SystemEntropy entropy;
  Log log(log_options, clock);
  app::Node::StartResult node = app::Node::start(
      std::move(*config), {.clock = clock, .entropy = entropy, .log = log, .environment = environment});
  if (!node) {
    log.flush();
    print_errors(node.error());
    return kExitFailure;
  }
  log.flush();
  announce(**node);
  const app::Node::Ended ended = (*node)->run(*signals);
  return ended == app::Node::Ended::kDrained ? kExitOk : kExitFailure;
}

}  // namespace rusm::cli
