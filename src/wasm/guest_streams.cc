#include "wasm/guest_streams.h"

#include <cstring>
#include <optional>
#include <utility>

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

// What a closed stream holds is its writer's until nobody can read it any more.
bool GuestStreams::has_room() noexcept {
  std::erase_if(closed_, [](const otp::StreamWriter& writer) { return writer.reader_gone(); });
  return out_.size() + in_.size() + closed_.size() < limits_.streams_max;
}

void GuestStreams::close(std::uint64_t stream) noexcept {
  if (const auto found = out_.find(stream); found != out_.end()) {
    found->second.finish();
    if (!found->second.reader_gone()) closed_.push_back(std::move(found->second));
    out_.erase(found);
  }
  in_.erase(stream);
}

void GuestStreams::keep() noexcept {
  if (const auto found = in_.find(last_read_); found != in_.end()) found->second.kept = true;
}

void GuestStreams::arrived(otp::StreamReader reader) {
  if (arrived_.size() < limits_.streams_max) arrived_.push_back(std::move(reader));
}

bool GuestStreams::take_arrived(otp::Process& self) {
  if (!self.drain()) return false;
  // While an accept waits nobody takes from the mailbox, and what comes is behind what was looked at.
  otp::Envelope* previous = looked_at_;
  otp::Envelope* at = previous == nullptr ? self.mailbox_head() : previous->next;
  while (at != nullptr && at->type != &otp::kPayloadType<otp::StreamReader>) {
    previous = at;
    at = at->next;
  }
  looked_at_ = previous;
  if (at == nullptr) return false;
  otp::Message message(self.take(previous, at));
  arrived_.push_back(std::move(*message.get_if<otp::StreamReader>()));
  return true;
}

GuestStreams::Outcome GuestStreams::accept(otp::Process& self, std::uint64_t* stream) {
  for (;;) {
    if (arrived_.empty() && !take_arrived(self)) return Outcome::kWaitForMessage;
    otp::StreamReader reader = std::move(arrived_.front());
    arrived_.pop_front();
    if (!take_in(std::move(reader), stream)) continue;
    looked_at_ = nullptr;
    return Outcome::kDone;
  }
}

bool GuestStreams::take_in(otp::StreamReader reader, std::uint64_t* stream) {
  if (!has_room()) return false;
  *stream = next_++;
  in_.emplace(*stream, In{.reader = std::move(reader)});
  return true;
}

GuestStreams::Outcome GuestStreams::read(otp::Process& self, std::uint64_t stream, std::span<const std::byte>* chunk) {
  const auto found = in_.find(stream);
  if (found == in_.end()) return Outcome::kNothing;
  In& in = found->second;
  last_read_ = stream;
  if (!std::exchange(in.kept, false)) {
    const std::optional<otp::StreamReader::Chunk> next = in.reader.try_read(self);
    if (!next) return Outcome::kWaitForStream;
    if (!*next) {
      in_.erase(found);
      return Outcome::kNothing;
    }
    in.chunk = **next;
  }
  *chunk = in.chunk;
  return Outcome::kDone;
}

}  // namespace rusm::wasm
