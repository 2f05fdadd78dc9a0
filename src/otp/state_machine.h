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
// A message is taken by reference (or by value, copied), and left as it is if it is postponed.
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

// M: as it is handed over, an M& for messages.
template <class T, class S, class M>
concept HandlesHereLater =
    requires(T& t, Self& self, S& s, M&& m, ReplyTo& to) { t.on(self, s, std::forward<M>(m), to); };
template <class T, class S, class M>
concept HandlesHere = requires(T& t, Self& self, S& s, M&& m) { t.on(self, s, std::forward<M>(m)); };
template <class T, class M>
concept HandlesAnywhereLater = requires(T& t, Self& self, M&& m, ReplyTo& to) { t.on(self, std::forward<M>(m), to); };
template <class T, class M>
concept HandlesAnywhere = requires(T& t, Self& self, M&& m) { t.on(self, std::forward<M>(m)); };
template <class T, class S, class M>
concept Handles =
    HandlesHereLater<T, S, M> || HandlesHere<T, S, M> || HandlesAnywhereLater<T, M> || HandlesAnywhere<T, M>;
template <class T, class States, class M>
inline constexpr bool kHandledSomewhere = false;
template <class T, class... S, class M>
inline constexpr bool kHandledSomewhere<T, std::variant<S...>, M> = (Handles<T, S, M> || ...);
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
      Found found = handle(message);
      if (found.later) found.now = co_await std::move(*found.later);
      if (found.now) found.end = follow(*found.now, message, found.takes_reply_to);
      if (found.end) co_await end(self_, std::move(*found.end));
    }
  }

 private:
  // What became of a message.
  struct Found {
    std::optional<Step> now = {};          // its handler has returned this
    std::optional<Task<Step>> later = {};  // its handler is a task, and that is what is left to do
    bool takes_reply_to = false;
    std::optional<ExitReason> end = {};
  };

  template <class... S>
  static constexpr bool traps(std::type_identity<std::variant<S...>>) {
    return HandlesAnywhere<T, Exit&> || (HandlesHere<T, S, Exit&> || ...);
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

  // Does what a handler has said. A reason: the process has to end with it.
  std::optional<ExitReason> follow(Step& step, Message& message, bool takes_reply_to) {
    if (step.what() == What::kPostpone) {
      if (message.get_if<TimeoutDue>() != nullptr || self_.stash(std::move(message))) return std::nullopt;
      return ExitReason::limit("mailbox", "there is no room for what is postponed");
    }
    if (message.is_request() && !takes_reply_to) self_.reply(message.reply_to(), Message::of(Done()));
    if (step.what() == What::kStop) return std::move(step.stop().reason);
    if (step.what() == What::kEnter) {
      state_ = std::move(step.state());
      enter();
      self_.unstash();
    }
    return std::nullopt;
  }

  static void put(Found& found, Step step) { found.now.emplace(std::move(step)); }
  static void put(Found& found, Task<Step> task) { found.later.emplace(std::move(task)); }

  // Calls the handler for M in the present state. False: there is none.
  template <class M>
  bool call(M&& m, Found& found) {
    return std::visit(
        [&]<class S>(S& state) {
          if constexpr (HandlesHereLater<T, S, M>) {
            found.takes_reply_to = true;
            put(found, machine_.on(self_, state, std::forward<M>(m), to_));
          } else if constexpr (HandlesHere<T, S, M>) {
            put(found, machine_.on(self_, state, std::forward<M>(m)));
          } else if constexpr (HandlesAnywhereLater<T, M>) {
            found.takes_reply_to = true;
            put(found, machine_.on(self_, std::forward<M>(m), to_));
          } else if constexpr (HandlesAnywhere<T, M>) {
            put(found, machine_.on(self_, std::forward<M>(m)));
          } else {
            return false;
          }
          return true;
        },
        state_);
  }

  Found handle(Message& message) {
    Found found;
    to_ = reply_to_of(message);
    if (message.is_exit()) {
      if (is_order_to_stop(message, self_.parent())) {
        found.end = message.reason();
        return found;
      }
      exit_.emplace(Exit{message.from(), message.reason()});
      if (!call(*exit_, found)) report_unknown(self_, message);
    } else if (message.is_down()) {
      down_.emplace(Down{message.from(), message.reference(), message.name(), message.reason()});
      if (!call(*down_, found)) report_unknown(self_, message);
    } else if (const auto* due = message.get_if<TimeoutDue>()) {
      if (due->entry != entries_) return found;  // it was on its way when its state was left
      timer_.reset();
      call(StateTimeout(), found);
    } else if (!offer(message, found, typename T::Messages())) {
      report_unknown(self_, message);
    }
    return found;
  }

  // False: it is none of them.
  template <class... M>
  bool offer(Message& message, Found& found, Messages<M...>) {
    return (offer_one<M>(message, found) || ...);
  }
  template <class M>
  bool offer_one(Message& message, Found& found) {
    static_assert(kHandledSomewhere<T, States, M&>,
                  "the machine has no on() for this type of its Messages: on(Self&, State&, const M&), or without the "
                  "state");
    M* value = message.get_if<M>();
    if (value == nullptr) return false;
    if (!call(*value, found)) {
      const std::string state = std::visit([]<class S>(S&) { return std::string(kWireName<S>); }, state_);
      found.end = ExitReason::crashed("state", std::string(kWireName<M>) + " is not expected in " + state);
    }
    return true;
  }

  Self& self_;
  T& machine_;
  States state_{};
  std::uint64_t entries_ = 0;     // states entered so far
  std::optional<TimerId> timer_;  // of StateTimeout
  // Of what is being handled; a handler that is a task refers to them.
  ReplyTo to_;
  std::optional<Down> down_;
  std::optional<Exit> exit_;
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
