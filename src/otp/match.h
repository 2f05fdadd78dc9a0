// Messages by their types, as a `match` reads:
//
//   for (;;) {
//     Message message = co_await receive(self);
//     match(message,
//           [&](Deposit& deposit) { balance += deposit.cents; },
//           [&](Balance&, ReplyTo to) { self.reply(to, Message::of(balance)); },   // a request
//           [&](const Down& down) { … },
//           [&](Message& other) { … });                                          // anything else
//   }
//
//   const Deposit first = co_await receive<Deposit>(self);  // the first of that type; others keep their place
//
//   std::variant<Deposit, Stop> next = co_await receive<Deposit, Stop>(self);
//
//   std::expected<int, ExitReason> cents = co_await call<int>(self, account, Balance());
//
// Values go by move between the processes of one node and are never serialised there.
#pragma once

#include <expected>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include "otp/routine.h"

namespace rusm::otp {

// A signal that became a message, as match() hands it over. Valid as long as the message.
struct Exit {
  Pid from;
  ExitReason reason;
};
// The end of a process that was monitored, or of one that had the name.
struct Down {
  Pid from;
  Reference reference;
  std::string_view name;  // of a monitor by name
  ExitReason reason;
};

namespace detail {

template <class F>
struct Signature : Signature<decltype(&F::operator())> {};
template <class R, class C, class... A>
struct Signature<R (C::*)(A...)> {
  using Parameters = std::tuple<A...>;
};
template <class R, class C, class... A>
struct Signature<R (C::*)(A...) const> : Signature<R (C::*)(A...)> {};
template <class R, class C, class... A>
struct Signature<R (C::*)(A...) noexcept> : Signature<R (C::*)(A...)> {};
template <class R, class C, class... A>
struct Signature<R (C::*)(A...) const noexcept> : Signature<R (C::*)(A...)> {};
template <class R, class... A>
struct Signature<R (*)(A...)> {
  using Parameters = std::tuple<A...>;
};

// Calls the handler if the message is for it.
template <class F>
bool offer(Message& message, F& handler) {
  using Parameters = typename Signature<F>::Parameters;
  constexpr std::size_t kCount = std::tuple_size_v<Parameters>;
  static_assert(kCount == 1 || kCount == 2, "a handler takes a message's value, and of a request its ReplyTo as well");
  using T = std::remove_cvref_t<std::tuple_element_t<0, Parameters>>;
  if constexpr (std::is_same_v<T, Message>) {
    static_assert(kCount == 1);
    handler(message);
    return true;
  } else if constexpr (std::is_same_v<T, Exit>) {
    if (!message.is_exit()) return false;
    Exit exit{message.from(), message.reason()};
    handler(exit);
    return true;
  } else if constexpr (std::is_same_v<T, Down>) {
    if (!message.is_down()) return false;
    Down down{message.from(), message.reference(), message.name(), message.reason()};
    handler(down);
    return true;
  } else {
    T* value = message.template get_if<T>();
    if (value == nullptr || message.is_request() != (kCount == 2)) return false;
    if constexpr (kCount == 2) {
      static_assert(std::is_same_v<std::remove_cvref_t<std::tuple_element_t<1, Parameters>>, ReplyTo>);
      handler(*value, message.reply_to());
    } else {
      handler(*value);
    }
    return true;
  }
}

template <class... T>
struct IsOneOf {
  bool operator()(const Message& message) const noexcept {
    return !message.is_request() && ((message.get_if<T>() != nullptr) || ...);
  }
};

template <class... T>
struct ReceiveTyped : ReceiveMatching<IsOneOf<T...>> {
  explicit ReceiveTyped(Process& s) : ReceiveMatching<IsOneOf<T...>>(s, kNever, {}) {}
  auto await_resume() noexcept {
    Message& message = *this->found;
    if constexpr (sizeof...(T) == 1) {
      return (std::move(*message.get_if<T>()), ...);
    } else {
      std::optional<std::variant<T...>> value;
      (void)((message.get_if<T>() != nullptr && (value.emplace(std::move(*message.get_if<T>())), true)) || ...);
      return std::move(*value);
    }
  }
};

// The answer to a request of which the other side knows nothing.
struct NotUnderstood {};

template <class Reply>
std::expected<Reply, ExitReason> typed_answer(std::expected<Message, ExitReason> answer) noexcept {
  if (!answer) return std::unexpected(std::move(answer.error()));
  if (Reply* reply = answer->get_if<Reply>()) return std::move(*reply);
  const bool understood = answer->get_if<NotUnderstood>() == nullptr;
  return std::unexpected(ExitReason::crashed(
      "call", understood ? "the answer is of another type" : "the process that was asked knows no such request"));
}

template <class Reply>
struct CallTyped : Call {
  using Call::Call;
  std::expected<Reply, ExitReason> await_resume() noexcept { return typed_answer<Reply>(Call::await_resume()); }
};

// Whether an EXIT is an order to stop, for a process that traps exits: from its parent or from outside of all
// processes; or `shutdown`, sent on purpose by anyone.
inline bool is_order_to_stop(const Message& exit, Pid parent) noexcept {
  if (!exit.from() || exit.from() == parent) return true;
  return exit.kind() == EnvelopeKind::kExit && exit.reason().kind() == ExitReason::Kind::kShutdown;
}

// A message for which a process has no handler: logged, and answered when it asks something.
void report_unknown(Self& self, const Message& message);

}  // namespace detail

// Calls the first handler that takes the message: a handler of T takes a value of T that is no request, one of T and
// ReplyTo a request with a T, others Exit, Down or any Message. False when none does.
template <class... Handlers>
bool match(Message& message, Handlers&&... handlers) {
  return (detail::offer(message, handlers) || ...);
}

// The first message that is a value of one of the types and no request; the others keep their place.
template <class T, class... More>
auto receive(Self& self) {
  return detail::ReceiveTyped<T, More...>(self);
}

// As call(), with a value as request and as answer.
template <class Reply, class Request>
auto call(Self& self, Pid server, Request request, Nanoseconds timeout = kCallTimeout) {
  return detail::AwaitableWith<detail::CallTyped<Reply>, Request>(
      self, server, Message::of(std::move(request)), deadline_after(self.runtime().clock().now(), timeout));
}

}  // namespace rusm::otp
