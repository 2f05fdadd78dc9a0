// GuestServices: what of its node a guest reaches through its calls.
#pragma once

#include <functional>
#include <set>
#include <string>

namespace rusm::otp {
class BodyFactory;
}
namespace rusm::kv {
class DurableKvStore;
class KvStore;
}  // namespace rusm::kv

namespace rusm::wasm {

using ReservedNames = std::set<std::string, std::less<>>;

// All of it outlives the guests; null: the node has none. Threads: a value.
struct GuestServices {
  const otp::BodyFactory* factory = nullptr;      // what spawn and supervise find
  const ReservedNames* reserved_names = nullptr;  // that no guest registers
  kv::KvStore* store = nullptr;
  kv::DurableKvStore* durable = nullptr;  // the same store, when it is one that makes its callers wait
};

}  // namespace rusm::wasm
