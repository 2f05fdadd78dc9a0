#include "wasm/guest_streams.h"

#include <cstring>

#include "otp/runtime.h"

namespace rusm::wasm {

GuestStreams::Outcome GuestStreams::open(otp::Process& self, otp::Pid to, std::uint64_t* stream) {
  if (!self.runtime().is_alive(to)) return Outcome::kNothing;
  if (!has_room()) return Outcome::kTooMany;
  otp::StreamEnds ends = otp::open_stream(self.runtime());
  if (!self.try_send(to, otp::Message::local(std::move(ends.reader)))) return Outcome::kNothing;
  *stream = next_++;
  out_.emplace(*stream, std::move(ends.writer));
  return Outcome::kDone;
}

GuestStreams::Outcome GuestStreams::write(otp::Process& self, std::uint64_t stream, std::span<const std::byte> chunk) {
  const auto found = out_.find(stream);
  if (found == out_.end()) return Outcome::kNothing;
  otp::StreamWriter& writer = found->second;
  if (pending_.empty()) {
    if (chunk.size() > limits_.chunk_bytes_max) return Outcome::kTooLong;
    if (chunk.empty()) return writer.reader_gone() ? Outcome::kNothing : Outcome::kDone;
    pending_ = writer.buffer(chunk.size());
    std::memcpy(pending_.bytes().data(), chunk.data(), chunk.size());
  }
  if (writer.try_write(self, std::move(pending_))) {
    pending_ = otp::Buffer();
    return Outcome::kDone;
  }
  if (!writer.reader_gone()) return Outcome::kWaitForStream;
  pending_ = otp::Buffer();
  out_.erase(found);
  return Outcome::kNothing;
}

void GuestStreams::close(std::uint64_t stream) noexcept {
  const auto found = out_.find(stream);
  if (found != out_.end()) {
    found->second.finish();
    out_.erase(found);
  }
  if (last_read_ == stream) last_read_ = 0;
  in_.erase(stream);
}

void GuestStreams::arrived(otp::StreamReader reader) {
  if (arrived_.size() < limits_.streams_max) arrived_.push_back(std::move(reader));
}

GuestStreams::Outcome GuestStreams::accept(otp::Process& self, std::uint64_t* stream) {
  if (arrived_.empty()) {
    if (!self.drain()) return Outcome::kWaitForMessage;
    // While an accept waits nobody takes from the mailbox, and what comes is behind what was looked at.
    otp::Envelope* previous = looked_at_;
    otp::Envelope* at = previous == nullptr ? self.mailbox_head() : previous->next;
    for (; at != nullptr; previous = at, at = at->next) {
      if (at->type == &otp::kPayloadType<otp::StreamReader>) break;
    }
    if (at == nullptr) {
      looked_at_ = previous;
      return Outcome::kWaitForMessage;
    }
    otp::Message message(self.take(previous, at));
    arrived_.push_back(std::move(*message.get_if<otp::StreamReader>()));
  }
  looked_at_ = nullptr;
  if (!has_room()) return Outcome::kTooMany;
  *stream = next_++;
  in_.emplace(*stream, std::move(arrived_.front()));
  arrived_.pop_front();
  return Outcome::kDone;
}

GuestStreams::Outcome GuestStreams::read(otp::Process& self, std::uint64_t stream, std::span<const std::byte>* chunk) {
  const auto found = in_.find(stream);
  if (found == in_.end()) return Outcome::kNothing;
  if (kept_ && last_read_ == stream) {
    kept_ = false;
    *chunk = last_chunk_;
    return Outcome::kDone;
  }
  kept_ = false;
  const std::optional<otp::StreamReader::Chunk> next = found->second.try_read(self);
  if (!next) return Outcome::kWaitForStream;
  if (!*next) {
    last_read_ = 0;
    in_.erase(found);
    return Outcome::kNothing;
  }
  last_read_ = stream;
  last_chunk_ = **next;
  *chunk = last_chunk_;
  return Outcome::kDone;
}

}  // namespace rusm::wasm
