// GuestStreams: the ends of byte streams that a guest has, by handle.
#pragma once

#include <cstdint>
#include <deque>
#include <span>

#include <boost/unordered/unordered_flat_map.hpp>

#include "otp/byte_stream.h"
#include "wasm/actor_rights.h"

namespace rusm::wasm {

// Handles count from 1 and are never used again. Threads: one owner.
class GuestStreams {
 public:
  enum class Outcome : std::uint8_t {
    kDone,
    kNothing,         // no such stream, or its other end is gone, or it came to its end
    kWaitForStream,   // until its other end does something
    kWaitForMessage,  // until one comes
    kTooMany,         // as many handles as there may be
    kTooLong,         // the chunk
  };

  explicit GuestStreams(const ActorLimits& limits) : limits_(limits) {}

  Outcome open(otp::Process& self, otp::Pid to, std::uint64_t* stream);
  // Once it said kWaitForStream the chunk is kept here, and the next call writes that.
  Outcome write(otp::Process& self, std::uint64_t stream, std::span<const std::byte> chunk);
  void close(std::uint64_t stream) noexcept;
  // Messages that are no streams stay in the mailbox.
  Outcome accept(otp::Process& self, std::uint64_t* stream);
  // The chunk is valid until the next read of that stream, or its end.
  Outcome read(otp::Process& self, std::uint64_t stream, std::span<const std::byte>* chunk);
  // The last chunk is read again next.
  void keep() noexcept { kept_ = true; }
  // A stream that came with a message that was received; dropped when there are too many.
  void arrived(otp::StreamReader reader);

 private:
  bool has_room() const noexcept { return out_.size() + in_.size() < limits_.streams_max; }

  const ActorLimits& limits_;
  boost::unordered_flat_map<std::uint64_t, otp::StreamWriter> out_;
  boost::unordered_flat_map<std::uint64_t, otp::StreamReader> in_;
  std::deque<otp::StreamReader> arrived_;
  std::uint64_t next_ = 1;
  otp::Buffer pending_;                 // of a write that waits
  otp::Envelope* looked_at_ = nullptr;  // the last one in the mailbox, while an accept waits
  std::uint64_t last_read_ = 0;
  std::span<const std::byte> last_chunk_;
  bool kept_ = false;
};

}  // namespace rusm::wasm
