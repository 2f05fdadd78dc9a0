// Routine and Task: native process bodies as C++20 coroutines, and what they await.
//
//   Routine pong(Self& self, int rounds) {
//     for (int i = 0; i < rounds; ++i) {
//       Message message = co_await receive(self);
//       self.send(*message.get_if<Pid>(), Message::of(self.pid()));
//     }
//   }
//   runtime.spawn(pong, 10);
//
// A process that is killed has its frame destroyed where it is suspended: clean up with destructors only. Parameters
// are taken by value. A lambda with captures must not be a coroutine: its captures die before it does.
#pragma once

#include <concepts>
#include <coroutine>
#include <exception>
#include <expected>
#include <optional>
#include <type_traits>
#include <utility>

#include "otp/process.h"
#include "otp/runtime.h"

namespace rusm::otp {

// The exit reason of the exception that is being handled: its type and what() if it is a std::exception.
ExitReason reason_of_current_exception() noexcept;

// The coroutine type of a process's body. Its first parameter is a Self&.
class Routine {
 public:
  class promise_type final : public Body {
   public:
    static void* operator new(std::size_t bytes) { return allocate_block(bytes); }
    static void operator delete(void* frame, std::size_t bytes) noexcept { deallocate_block(frame, bytes); }

    Routine get_return_object() noexcept { return Routine(this); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { self_->set_exit_reason(reason_of_current_exception()); }

    Step resume(Process& self, Budget) noexcept override {
      self_ = &self;
      const auto root = std::coroutine_handle<promise_type>::from_promise(*this);
      if (Waiter* waiter = self.waiter()) {
        if (waiter->ready != nullptr && !waiter->ready(*waiter, self)) return self.wait_step();
        self.set_waiter(nullptr, Step::kWait);
        waiter->handle.resume();
      } else {
        root.resume();
      }
      if (root.done()) return Step::kExit;
      return self.take_yield() ? Step::kYield : self.wait_step();
    }
    void destroy() noexcept override { std::coroutine_handle<promise_type>::from_promise(*this).destroy(); }

   private:
    Process* self_ = nullptr;
  };

  BodyPtr release() && noexcept { return BodyPtr(std::exchange(body_, nullptr)); }
  Routine(Routine&& other) noexcept : body_(std::exchange(other.body_, nullptr)) {}
  Routine& operator=(Routine&&) = delete;
  ~Routine() {
    if (body_ != nullptr) body_->destroy();
  }

 private:
  explicit Routine(promise_type* body) : body_(body) {}
  promise_type* body_;
};

// A part of a body: a coroutine that a Routine or another Task awaits. Starts when awaited, destroyed with its awaiter.
template <class T = void>
class [[nodiscard]] Task {
  struct Base {
    static void* operator new(std::size_t bytes) { return allocate_block(bytes); }
    static void operator delete(void* frame, std::size_t bytes) noexcept { deallocate_block(frame, bytes); }
    struct Resume {
      bool await_ready() noexcept { return false; }
      template <class P>
      std::coroutine_handle<> await_suspend(std::coroutine_handle<P> ended) noexcept {
        return ended.promise().awaiter;
      }
      void await_resume() noexcept {}
    };
    std::suspend_always initial_suspend() noexcept { return {}; }
    Resume final_suspend() noexcept { return {}; }
    void unhandled_exception() noexcept { exception = std::current_exception(); }
    std::coroutine_handle<> awaiter;
    std::exception_ptr exception;
  };
  struct ValueBase : Base {
    template <class U>
    void return_value(U&& u) {
      value.emplace(std::forward<U>(u));
    }
    std::optional<std::conditional_t<std::is_void_v<T>, char, T>> value;
  };
  struct VoidBase : Base {
    void return_void() noexcept {}
  };

 public:
  struct promise_type : std::conditional_t<std::is_void_v<T>, VoidBase, ValueBase> {
    Task get_return_object() noexcept { return Task(std::coroutine_handle<promise_type>::from_promise(*this)); }
  };

  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (handle_) handle_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiter) noexcept {
    handle_.promise().awaiter = awaiter;
    return handle_;
  }
  T await_resume() {
    auto& promise = handle_.promise();
    if (promise.exception) std::rethrow_exception(promise.exception);
    if constexpr (!std::is_void_v<T>) return std::move(*promise.value);
  }

 private:
  explicit Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  std::coroutine_handle<promise_type> handle_;
};

namespace detail {

struct Await : Waiter {
  explicit Await(Process& s) noexcept : self(s) {}
  // Suspends at `h`: to wait as `step` says, or only to let others run first.
  void suspend(std::coroutine_handle<> h, Step step, bool yield_first, Wait wait = Wait::kOther) noexcept {
    handle = h;
    self.set_waiter(this, step, wait);
    if (yield_first) self.set_yield();
  }
  // True once the deadline is over; until then it makes sure that the process looks again at that time.
  bool passed(Nanoseconds deadline) noexcept {
    if (deadline == kNever) return false;
    if (self.runtime().clock().now() >= deadline) return true;
    self.wake_at(deadline);
    return false;
  }
  Process& self;
};

struct Yield : Await {
  using Await::Await;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) noexcept { suspend(h, Step::kWait, true); }
  void await_resume() const noexcept {}
};

// Waits for the head of the mailbox.
struct ReceiveAny : Await {
  ReceiveAny(Process& s, Nanoseconds until) : Await(s), deadline(until) {
    ready = [](Waiter& waiter, Process&) noexcept { return static_cast<ReceiveAny&>(waiter).look(); };
  }
  // True when the wait is over: there is a message, or the deadline has passed.
  bool look() noexcept {
    if (!self.drain()) return false;
    return self.mailbox_head() != nullptr || passed(deadline);
  }
  bool await_ready() noexcept {
    if (!self.charge() || self.exit_pending()) return false;
    return self.mailbox_head() != nullptr || look();
  }
  void await_suspend(std::coroutine_handle<> h) noexcept { suspend(h, Step::kWait, !self.charge(0), Wait::kMessage); }

  const Nanoseconds deadline;
};

struct ReceiveForever : ReceiveAny {
  using ReceiveAny::ReceiveAny;
  Message await_resume() noexcept { return Message(self.take(nullptr, self.mailbox_head())); }
};

struct ReceiveUntil : ReceiveAny {
  using ReceiveAny::ReceiveAny;
  std::optional<Message> await_resume() noexcept {
    if (self.mailbox_head() == nullptr) return std::nullopt;
    return Message(self.take(nullptr, self.mailbox_head()));
  }
};

// Waits for the first message that matches. What was looked at once is not looked at again: while the process waits,
// the mailbox only grows at its end.
template <class Match>
struct ReceiveMatching : Await {
  ReceiveMatching(Process& s, Nanoseconds until, Match m) : Await(s), deadline(until), match(std::move(m)) {
    ready = [](Waiter& waiter, Process&) noexcept { return static_cast<ReceiveMatching&>(waiter).look(); };
  }

  bool look() noexcept {
    if (!self.drain()) return false;
    return find() || this->passed(deadline);
  }
  bool find() noexcept {
    Envelope* previous = last_seen;
    Envelope* envelope = previous == nullptr ? self.mailbox_head() : previous->next;
    while (envelope != nullptr) {
      Message message{EnvelopePtr(envelope)};
      const bool matches = match(std::as_const(message));
      (void)std::move(message).release().release();  // looking does not take it
      if (matches) {
        found.emplace(self.take(previous, envelope));
        return true;
      }
      previous = envelope;
      envelope = envelope->next;
    }
    last_seen = previous;
    return false;
  }
  bool await_ready() noexcept { return self.charge() && !self.exit_pending() && (find() || look()); }
  void await_suspend(std::coroutine_handle<> h) noexcept { suspend(h, Step::kWait, !self.charge(0), Wait::kMessage); }

  const Nanoseconds deadline;
  [[no_unique_address]] Match match;
  Envelope* last_seen = nullptr;
  std::optional<Message> found;
};

template <class Match>
struct ReceiveMatchingForever : ReceiveMatching<Match> {
  using ReceiveMatching<Match>::ReceiveMatching;
  Message await_resume() noexcept { return std::move(*this->found); }
};

template <class Match>
struct ReceiveMatchingUntil : ReceiveMatching<Match> {
  using ReceiveMatching<Match>::ReceiveMatching;
  std::optional<Message> await_resume() noexcept { return std::move(this->found); }
};

struct Sleep : Await {
  Sleep(Process& s, Nanoseconds until) : Await(s), deadline(until) {
    ready = [](Waiter& waiter, Process&) noexcept {
      auto& sleep = static_cast<Sleep&>(waiter);
      return sleep.passed(sleep.deadline);
    };
  }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) noexcept {
    suspend(h, Step::kWaitSignals, !self.charge(), Wait::kTime);
    self.wake_at(deadline);
  }
  void await_resume() const noexcept {}
  const Nanoseconds deadline;
};

// Asks when it is awaited, and waits for the answer. Messages stay in the mailbox meanwhile, looked at by nobody.
struct Call : Await {
  Call(Process& s, Pid to, Message r, Nanoseconds until)
      : Await(s), server(to), deadline(until), request(std::move(r)) {
    ready = [](Waiter& waiter, Process&) noexcept { return static_cast<Call&>(waiter).look(); };
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  ~Call() {
    if (pending.reference != 0 && !pending.done) self.abandon(pending);
  }
  bool look() noexcept { return pending.done || passed(deadline); }
  bool await_ready() noexcept {
    if (server == self.pid()) {
      pending.done = true;
      pending.failure = ExitReason::crashed("call", "a process cannot call itself");
      return self.charge();
    }
    self.ask(pending, server, std::move(request));
    return false;
  }
  void await_suspend(std::coroutine_handle<> h) noexcept {
    if (deadline != kNever) self.wake_at(deadline);
    suspend(h, Step::kWaitSignals, !self.charge(), Wait::kAnswer);
  }
  std::expected<Message, ExitReason> await_resume() noexcept {
    if (pending.reply) return std::move(*pending.reply);
    if (pending.done) return std::unexpected(std::move(pending.failure));
    self.abandon(pending);
    return std::unexpected(ExitReason(ExitReason::Kind::kTimeout));
  }

  const Pid server;
  const Nanoseconds deadline;
  Message request;
  PendingCall pending;
};

template <class F>
class BlockingCall final : public BlockingJob {
 public:
  using Value = std::invoke_result_t<F&>;
  explicit BlockingCall(F f) : f_(std::move(f)) {}
  Value take() {
    if (exception_) std::rethrow_exception(exception_);
    if constexpr (!std::is_void_v<Value>) return std::move(*value_);
  }

 private:
  void call() noexcept override {
    try {
      if constexpr (std::is_void_v<Value>) {
        f_();
      } else {
        value_.emplace(f_());
      }
    } catch (...) {
      exception_ = std::current_exception();
    }
  }

  F f_;
  std::exception_ptr exception_;
  std::optional<std::conditional_t<std::is_void_v<Value>, char, Value>> value_;
};

template <class F>
struct Blocking : Await {
  Blocking(Process& s, F f) : Await(s), job(make_ref<BlockingCall<F>>(std::move(f))) {
    ready = [](Waiter& waiter, Process&) noexcept { return static_cast<Blocking&>(waiter).job->is_done(); };
  }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) noexcept {
    suspend(h, Step::kWaitSignals, !self.charge(), Wait::kBlocking);
    self.start_blocking(job);
  }
  auto await_resume() {
    self.end_blocking();
    return job->take();
  }
  const Ref<BlockingCall<F>> job;
};

struct News : Await {
  News(Process& s, Nanoseconds until) : Await(s), deadline(until) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) noexcept {
    if (deadline != kNever) self.wake_at(deadline);
    suspend(h, Step::kWait, !self.charge());
  }
  void await_resume() const noexcept {}
  const Nanoseconds deadline;
};

struct End : Await {
  End(Process& s, ExitReason r) : Await(s), reason(std::move(r)) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) noexcept {
    suspend(h, Step::kWait, false);
    self.end(std::move(reason));
  }
  [[noreturn]] void await_resume() const noexcept { std::terminate(); }
  ExitReason reason;
};

#if defined(__clang__) || __GNUC__ > 12
template <class Awaitable, class T>
using AwaitableWith = Awaitable;
#else
// g++ 12 destroys the parts of a temporary twice that is written with braces, or is a lambda, when there is a co_await
// in the same expression. An awaitable that was made from such a T has to be named, which ends that expression.
template <class Awaitable>
struct NamedAwaitable : Awaitable {
  using Awaitable::Awaitable;
  struct There {  // a reference would be copied from
    bool await_ready() noexcept { return it.await_ready(); }
    void await_suspend(std::coroutine_handle<> h) noexcept { it.await_suspend(h); }
    decltype(auto) await_resume() { return it.await_resume(); }
    Awaitable& it;
  };
  There operator co_await() & noexcept { return {*this}; }
  template <bool kNamed = false>
  There operator co_await() && noexcept {
    static_assert(kNamed,
                  "g++ 12 would destroy this request or function twice: name what is awaited, as in "
                  "`auto asked = call<int>(self, server, Request{\"text\"}); auto answer = co_await asked;`");
    return {*this};
  }
};
template <class T>
inline constexpr bool kNeedsName = !std::is_trivially_destructible_v<T> &&
                                   (std::is_aggregate_v<T> || std::invocable<T&> || std::invocable<T&, const Message&>);
template <class Awaitable, class T>
using AwaitableWith = std::conditional_t<kNeedsName<T>, NamedAwaitable<Awaitable>, Awaitable>;
#endif

}  // namespace detail

// ── What a body awaits ───────────────────────────────────────────────────────────────────────────────────────────────
// Each charges the budget; a ready await suspends all the same when the budget is used up.

// The next message, in the order of arrival.
inline auto receive(Self& self) {
  return detail::ReceiveForever(self, kNever);
}
// The same, or nothing once `span` nanoseconds have passed. 0 looks at what is there and never waits.
inline auto receive_for(Self& self, Nanoseconds span) {
  return detail::ReceiveUntil(self, deadline_after(self.runtime().clock().now(), span));
}
// The first message for which match(const Message&) is true; the others keep their place. `match` must not throw.
template <std::predicate<const Message&> Match>
auto receive_if(Self& self, Match match) {
  return detail::AwaitableWith<detail::ReceiveMatchingForever<Match>, Match>(self, kNever, std::move(match));
}
template <std::predicate<const Message&> Match>
auto receive_if_for(Self& self, Nanoseconds span, Match match) {
  return detail::AwaitableWith<detail::ReceiveMatchingUntil<Match>, Match>(
      self, deadline_after(self.runtime().clock().now(), span), std::move(match));
}
// Goes to the back of the run queue.
inline auto yield(Self& self) {
  return detail::Yield(self);
}
// Messages wait meanwhile.
inline auto sleep(Self& self, Nanoseconds span) {
  return detail::Sleep(self, deadline_after(self.runtime().clock().now(), span));
}
// Sends `request` and waits for the answer: std::expected<Message, ExitReason>. The error is the server's reason when
// it ends first, noproc, noconnection, or timeout. An answer that comes later is never seen. It costs the same however
// many messages wait in the mailbox.
inline auto call(Self& self, Pid server, Message request, Nanoseconds timeout = kCallTimeout) {
  return detail::Call(self, server, std::move(request), deadline_after(self.runtime().clock().now(), timeout));
}
// Runs f() on a thread that may block, and returns what it returns or throws what it throws. Messages wait meanwhile.
// Killed meanwhile the process is gone for all others at once; its frame, to which f may refer, goes when f returns, on
// that thread: destructors there may use the runtime, but not the process.
template <std::invocable F>
auto blocking(Self& self, F f) {
  return detail::AwaitableWith<detail::Blocking<F>, F>(self, std::move(f));
}
// Waits for anything to happen: a message, a wake, the deadline (a point on the clock, kNever for none). The caller
// looks at whatever it waits for before, and again after; news in between ends the wait at once.
inline auto news(Self& self, Nanoseconds deadline = kNever) {
  return detail::News(self, deadline);
}
// Ends the process here with `reason`. Never returns.
inline auto end(Self& self, ExitReason reason) {
  return detail::End(self, std::move(reason));
}

}  // namespace rusm::otp
