// GuestKv: one guest's use of the node's store. A store that makes its callers wait is asked without a worker's time:
// writes go to its writer, reads to a thread that may block.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/refcount.h"
#include "kv/kv_process.h"
#include "otp/process.h"
#include "wasm/guest_services.h"

namespace rusm::wasm {

struct KvQuestion {
  enum class What : std::uint8_t { kGet, kSet, kDelete, kExists, kList };
  What what;
  std::string bucket;
  std::string key;
  std::string value;
};

struct KvReply {
  bool found = false;
  std::string value;
  std::vector<std::string> keys;
};

// Threads: one owner, a process.
class GuestKv {
 public:
  // `keys_max`: in one answer of kList.
  GuestKv(const GuestServices& services, std::uint32_t keys_max);
  ~GuestKv();
  GuestKv(const GuestKv&) = delete;
  GuestKv& operator=(const GuestKv&) = delete;

  // The answer, or nothing yet: then the process is woken once there is one, and asks again; what it asks then does not
  // matter. REQUIRES: there is a store.
  std::optional<Result<KvReply>> ask(otp::Process& self, KvQuestion question);

 private:
  class Read;

  const GuestServices& services_;
  const std::uint32_t keys_max_;
  Ref<Read> read_;
  Ref<kv::ProcessCommit> commit_;
};

}  // namespace rusm::wasm
