#include "bench/storm_workloads.h"

#include <atomic>
#include <memory>
#include <string_view>

#include "bench/gate.h"
#include "bench/guest_node.h"
#include "otp/routine.h"

namespace rusm::bench {
namespace {

// The same but for their last instruction.
constexpr std::string_view kReturns = R"((module (import "rusm" "send" (func $send (param i64 i32 i32)))
  (memory (export "memory") 1)
  (func $work (call $send (i64.const 0) (i32.const 0) (i32.const 8)))
  (func (export "run") (call $work))))";
constexpr std::string_view kTraps = R"((module (import "rusm" "send" (func $send (param i64 i32 i32)))
  (memory (export "memory") 1)
  (func $work (call $send (i64.const 0) (i32.const 0) (i32.const 8)) unreachable)
  (func (export "run") (call $work))))";
constexpr std::string_view kFails = R"((module (import "rusm" "send" (func $send (param i64 i32 i32)))
  (memory (export "memory") 1)
  (func $work (call $send (i64.const 0) (i32.const 65535) (i32.const 8)))
  (func (export "run") (call $work))))";
enum Guest : std::size_t { kReturning, kTrapping, kFailing };

constexpr int kAtOnce = 32;
constexpr int kSlices = 10;  // of each kind in turn, so that what else the machine does meets both

struct Storm {
  std::atomic<std::uint64_t> ended{0};
  std::atomic<std::uint64_t> wrong{0};  // that ended as they should not
};

otp::Routine breeder(otp::Self& self, GuestNode* node, bool crashes, Nanoseconds until, Storm* storm,
                     std::shared_ptr<Gate> gate) {
  self.trap_exit(true);
  std::uint64_t begun = 0;
  std::uint64_t ended = 0;
  std::uint64_t wrong = 0;
  for (bool going = true; going || ended < begun;) {
    going = going && node->clock().now() < until;
    while (going && begun - ended < kAtOnce) {
      const std::size_t guest = !crashes ? kReturning : begun % 2 == 0 ? kTrapping : kFailing;
      Result<otp::BodyPtr> body = node->maker(guest).make({});
      if (!body) break;
      self.runtime().spawn_from(self, std::move(*body), otp::SpawnOptions{.link = true});
      ++begun;
    }
    if (ended == begun) {
      co_await otp::yield(self);  // others have all slots
      continue;
    }
    const otp::Message message = co_await otp::receive(self);
    const bool crashed = message.reason().kind() == otp::ExitReason::Kind::kCrashed;
    if (crashed != crashes) ++wrong;
    ++ended;
  }
  storm->ended.fetch_add(ended);
  storm->wrong.fetch_add(wrong);
  gate->arrive();
}

// Nanoseconds for each guest, and how many there were.
double run_slice(GuestNode& node, bool crashes, Nanoseconds span, Storm* storm) {
  const std::uint64_t before = storm->ended.load();
  const auto gate = std::make_shared<Gate>(node.runtime().workers());
  const Nanoseconds start = node.clock().now();
  for (unsigned i = 0; i < node.runtime().workers(); ++i) {
    node.runtime().spawn(breeder, &node, crashes, start + span, storm, gate);
  }
  gate->wait();
  const auto ended = static_cast<double>(storm->ended.load() - before);
  return static_cast<double>(node.clock().now() - start) / ended;
}

}  // namespace

Result<Measurement> guest_crash_storm(const Options& options) {
  auto node = GuestNode::open(options, {{.wasm = kReturns}, {.wasm = kTraps}, {.wasm = kFails}});
  if (!node) return std::unexpected(std::move(node.error()));
  Storm storm;
  double returned = 0;
  double crashed = 0;
  for (int i = 0; i < kSlices; ++i) {
    returned += run_slice(**node, false, options.span() / (2 * kSlices), &storm);
    crashed += run_slice(**node, true, options.span() / (2 * kSlices), &storm);
  }
  if (const std::uint64_t wrong = storm.wrong.load(); wrong != 0) {
    return fail(ErrorCode::kInternal, "guest-crash-storm", std::to_string(wrong) + " guests ended as they should not");
  }
  return Measurement{
      .value = 100 * crashed / returned, .unit = "% of an exit storm", .workers = (*node)->runtime().workers()};
}

}  // namespace rusm::bench
