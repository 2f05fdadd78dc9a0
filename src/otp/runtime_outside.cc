// What threads outside of the runtime wait for: each wait is a small process that does the waiting for them.
#include <condition_variable>
#include <mutex>
#include <utility>

#include "otp/routine.h"
#include "otp/runtime.h"

namespace rusm::otp {
namespace {

// Filled in by a process, awaited by a thread. When the process is killed its last reference says so.
template <class T>
class Answer : public RefCounted {
 public:
  void set(T value) {
    const std::scoped_lock lock(mutex_);
    value_.emplace(std::move(value));
    changed_.notify_all();
  }
  T wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return value_.has_value(); });
    return std::move(*value_);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<T> value_;  // guarded by mutex_
};

// What a process leaves when it is killed before it could answer.
template <class T>
class Promise {
 public:
  Promise(Ref<Answer<T>> answer, T otherwise) : answer_(std::move(answer)), value_(std::move(otherwise)) {}
  Promise(Promise&&) noexcept = default;
  Promise& operator=(Promise&&) = delete;
  ~Promise() {
    if (answer_) answer_->set(std::move(value_));
  }
  void set(T value) { value_ = std::move(value); }

 private:
  Ref<Answer<T>> answer_;
  T value_;
};

using Reply = std::expected<Message, ExitReason>;
using End = std::optional<ExitReason>;

Routine asks(Self& self, Promise<Reply> promise, Pid server, Message request, Nanoseconds timeout) {
  promise.set(co_await call(self, server, std::move(request), timeout));
}

Routine watches(Self& self, Promise<End> promise, Pid pid, Nanoseconds timeout) {
  const Reference reference = self.monitor(pid);
  const auto down = co_await receive_if_for(self, timeout, [reference](const Message& message) {
    return message.is_down() && message.reference() == reference;
  });
  promise.set(down ? End(down->reason()) : End());
}

}  // namespace

std::expected<Message, ExitReason> Runtime::ask(Pid server, Message request, Nanoseconds timeout) {
  auto answer = make_ref<Answer<Reply>>();
  if (!spawn(asks, Promise<Reply>(answer, std::unexpected(ExitReason(ExitReason::Kind::kKilled))), server,
             std::move(request), timeout)) {
    return std::unexpected(ExitReason::limit("processes", "there are too many"));
  }
  return answer->wait();
}

std::optional<ExitReason> Runtime::wait_for(Pid pid, Nanoseconds timeout) {
  auto answer = make_ref<Answer<End>>();
  if (!spawn(watches, Promise<End>(answer, End()), pid, timeout)) return std::nullopt;
  return answer->wait();
}

}  // namespace rusm::otp
