// The table of rusm_actor_host: each function finds its guest and asks it.
#include "wasm/bridge.h"
#include "wasm/guest_actor.h"
#include "wasm/guest_body.h"

namespace rusm::wasm {
namespace {

using otp::Pid;
using What = KvQuestion::What;

GuestActor& of(void* context) noexcept {
  return static_cast<GuestBody*>(context)->actor();
}
std::span<const std::byte> span(const std::uint8_t* data, std::size_t len) noexcept {
  return {reinterpret_cast<const std::byte*>(data), len};
}
void hand_out(std::span<const std::uint64_t> pids, const std::uint64_t** first, std::size_t* count) noexcept {
  *first = pids.data();
  *count = pids.size();
}
std::uint32_t ask(void* context, What what, rusm_bytes bucket, rusm_bytes key, rusm_bytes value) noexcept {
  KvReply reply;
  return of(context).kv({what, std::string(text_of(bucket)), std::string(text_of(key)), std::string(text_of(value))},
                        &reply);
}

void add_messages(rusm_actor_host& host) noexcept {
  host.explain = [](void* c, rusm_bytes* text) noexcept { *text = to_bytes(of(c).explain()); };
  host.own_pid = [](void* c) noexcept { return of(c).own_pid(); };
  host.send = [](void* c, std::uint64_t to, const std::uint8_t* data, std::size_t len) noexcept -> std::uint32_t {
    return of(c).send(Pid::from_raw(to), span(data, len));
  };
  host.send_after = [](void* c, std::uint64_t to, std::uint64_t delay_ms, const std::uint8_t* data, std::size_t len,
                       std::uint64_t* timer) noexcept -> std::uint32_t {
    return of(c).send_after(Pid::from_raw(to), delay_ms, span(data, len), timer);
  };
  host.cancel_timer = [](void* c, std::uint64_t timer) noexcept -> std::uint32_t { return of(c).cancel_timer(timer); };
  host.receive = [](void* c, std::uint64_t timeout_ms, rusm_bytes* message) noexcept -> std::uint32_t {
    return of(c).receive(timeout_ms, message);
  };
  host.keep = [](void* c) noexcept { of(c).keep(); };
  host.stash = [](void* c, const std::uint8_t* data, std::size_t len) noexcept -> std::uint32_t {
    return of(c).stash(span(data, len));
  };
  host.unstash = [](void* c) noexcept { of(c).unstash(); };
  host.log = [](void* c, std::uint32_t level, rusm_bytes text) noexcept { of(c).log(level, text_of(text)); };
}

void add_processes(rusm_actor_host& host) noexcept {
  host.spawn = [](void* c, rusm_bytes component, const rusm_bytes* source,
                  std::uint64_t* pid) noexcept -> std::uint32_t {
    if (source != nullptr) return of(c).spawn_from(text_of(component), text_of(*source));
    return of(c).spawn(text_of(component), pid);
  };
  host.supervise = [](void* c, const rusm_supervision* what, std::uint64_t* pid) noexcept -> std::uint32_t {
    return of(c).supervise(*what, pid);
  };
  host.monitor = [](void* c, std::uint64_t target) noexcept -> std::uint32_t {
    return of(c).monitor(Pid::from_raw(target));
  };
  host.processes = [](void* c, const std::uint64_t** pids, std::size_t* count) noexcept {
    hand_out(of(c).processes(), pids, count);
  };
  host.info = [](void* c, std::uint64_t target, rusm_process_info* info) noexcept -> std::uint32_t {
    return of(c).info(Pid::from_raw(target), info);
  };
  host.is_alive = [](void* c, std::uint64_t target) noexcept -> std::uint32_t {
    return of(c).is_alive(Pid::from_raw(target));
  };
  host.kill = [](void* c, std::uint64_t target) noexcept -> std::uint32_t { return of(c).kill(Pid::from_raw(target)); };
}

void add_names(rusm_actor_host& host) noexcept {
  host.register_name = [](void* c, rusm_bytes name) noexcept -> std::uint32_t {
    return of(c).register_name(text_of(name));
  };
  host.unregister_name = [](void* c, rusm_bytes name) noexcept -> std::uint32_t {
    return of(c).unregister_name(text_of(name));
  };
  host.whereis = [](void* c, rusm_bytes name, std::uint64_t* pid) noexcept -> std::uint32_t {
    return of(c).whereis(text_of(name), pid);
  };
  host.set_label = [](void* c, rusm_bytes label) noexcept { of(c).set_label(text_of(label)); };
  host.join = [](void* c, rusm_bytes tag) noexcept -> std::uint32_t { return of(c).join(text_of(tag)); };
  host.leave = [](void* c, rusm_bytes tag) noexcept { of(c).leave(text_of(tag)); };
  host.members = [](void* c, rusm_bytes tag, const std::uint64_t** pids, std::size_t* count) noexcept {
    hand_out(of(c).members(text_of(tag)), pids, count);
  };
  host.kill_tag = [](void* c, rusm_bytes tag, std::uint32_t* count) noexcept -> std::uint32_t {
    return of(c).kill_tag(text_of(tag), count);
  };
}

void add_streams(rusm_actor_host& host) noexcept {
  host.stream_open = [](void* c, std::uint64_t to, std::uint64_t* stream) noexcept -> std::uint32_t {
    return of(c).stream_open(Pid::from_raw(to), stream);
  };
  host.stream_write = [](void* c, std::uint64_t stream, const std::uint8_t* data,
                         std::size_t len) noexcept -> std::uint32_t {
    return of(c).stream_write(stream, span(data, len));
  };
  host.stream_close = [](void* c, std::uint64_t stream) noexcept { of(c).stream_close(stream); };
  host.stream_accept = [](void* c, std::uint64_t* stream) noexcept -> std::uint32_t {
    return of(c).stream_accept(stream);
  };
  host.stream_read = [](void* c, std::uint64_t stream, rusm_bytes* chunk) noexcept -> std::uint32_t {
    return of(c).stream_read(stream, chunk);
  };
}

void add_store(rusm_actor_host& host) noexcept {
  host.kv_get = [](void* c, rusm_bytes bucket, rusm_bytes key, rusm_bytes* value) noexcept -> std::uint32_t {
    return of(c).kv_get(text_of(bucket), text_of(key), value);
  };
  host.kv_set = [](void* c, rusm_bytes bucket, rusm_bytes key, rusm_bytes value) noexcept -> std::uint32_t {
    const std::uint32_t call = ask(c, What::kSet, bucket, key, value);
    return call == RUSM_CALL_NONE ? std::uint32_t{RUSM_CALL_OK} : call;
  };
  host.kv_delete = [](void* c, rusm_bytes bucket, rusm_bytes key) noexcept {
    return ask(c, What::kDelete, bucket, key, {});
  };
  host.kv_exists = [](void* c, rusm_bytes bucket, rusm_bytes key) noexcept {
    return ask(c, What::kExists, bucket, key, {});
  };
  host.kv_list = [](void* c, rusm_bytes bucket, const rusm_bytes** keys, std::size_t* count) noexcept -> std::uint32_t {
    std::span<const rusm_bytes> found;
    const std::uint32_t call = of(c).kv_list(text_of(bucket), &found);
    *keys = found.data();
    *count = found.size();
    return call;
  };
}

}  // namespace

rusm_actor_host actor_host() noexcept {
  rusm_actor_host host{};
  add_messages(host);
  add_processes(host);
  add_names(host);
  add_streams(host);
  add_store(host);
  host.events = event_host();
  return host;
}

}  // namespace rusm::wasm
