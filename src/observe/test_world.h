// What this room's tests stand on: a runtime in deterministic mode whose first pid is always the same, and processes
// that do as they are told.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "otp/routine.h"
#include "otp/runtime.h"

namespace rusm::observe {

inline otp::Routine wait_for_message(otp::Self& self) {
  for (;;) (void)co_await otp::receive(self);
}

inline otp::Routine wait_for_time(otp::Self& self) {
  for (;;) co_await otp::sleep(self, 1000 * kSecond);
}

// Sends itself on its way again and again.
inline otp::Routine never_stop(otp::Self& self) {
  for (;;) co_await otp::yield(self);
}

// Ends when it gets a message.
inline otp::Routine end_with(otp::Self& self, otp::ExitReason reason) {
  (void)co_await otp::receive(self);
  co_await otp::end(self, std::move(reason));
}

// Threads: one owner.
struct TestWorld {
  SimulatedClock clock;
  SeededEntropy entropy{1};
  otp::QuietReactorFactory reactors;
  otp::Runtime runtime{{.deterministic_seed = 1}, {clock, entropy, reactors}};

  otp::Pid spawn(std::string label, otp::Pid parent = {}, std::string name = {}) {
    return runtime.spawn_with({.label = std::move(label), .name = std::move(name), .parent = parent}, wait_for_message);
  }
  void run() { runtime.run_until_idle(); }
  // `text` with "<n>" in the place of the pid `pid`.
  static std::string with(std::string text, otp::Pid pid, const std::string& name) {
    const std::string from = pid.to_string();
    for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + name.size())) {
      text.replace(at, from.size(), name);
    }
    return text;
  }
};

}  // namespace rusm::observe
