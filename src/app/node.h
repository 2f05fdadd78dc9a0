// Node: the parts of a running system, built from a configuration and put together: engine, components, runtime,
// servers.
#pragma once

#include <expected>
#include <memory>
#include <optional>
#include <vector>

#include "app/config.h"
#include "app/environment.h"
#include "app/signals.h"
#include "base/clock.h"
#include "base/entropy.h"
#include "base/log.h"
#include "kv/durable_kv_store.h"
#include "net/address.h"
#include "net/epoll_reactor.h"
#include "net/tcp.h"
#include "observe/control_server.h"
#include "otp/runtime.h"
#include "serve/options.h"
#include "serve/server.h"
#include "wasm/code_cache.h"
#include "wasm/engine.h"
#include "wasm/guest_factory.h"

namespace rusm::app {

// What a node is given; all of it outlives the node.
struct NodeParts {
  const Clock& clock;
  Entropy& entropy;
  Log& log;
  const EnvironmentLookup& environment;
};

// One listener as the server takes it. `instances`: how many the engine has, for limits that follow from it.
// Errors: kInvalid for the address.
Result<serve::ServeOptions> to_serve_options(const ServeConfig& config, std::uint32_t instances);

// Threads: its functions are called by the thread that made it.
class Node {
 public:
  // Where a listener really listens, and the table it came from.
  struct Endpoint {
    net::Address address;
    const ServeConfig* config;
  };
  enum class Ended : std::uint8_t {
    kDrained,  // every request in flight was finished
    kCut,      // some were killed: the time was over, or it was told to stop at once
  };
  // All that is wrong, so that one start shows it.
  using StartResult = std::expected<std::unique_ptr<Node>, std::vector<Error>>;

  // Loads every component, starts the resident ones, then opens every listener. Compiling takes its time; nothing else
  // blocks for long.
  static StartResult start(Config config, NodeParts parts);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  const std::vector<Endpoint>& endpoints() const noexcept { return endpoints_; }
  otp::Runtime& runtime() noexcept { return *runtime_; }

  // Serves until SIGTERM or SIGINT comes, then drains: nothing new is taken, what is in flight may finish within
  // [node] drain_timeout_ms. SIGINT while it drains stops at once.
  Ended run(SignalWatch& signals);

 private:
  Node(Config config, NodeParts parts) : config_(std::move(config)), parts_(parts) {}

  Result<> open_engine();
  Result<> open_store();
  void open_control();
  void load_components(std::vector<Error>* errors);
  void start_residents(std::vector<Error>* errors);
  void listen(std::vector<Error>* errors);
  Ended drain(SignalWatch& signals);

  const Config config_;
  const NodeParts parts_;

  // In the order in which they lean on each other; destroyed from the last to the first. The runtime ends every process
  // before the engine, the programs and the sockets go.
  std::unique_ptr<wasm::Engine> engine_;
  std::optional<wasm::CodeCache> code_cache_;
  std::vector<std::shared_ptr<wasm::Program>> programs_;
  std::unique_ptr<kv::DurableKvStore> store_;  // null: not wanted
  std::unique_ptr<wasm::GuestFactory> factory_;
  net::IoDriver driver_;
  net::TcpTransport transport_{driver_};
  std::unique_ptr<otp::Runtime> runtime_;
  std::unique_ptr<observe::ControlServer> control_;  // null: not wanted, or it could not be opened
  std::vector<std::unique_ptr<serve::Server>> servers_;
  std::vector<Endpoint> endpoints_;
};

}  // namespace rusm::app
