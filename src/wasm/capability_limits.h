// Every limit of a profile, once, with what more of it lets a guest do.
#pragma once

#include "wasm/capabilities.h"

namespace rusm::wasm {

// visit(member, text) for each.
template <class Visit>
void for_each_limit(Visit visit) {
  using C = Capabilities;
  visit(&C::memory_bytes_max, "use more memory");
  visit(&C::table_elements_max, "use more of tables");
  visit(&C::cpu_max, "use more CPU time");
  visit(&C::wall_max, "live longer");
  visit(&C::http_requests_max, "send more requests at once");
  visit(&C::hostcall_bytes_max, "pass more bytes in a call");
  visit(&C::resources_max, "hold more resources");
  visit(&C::http_fields_bytes_max, "hold longer header fields");
  visit(&C::random_bytes_max, "take more random bytes in a call");
  visit(&C::log_bytes_max, "write more to the log");
  visit(&C::log_bytes_per_second, "write more to the log");
  visit(&C::http_timeout_max, "wait longer for answers");
}

// The same. Without a text, processes_max: what a child starts counts in its parent's family.
template <class Visit>
void for_each_actor_limit(Visit visit) {
  using L = ActorLimits;
  visit(&L::processes_max, nullptr);
  visit(&L::mailbox_messages_max, "have a larger mailbox");
  visit(&L::mailbox_bytes_max, "have a larger mailbox");
  visit(&L::message_bytes_max, "send longer messages");
  visit(&L::timers_max, "have more timers");
  visit(&L::timer_bytes_max, "have more timers");
  visit(&L::streams_max, "have more streams, or longer chunks");
  visit(&L::chunk_bytes_max, "have more streams, or longer chunks");
  visit(&L::names_max, "have more names");
  visit(&L::monitors_max, "monitor more processes");
  visit(&L::children_max, "supervise more children");
  visit(&L::keys_max, "list more keys");
}

}  // namespace rusm::wasm
