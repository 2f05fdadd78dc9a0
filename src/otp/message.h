// Envelope: one node of an inbox, a message or a signal. Message: what a process receives, the owner of one envelope.
//
// A payload is either bytes, which lie inside the envelope, or a C++ value, which is moved there and is never
// serialised between native processes of one node. To another node it travels as its codec (otp/codec.h) writes it, and
// stays so until somebody asks for it as a value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "base/memory.h"
#include "otp/codec.h"
#include "otp/exit_reason.h"
#include "otp/pid.h"

namespace rusm::otp {

enum class EnvelopeKind : std::uint8_t {
  // Messages: wait in the mailbox until they are received.
  kBytes,
  kValue,
  // Signals that become messages when the receiver traps exits or holds the monitor.
  kExit,      // sent by exit(pid, reason)
  kLinkExit,  // sent along a link by a process that ended
  kDown,
  // Signals that act at once and are never seen by a body.
  kLimit,  // a limit was reached: ends the process with this reason, trapping or not
  kReply,  // answers a request: goes to the call that waits for it, or nowhere
  kLink,
  kUnlink,
  kUnlinkAck,
  kMonitor,
  kDemonitor,
  kNodeDown,  // the connection to a node was lost; reference: its number
  kClaim,     // a name or a group became the process's; payload: Claim
  kDisclaim,  // it may no longer be
};

constexpr bool is_signal(EnvelopeKind kind) {
  return kind >= EnvelopeKind::kExit;
}

// What can be done with a payload, and its identity: one object for each type.
struct PayloadType {
  void (*destroy)(void* payload) noexcept;            // null: nothing to do
  void (*encode)(const void* payload, Encoder& out);  // null: the type has no codec
  std::uint64_t name;                                 // hash of kWireName
  std::size_t holds;                                  // bytes that a value may hold elsewhere: T::kHoldsBytes, or 0
};

// Threads: one owner at a time; handed over through the inbox.
struct Envelope {
  Envelope* next = nullptr;
  const PayloadType* type = nullptr;  // of the value that follows; null for bytes and for bare signals
  std::uint32_t generation = 0;       // of the process it is meant for
  std::uint32_t bytes = 0;            // payload size
  EnvelopeKind kind = EnvelopeKind::kBytes;
  // Where its place in the mailbox is counted. The one message of an empty mailbox is counted only when it stays.
  enum class Counted : std::uint8_t { kNowhere, kByOwner, kInRoom };
  Counted counted = Counted::kNowhere;
  Pid from;                 // who signals or requests; empty for plain messages
  Reference reference = 0;  // of the monitor or request it belongs to; for unlink its id

  std::byte* payload() noexcept { return reinterpret_cast<std::byte*>(this + 1); }
  const std::byte* payload() const noexcept { return reinterpret_cast<const std::byte*>(this + 1); }
  // Payload and envelope.
  std::size_t size() const noexcept { return sizeof(Envelope) + bytes; }
  // What it counts for in a bounded mailbox: the same, and what its value may hold elsewhere.
  std::size_t weight() const noexcept { return size() + (type == nullptr ? 0 : type->holds); }
  // Of kExit, kLinkExit, kDown and kLimit.
  const ExitReason& reason() const noexcept { return *reinterpret_cast<const ExitReason*>(payload()); }

  // What was received as a signal or a request is sent on as a mere value.
  void make_plain() noexcept {
    if (kind > EnvelopeKind::kValue) [[unlikely]]
      kind = EnvelopeKind::kValue;
    from = Pid();
    reference = 0;
  }
  bool is_request() const noexcept { return reference != 0 && !is_signal(kind); }

  static Envelope* create(EnvelopeKind kind, std::size_t payload_bytes) {
    auto* envelope = new (allocate_block(sizeof(Envelope) + payload_bytes)) Envelope;
    envelope->kind = kind;
    envelope->bytes = static_cast<std::uint32_t>(payload_bytes);
    return envelope;
  }
  static void destroy(Envelope* envelope) noexcept {
    if (envelope->type != nullptr && envelope->type->destroy != nullptr) envelope->type->destroy(envelope->payload());
    deallocate_block(envelope, sizeof(Envelope) + envelope->bytes);
  }
  static void destroy_list(Envelope* first) noexcept {
    while (first != nullptr) destroy(std::exchange(first, first->next));
  }
};
static_assert(sizeof(Envelope) % 16 == 0 && std::is_trivially_destructible_v<Envelope>);

// Frees an envelope with its owner.
struct DestroyEnvelope {
  void operator()(Envelope* envelope) const noexcept { Envelope::destroy(envelope); }
};
using EnvelopePtr = std::unique_ptr<Envelope, DestroyEnvelope>;

namespace detail {

template <class T>
constexpr PayloadType payload_type() {
  PayloadType type{.destroy = nullptr, .encode = nullptr, .name = hash_of_name(kWireName<T>), .holds = 0};
  if constexpr (!std::is_trivially_destructible_v<T>) {
    type.destroy = [](void* payload) noexcept { static_cast<T*>(payload)->~T(); };
  }
  if constexpr (requires { T::kHoldsBytes; }) type.holds = T::kHoldsBytes;
  if constexpr (Encodable<T>) {
    type.encode = [](const void* payload, Encoder& out) { encode_into(out, *static_cast<const T*>(payload)); };
  }
  return type;
}

}  // namespace detail

template <class T>
inline constexpr PayloadType kPayloadType = detail::payload_type<T>();

// A value that came from another node; its bytes lie behind it. Decoded when somebody asks for it by its type.
struct EncodedValue {
  EncodedValue(std::uint64_t n, std::uint32_t s) : name(n), size(s) {}
  EncodedValue(const EncodedValue&) = delete;
  EncodedValue& operator=(const EncodedValue&) = delete;
  ~EncodedValue();
  std::span<const std::byte> bytes() const noexcept { return {reinterpret_cast<const std::byte*>(this + 1), size}; }
  // The value, which stays here; null when the bytes are no T, or its codec throws.
  template <Encodable T>
  T* as() noexcept {
    static_assert(alignof(T) <= 16);
    if (type == &kPayloadType<T>) return static_cast<T*>(value);
    if (name != kPayloadType<T>.name || type != nullptr || refused == &kPayloadType<T>) return nullptr;
    refused = &kPayloadType<T>;
    try {
      std::optional<T> decoded = decode<T>(bytes());
      if (!decoded) return nullptr;
      value = new (allocate(sizeof(T))) T(std::move(*decoded));
    } catch (...) {
      return nullptr;
    }
    type = &kPayloadType<T>;
    return static_cast<T*>(value);
  }

  const std::uint64_t name;  // hash of its type's kWireName
  const std::uint32_t size;
  void* value = nullptr;
  const PayloadType* type = nullptr;     // of value
  const PayloadType* refused = nullptr;  // as which it could not be decoded, so that it is not tried again
};

// Whether a message or a reply can go to another node: bytes, or a value whose type has a codec. Signals always can.
bool can_leave(const Envelope& envelope) noexcept;
// Puts what travels in its stead: the same with its value encoded. False, and nothing is changed, when it cannot leave,
// or its codec throws.
bool encode_for_travel(EnvelopePtr* envelope) noexcept;

// What a process holds by name and gives up when it ends.
struct Claim {
  enum class Kind : std::uint8_t { kName, kGroup, kGroupWatch, kNodeWatch };
  Kind kind;
  std::string name;
  bool operator==(const Claim&) const = default;
};

// DOWN of a monitor by name.
struct NamedReason {
  ExitReason reason;  // first: Envelope::reason() reads it
  std::string name;
};

// A signal without a payload.
EnvelopePtr make_signal(EnvelopeKind kind, Pid from, Reference reference);
// kExit, kLinkExit, kDown or kLimit with its reason.
EnvelopePtr make_exit_signal(EnvelopeKind kind, Pid from, Reference reference, ExitReason reason);
EnvelopePtr make_claim(EnvelopeKind kind, Claim claim);
// Of kClaim and kDisclaim.
inline const Claim& claim_of(const Envelope& envelope) noexcept {
  return *reinterpret_cast<const Claim*>(envelope.payload());
}

// Where the answer to a request goes: a value that can be kept, or handed to another process that answers.
struct ReplyTo {
  Pid caller;
  Reference reference = 0;
  bool operator==(const ReplyTo&) const = default;
};

// Threads: one owner.
class Message {
 public:
  explicit Message(EnvelopePtr envelope) : envelope_(std::move(envelope)) {}

  // A message of `bytes`, copied. At most kBytesMax.
  static constexpr std::size_t kBytesMax = UINT32_MAX;
  static Message of_bytes(std::span<const std::byte> bytes);
  static Message of_text(std::string_view text) { return of_bytes(std::as_bytes(std::span(text))); }
  // A value that can go anywhere, as its type has a codec.
  template <class T>
  static Message of(T value) {
    static_assert(Encodable<T>,
                  "no codec can be found for this type, so it could not leave its node: see otp/codec.h; what stays "
                  "there is sent as Message::local(value)");
    return local(std::move(value));
  }
  // Any value. Without a codec it does not arrive at another node: sending it there has no effect, as if nobody were
  // there, and a request is answered with crashed ("codec").
  template <class T>
  static Message local(T value) {
    static_assert(alignof(T) <= 16 && std::is_nothrow_move_constructible_v<T>);
    EnvelopePtr envelope(Envelope::create(EnvelopeKind::kValue, sizeof(T)));
    new (envelope->payload()) T(std::move(value));
    envelope->type = &kPayloadType<T>;
    return Message(std::move(envelope));
  }

  EnvelopeKind kind() const { return envelope_->kind; }
  bool is_bytes() const { return kind() == EnvelopeKind::kBytes; }
  // EXIT from a link or from exit(); only a process that traps exits sees it.
  bool is_exit() const { return kind() == EnvelopeKind::kExit || kind() == EnvelopeKind::kLinkExit; }
  bool is_down() const { return kind() == EnvelopeKind::kDown; }

  std::span<const std::byte> bytes() const {
    return is_bytes() ? std::span(envelope_->payload(), envelope_->bytes) : std::span<const std::byte>();
  }
  std::string_view text() const {
    const auto b = bytes();
    return {reinterpret_cast<const char*>(b.data()), b.size()};
  }
  // The value if it is a T, else null.
  template <class T>
  T* get_if() {
    if (kind() != EnvelopeKind::kValue) return nullptr;
    if (envelope_->type == &kPayloadType<T>) return reinterpret_cast<T*>(envelope_->payload());
    if constexpr (Encodable<T>) {
      if (envelope_->type == &kPayloadType<EncodedValue>) [[unlikely]]
        return reinterpret_cast<EncodedValue*>(envelope_->payload())->as<T>();
    }
    return nullptr;
  }
  template <class T>
  const T* get_if() const {
    return const_cast<Message*>(this)->get_if<T>();
  }

  // What a guest, or a process of another node, is given: the bytes of a message of bytes, or the value as its codec
  // writes it; nothing when it has none, and for signals.
  std::optional<std::vector<std::byte>> encoded() const;

  // A message whose sender waits for an answer.
  bool is_request() const { return envelope_->is_request(); }
  // REQUIRES: is_request().
  ReplyTo reply_to() const { return {envelope_->from, envelope_->reference}; }

  // Who ended, signalled (exit, down) or asks (request); empty for plain messages.
  Pid from() const { return envelope_->from; }
  // The monitor that a down, or the request that a reply, belongs to.
  Reference reference() const { return envelope_->reference; }
  // The name that was monitored (down of a monitor by name); else empty.
  std::string_view name() const;
  // Why (exit, down).
  ExitReason reason() const { return is_exit() || is_down() ? envelope_->reason() : ExitReason(); }

  EnvelopePtr release() && { return std::move(envelope_); }
  // To be sent: see Envelope::make_plain.
  EnvelopePtr release_plain() && {
    envelope_->make_plain();
    return std::move(envelope_);
  }
  const Envelope& envelope() const { return *envelope_; }

 private:
  EnvelopePtr envelope_;
};

}  // namespace rusm::otp

template <>
struct std::hash<rusm::otp::Claim> {
  std::size_t operator()(const rusm::otp::Claim& claim) const noexcept {
    return std::hash<std::string>()(claim.name) ^ static_cast<std::size_t>(claim.kind);
  }
};
