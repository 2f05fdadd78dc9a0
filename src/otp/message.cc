#include "otp/message.h"

#include <cstring>

#include "base/assert.h"

namespace rusm::otp {

EnvelopePtr make_signal(EnvelopeKind kind, Pid from, Reference reference) {
  EnvelopePtr envelope(Envelope::create(kind, 0));
  envelope->from = from;
  envelope->reference = reference;
  return envelope;
}

EnvelopePtr make_exit_signal(EnvelopeKind kind, Pid from, Reference reference, ExitReason reason) {
  EnvelopePtr envelope(Envelope::create(kind, sizeof(ExitReason)));
  envelope->from = from;
  envelope->reference = reference;
  new (envelope->payload()) ExitReason(std::move(reason));
  envelope->type = &kPayloadType<ExitReason>;
  return envelope;
}

EnvelopePtr make_claim(EnvelopeKind kind, Claim claim) {
  EnvelopePtr envelope(Envelope::create(kind, sizeof(Claim)));
  new (envelope->payload()) Claim(std::move(claim));
  envelope->type = &kPayloadType<Claim>;
  return envelope;
}

std::string_view Message::name() const {
  if (!is_down() || envelope_->type != &kPayloadType<NamedReason>) return {};
  return reinterpret_cast<const NamedReason*>(envelope_->payload())->name;
}

Message Message::of_bytes(std::span<const std::byte> bytes) {
  RUSM_ASSERT(bytes.size() <= kBytesMax, "the caller limits a message's size");
  EnvelopePtr envelope(Envelope::create(EnvelopeKind::kBytes, bytes.size()));
  if (!bytes.empty()) std::memcpy(envelope->payload(), bytes.data(), bytes.size());
  return Message(std::move(envelope));
}

}  // namespace rusm::otp
