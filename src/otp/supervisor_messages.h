// What a supervisor receives from its children and from those that ask it. Internal to otp.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "otp/supervisor.h"

namespace rusm::otp::detail {

struct ChildStarted {
  Pid child;
  bool declined = false;
};

struct StartRequest {
  static constexpr bool kLocalOnly = true;
  ChildSpec spec;
};

struct StartDynamicRequest {
  static constexpr bool kLocalOnly = true;
  std::unique_ptr<Message> argument;
};

enum class Order : std::uint8_t { kTerminate, kRestart, kDelete };
struct OrderRequest {
  Order order = Order::kTerminate;
  std::string id;
  Pid pid;  // of a dynamic child, instead of the id
};

struct WhichRequest {};
struct CountRequest {};

// A Result<Pid> that can travel.
struct Answer {
  Pid pid;
  std::optional<std::pair<ErrorCode, std::string>> error;
};

}  // namespace rusm::otp::detail
