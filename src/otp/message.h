// Envelope: one node of an inbox, a message or a signal. Message: what a process receives, the owner of one envelope.
//
// A payload is either bytes, which lie inside the envelope, or a C++ value, which is moved there and is never
// serialised between native processes of one node.
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

// How a payload is destroyed (null: nothing to do), and its identity: one object for each type.
struct PayloadType {
  void (*destroy)(void* payload) noexcept;
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
  // What it counts for in a bounded mailbox: payload and envelope.
  std::size_t size() const noexcept { return sizeof(Envelope) + bytes; }
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

struct DestroyEnvelope {
  void operator()(Envelope* envelope) const noexcept { Envelope::destroy(envelope); }
};
using EnvelopePtr = std::unique_ptr<Envelope, DestroyEnvelope>;

template <class T>
inline constexpr PayloadType kPayloadType{
    std::is_trivially_destructible_v<T> ? nullptr : +[](void* payload) noexcept { static_cast<T*>(payload)->~T(); }};

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
  template <class T>
  static Message of(T value) {
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
    return kind() == EnvelopeKind::kValue && envelope_->type == &kPayloadType<T>
               ? reinterpret_cast<T*>(envelope_->payload())
               : nullptr;
  }
  template <class T>
  const T* get_if() const {
    return const_cast<Message*>(this)->get_if<T>();
  }

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
