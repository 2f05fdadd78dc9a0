// What a guest may do as a process, and how much of it. The default: messages and names, and nothing to others.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rusm::wasm {

// Threads: a value.
struct ActorRights {
  bool spawn = false;                    // start and supervise components, and monitor processes
  std::vector<std::string> spawn_only;   // of these names; empty: all that the node has
  bool process_control = false;          // see, kill and monitor other processes, free their names
  bool storage = false;                  // the node's store
  std::vector<std::string> bucket_only;  // in these buckets; empty: all

  bool may_spawn(std::string_view component) const noexcept;
  bool may_store(std::string_view bucket) const noexcept;
  // What both allow.
  static ActorRights intersect(const ActorRights& parent, const ActorRights& child);
};

// Threads: a value.
struct ActorLimits {
  // The lesser of each.
  static ActorLimits intersect(const ActorLimits& parent, const ActorLimits& child);

  std::uint32_t processes_max = 256;  // alive at once of all that a guest started, and they started, and so on
  std::uint32_t mailbox_messages_max = 100'000;
  std::uint64_t mailbox_bytes_max = 64 << 20;  // envelopes of 48 bytes included
  std::uint64_t message_bytes_max = 16 << 20;
  std::uint32_t timers_max = 1000;          // that have not fired
  std::uint64_t timer_bytes_max = 1 << 20;  // of their messages
  std::uint32_t streams_max = 64;           // ends of streams, both kinds together
  std::uint64_t chunk_bytes_max = 1 << 20;  // of one write
  std::uint32_t names_max = 100;            // names and tags
  std::uint32_t monitors_max = 10'000;      // whose process lives
  std::uint32_t children_max = 1000;        // of one supervisor
  std::uint32_t keys_max = 100'000;         // in one answer of kv list
};

}  // namespace rusm::wasm
