// GuestBody: a WebAssembly instance as the body of a process.
#pragma once

#include <rusm_bridge.h>

#include <atomic>
#include <boost/container/small_vector.hpp>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/memory.h"
#include "http/exchange.h"
#include "otp/body.h"
#include "otp/exit_reason.h"
#include "otp/pid.h"
#include "wasm/family.h"
#include "wasm/guest_actor.h"
#include "wasm/guest_services.h"
#include "wasm/program.h"

namespace rusm::wasm {

class Engine;

// What a command leaves behind beside its exit reason; given to it as its attachment.
// Threads: written by the guest's process before it ends; read by whoever knows that it ended.
class CommandStatus final : public otp::Attachment {
 public:
  // 0 for a normal end, the guest's own code if it exited with one, -1 if it was cut off or never came to its end.
  int exit_code() const noexcept { return exit_code_.load(std::memory_order_acquire); }
  void set_exit_code(int code) noexcept { exit_code_.store(code, std::memory_order_release); }

 private:
  std::atomic<int> exit_code_{-1};
};

// How guests end:
//   returned, exit code 0                          normal
//   another exit code                              other("exited with code 3")
//   killed itself                                  killed
//   said why (`exit` of rusm:runtime@0.2.0)        what it said
//   trap                                           crashed("trap"), with a backtrace
//   its stack is full                              crashed("stack")
//   host function failed                           crashed("host")
//   a defect of the bridge, contained              crashed("panic")
//   memory, tables, CPU time, the engine's slots   limit("memory" | "tables" | "cpu" | "instances")
//   what it may hold as a process (ActorLimits)    limit("timers" | "streams" | "monitors" | "names" | "message" |
//                                                        "chunk" | "mailbox")
//   its time on the clock is over                  limit("time")
//
// An HTTP guest answers through its Exchange. One that ends without an answer leaves it open: its exit reason, which
// the server monitors, says why. One that ends in the middle of its response body aborts that.
class GuestBody final : public otp::Body {
 public:
  // Takes over one admission: `program->needs()` of `tier`, given back when the body is destroyed. `program`
  // and `services` outlive it. `place`: in the family of the guest that started it, if one did.
  GuestBody(Program& program, Tier tier, otp::Runtime& runtime, const GuestServices& services, FamilyPlace place,
            GuestStart start, Ref<http::Exchange> exchange, Ref<CommandStatus> status);

  otp::Step resume(otp::Process& self, otp::Budget budget) noexcept override;

  // What it is as a process among processes.
  GuestActor& actor() noexcept { return actor_; }
  // While it runs, up to now.
  Nanoseconds cpu_used() const noexcept;

  // The functions that the engine calls with a GuestBody as their context.
  static rusm_host host() noexcept;

  static void* operator new(std::size_t bytes) { return allocate_block(bytes); }
  static void operator delete(void* p, std::size_t bytes) noexcept { deallocate_block(p, bytes); }

 private:
  // What only some guests need.
  struct Output {
    std::string lines[2];  // begun and not yet ended, of standard output and error
  };
  struct Web {
    Ref<http::Exchange> exchange;
    std::string pid;
    std::vector<std::string> param_names;
    boost::container::small_vector<rusm_http_header, 16> headers;
    bool finished = false;  // the response body, one way or the other
  };

  ~GuestBody() override;

  std::optional<otp::Step> begin(otp::Process& self) noexcept;
  otp::Step end(otp::Process& self) noexcept;
  void settle_exchange() noexcept;
  void dump_core() noexcept;
  otp::ExitReason reason_of(const rusm_exit& exit) noexcept;
  bool is_time_over() const noexcept;

  static GuestBody& of(void* context) noexcept { return *static_cast<GuestBody*>(context); }
  rusm_tick on_tick() noexcept;
  void on_log(unsigned stream, std::string_view text) noexcept;
  void log_line(unsigned stream, std::string_view line) noexcept;
  bool on_head(rusm_http_head* head) noexcept;
  rusm_io on_read(std::uint8_t* data, std::size_t capacity, std::size_t* count) noexcept;
  rusm_io on_respond(std::uint16_t status, std::span<const rusm_http_header> headers) noexcept;
  void on_respond_error(std::string_view text) noexcept;
  rusm_io on_write(std::span<const std::byte> data, std::size_t* count) noexcept;
  void on_trailers(std::span<const rusm_http_header> trailers) noexcept;
  void on_finish(bool complete) noexcept;

  Program& program_;
  otp::Runtime& runtime_;
  GuestActor actor_;
  const Tier tier_;
  bool waits_for_code_ = false;
  rusm_instance* instance_;  // null until its tier's code is there
  otp::Pid pid_;             // from the first resume on
  Nanoseconds cpu_used_ = 0;
  Nanoseconds resumed_at_ = 0;    // a reading of the clock
  Nanoseconds ends_at_ = kNever;  // by the clock
  Ref<CommandStatus> status_;
  std::unique_ptr<Web> web_;
  std::unique_ptr<Output> output_;
  std::string core_dump_;  // what the exit reason says of it
};

}  // namespace rusm::wasm
