#include "bench/guest_node.h"

#include <algorithm>
#include <span>
#include <thread>
#include <utility>

#include "wasm/program.h"

namespace rusm::bench {

Result<std::unique_ptr<GuestNode>> GuestNode::open(const Options& options, const std::vector<Guest>& guests,
                                                   otp::EventHook* hook, wasm::EngineOptions sizes) {
  std::unique_ptr<GuestNode> node(new GuestNode);
  const unsigned workers = options.workers != 0 ? options.workers : std::max(1u, std::thread::hardware_concurrency());
  wasm::Capabilities capabilities;
  // As a node does it: room for what its components may use.
  sizes.memory_bytes_max = capabilities.memory_bytes_max;
  sizes.workers = workers;
  auto engine = wasm::Engine::open(std::move(sizes));
  if (!engine) return std::unexpected(std::move(engine.error()));
  node->engine_ = std::move(*engine);
  const otp::RuntimeParts parts = {
      .clock = node->clock_, .entropy = node->entropy_, .reactors = node->reactors_, .hook = hook};
  node->runtime_ = std::make_unique<otp::Runtime>(otp::RuntimeOptions{.workers = workers}, parts);
  for (const Guest& guest : guests) {
    capabilities.cpu_max = guest.cpu_max;
    auto program = wasm::Program::from_bytes(
        *node->engine_, nullptr, std::as_bytes(std::span(guest.wasm)), "bench guest",
        {.name = "bench", .entry = wasm::Entry::kExport, .function = "run", .capabilities = capabilities});
    if (!program) return std::unexpected(std::move(program.error()));
    node->makers_.push_back(std::make_unique<wasm::GuestMaker>(std::move(*program), *node->runtime_));
  }
  return node;
}

GuestNode::~GuestNode() {
  if (runtime_ == nullptr) return;
  runtime_->kill_all();
  runtime_->wait_until_empty(kNever);
}

Result<otp::Pid> GuestNode::spawn(std::size_t guest) {
  Result<otp::BodyPtr> body = makers_[guest]->make({});
  if (!body) return std::unexpected(std::move(body.error()));
  otp::SpawnOptions options;
  makers_[guest]->limit(options);
  return runtime_->spawn_body(std::move(*body), std::move(options));
}

}  // namespace rusm::bench
