// GuestActor: a guest as a process among processes: what it sends, receives, starts and is told.
//
// Invariants
// 1. A call that would block has left nothing half done. It says by waits_ what the process is to wait for; the guest
// is
//    suspended, and when its body is resumed, for whatever cause, it makes the same call again. So a wake without
//    cause does no harm.
// 2. No wake is lost: before it would block, a call has drained the inbox and looked at everything in the mailbox that
//    it could take. What comes after that makes the process fail to park, or wakes it: messages do so for kWait; for
//    kWaitSignals a stream, a store or a timer does, by waking the pid.
// 3. What a call hands to the guest lies in memory that lives until the next call.
#pragma once

#include <rusm_bridge.h>

#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "otp/process.h"
#include "wasm/family.h"
#include "wasm/guest_kv.h"
#include "wasm/guest_services.h"
#include "wasm/guest_streams.h"
#include "wasm/log_allowance.h"
#include "wasm/program.h"

namespace rusm::wasm {

// Threads: as the body that it is part of.
class GuestActor {
 public:
  // `place`: in the family of whoever started it, or as a founder of its program's.
  GuestActor(Program& program, otp::Runtime& runtime, const GuestServices& services, FamilyPlace place)
      : program_(program), runtime_(runtime), services_(services), place_(std::move(place)) {}
  GuestActor(const GuestActor&) = delete;
  GuestActor& operator=(const GuestActor&) = delete;

  // Around each resume of the guest.
  void enter(otp::Process& self) noexcept {
    self_ = &self;
    pid_ = self.pid();
    waits_ = otp::Step::kWaitSignals;
  }
  // What the process waits for, when its guest waits.
  otp::Step waits() const noexcept { return waits_; }
  // Why a call ended the guest, if one did.
  std::optional<otp::ExitReason> take_end() noexcept;
  // How many of so many bytes may go to the log now; says so, but not often, when they are not all.
  std::size_t may_log(std::size_t bytes) noexcept;

  // ── The functions of rusm_actor_host ──
  std::string_view explain() const noexcept { return more_ ? std::string_view(more_->text) : std::string_view(); }
  std::uint64_t own_pid() const noexcept { return pid_.raw(); }
  rusm_call spawn(std::string_view component, std::string_view source, std::uint64_t* pid) noexcept;
  rusm_call supervise(const rusm_supervision& what, std::uint64_t* pid) noexcept;
  rusm_call monitor(otp::Pid target) noexcept;
  rusm_call send(otp::Pid to, std::span<const std::byte> bytes) noexcept;
  rusm_call send_after(otp::Pid to, std::uint64_t delay_ms, std::span<const std::byte> bytes,
                       std::uint64_t* timer) noexcept;
  rusm_call cancel_timer(std::uint64_t timer) noexcept;
  rusm_call receive(std::uint64_t timeout_ms, rusm_bytes* message) noexcept;
  void keep() noexcept;
  rusm_call stash(std::span<const std::byte> bytes) noexcept;
  void unstash() noexcept { self_->unstash(); }
  std::span<const std::uint64_t> processes() noexcept;
  rusm_call info(otp::Pid target, rusm_process_info* info) noexcept;
  rusm_call is_alive(otp::Pid target) noexcept;
  rusm_call kill(otp::Pid target) noexcept;
  rusm_call register_name(std::string_view name) noexcept;
  rusm_call unregister_name(std::string_view name) noexcept;
  rusm_call whereis(std::string_view name, std::uint64_t* pid) noexcept;
  void set_label(std::string_view label) noexcept;
  rusm_call join(std::string_view tag) noexcept;
  void leave(std::string_view tag) noexcept;
  std::span<const std::uint64_t> members(std::string_view tag) noexcept;
  rusm_call kill_tag(std::string_view tag, std::uint32_t* count) noexcept;
  rusm_call stream_open(otp::Pid to, std::uint64_t* stream) noexcept;
  rusm_call stream_write(std::uint64_t stream, std::span<const std::byte> chunk) noexcept;
  void stream_close(std::uint64_t stream) noexcept;
  rusm_call stream_accept(std::uint64_t* stream) noexcept;
  rusm_call stream_read(std::uint64_t stream, rusm_bytes* chunk) noexcept;
  rusm_call kv(KvQuestion question, KvReply* reply) noexcept;
  rusm_call kv_get(std::string_view bucket, std::string_view key, rusm_bytes* value) noexcept;
  rusm_call kv_list(std::string_view bucket, std::span<const rusm_bytes>* keys) noexcept;
  void log(std::uint32_t level, std::string_view text) noexcept;

 private:
  // What most guests never need.
  struct More {
    std::string text;  // of the last refusal
    std::optional<otp::ExitReason> end;
    std::vector<std::byte> rendered;  // the message that is shown, where it has no bytes of its own
    boost::unordered_flat_set<otp::Reference> monitors;
    boost::unordered_flat_map<std::uint64_t, std::size_t> timers;  // the bytes of their messages
    std::uint64_t timer_bytes = 0;
    std::set<std::string, std::less<>> names;
    std::uint32_t tags = 0;
    std::unique_ptr<GuestStreams> streams;
    std::unique_ptr<GuestKv> store;
    std::optional<LogAllowance> log;
    bool said_no_monitor = false;
    // What was handed to the guest.
    std::vector<std::uint64_t> pids;
    std::vector<rusm_bytes> texts;
    std::vector<std::string> strings;
    std::string label;
    KvReply reply;
  };

  More& more();
  const ActorRights& rights() const noexcept { return program_.capabilities().actor; }
  const ActorLimits& limits() const noexcept { return program_.capabilities().actor_limits; }
  GuestStreams& streams();
  bool is_self(otp::Pid pid) const noexcept { return pid == pid_; }

  rusm_call refuse(std::string text);
  rusm_call end(otp::ExitReason reason);
  rusm_call limit(std::string which, std::string text) {
    return end(otp::ExitReason::limit(std::move(which), std::move(text)));
  }
  rusm_call block(otp::Step step) noexcept {
    waits_ = step;
    return RUSM_CALL_WOULD_BLOCK;
  }
  rusm_call result_of(GuestStreams::Outcome outcome);

  bool show(otp::Message message);
  void render(std::span<const std::byte> bytes);
  void forget_fired_timers();
  void forget_lost_names();
  std::span<const rusm_bytes> show_names(otp::Pid target);
  rusm_call monitor_refused();

  // guest_spawn.cc
  Result<std::shared_ptr<otp::BodyMaker>> check_spawn(std::string_view component);

  Program& program_;
  otp::Runtime& runtime_;
  const GuestServices& services_;
  const FamilyPlace place_;
  otp::Process* self_ = nullptr;  // while the guest runs
  otp::Pid pid_;
  otp::Step waits_ = otp::Step::kWaitSignals;
  bool blocked_ = false;      // the last receive would have blocked
  bool kept_ = false;         // what is shown is received again
  bool chunk_shown_ = false;  // the last thing shown was a chunk of a stream
  Nanoseconds deadline_ = 0;  // of a receive that blocked
  otp::EnvelopePtr current_;  // the message that was received last
  rusm_bytes shown_{};        // as the guest saw it
  std::unique_ptr<More> more_;
};

// The table for the bridge. Its contexts are GuestBody's.
rusm_actor_host actor_host() noexcept;

}  // namespace rusm::wasm
