// A node for tests of guests that are processes: components by name, a store, and a native process that hears reports.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kv/memory_kv_store.h"
#include "otp/routine.h"
#include "wasm/test_node.h"

namespace rusm::wasm {

// What a native process was sent. Threads: any thread.
class Reports {
 public:
  void add(std::string text) {
    const std::lock_guard lock(mutex_);
    texts_.push_back(std::move(text));
  }
  std::vector<std::string> all() {
    const std::lock_guard lock(mutex_);
    return texts_;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> texts_;
};

inline otp::Routine collect(otp::Self& self, Reports* reports) {
  for (;;) {
    const otp::Message message = co_await otp::receive(self);
    reports->add(std::string(message.text()));
  }
}

class ActorNode : public TestNode {
 public:
  explicit ActorNode(EngineOptions options = {.guests_max = 64, .workers = 2}, kv::DurableKvStore* durable = nullptr)
      : TestNode(options),
        factory(runtime,
                {.store = durable == nullptr ? static_cast<kv::KvStore*>(&store) : durable, .durable = durable}),
        control(runtime.spawn_with({.name = "control"}, collect, &reports)) {}
  ~ActorNode() {
    runtime.kill_all();
    EXPECT_TRUE(runtime.wait_until_empty(30 * kSecond));
    EXPECT_TRUE(settles());
  }

  // A component or module that exports "run", under a name.
  void add(const std::string& name, std::string_view wasm, Capabilities capabilities = {}) {
    Result<std::shared_ptr<Program>> program = Program::from_bytes(
        *engine, nullptr, bytes_of(wasm), name,
        {.name = name, .entry = Entry::kExport, .function = "run", .capabilities = std::move(capabilities)});
    ASSERT_TRUE(program.has_value()) << program.error().to_string();
    ASSERT_TRUE(factory.add(std::move(*program)).has_value());
  }

  // Starts what add() added, and hears of its end.
  otp::Pid begin(const std::string& name) {
    Result<otp::BodyPtr> body = factory.find(name)->make({});
    EXPECT_TRUE(body.has_value()) << body.error().to_string();
    if (!body) return {};
    otp::SpawnOptions spawn;
    spawn.label = name;
    factory.find(name)->limit(spawn);
    return begin_body(std::move(*body), std::move(spawn));
  }

  void tell(otp::Pid pid, std::string_view text) { runtime.send(pid, otp::Message::of_text(text)); }
  std::string control_text() const { return std::to_string(control.raw()); }

  // Waits until so many reports are there.
  std::vector<std::string> reported(std::size_t count) {
    EXPECT_TRUE(eventually([&] { return reports.all().size() >= count; })) << "reports: " << reports.all().size();
    return reports.all();
  }

  kv::MemoryKvStore store;
  Reports reports;
  GuestFactory factory;
  const otp::Pid control;
};

}  // namespace rusm::wasm
