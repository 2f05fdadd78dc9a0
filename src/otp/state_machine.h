// State machine: a process that does with a message what its present state says, as OTP's gen_statem.
//
//   class Door {
//    public:
//     struct Locked {};
//     struct Open {};
//     using States = std::variant<Locked, Open>;            // it begins in the first, which has a default
//     using Messages = otp::Messages<Unlock, Push>;
//     using Next = otp::Next<States>;
//
//     Next on(Self&, Locked&, const Unlock& unlock) {
//       if (unlock.code != code_) return keep();
//       return Open();
//     }
//     Nanoseconds enter(Self&, Open&) { return 5 * kSecond; }    // how long it may stay there
//     Next on(Self&, Open&, StateTimeout) { return Locked(); }
//     Next on(Self&, Open&, const Push&) { return keep(); }
//     Next on(Self&, Locked&, const Push&) { return postpone(); }  // until it is in another state
//   };
//
//   runtime.spawn(run_machine<Door>, code);     // or child("door", run_machine<Door>, code), with what Door() takes
//
// A handler says what comes next:
//   a state        it is entered, even if it is of the same type; what was postponed comes first then
//   keep()         nothing changes; what is in the state may have
//   postpone()     the message waits for another state
//   Stop{reason}   the process ends
// Handlers are found in this order, for a message M in a state S; each may be a Task<Next<…>> as well:
//   on(Self&, S&, M&, ReplyTo), on(Self&, S&, M&)     in this state
//   on(Self&, M&, ReplyTo), on(Self&, M&)             in any state
// A message that may be postponed is taken by reference, and left as it is.
// M is one of Messages, StateTimeout, const Down& or const Exit& (it traps exits then). A request is answered through
// its ReplyTo, by self.reply(to, …), now or later. A message of Messages that has no handler in a state crashes the
// process, as it does in OTP; others are logged and dropped.
// enter(Self&, S&) runs when S is entered; what it returns, if anything, is the time after which StateTimeout comes;
// leaving the state cancels it. Other timers are self.send_after() to itself.
#pragma once

#include <concepts>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "otp/server.h"

namespace rusm::otp {

// It has been in its state for as long as enter() said.
struct StateTimeout {};

struct Keep {};
struct Postpone {};
inline Keep keep() {
  return {};
}
inline Postpone postpone() {
  return {};
}

// What a handler returns. States: the machine's std::variant.
template <class States>
class Next {
 public:
  Next(Keep) noexcept {}                                           // NOLINT(google-explicit-constructor)
  Next(Postpone) noexcept : what_(What::kPostpone) {}              // NOLINT(google-explicit-constructor)
  Next(Stop stop) : what_(What::kStop), stop_(std::move(stop)) {}  // NOLINT(google-explicit-constructor)
  template <class S>
    requires std::constructible_from<States, S>
  Next(S state) : what_(What::kEnter), state_(std::move(state)) {}  // NOLINT(google-explicit-constructor)

  enum class What : std::uint8_t { kKeep, kPostpone, kStop, kEnter };
  What what() const noexcept { return what_; }
  Stop& stop() noexcept { return stop_; }
  States& state() noexcept { return *state_; }

 private:
  What what_ = What::kKeep;
  Stop stop_;
  std::optional<States> state_;
};

namespace detail {

template <class T, class S, class M>
concept HandlesHereLater = requires(T& t, Self& self, S& s, M m, ReplyTo to) { t.on(self, s, std::move(m), to); };
template <class T, class S, class M>
concept HandlesHere = requires(T& t, Self& self, S& s, M m) { t.on(self, s, std::move(m)); };
template <class T, class M>
concept HandlesAnywhereLater = requires(T& t, Self& self, M m, ReplyTo to) { t.on(self, std::move(m), to); };
template <class T, class M>
concept HandlesAnywhere = requires(T& t, Self& self, M m) { t.on(self, std::move(m)); };
template <class T, class S>
concept Enters = requires(T& t, Self& self, S& s) { t.enter(self, s); };

struct TimeoutDue {
  std::uint64_t entry;
};

template <class T>
class MachineLoop {
  using States = typename T::States;
  using Step = Next<States>;
  using What = typename Step::What;

 public:
  MachineLoop(Self& self, T& machine) : self_(self), machine_(machine) {}

  Task<> run() {
    if constexpr (kTraps) self_.trap_exit(true);
    enter();
    ready(self_);
    for (;;) {
      Message message = co_await receive(self_);
      co_await take(&message);
    }
  }

 private:
  template <class... S>
  static constexpr bool traps(std::type_identity<std::variant<S...>>) {
    return HandlesAnywhere<T, const Exit&> || (HandlesHere<T, S, const Exit&> || ...);
  }
  static constexpr bool kTraps = traps(std::type_identity<States>());

  // The timer is a message too, so that it takes its turn: what came before it is handled in this state.
  void start_timeout(Nanoseconds span) {
    if (span != kNever) timer_ = self_.send_after(span, self_.pid(), Message::local(TimeoutDue{entries_}));
  }

  void enter() {
    ++entries_;
    if (timer_) self_.cancel(*std::exchange(timer_, std::nullopt));
    std::visit(
        [this]<class S>(S& state) {
          if constexpr (Enters<T, S>) {
            if constexpr (std::is_void_v<decltype(machine_.enter(self_, state))>) {
              machine_.enter(self_, state);
            } else {
              start_timeout(machine_.enter(self_, state));
            }
          }
        },
        state_);
  }

  Task<> apply(Step step, Message* message) {
    switch (step.what()) {
      case What::kKeep:
        co_return;
      case What::kPostpone:
        if (message != nullptr && !self_.stash(std::move(*message))) {
          co_await end(self_, ExitReason::limit("mailbox", "there is no room for what is postponed"));
        }
        co_return;
      case What::kStop:
        co_await end(self_, std::move(step.stop().reason));
        co_return;
      case What::kEnter:
        state_ = std::move(step.state());
        enter();
        self_.unstash();
        co_return;
    }
  }

  // The task of the handler for M in the present state, if there is one. `m` outlives it, or is a copy.
  template <class M, class V>
  std::optional<Task<Step>> find(V&& m, ReplyTo to) {
    return std::visit(
        [&]<class S>(S& state) -> std::optional<Task<Step>> {
          if constexpr (HandlesHereLater<T, S, M>) {
            return as_task(machine_.on(self_, state, std::forward<V>(m), to));
          } else if constexpr (HandlesHere<T, S, M>) {
            return as_task(machine_.on(self_, state, std::forward<V>(m)));
          } else if constexpr (HandlesAnywhereLater<T, M>) {
            return as_task(machine_.on(self_, std::forward<V>(m), to));
          } else if constexpr (HandlesAnywhere<T, M>) {
            return as_task(machine_.on(self_, std::forward<V>(m)));
          } else {
            return std::nullopt;
          }
        },
        state_);
  }
  static Task<Step> as_task(Step step) { co_return step; }
  static Task<Step> as_task(Task<Step> task) { return task; }

  Task<> take(Message* message) {
    if (message->is_exit()) {
      const Exit exit{message->from(), message->reason()};
      if (is_order_to_stop(*message, self_.parent())) co_await end(self_, exit.reason);
      if (auto handler = find<const Exit&>(exit, ReplyTo()))
        co_return co_await apply(co_await std::move(*handler), message);
      co_return report_unknown(self_, *message);
    }
    if (message->is_down()) {
      const Down down{message->from(), message->reference(), message->name(), message->reason()};
      if (auto handler = find<const Down&>(down, ReplyTo()))
        co_return co_await apply(co_await std::move(*handler), message);
      co_return report_unknown(self_, *message);
    }
    if (const auto* due = message->get_if<TimeoutDue>()) {
      if (due->entry != entries_) co_return;  // it was on its way when its state was left
      timer_.reset();
      if (auto handler = find<StateTimeout>(StateTimeout(), ReplyTo())) {
        co_await apply(co_await std::move(*handler), nullptr);
      }
      co_return;
    }
    bool known = false;
    std::optional<Task<Step>> handler = offer(*message, &known, typename T::Messages());
    if (handler) co_return co_await apply(co_await std::move(*handler), message);
    if (!known) co_return report_unknown(self_, *message);
    co_await end(self_, ExitReason::crashed("state", unexpected_.first + " is not expected in " + unexpected_.second));
  }

  template <class... M>
  std::optional<Task<Step>> offer(Message& message, bool* known, Messages<M...>) {
    std::optional<Task<Step>> handler;
    (void)(offer_one<M>(message, known, &handler) || ...);
    return handler;
  }
  template <class M>
  bool offer_one(Message& message, bool* known, std::optional<Task<Step>>* handler) {
    M* value = message.get_if<M>();
    if (value == nullptr) return false;
    *known = true;
    if (auto found = find<M&>(*value, reply_to_of(message))) {
      handler->emplace(std::move(*found));
    } else {
      unexpected_ = {std::string(kWireName<M>),
                     std::visit([]<class S>(S&) { return std::string(kWireName<S>); }, state_)};
    }
    return true;
  }

  Self& self_;
  T& machine_;
  States state_{};
  std::uint64_t entries_ = 0;                       // states entered so far
  std::optional<TimerId> timer_;                    // of StateTimeout
  std::pair<std::string, std::string> unexpected_;  // a message and the state in which it came
};

template <class T>
struct RunMachine {
  template <class... Args>
  Routine operator()(Self& self, Args... args) const {
    T machine(std::move(args)...);
    co_await MachineLoop<T>(self, machine).run();
  }
};

}  // namespace detail

// The body of a state machine.
template <class T>
inline constexpr detail::RunMachine<T> run_machine{};

}  // namespace rusm::otp
