// GuestActor's part that receives events, asks and answers, and sets timers: rusm:runtime@0.2.0 and, for timers, 0.1.0.
#include <fmt/format.h>

#include <cstring>

#include "otp/runtime.h"
#include "wasm/bridge.h"
#include "wasm/guest_actor.h"

namespace rusm::wasm {
namespace {

constexpr std::size_t kMatchesMax = 64;
constexpr std::size_t kMatchBytesMax = 4096;
// Requests of which a guest can answer any; older ones are forgotten.
constexpr std::size_t kRequestsMax = 10'000;

// What a guest's own timer sends it, by the guest's number for it. It has no codec: nobody else is shown it.
struct TimerEvent {
  explicit TimerEvent(std::uint64_t n) noexcept : number(n) {}
  std::uint64_t number;
};

rusm_pid to_pid(otp::Pid pid) noexcept {
  return {.id = pid.raw(), .incarnation = 0};
}

bool begins_with(std::span<const std::byte> bytes, rusm_bytes prefix) noexcept {
  return bytes.size() >= prefix.len && (prefix.len == 0 || std::memcmp(bytes.data(), prefix.ptr, prefix.len) == 0);
}

template <class T>
const T* value_of(const otp::Envelope& envelope) noexcept {
  return envelope.type == &otp::kPayloadType<T> ? reinterpret_cast<const T*>(envelope.payload()) : nullptr;
}

// Whether a message that is there is one of those that a guest wants; nothing: no guest can be shown it.
class Wanted {
 public:
  explicit Wanted(std::span<const rusm_match> matches) : matches_(matches) {}

  std::optional<bool> operator()(otp::Envelope& envelope) const {
    using Kind = otp::EnvelopeKind;
    if (envelope.kind == Kind::kDown) return has(RUSM_EVENT_KIND_DOWN, envelope.reference, {});
    if (otp::is_signal(envelope.kind)) return has(RUSM_EVENT_KIND_EXIT, 0, envelope.from);
    const std::uint32_t kind = envelope.is_request() ? RUSM_EVENT_KIND_REQUEST : RUSM_EVENT_KIND_MESSAGE;
    if (envelope.kind == Kind::kBytes) return has_prefix(kind, {envelope.payload(), envelope.bytes});
    if (const auto* timer = value_of<TimerEvent>(envelope)) return has(RUSM_EVENT_KIND_TIMER, timer->number, {});
    if (value_of<otp::StreamReader>(envelope) != nullptr) return has(RUSM_EVENT_KIND_STREAM, 0, {});
    otp::Message message{otp::EnvelopePtr(&envelope)};
    const std::optional<std::vector<std::byte>> bytes = message.encoded();
    (void)std::move(message).release().release();  // looking does not take it
    if (!bytes) return std::nullopt;
    return has_prefix(kind, *bytes);
  }

 private:
  bool has(std::uint32_t kind, std::uint64_t number, otp::Pid from) const noexcept {
    return std::ranges::any_of(matches_, [&](const rusm_match& match) {
      if (match.kind != kind) return false;
      if (match.any || kind == RUSM_EVENT_KIND_STREAM) return true;
      return kind == RUSM_EVENT_KIND_EXIT ? GuestActor::resolve(match.from) == from : match.number == number;
    });
  }
  bool has_prefix(std::uint32_t kind, std::span<const std::byte> bytes) const noexcept {
    return std::ranges::any_of(
        matches_, [&](const rusm_match& match) { return match.kind == kind && begins_with(bytes, match.prefix); });
  }

  const std::span<const rusm_match> matches_;
};

}  // namespace

// ── Events ───────────────────────────────────────────────────────────────────────────────────────────────────────────

// What waits no more for being received, whichever call received it.
void GuestActor::note_received(const otp::Message& message) noexcept {
  if (!more_) return;
  if (message.is_down()) {
    more_->monitors.erase(message.reference());
  } else if (message.kind() == otp::EnvelopeKind::kLinkExit) {
    more_->links.erase(message.from());
  } else if (const auto* timer = message.get_if<TimerEvent>()) {
    more_->timers.erase(timer->number);
  }
}

std::uint64_t GuestActor::take_token(otp::ReplyTo to) {
  More& more = this->more();
  while (more.requests.size() >= kRequestsMax) more.requests.erase(more.oldest_token++);
  more.requests.emplace(++more.last_token, to);
  return more.last_token;
}

// Everything but plain bytes.
bool GuestActor::show_rare_event(otp::Message& message, rusm_event* event) {
  event->from = to_pid(message.from());
  shown_ = {};
  if (message.is_down() || message.is_exit()) {
    event->kind = message.is_down() ? RUSM_EVENT_KIND_DOWN : RUSM_EVENT_KIND_EXIT;
    event->number = message.reference();
    event->linked = message.kind() == otp::EnvelopeKind::kLinkExit;
    event->reason = to_reason(message.envelope().reason());
    note_received(message);
    return true;
  }
  if (const auto* timer = message.get_if<TimerEvent>()) {
    event->kind = RUSM_EVENT_KIND_TIMER;
    event->number = timer->number;
    return more().timers.erase(timer->number) != 0;  // else it was cancelled as it fired
  }
  if (auto* reader = message.get_if<otp::StreamReader>()) {
    event->kind = RUSM_EVENT_KIND_STREAM;
    return streams().take_in(std::move(*reader), &event->number);
  }
  if (message.is_bytes()) {
    shown_ = to_bytes(message.bytes());
  } else {
    const std::optional<std::vector<std::byte>> bytes = message.encoded();
    if (!bytes) return false;
    render(*bytes);
  }
  event->bytes = shown_;
  event->kind = message.is_request() ? RUSM_EVENT_KIND_REQUEST : RUSM_EVENT_KIND_MESSAGE;
  if (message.is_request()) event->number = take_token(message.reply_to());
  return true;
}

// False when it is nothing for the guest.
bool GuestActor::show_event(otp::Message message, rusm_event* event) {
  if (message.is_bytes() && !message.is_request()) [[likely]] {
    shown_ = to_bytes(message.bytes());
    event->kind = RUSM_EVENT_KIND_MESSAGE;
    event->bytes = shown_;
  } else if (!show_rare_event(message, event)) {
    return false;
  }
  current_ = std::move(message).release();
  return true;
}

rusm_call GuestActor::receive_event(std::span<const rusm_match> wanted, std::uint64_t timeout_ms,
                                    rusm_event* event) noexcept {
  current_.reset();
  if (!wanted.empty()) return receive_matching(wanted, timeout_ms, event);
  while (std::optional<otp::Message> next = self_->try_receive()) {
    if (!show_event(std::move(*next), event)) continue;
    blocked_ = false;
    return RUSM_CALL_OK;
  }
  return wait_for_message(timeout_ms);
}

// What was looked at once is not looked at again: while this waits nobody takes from the mailbox, and what comes is
// behind what was there.
rusm_call GuestActor::receive_matching(std::span<const rusm_match> wanted, std::uint64_t timeout_ms,
                                       rusm_event* event) {
  std::size_t bytes = 0;
  for (const rusm_match& match : wanted) bytes += match.prefix.len;
  if (wanted.size() > kMatchesMax || bytes > kMatchBytesMax) {
    return refuse(fmt::format("{} matches with {} bytes; {} with {} bytes are allowed", wanted.size(), bytes,
                              kMatchesMax, kMatchBytesMax));
  }
  const Wanted wants(wanted);
  (void)self_->drain();
  otp::Envelope* previous = looked_at_;
  for (;;) {
    otp::Envelope* at = previous == nullptr ? self_->mailbox_head() : previous->next;
    if (at == nullptr || self_->exit_pending()) break;
    const std::optional<bool> is_wanted = wants(*at);
    if (is_wanted && !*is_wanted) {
      previous = at;
      continue;
    }
    otp::Message message(self_->take(previous, at));
    if (!is_wanted || !show_event(std::move(message), event)) continue;
    looked_at_ = nullptr;
    blocked_ = false;
    return RUSM_CALL_OK;
  }
  looked_at_ = previous;
  const rusm_call call = wait_for_message(timeout_ms);
  if (call != RUSM_CALL_WOULD_BLOCK) looked_at_ = nullptr;
  return call;
}

// ── Calls ────────────────────────────────────────────────────────────────────────────────────────────────────────────

rusm_call GuestActor::start_call(otp::Pid to, std::span<const std::byte> bytes, std::uint64_t timeout_ms) {
  if (bytes.size() > limits().message_bytes_max) {
    return limit("message",
                 fmt::format("a request of {} bytes; {} are allowed", bytes.size(), limits().message_bytes_max));
  }
  if (is_self(to)) return refuse("a process cannot call itself");
  More& more = this->more();
  more.call_ends_at =
      timeout_ms == RUSM_NO_TIMEOUT ? kNever : deadline_after(runtime_.clock().now(), from_ms(timeout_ms));
  more.call = std::make_unique<otp::PendingCall>();
  self_->ask(*more.call, to, otp::Message::of_bytes(bytes));
  return RUSM_CALL_OK;
}

// The answer goes to the call that waits, which this is, and never through the mailbox.
rusm_call GuestActor::call(otp::Pid to, std::span<const std::byte> bytes, std::uint64_t timeout_ms, rusm_bytes* answer,
                           rusm_reason* reason, bool* timed_out) noexcept {
  if (!more_ || !more_->call) {
    if (const rusm_call started = start_call(to, bytes, timeout_ms); started != RUSM_CALL_OK) return started;
  }
  (void)self_->drain();
  if (more_->call->done) return end_call(answer, reason);
  if (runtime_.clock().now() >= more_->call_ends_at) {
    self_->abandon(*more_->call);
    more_->call.reset();
    *timed_out = true;
    return RUSM_CALL_NONE;
  }
  if (more_->call_ends_at != kNever) self_->wake_at(more_->call_ends_at);
  return block(otp::Step::kWaitSignals);
}

rusm_call GuestActor::end_call(rusm_bytes* answer, rusm_reason* reason) {
  More& more = *more_;
  const std::unique_ptr<otp::PendingCall> call = std::move(more.call);
  more.handed_out = true;
  more.failure = call->failure;
  if (call->reply) {
    more.answer = std::move(call->reply);
    if (!more.answer->is_bytes()) {
      const std::optional<std::vector<std::byte>> bytes = more.answer->encoded();
      if (bytes) more.answer = otp::Message::of_bytes(*bytes);
    }
    if (more.answer->is_bytes()) {
      *answer = to_bytes(more.answer->bytes());
      return RUSM_CALL_OK;
    }
    more.failure = otp::ExitReason::crashed("codec", "the answer is a value without a codec");
  }
  *reason = to_reason(more.failure);
  return RUSM_CALL_NONE;
}

rusm_call GuestActor::reply(std::uint64_t token, std::span<const std::byte> bytes) noexcept {
  if (bytes.size() > limits().message_bytes_max) {
    return limit("message",
                 fmt::format("an answer of {} bytes; {} are allowed", bytes.size(), limits().message_bytes_max));
  }
  if (!more_) return RUSM_CALL_NONE;
  const auto found = more_->requests.find(token);
  if (found == more_->requests.end()) return RUSM_CALL_NONE;
  self_->reply(found->second, otp::Message::of_bytes(bytes));
  more_->requests.erase(found);
  return RUSM_CALL_OK;
}

// ── Timers ───────────────────────────────────────────────────────────────────────────────────────────────────────────

void GuestActor::forget_fired_timers() {
  boost::unordered::erase_if(more_->timers, [&](const auto& entry) {
    const GuestTimer& timer = entry.second;
    if (timer.is_event || runtime_.is_armed(timer.id)) return false;
    more_->timer_bytes -= timer.bytes;
    return true;
  });
}

bool GuestActor::has_timer_room(std::size_t bytes) {
  const auto is_full = [&] {
    return more().timers.size() >= limits().timers_max || more_->timer_bytes + bytes > limits().timer_bytes_max;
  };
  if (is_full()) forget_fired_timers();
  if (!is_full()) return true;
  (void)limit("timers",
              fmt::format("{} timers with {} bytes are waiting; {} with {} bytes are allowed", more_->timers.size(),
                          more_->timer_bytes + bytes, limits().timers_max, limits().timer_bytes_max));
  return false;
}

rusm_call GuestActor::add_timer(GuestTimer timer, std::uint64_t number, std::uint64_t* result) {
  if (!timer.id) return limit("timers", "the node has no timer left");
  more_->timers.emplace(number, timer);
  more_->timer_bytes += timer.bytes;
  *result = number;
  return RUSM_CALL_OK;
}

rusm_call GuestActor::send_after(otp::Pid to, std::uint64_t delay_ms, std::span<const std::byte> bytes,
                                 std::uint64_t* timer) noexcept {
  if (!has_timer_room(bytes.size())) return RUSM_CALL_TRAP;
  const Nanoseconds span = from_ms(delay_ms);
  const Nanoseconds deadline = deadline_after(runtime_.clock().now(), span);
  const otp::TimerId id = self_->send_after(span, to, otp::Message::of_bytes(bytes));
  return add_timer({.id = id, .bytes = bytes.size(), .deadline = deadline}, ++more_->last_timer, timer);
}

// What it sends takes no room in the mailbox, so it is there until that was received or cancelled.
rusm_call GuestActor::start_timer(std::uint64_t delay_ms, std::uint64_t* timer) noexcept {
  if (!has_timer_room(0)) return RUSM_CALL_TRAP;
  const std::uint64_t number = ++more_->last_timer;
  const Nanoseconds span = from_ms(delay_ms);
  const Nanoseconds deadline = deadline_after(runtime_.clock().now(), span);
  const otp::TimerId id = self_->send_after(span, pid_, otp::Message::local(TimerEvent{number}));
  return add_timer({.id = id, .bytes = 0, .deadline = deadline, .is_event = true}, number, timer);
}

rusm_call GuestActor::timer_left(std::uint64_t number, bool cancel, std::uint64_t* left_ms) noexcept {
  if (!more_) return RUSM_CALL_NONE;
  const auto found = more_->timers.find(number);
  if (found == more_->timers.end()) return RUSM_CALL_NONE;
  const GuestTimer timer = found->second;
  const Nanoseconds left = std::max<Nanoseconds>(timer.deadline - runtime_.clock().now(), 0);
  *left_ms = static_cast<std::uint64_t>((left + kMillisecond - 1) / kMillisecond);
  if (!cancel) return runtime_.is_armed(timer.id) ? RUSM_CALL_OK : RUSM_CALL_NONE;
  more_->timers.erase(found);
  more_->timer_bytes -= timer.bytes;
  if (self_->cancel(timer.id)) return RUSM_CALL_OK;
  if (timer.is_event) drop_timer_event(number);
  return RUSM_CALL_NONE;
}

// It has fired: its event waits in the mailbox, or comes and is ignored.
void GuestActor::drop_timer_event(std::uint64_t number) noexcept {
  (void)self_->drain();
  otp::Envelope* previous = nullptr;
  for (otp::Envelope* at = self_->mailbox_head(); at != nullptr; previous = std::exchange(at, at->next)) {
    const auto* timer = value_of<TimerEvent>(*at);
    if (timer == nullptr || timer->number != number) continue;
    self_->take(previous, at).reset();
    return;
  }
}

rusm_call GuestActor::cancel_timer(std::uint64_t timer) noexcept {
  std::uint64_t left_ms = 0;
  return timer_left(timer, true, &left_ms);
}

}  // namespace rusm::wasm
