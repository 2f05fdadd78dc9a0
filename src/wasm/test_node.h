// A small node for the tests of this room: an engine, a runtime, programs from text.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/entropy.h"
#include "base/log.h"
#include "base/test_wait.h"
#include "otp/runtime.h"
#include "wasm/engine.h"
#include "wasm/guest_body.h"
#include "wasm/guest_factory.h"
#include "wasm/program.h"

namespace rusm::wasm {

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// A component around one core module that exports "run".
inline std::string component(std::string_view core) {
  return "(component (core module $m " + std::string(core) + R"() (core instance $i (instantiate $m))
    (func (export "run") (canon lift (core func $i "run")))))";
}

// The guest of bridge/engine/tests/guests/http.wat.
std::string http_guest();

inline std::unique_ptr<Engine> open_engine(EngineOptions options = {.guests_max = 64, .workers = 2}) {
  Result<std::unique_ptr<Engine>> engine = Engine::open(options);
  EXPECT_TRUE(engine.has_value()) << engine.error().to_string();
  return std::move(*engine);
}

// Collects log lines. Threads: any thread.
class LogLines {
 public:
  explicit LogLines(const Clock& clock)
      : log({}, clock, [this](std::string_view lines) {
          const std::lock_guard lock(mutex_);
          text_ += lines;
        }) {}

  std::string text() {
    log.flush();
    const std::lock_guard lock(mutex_);
    return text_;
  }

 private:
  std::mutex mutex_;
  std::string text_;

 public:
  Log log;
};

class TestNode {
 public:
  explicit TestNode(EngineOptions options = {.guests_max = 64, .workers = 2})
      : engine(open_engine(options)),
        runtime({.workers = 2}, {.clock = clock, .entropy = entropy, .reactors = reactors, .log = &lines.log}) {}

  std::shared_ptr<GuestMaker> maker(std::string_view wasm, Entry entry, Capabilities capabilities = {}) {
    Result<std::shared_ptr<Program>> program = Program::from_bytes(
        *engine, nullptr, bytes_of(wasm), "test",
        {.name = "guest", .entry = entry, .function = "run", .capabilities = std::move(capabilities)});
    if (!program) {
      ADD_FAILURE() << program.error().to_string();
      return nullptr;
    }
    makers_.push_back(std::make_shared<GuestMaker>(*program, runtime));
    return makers_.back();
  }

  otp::Pid start(GuestMaker& maker, Ref<otp::Attachment> attachment = {}) {
    Result<otp::BodyPtr> body = maker.make({.bytes = {}, .attachment = std::move(attachment)});
    if (!body) {
      ADD_FAILURE() << body.error().to_string();
      return {};
    }
    return begin_body(std::move(*body), {});
  }

  // Starts any body, whose end wait() hears of.
  otp::Pid begin_body(otp::BodyPtr body, otp::SpawnOptions options) {
    options.on_exit = [this](otp::Pid pid, const otp::ExitReason& reason) {
      const std::lock_guard lock(mutex_);
      ended_.emplace_back(pid, reason);
      condition_.notify_all();
    };
    return runtime.spawn_body(std::move(body), std::move(options));
  }

  otp::ExitReason wait(otp::Pid pid) {
    std::unique_lock lock(mutex_);
    otp::ExitReason reason;
    const auto is_ended = [&] {
      for (const auto& [ended, why] : ended_) {
        if (ended == pid) {
          reason = why;
          return true;
        }
      }
      return false;
    };
    EXPECT_TRUE(condition_.wait_for(lock, std::chrono::seconds(30), is_ended)) << "the guest does not end";
    return reason;
  }

  otp::ExitReason run(std::string_view core, Capabilities capabilities = {}) {
    const auto made = maker(component(core), Entry::kExport, std::move(capabilities));
    return made ? wait(start(*made)) : otp::ExitReason();
  }

  // True once the pool and the slots are empty again.
  bool settles() {
    return eventually([&] {
      const rusm_pool_usage usage = engine->pool_usage();
      return engine->slots().used() == 0 && usage.component_instances == 0 && usage.overflow_stacks == 0 &&
             usage.overflow_memories == 0;
    });
  }

  SystemClock clock;
  SystemEntropy entropy;
  LogLines lines{clock};
  otp::QuietReactorFactory reactors;
  std::unique_ptr<Engine> engine;

 private:
  std::mutex mutex_;
  std::condition_variable condition_;
  std::vector<std::pair<otp::Pid, otp::ExitReason>> ended_;
  std::vector<std::shared_ptr<GuestMaker>> makers_;

 public:
  otp::Runtime runtime;  // last: its workers end before what they use
};

}  // namespace rusm::wasm
