// GuestStreams: the ends of byte streams that a guest has, by handle.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

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
    kTooMany,         // as many streams as there may be, those counted that were closed and are not read yet
    kTooLong,         // the chunk
  };

  explicit GuestStreams(const ActorLimits& limits) : limits_(limits) {}

  Outcome open(otp::Process& self, otp::Pid to, std::uint64_t* stream);
  // Once it said kWaitForStream the chunk is kept here, and the next call writes that.
  Outcome write(otp::Process& self, std::uint64_t stream, std::span<const std::byte> chunk);
  void close(std::uint64_t stream) noexcept;
  // Messages that are no streams stay in the mailbox. A stream for which there is no room is refused.
  Outcome accept(otp::Process& self, std::uint64_t* stream);
  // The same with one that was received; false when there is no room for it: its writer sees that nobody reads.
  bool take_in(otp::StreamReader reader, std::uint64_t* stream);
  // The chunk is valid until the next read of that stream, or its end.
  Outcome read(otp::Process& self, std::uint64_t stream, std::span<const std::byte>* chunk);
  // The chunk that was read last is what the next read of its stream gives.
  void keep() noexcept;
  // A stream that came with a message that was received; dropped when there are too many.
  void arrived(otp::StreamReader reader);

 private:
  // A reader, and what the last read gave, which is read again if it is kept.
  struct In {
    otp::StreamReader reader;
    std::span<const std::byte> chunk = {};
    bool kept = false;
  };

  bool has_room() noexcept;
  // Takes the next stream out of the mailbox into arrived_; false when there is none.
  bool take_arrived(otp::Process& self);

  const ActorLimits& limits_;
  boost::unordered_flat_map<std::uint64_t, otp::StreamWriter> out_;
  boost::unordered_flat_map<std::uint64_t, In> in_;
  std::vector<otp::StreamWriter> closed_;  // whose readers may still be there, with what was written
  std::deque<otp::StreamReader> arrived_;
  std::uint64_t next_ = 1;
  otp::Buffer pending_;                 // of a write that waits
  otp::Envelope* looked_at_ = nullptr;  // the last one in the mailbox, while an accept waits
  std::uint64_t last_read_ = 0;
};

}  // namespace rusm::wasm
