// Server: a process that keeps a state and answers messages about it one after another, as OTP's gen_server.
//
//   struct Add { int amount; };                          // a message; its answer is what on() returns
//   struct Reset {};
//
//   class Counter {
//    public:
//     using Messages = otp::Messages<Add, Reset>;
//     explicit Counter(int start) : count_(start) {}
//     int on(Self&, Add add) { return count_ += add.amount; }
//     void on(Self&, Reset) { count_ = 0; }
//    private:
//     int count_;
//   };
//
//   const Server<Counter> counter(runtime.spawn(serve<Counter>, 10));     // or child("counter", serve<Counter>, 10)
//   std::expected<int, ExitReason> count = co_await counter.call(self, Add{1});
//   counter.cast(self, Reset{});
//
// What a server may have besides, each found by its signature; every handler may be a plain function or a Task of the
// same result, which may await whatever a body may:
//   on(Self&, M)                   a cast of M, or a call, which is answered with the result (Done when it is void)
//   on(Self&, M, ReplyTo)          the same without an answer: by self.reply(to, …), now or later, here or elsewhere
//   on(Self&, const Down&)         a monitored process ended
//   on(Self&, const Exit&)         a linked process ended; it traps exits then
//   on(Self&, Message&)            what is none of its Messages. Without it that is logged and dropped
//   Result<> init(Self&)           before the first message. Its supervisor waits for it; an error is the reason why
//   the
//                                  start failed: crashed ("init")
//   void terminate(Self&, const ExitReason&)   before an orderly end: its parent ended or asks it to stop, anyone
//                                  sends it an exit signal `shutdown`, or it says Stop. It traps exits then. What has
//                                  to be freed in any case, a kill included, belongs into destructors
//   kIdleAfter, on_idle(Self&)     each time when no message has come for so many ns
// A handler that returns Stop, or std::optional<Stop>, ends the server. One that throws crashes it, and whoever waits
// for its answer hears that.
#pragma once

#include <concepts>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "otp/match.h"
#include "otp/supervisor.h"

namespace rusm::otp {

// The types of the messages that a server or a state machine takes.
template <class... M>
struct Messages {};

// The answer of a call whose handler returns nothing.
struct Done {
  bool operator==(const Done&) const = default;
};

// What a handler returns to end its process. A request that it was handed with a ReplyTo should be answered first.
struct Stop {
  ExitReason reason = ExitReason::Kind::kNormal;
};

namespace detail {

template <class T>
struct Unwrapped {
  static constexpr bool kIsTask = false;
  using Type = T;
};
template <class T>
struct Unwrapped<Task<T>> {
  static constexpr bool kIsTask = true;
  using Type = T;
};

template <class T, class M>
concept AnswersLater = requires(T& t, Self& self, M m, ReplyTo to) { t.on(self, std::move(m), to); };
template <class T, class M>
concept Answers = requires(T& t, Self& self, M m) { t.on(self, std::move(m)); };
template <class T>
concept TakesDown = requires(T& t, Self& self, Down& down) { t.on(self, down); };
template <class T>
concept TakesExit = requires(T& t, Self& self, Exit& exit) { t.on(self, exit); };
template <class T>
concept TakesAny = requires(T& t, Self& self, Message& message) { t.on(self, message); };
template <class T>
concept Terminates = requires(T& t, Self& self, const ExitReason& reason) { t.terminate(self, reason); };
template <class T>
concept Initialises = requires(T& t, Self& self) { t.init(self); };
template <class T>
concept MindsIdling = requires(T& t, Self& self) {
  t.on_idle(self);
  { T::kIdleAfter } -> std::convertible_to<Nanoseconds>;
};

// What a caller of M gets.
template <class T, class M>
struct ReplyOf {
  using Raw = typename Unwrapped<decltype(std::declval<T&>().on(std::declval<Self&>(), std::declval<M>()))>::Type;
  static constexpr bool kNone =
      std::is_void_v<Raw> || std::is_same_v<Raw, Stop> || std::is_same_v<Raw, std::optional<Stop>>;
  using Type = std::conditional_t<kNone, Done, Raw>;
};
template <class T, class M>
  requires requires { typename M::Reply; }
struct ReplyOf<T, M> {
  using Type = typename M::Reply;
};

template <class M, class List>
inline constexpr bool kIsListed = false;
template <class M, class... All>
inline constexpr bool kIsListed<M, Messages<All...>> = (std::is_same_v<M, All> || ...);

// What is wrong with sending M to a T, at compile time.
template <class T, class M>
consteval bool check_sent() {
  static_assert(kIsListed<M, typename T::Messages>, "the server does not list this type among its Messages");
  static_assert(Answers<T, M> || AnswersLater<T, M>, "the server has no on() for this type of its Messages");
  return true;
}
template <class T, class M>
consteval bool check_asked() {
  if constexpr (AnswersLater<T, M> && !Answers<T, M>) {
    static_assert(
        requires { typename M::Reply; },
        "its handler takes a ReplyTo, so the message has to say what the answer is: using Reply = …");
  }
  return check_sent<T, M>();
}

// A value that leaves the node if it can.
template <class V>
Message message_of(V value) {
  static_assert(!std::is_pointer_v<V> && !std::is_same_v<V, std::string_view> &&
                    !std::is_convertible_v<V, std::span<const std::byte>>,
                "what is sent must own what it says: processes share no memory");
  if constexpr (Encodable<V>) {
    return Message::of(std::move(value));
  } else {
    return Message::local(std::move(value));
  }
}

// What handling a message led to. `rest`: the handler is a task, and that is what is left to do.
struct Turn {
  std::optional<Stop> stop = {};
  std::optional<Task<std::optional<Stop>>> rest = {};
};

inline ReplyTo reply_to_of(const Message& message) {
  return message.is_request() ? message.reply_to() : ReplyTo();
}

// Looks at what a handler returned: an answer for who asks, or a reason to stop.
template <class R>
std::optional<Stop> settle(Self& self, ReplyTo to, R result) {
  if constexpr (std::is_same_v<R, Stop>) {
    return result;
  } else if constexpr (std::is_same_v<R, std::optional<Stop>>) {
    if (!result && to.reference != 0) self.reply(to, Message::of(Done()));
    return result;
  } else {
    if (to.reference != 0) self.reply(to, message_of(std::move(result)));
    return std::nullopt;
  }
}

// Calls `handler(argument…)`; the answer, if it is to give one, goes to `to`.
template <class Handler>
std::optional<Stop> finish_now(Self& self, ReplyTo to, Handler handler) {
  if constexpr (std::is_void_v<std::invoke_result_t<Handler&>>) {
    handler();
    return settle(self, to, Done());
  } else {
    return settle(self, to, handler());
  }
}

template <class R>
Task<std::optional<Stop>> finish_later(Self& self, ReplyTo to, Task<R> task) {
  if constexpr (std::is_void_v<R>) {
    co_await std::move(task);
    co_return settle(self, to, Done());
  } else {
    co_return settle(self, to, co_await std::move(task));
  }
}

template <class Handler>
Turn turn_of(Self& self, ReplyTo to, Handler handler) {
  using R = std::invoke_result_t<Handler&>;
  if constexpr (Unwrapped<R>::kIsTask) {
    return {.stop = {}, .rest = finish_later(self, to, handler())};
  } else {
    return {.stop = finish_now(self, to, std::move(handler)), .rest = {}};
  }
}

// The loop of a server over its state.
template <class T>
class ServerLoop {
 public:
  static constexpr bool kTraps = TakesExit<T> || Terminates<T>;
  static_assert(!requires(T& t, Self& s) { t.on_idle(s); } || MindsIdling<T>, "on_idle() needs kIdleAfter, in ns");

  ServerLoop(Self& self, T& state) : self_(self), state_(state) {}

  Task<> run() {
    if constexpr (kTraps) self_.trap_exit(true);
    if constexpr (Initialises<T>) co_await init();
    ready(self_);
    std::optional<Stop> stop;
    while (!stop) {
      if constexpr (MindsIdling<T>) {
        std::optional<Message> message = co_await receive_for(self_, T::kIdleAfter);
        Turn turn = message ? take(*message) : turn_of(self_, ReplyTo(), [this] { return state_.on_idle(self_); });
        // Not by ?:, in which g++ 12 awaits in any case.
        stop = std::move(turn.stop);
        if (turn.rest) stop = co_await std::move(*turn.rest);
      } else {
        Message message = co_await receive(self_);
        Turn turn = take(message);
        // Not by ?:, in which g++ 12 awaits in any case.
        stop = std::move(turn.stop);
        if (turn.rest) stop = co_await std::move(*turn.rest);
      }
    }
    if constexpr (Terminates<T>) {
      if constexpr (Unwrapped<decltype(state_.terminate(self_, stop->reason))>::kIsTask) {
        co_await state_.terminate(self_, stop->reason);
      } else {
        state_.terminate(self_, stop->reason);
      }
    }
    co_await end(self_, std::move(stop->reason));
  }

 private:
  Task<> init() {
    using R = decltype(state_.init(self_));
    Result<> done;
    if constexpr (std::is_same_v<typename Unwrapped<R>::Type, void>) {
      if constexpr (Unwrapped<R>::kIsTask) {
        co_await state_.init(self_);
      } else {
        state_.init(self_);
      }
    } else if constexpr (Unwrapped<R>::kIsTask) {
      done = co_await state_.init(self_);
    } else {
      done = state_.init(self_);
    }
    if (!done) co_await end(self_, ExitReason::crashed("init", done.error().to_string()));
  }

  // `message` stays where it is until the turn is over.
  Turn take(Message& message) { return take_signal(message); }

  Turn take_signal(Message& message) {
    if (message.is_exit()) return take_exit(message);
    if (message.is_down()) {
      if constexpr (TakesDown<T>) {
        down_.emplace(Down{message.from(), message.reference(), message.name(), message.reason()});
        return turn_of(self_, ReplyTo(), [this] { return state_.on(self_, *down_); });
      }
      return take_other(message);
    }
    return take_value(message, typename T::Messages());
  }

  Turn take_exit(Message& message) {
    if (is_order_to_stop(message, self_.parent())) return {.stop = Stop{message.reason()}, .rest = {}};
    if constexpr (TakesExit<T>) {
      exit_.emplace(Exit{message.from(), message.reason()});
      return turn_of(self_, ReplyTo(), [this] { return state_.on(self_, *exit_); });
    } else {
      if (message.reason().is_normal()) return {};
      return {.stop = Stop{message.reason()}, .rest = {}};
    }
  }

  template <class... M>
  Turn take_value(Message& message, Messages<M...>) {
    std::optional<Turn> turn;
    (void)(offer<M>(message, &turn) || ...);
    return turn ? std::move(*turn) : take_other(message);
  }

  template <class M>
  bool offer(Message& message, std::optional<Turn>* turn) {
    static_assert(Answers<T, M> || AnswersLater<T, M>, "the server has no on() for this type of its Messages");
    M* value = message.get_if<M>();
    if (value == nullptr) return false;
    to_ = reply_to_of(message);
    if constexpr (AnswersLater<T, M>) {
      turn->emplace(turn_of(self_, ReplyTo(), [&] { return state_.on(self_, std::move(*value), to_); }));
    } else {
      turn->emplace(turn_of(self_, to_, [&] { return state_.on(self_, std::move(*value)); }));
    }
    return true;
  }

  Turn take_other(Message& message) {
    if constexpr (TakesAny<T>) {
      return turn_of(self_, ReplyTo(), [&] { return state_.on(self_, message); });
    } else {
      report_unknown(self_, message);
      return {};
    }
  }

  Self& self_;
  T& state_;
  // Of what is being handled; a handler that is a task refers to them.
  ReplyTo to_;
  std::optional<Down> down_;
  std::optional<Exit> exit_;
};

template <class T>
struct Serve {
  template <class... Args>
  Routine operator()(Self& self, Args... args) const {
    if constexpr (std::is_constructible_v<T, Self&, Args...>) {
      T state(self, std::move(args)...);
      co_await ServerLoop<T>(self, state).run();
    } else {
      T state(std::move(args)...);
      co_await ServerLoop<T>(self, state).run();
    }
  }
};

}  // namespace detail

// The body of a server: runtime.spawn(serve<T>, args…) or child("id", serve<T>, args…), with what T's constructor
// takes, which may begin with the server's own Self&.
template <class T>
inline constexpr detail::Serve<T> serve{};

// A server as a child. Its supervisor waits for its init(), if it has one.
template <class T, class... Args>
ChildSpec child(std::string id, detail::Serve<T> body, Args... args) {
  ChildSpec spec = child<detail::Serve<T>, Args...>(std::move(id), body, std::move(args)...);
  spec.reports_ready = detail::Initialises<T>;
  return spec;
}

// A pid that says what may be sent there. Threads: a value.
template <class T>
class Server {
 public:
  Server() = default;
  explicit Server(Pid pid) noexcept : pid_(pid) {}
  // Whoever has that name now.
  static Server find(const Runtime& runtime, std::string_view name) noexcept { return Server(runtime.whereis(name)); }

  Pid pid() const noexcept { return pid_; }
  explicit operator bool() const noexcept { return static_cast<bool>(pid_); }

  // To be awaited: std::expected<what the handler returns, ExitReason>; see otp::call(). When the handler takes a
  // ReplyTo the message's type says what the answer is: `using Reply = …`.
  template <class M>
  auto call(Self& self, M message, Nanoseconds timeout = kCallTimeout) const {
    static_assert(detail::check_asked<T, M>());
    return detail::AwaitableWith<detail::CallTyped<typename detail::ReplyOf<T, M>::Type>, M>(
        self, pid_, detail::message_of(std::move(message)), deadline_after(self.runtime().clock().now(), timeout));
  }
  // From a thread that is no worker; blocks.
  template <class M>
  auto ask(Runtime& runtime, M message, Nanoseconds timeout = kCallTimeout) const {
    static_assert(detail::check_asked<T, M>());
    return detail::typed_answer<typename detail::ReplyOf<T, M>::Type>(
        runtime.ask(pid_, detail::message_of(std::move(message)), timeout));
  }
  // Without an answer.
  template <class M>
  void cast(Self& self, M message) const noexcept {
    static_assert(detail::check_sent<T, M>());
    self.send(pid_, detail::message_of(std::move(message)));
  }
  bool operator==(const Server&) const = default;

 private:
  Pid pid_;
};

// Asks a process to end with `reason` and waits until it has; kills it after `timeout` ns. Its reason; noproc when
// there was none.
Task<ExitReason> stop_process(Self& self, Pid pid, ExitReason reason = ExitReason::Kind::kShutdown,
                              Nanoseconds timeout = kCallTimeout);

}  // namespace rusm::otp
