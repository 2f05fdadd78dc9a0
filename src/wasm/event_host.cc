// The table of rusm_event_host: each function finds its guest and asks it.
#include "wasm/bridge.h"
#include "wasm/guest_actor.h"
#include "wasm/guest_body.h"

namespace rusm::wasm {
namespace {

GuestBody& body_of(void* context) noexcept {
  return *static_cast<GuestBody*>(context);
}
GuestActor& of(void* context) noexcept {
  return body_of(context).actor();
}
std::span<const std::byte> span(const std::uint8_t* data, std::size_t len) noexcept {
  return {reinterpret_cast<const std::byte*>(data), len};
}

void add_messages(rusm_event_host& host) noexcept {
  host.receive_event = [](void* c, const rusm_match* matches, std::size_t count, std::uint64_t timeout_ms,
                          rusm_event* event) noexcept -> std::uint32_t {
    return of(c).receive_event({matches, count}, timeout_ms, event);
  };
  host.send_to = [](void* c, rusm_pid to, const std::uint8_t* data, std::size_t len) noexcept -> std::uint32_t {
    return of(c).send(GuestActor::resolve(to), span(data, len));
  };
  host.call = [](void* c, rusm_pid to, const std::uint8_t* data, std::size_t len, std::uint64_t timeout_ms,
                 rusm_bytes* answer, rusm_reason* reason, bool* timed_out) noexcept -> std::uint32_t {
    return of(c).call(GuestActor::resolve(to), span(data, len), timeout_ms, answer, reason, timed_out);
  };
  host.reply = [](void* c, std::uint64_t token, const std::uint8_t* data, std::size_t len) noexcept -> std::uint32_t {
    return of(c).reply(token, span(data, len));
  };
  host.start_timer = [](void* c, std::uint64_t delay_ms, std::uint64_t* timer) noexcept -> std::uint32_t {
    return of(c).start_timer(delay_ms, timer);
  };
  host.send_to_after = [](void* c, rusm_pid to, std::uint64_t delay_ms, const std::uint8_t* data, std::size_t len,
                          std::uint64_t* timer) noexcept -> std::uint32_t {
    return of(c).send_after(GuestActor::resolve(to), delay_ms, span(data, len), timer);
  };
  host.timer_left = [](void* c, std::uint64_t timer, bool cancel, std::uint64_t* left_ms) noexcept -> std::uint32_t {
    return of(c).timer_left(timer, cancel, left_ms);
  };
}

void add_signals(rusm_event_host& host) noexcept {
  host.watch = [](void* c, rusm_pid target, std::uint64_t* monitor) noexcept -> std::uint32_t {
    return of(c).watch(GuestActor::resolve(target), monitor);
  };
  host.demonitor = [](void* c, std::uint64_t monitor) noexcept -> std::uint32_t { return of(c).demonitor(monitor); };
  host.link = [](void* c, rusm_pid target) noexcept -> std::uint32_t {
    return of(c).link(GuestActor::resolve(target));
  };
  host.unlink = [](void* c, rusm_pid target) noexcept { of(c).unlink(GuestActor::resolve(target)); };
  host.trap_exit = [](void* c, bool on) noexcept { return of(c).trap_exit(on); };
  host.exit = [](void* c, const rusm_reason* reason) noexcept -> std::uint32_t { return of(c).exit(*reason); };
  host.send_exit = [](void* c, rusm_pid target, const rusm_reason* reason) noexcept -> std::uint32_t {
    return of(c).send_exit(GuestActor::resolve(target), *reason);
  };
}

void add_processes(rusm_event_host& host) noexcept {
  host.spawn_with = [](void* c, const rusm_spawn* what, std::uint64_t* pid,
                       std::uint64_t* monitor) noexcept -> std::uint32_t {
    return of(c).spawn_with(*what, pid, monitor);
  };
  host.supervise_with = [](void* c, const rusm_supervisor* what, std::uint64_t* pid) noexcept -> std::uint32_t {
    return of(c).supervise_with(*what, pid);
  };
  host.self_info = [](void* c, rusm_self_info* info) noexcept {
    of(c).self_info(info);
    info->cpu_ns = static_cast<std::uint64_t>(body_of(c).cpu_used());
  };
  host.argument = [](void* c, rusm_bytes* argument) noexcept { *argument = to_bytes(of(c).argument()); };
}

}  // namespace

rusm_event_host event_host() noexcept {
  rusm_event_host host{};
  add_messages(host);
  add_signals(host);
  add_processes(host);
  return host;
}

}  // namespace rusm::wasm
