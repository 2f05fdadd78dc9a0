#include "app/node.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>

#include "app/guests.h"
#include "app/listen_address.h"
#include "observe/control_folder.h"
#include "otp/supervisor.h"
#include "wasm/program.h"

namespace rusm::app {
namespace {

// How often a draining node looks whether it is done, and whether it was told to hurry.
constexpr Nanoseconds kDrainLook = 10 * kMillisecond;

// The function by which a component that is neither an HTTP handler nor a command begins.
constexpr std::string_view kRunFunction = "run";
// Resident components start again at once, and ever more slowly when they keep ending.
constexpr otp::Backoff kResidentBackoff = {.first = 10 * kMillisecond};

// Whether requests go to it.
bool answers(const Config& config, const std::string& component) {
  return std::ranges::any_of(config.serve, [&](const ServeConfig& serve) {
    return serve.component == component ||
           std::ranges::any_of(serve.routes, [&](const RouteConfig& route) { return route.component == component; });
  });
}

Nanoseconds from_ms(std::uint64_t ms) {
  return static_cast<Nanoseconds>(ms) * kMillisecond;
}

otp::SupervisorSpec patient_supervisor() {
  otp::SupervisorSpec spec;
  spec.restarts_max = UINT32_MAX;
  spec.window = kMillisecond;
  spec.backoff = kResidentBackoff;
  return spec;
}

// What to do about a listener that cannot be opened.
Error explain_listen(Error error, const ServeConfig& config) {
  if (error.code == ErrorCode::kExists) {
    error.text += "; end the program that has the port, or choose another with --listen ADDRESS:PORT or listen in " +
                  config.where;
  } else if (error.code == ErrorCode::kDenied) {
    error.text += "; ports below 1024 need a privilege: choose a higher one with --listen ADDRESS:PORT or listen in " +
                  config.where;
  } else if (error.code == ErrorCode::kInvalid) {
    error.text += fmt::format("; this machine has no such address: see listen in {}", config.where);
  }
  return error;
}

// As `rusm top` shows them.
std::vector<observe::NamedCount> limits_met(const wasm::Engine& engine) {
  const wasm::LimitsHit hit = engine.limits_hit();
  std::vector<observe::NamedCount> counts;
  for (std::size_t i = 0; i < wasm::kLimits; ++i) {
    counts.push_back({std::string(wasm::name_of(static_cast<wasm::Limit>(i))), hit.counts[i]});
  }
  return counts;
}

}  // namespace

Result<serve::ServeOptions> to_serve_options(const ServeConfig& config, std::uint32_t instances) {
  Result<net::Address> address = parse_listen_address(config.listen);
  if (!address) return std::unexpected(address.error());
  serve::ServeOptions options;
  options.listen = *address;
  for (const RouteConfig& route : config.routes) options.routes.push_back({route.pattern, route.component});
  if (!config.component.empty()) options.routes.push_back({"/*", config.component});
  for (const HeaderConfig& header : config.headers) options.headers.emplace_back(header.name, header.value);
  options.connections_max = static_cast<std::uint32_t>(config.max_connections);
  options.admission = {
      .in_flight_max = config.max_in_flight == 0 ? instances : static_cast<std::uint32_t>(config.max_in_flight),
      .waiting_max = static_cast<std::uint32_t>(config.max_queue),
      .waiting_per_client_max = static_cast<std::uint32_t>(config.max_queue_per_client)};
  options.head = {.line_bytes_max = config.max_line_bytes,
                  .head_bytes_max = config.max_header_bytes,
                  .headers_max = config.max_headers};
  options.body_bytes_max = config.max_body_bytes;
  options.unread_body_bytes_max = config.max_unread_body_bytes;
  options.header_timeout = from_ms(config.header_timeout_ms);
  options.idle_timeout = from_ms(config.idle_timeout_ms);
  options.queue_timeout = from_ms(config.queue_timeout_ms);
  options.request_timeout = from_ms(config.request_timeout_ms);
  options.body_timeout = from_ms(config.body_timeout_ms);
  options.half_closed_timeout = from_ms(config.half_closed_timeout_ms);
  options.linger_timeout = from_ms(config.linger_timeout_ms);
  options.retry_after_s = static_cast<int>(config.retry_after_secs);
  return options;
}

Node::StartResult Node::start(Config config, NodeParts parts) {
  std::unique_ptr<Node> node(new Node(std::move(config), parts));
  std::vector<Error> errors;
  if (node->config_.serve.empty() && std::ranges::none_of(node->config_.components, &ComponentConfig::resident)) {
    errors.push_back({ErrorCode::kInvalid, "configuration",
                      "there is nothing to serve: add a table [[serve]], or resident = true to a component"});
    return std::unexpected(std::move(errors));
  }
  if (Result<> opened = node->open_engine(); !opened) {
    errors.push_back(std::move(opened.error()));
    return std::unexpected(std::move(errors));
  }
  if (Result<> opened = node->open_store(); !opened) errors.push_back(std::move(opened.error()));
  node->load_components(&errors);
  if (errors.empty()) node->start_residents(&errors);
  if (errors.empty()) node->listen(&errors);
  if (!errors.empty()) return std::unexpected(std::move(errors));
  return node;
}

Node::~Node() = default;

Result<> Node::open_engine() {
  Result<std::unique_ptr<wasm::Engine>> engine = wasm::Engine::open(to_engine_options(config_), &parts_.log);
  if (!engine) return std::unexpected(std::move(engine.error()));
  engine_ = std::move(*engine);
  code_cache_ = open_code_cache(config_.engine, *engine_, parts_.environment, parts_.entropy, parts_.log);
  runtime_ = std::make_unique<otp::Runtime>(
      otp::RuntimeOptions{.workers = static_cast<unsigned>(config_.node.workers),
                          .processes_max = static_cast<std::uint32_t>(config_.node.max_processes)},
      otp::RuntimeParts{.clock = parts_.clock, .entropy = parts_.entropy, .reactors = driver_, .log = &parts_.log});
  open_control();
  return {};
}

Result<> Node::open_store() {
  if (!config_.node.store.empty()) {
    Result<std::unique_ptr<kv::DurableKvStore>> store = kv::DurableKvStore::open({.folder = config_.node.store});
    if (!store) return std::unexpected(std::move(store.error()));
    store_ = std::move(*store);
  }
  factory_ = std::make_unique<wasm::GuestFactory>(*runtime_,
                                                  wasm::GuestServices{.store = store_.get(), .durable = store_.get()});
  return {};
}

// A node that nobody can look into serves all the same.
void Node::open_control() {
  if (!config_.node.control) return;
  const std::string runtime_dir = parts_.environment("XDG_RUNTIME_DIR").value_or("");
  Result<std::unique_ptr<observe::ControlServer>> control = observe::ControlServer::open(
      *runtime_,
      {.folder = observe::control_folder(runtime_dir, geteuid()), .limits = [this] { return limits_met(*engine_); }});
  if (control) {
    control_ = std::move(*control);
    parts_.log.debug("node", "control socket open", {{"path", control_->path()}});
  } else {
    parts_.log.warn("node", "no control socket: rusm top and its like cannot look into this node",
                    {{"error", control.error().to_string()}});
  }
}

void Node::load_components(std::vector<Error>* errors) {
  Environment environment(parts_.environment);
  const std::string env_file = (std::filesystem::path(config_.folder) / ".env").string();
  if (Result<> added = environment.add_file(env_file); !added) errors->push_back(std::move(added.error()));
  for (const ComponentConfig& component : config_.components) {
    const CapabilityConfig& capability = *config_.capability(component.capability);
    if (Result<> checked = check_folders(capability); !checked) {
      errors->push_back(std::move(checked.error()));
      continue;
    }
    const Nanoseconds begun = parts_.clock.now();
    Result<std::shared_ptr<wasm::Program>> program =
        wasm::Program::load(*engine_, code_cache_ ? &*code_cache_ : nullptr, component.source,
                            {.name = component.name,
                             .entry = answers(config_, component.name) ? wasm::Entry::kHttp : wasm::Entry::kAny,
                             .function = std::string(kRunFunction),
                             .capabilities = to_capabilities(capability, environment, parts_.log)});
    if (program) {
      programs_.push_back(*program);
      if (Result<> added = factory_->add(std::move(*program)); !added) errors->push_back(std::move(added.error()));
      parts_.log.info("node", "component loaded",
                      {{"component", component.name},
                       {"capability", capability.name},
                       {"ms", std::to_string((parts_.clock.now() - begun) / kMillisecond)}});
    } else {
      errors->push_back(std::move(program.error()));
    }
  }
}

// One supervisor for all of them, with a supervisor for each: one that cannot be started is tried again, as those are
// that end, and the others go on. None of them gives up: what keeps ending waits longer and longer.
void Node::start_residents(std::vector<Error>* errors) {
  otp::SupervisorSpec spec = patient_supervisor();
  std::uint64_t slots = 0;
  for (const ComponentConfig& component : config_.components) {
    if (!component.resident) continue;
    const auto maker = std::dynamic_pointer_cast<wasm::GuestMaker>(factory_->find(component.name));
    if (maker->program().entry() == wasm::Entry::kHttp) {
      errors->push_back({ErrorCode::kInvalid, component.name,
                         "answers HTTP requests, so it cannot be resident: it gets an instance for each of them"});
      continue;
    }
    slots += maker->program().needs().most();
    factory_->reserve_name(component.name);
    otp::ChildSpec child = wasm::guest_child(component.name, maker);
    child.name = component.name;
    otp::SupervisorSpec own = patient_supervisor();
    own.children.push_back(std::move(child));
    otp::ChildSpec supervisor = otp::child("supervisor of " + component.name, otp::supervise, std::move(own));
    supervisor.shutdown = kNever;
    spec.children.push_back(std::move(supervisor));
  }
  if (slots > engine_->slots().total()) {
    errors->push_back({ErrorCode::kLimit, "configuration",
                       fmt::format("the resident components need {} instances and the engine has {}: raise "
                                   "max_instances in [engine]",
                                   slots, engine_->slots().total())});
  }
  if (!errors->empty() || spec.children.empty()) return;
  parts_.log.info("node", "resident components started", {{"components", std::to_string(spec.children.size())}});
  runtime_->spawn_with({.label = "resident components"}, otp::supervise, std::move(spec));
}

void Node::listen(std::vector<Error>* errors) {
  for (const ServeConfig& config : config_.serve) {
    Result<serve::ServeOptions> options = to_serve_options(config, engine_->slots().pool().total());
    if (!options) {
      errors->push_back(std::move(options.error()));
      continue;
    }
    Result<std::unique_ptr<serve::Server>> server =
        serve::Server::start(*runtime_, transport_, *factory_, std::move(*options));
    if (!server) {
      errors->push_back(explain_listen(std::move(server.error()), config));
      continue;
    }
    endpoints_.push_back({(*server)->address(), &config});
    servers_.push_back(std::move(*server));
    const std::string address = endpoints_.back().address.to_string();
    parts_.log.info("node", "listening",
                    {{"address", address}, {"url", fmt::format("http://{}/", address)}, {"config", config.where}});
  }
}

Node::Ended Node::run(SignalWatch& signals) {
  const std::optional<int> signal = signals.wait(kNever);
  parts_.log.info("node", "draining: nothing new is taken, requests in flight may finish",
                  {{"signal", signal == SIGTERM ? "SIGTERM" : "SIGINT"},
                   {"timeout_ms", std::to_string(config_.node.drain_timeout_ms)}});
  for (const auto& server : servers_) server->begin_drain();
  const Ended ended = drain(signals);
  if (ended == Ended::kCut) parts_.log.warn("node", "stopping: requests in flight are cut");
  for (const auto& server : servers_) (void)server->drain(0);
  parts_.log.info("node", "stopped");
  return ended;
}

Node::Ended Node::drain(SignalWatch& signals) {
  const Nanoseconds deadline = deadline_after(parts_.clock.now(), from_ms(config_.node.drain_timeout_ms));
  const auto is_empty = [](const auto& server) { return server->connections() == 0; };
  for (;;) {
    if (std::ranges::all_of(servers_, is_empty)) return Ended::kDrained;
    const Nanoseconds left = deadline - parts_.clock.now();
    if (left <= 0) return Ended::kCut;
    if (signals.wait(std::min(left, kDrainLook)) == SIGINT) return Ended::kCut;
  }
}

}  // namespace rusm::app
