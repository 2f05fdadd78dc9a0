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

EncodedValue::~EncodedValue() {
  if (type == nullptr) return;
  if (type->destroy != nullptr) type->destroy(value);
  deallocate(value);
}

namespace {

bool is_encoded(const Envelope& envelope) noexcept {
  return envelope.type == &kPayloadType<EncodedValue>;
}

const EncodedValue& encoded_of(const Envelope& envelope) noexcept {
  return *reinterpret_cast<const EncodedValue*>(envelope.payload());
}

// Of a value that was looked at, for it may have been changed. REQUIRES: can_leave(), not bytes.
std::vector<std::byte> encode_value(const Envelope& envelope) {
  Encoder out;
  if (is_encoded(envelope)) {
    const EncodedValue& value = encoded_of(envelope);
    if (value.type == nullptr) return {value.bytes().begin(), value.bytes().end()};
    value.type->encode(value.value, out);
  } else {
    envelope.type->encode(envelope.payload(), out);
  }
  return std::move(out).take();
}

}  // namespace

bool can_leave(const Envelope& envelope) noexcept {
  if (is_signal(envelope.kind) && envelope.kind != EnvelopeKind::kReply) return true;
  return envelope.type == nullptr || is_encoded(envelope) || envelope.type->encode != nullptr;
}

bool encode_for_travel(EnvelopePtr* envelope) noexcept try {
  Envelope& plain = **envelope;
  const bool carries_value = plain.kind == EnvelopeKind::kValue || plain.kind == EnvelopeKind::kReply;
  if (!carries_value || plain.type == nullptr) return true;
  if (!can_leave(plain)) return false;
  const std::vector<std::byte> bytes = encode_value(plain);
  if (bytes.size() > Message::kBytesMax - sizeof(EncodedValue)) return false;
  EnvelopePtr travels(Envelope::create(plain.kind, sizeof(EncodedValue) + bytes.size()));
  travels->from = plain.from;
  travels->reference = plain.reference;
  const std::uint64_t name = is_encoded(plain) ? encoded_of(plain).name : plain.type->name;
  auto* value = new (travels->payload()) EncodedValue(name, static_cast<std::uint32_t>(bytes.size()));
  std::memcpy(reinterpret_cast<std::byte*>(value + 1), bytes.data(), bytes.size());
  travels->type = &kPayloadType<EncodedValue>;
  *envelope = std::move(travels);
  return true;
} catch (...) {
  return false;
}

std::optional<std::vector<std::byte>> Message::encoded() const {
  if (is_bytes()) return std::vector(bytes().begin(), bytes().end());
  if (kind() != EnvelopeKind::kValue || !can_leave(*envelope_)) return std::nullopt;
  return encode_value(*envelope_);
}

Message Message::of_bytes(std::span<const std::byte> bytes) {
  RUSM_ASSERT(bytes.size() <= kBytesMax, "the caller limits a message's size");
  EnvelopePtr envelope(Envelope::create(EnvelopeKind::kBytes, bytes.size()));
  if (!bytes.empty()) std::memcpy(envelope->payload(), bytes.data(), bytes.size());
  return Message(std::move(envelope));
}

}  // namespace rusm::otp
