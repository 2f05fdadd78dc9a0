// A durable store from a process: co_await what would block a thread. Messages wait in the mailbox meanwhile.
#pragma once

#include <coroutine>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "base/refcount.h"
#include "kv/durable_kv_store.h"
#include "otp/routine.h"

namespace rusm::kv {

// A commit that a process waits for. The store may be done with it long after the process, and its runtime, are gone.
// Threads: on_done by the store's; the rest by the process.
class ProcessCommit final : public KvPending {
 public:
  ProcessCommit(KvBatch batch, otp::Runtime& runtime, otp::Pid pid)
      : KvPending(std::move(batch)), pid_(pid), runtime_(&runtime) {}
  // Nobody waits any more.
  void detach() noexcept {
    const std::scoped_lock lock(mutex_);
    runtime_ = nullptr;
  }

 private:
  void on_done() noexcept override {
    const std::scoped_lock lock(mutex_);
    if (runtime_ != nullptr) runtime_->wake(pid_);
  }

  const otp::Pid pid_;
  std::mutex mutex_;
  otp::Runtime* runtime_;  // guarded by mutex_
};

namespace detail {

struct Commit : otp::Waiter {
  Commit(otp::Self& s, DurableKvStore& to, KvBatch batch)
      : self(s), store(to), pending(make_ref<ProcessCommit>(std::move(batch), s.runtime(), s.pid())) {
    ready = [](otp::Waiter& waiter, otp::Process&) noexcept { return static_cast<Commit&>(waiter).pending->is_done(); };
  }
  Commit(const Commit&) = delete;
  Commit& operator=(const Commit&) = delete;
  ~Commit() { pending->detach(); }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) {
    handle = h;
    self.set_waiter(this, otp::Step::kWaitSignals, otp::Wait::kBlocking);
    if (!self.charge()) self.set_yield();
    store.submit(pending);
  }
  Result<KvOutcome> await_resume() { return pending->take(); }

  otp::Self& self;
  DurableKvStore& store;
  const Ref<ProcessCommit> pending;
};

}  // namespace detail

// Commits, and waits without a thread. A process that is killed meanwhile has committed or not, as after any crash of
// its own. The store must outlive the process. Not for a runtime that is deterministic: the store has a thread.
inline auto commit(otp::Self& self, DurableKvStore& store, KvBatch batch) {
  return otp::detail::AwaitableWith<detail::Commit, KvBatch>(self, store, std::move(batch));
}

inline otp::Task<Result<>> set(otp::Self& self, DurableKvStore& store, std::string bucket, std::string key,
                               std::string value) {
  KvBatch batch;
  batch.writes.push_back({std::move(bucket), std::move(key), std::move(value)});
  auto committed = commit(self, store, std::move(batch));
  const Result<KvOutcome> outcome = co_await committed;
  co_return outcome ? Result<>() : std::unexpected(outcome.error());
}

// Whether there was such a key.
inline otp::Task<Result<bool>> remove(otp::Self& self, DurableKvStore& store, std::string bucket, std::string key) {
  KvBatch batch;
  batch.writes.push_back({std::move(bucket), std::move(key), std::nullopt});
  auto committed = commit(self, store, std::move(batch));
  const Result<KvOutcome> outcome = co_await committed;
  if (!outcome) co_return std::unexpected(outcome.error());
  co_return outcome->removed != 0;
}

// See KvStore::compare_and_set.
inline otp::Task<Result<bool>> compare_and_set(otp::Self& self, DurableKvStore& store, std::string bucket,
                                               std::string key, std::optional<std::string> expected,
                                               std::optional<std::string> value) {
  KvBatch batch;
  batch.expectations.push_back({bucket, key, std::move(expected)});
  batch.writes.push_back({std::move(bucket), std::move(key), std::move(value)});
  auto committed = commit(self, store, std::move(batch));
  const Result<KvOutcome> outcome = co_await committed;
  if (!outcome) co_return std::unexpected(outcome.error());
  co_return outcome->applied();
}

// Reads what was written lately at once, all else on a thread that may block. The hold is in the frame, which a read
// outlives that of a process that was killed: the store may then be destroyed at any time, and waits for the read.
inline otp::Task<Result<std::optional<std::string>>> get(otp::Self& self, const DurableKvStore& store,
                                                         std::string bucket, std::string key) {
  const KvReadHold hold(store);
  if (std::optional<std::string> value = store.recent(bucket, key)) {
    if (!self.charge()) co_await otp::yield(self);
    co_return value;
  }
  co_return co_await otp::blocking(self, [&] { return store.get(bucket, key); });
}

inline otp::Task<Result<bool>> exists(otp::Self& self, const DurableKvStore& store, std::string bucket,
                                      std::string key) {
  const KvReadHold hold(store);
  if (store.recent(bucket, key)) {
    if (!self.charge()) co_await otp::yield(self);
    co_return true;
  }
  co_return co_await otp::blocking(self, [&] { return store.exists(bucket, key); });
}

inline otp::Task<Result<KvPage>> list(otp::Self& self, const DurableKvStore& store, std::string bucket,
                                      std::string prefix, std::string after) {
  const KvReadHold hold(store);
  co_return co_await otp::blocking(self, [&] { return store.list(bucket, prefix, after); });
}

}  // namespace rusm::kv
