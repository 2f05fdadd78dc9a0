// World: a node with small profiles in one thread, in which programs run as real guests; and what must hold after each.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/entropy.h"
#include "hostcalls/calls.h"
#include "hostcalls/program.h"
#include "kv/memory_kv_store.h"
#include "otp/runtime.h"
#include "wasm/engine.h"
#include "wasm/guest_factory.h"

namespace rusm::hostcalls {

// Stands still but for a millisecond each time that it is read: so CPU time passes for a guest that runs for ever, and
// nothing depends on how fast the machine is. Threads: any thread.
class ReadClock final : public Clock {
 public:
  Nanoseconds now() const noexcept override {
    return now_.fetch_add(kMillisecond, std::memory_order_relaxed);  // relaxed: a number that orders nothing
  }
  Nanoseconds wall() const noexcept override { return now() + 1'700'000'000 * kSecond; }
  void advance_to(Nanoseconds at) noexcept {
    if (at > now_.load()) now_.store(at);
  }

 private:
  mutable std::atomic<Nanoseconds> now_{kSecond};
};

// What a guest of a program may: each of the programs runs under one of them.
enum class Profile : std::uint8_t {
  kNothing,  // no right at all
  kAll,      // every right, and little of everything
};

struct Run {
  Profile profile = Profile::kAll;
  // It is killed when so many processes had their turn; not when it is 0.
  std::uint32_t kill_after = 0;
};

struct Outcome {
  // How it ended; nothing when it waited for ever, and was killed.
  std::optional<otp::ExitReason> reason;
  // What it reported: registers, then the scratch.
  std::optional<std::string> report;
  // What must hold and does not; empty when all does.
  std::string problem;

  std::uint64_t reg(std::size_t number) const;
  std::uint64_t word(std::size_t scratch_at) const;
};

// Threads: one thread.
class World {
 public:
  static constexpr std::uint64_t kMessageBytesMax = 32 << 10;
  static constexpr std::uint64_t kChunkBytesMax = 4096;
  static constexpr std::uint32_t kFew = 4;  // timers, streams, names, monitors, children, processes, keys

  // `calls`: whose guest runs; `folder`: what those with all rights see as /files. Throws std::runtime_error when it
  // cannot be made.
  World(Calls calls, std::filesystem::path folder);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  const Calls& calls() const noexcept { return calls_; }
  // The processes that a program may know: a native one called `control`, another guest, and one that is gone.
  std::vector<std::uint64_t> pids() const;
  // From a world that is empty back to one that is.
  Outcome run(const Program& program, Run run = {});

 private:
  // Counts ends as the runtime should. Threads: one thread.
  class Ends final : public otp::EventHook {
   public:
    void on_exit(otp::Pid, const otp::ExitReason& reason, std::string_view) noexcept override;
    std::uint64_t crashes = 0;
    std::uint64_t panics = 0;
    wasm::LimitsHit limits;
  };
  struct Before;

  void add(const std::string& name, std::string_view wasm, Profile profile);
  void begin();
  // Runs until everybody waits, or `guest` had to be killed; true when it waits for ever.
  bool settle(Run run, otp::Pid guest, const bool& ended);
  void clean();
  std::string check(const Before& before, const Outcome& outcome);

  const Calls calls_;
  const std::filesystem::path folder_;
  ReadClock clock_;
  SystemEntropy entropy_;
  otp::QuietReactorFactory reactors_;
  Ends ends_;
  std::unique_ptr<wasm::Engine> engine_;
  kv::MemoryKvStore store_;
  std::vector<std::string> reports_;
  otp::Runtime runtime_;
  wasm::GuestFactory factory_;
  otp::Pid control_;
  otp::Pid other_;
  otp::Pid gone_;
};

// Whether a guest may end like this: what docs/guests.md and docs/capabilities.md name.
bool is_documented(const otp::ExitReason& reason);

}  // namespace rusm::hostcalls
