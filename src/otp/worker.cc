#include "otp/worker.h"

#include <pthread.h>
#include <time.h>

#include <algorithm>
#include <string>

namespace rusm::otp {

Worker::Worker(Runtime& runtime, unsigned index)
    : runtime_(runtime),
      index_(index),
      timers_(runtime.clock().now()),
      random_(runtime.options_.deterministic_seed.value_or(index + 1)) {}

void Worker::start() {
  seen_.resize(runtime_.workers_.size());
  thread_ = std::thread([this] { loop(); });
}

void Worker::join() {
  if (thread_.joinable()) thread_.join();
}

void Worker::enqueue(Process& process, bool chatty) noexcept {
  Process* runnable = &process;
  if (runtime_.options_.deterministic_seed) [[unlikely]] {
    deterministic_.push_back(runnable);
    return;
  }
  if (chatty) {
    runnable = chat_.put(runnable);
    if (runnable == nullptr) return;
  }
  if (!queue_.push(runnable)) overflow(*runnable);
  if (runtime_.idle_.load(std::memory_order_relaxed) == 0) return;
  const bool in_step = running_.load(std::memory_order_relaxed) != nullptr;
  const std::uint32_t others = queue_.size() - (in_step ? 0 : 1);
  if (others * std::max(step_span_, kStepSpanMin) < kWorthWaking) {
    const Nanoseconds now = in_step ? runtime_.clock().now() : looked_outside_;
    if (!in_step || now - woke_another_ < kWorthWaking) {
      if (others != 0 && alone_since_ == 0) alone_since_ = now;
      return;
    }
    woke_another_ = now;
  }
  alone_since_ = 0;
  runtime_.wake_idle_worker();
}

// With work for which it woke nobody, after a step: is it taking longer than it was to?
void Worker::look_for_help() noexcept {
  if (queue_.empty()) {
    alone_since_ = 0;
  } else if (runtime_.clock().now() - alone_since_ > kWorthWaking) {
    alone_since_ = 0;
    if (runtime_.idle_.load(std::memory_order_relaxed) > 0) runtime_.wake_idle_worker();
  }
}

void Worker::note_pace(Nanoseconds now, bool slept) noexcept {
  const std::uint64_t steps = steps_.load(std::memory_order_relaxed) / 2;
  if (!slept && steps != paced_steps_) {
    const Nanoseconds lately = (now - paced_at_) / static_cast<Nanoseconds>(steps - paced_steps_);
    step_span_ = (3 * step_span_ + lately) / 4;
  }
  paced_at_ = now;
  paced_steps_ = steps;
}

// The older half of the own queue goes to the injection queue, and this one with it, under one lock, as in Go's
// scheduler: so that whoever makes thousands runnable at once does not take it thousands of times.
void Worker::overflow(Process& process) noexcept {
  process.next_ = nullptr;
  Process* first = &process;
  Process* last = nullptr;  // of the older ones
  std::uint32_t count = 1;
  for (; count <= RunQueue::kCapacity / 2; ++count) {
    Process* older = queue_.pop();
    if (older == nullptr) break;  // others have stolen meanwhile
    older->next_ = &process;
    (last == nullptr ? first : last->next_) = older;
    last = older;
  }
  runtime_.inject(Runtime::Batch{first, count});
}

// It has used up its slice. While there are some in the injection queue, which found no room here, its place is behind
// them: else those in the own queue and those outside of it would not get their turns alike.
void Worker::to_the_back(Process& process) noexcept {
  if (runtime_.injected_size_.load(std::memory_order_relaxed) == 0 || runtime_.options_.deterministic_seed) {
    return enqueue(process, false);
  }
  runtime_.inject(process);
  if (runtime_.idle_.load(std::memory_order_relaxed) > 0) runtime_.wake_idle_worker();
}

void Worker::loop() noexcept {
  Worker* const previous = enter();
  clockid_t own_clock = CLOCK_MONOTONIC;
  pthread_getcpuclockid(pthread_self(), &own_clock);
  cpu_clock_.store(own_clock, std::memory_order_release);
  const BlockCacheScope blocks;
  while (!runtime_.stopping_.load(std::memory_order_acquire)) {
    Process* process = next();
    if (process == nullptr) {
      process = search();
    } else {
      stop_searching();
    }
    if (process != nullptr) {
      run(*process);
      if (alone_since_ != 0) look_for_help();
    } else {
      sleep();
    }
  }
  leave(previous);
}

Process* Worker::next() noexcept {
  const bool tick = --until_tick_ == 0;
  if (std::exchange(ran_long_, false) || tick) look_outside();
  if (tick) {
    const Nanoseconds steps = kLookWithin / std::max(step_span_, kStepSpanMin);
    until_tick_ = static_cast<int>(std::clamp<Nanoseconds>(steps, kTickMin, kTickMax));
    if (Process* process = runtime_.take_injected(this)) return process;
  }
  if (chats_ < kChatsInARow) {
    if (Process* process = chat_.take()) {
      ++chats_;
      return process;
    }
  }
  chats_ = 0;
  if (Process* process = queue_.pop()) {
    // Those that queue have mostly not run for long.
    queue_.look_ahead();
    process->bring_near();
    return process;
  }
  return chat_.take();
}

void Worker::look_outside() noexcept {
  const Nanoseconds now = runtime_.clock().now();
  if (now - looked_outside_ < kLookEvery) return;
  note_pace(now, false);
  looked_outside_ = now;
  runtime_.reactor_->poll();
  if (now >= timers_.next_due()) fire_timers(now);
  if (now >= watch_at_) watch_others(now);
}

Process* Worker::search() noexcept {
  Process* found = runtime_.take_injected(this);
  if (found == nullptr) {
    if (!searching_) {
      if (2 * runtime_.searching_.load(std::memory_order_relaxed) >= runtime_.workers()) return nullptr;
      runtime_.searching_.fetch_add(1);
      searching_ = true;
    }
    found = steal_from_others();
  }
  if (found != nullptr) stop_searching();
  return found;
}

Process* Worker::steal_from_others() noexcept {
  const auto count = static_cast<unsigned>(runtime_.workers_.size());
  const auto first = static_cast<unsigned>(random_.below(count));
  for (unsigned i = 0; i < count; ++i) {
    Worker& victim = *runtime_.workers_[(first + i) % count];
    if (&victim == this) continue;
    if (Process* process = victim.queue_.steal(&queue_)) {
      counters.steals.add();
      return process;
    }
  }
  return nullptr;
}

void Worker::sleep() noexcept {
  if (searching_) {
    searching_ = false;
    runtime_.searching_.fetch_sub(1);
  }
  parked_.store(true);
  runtime_.idle_.fetch_add(1);
  // From here on an injection sees an idle worker; what came before is seen here (partner: Runtime::inject).
  bool others_run = false;
  bool work = runtime_.injected_size_.load() != 0 || runtime_.stopping_.load();
  for (const auto& worker : runtime_.workers_) {
    if (worker.get() == this) continue;
    if (!worker->parked_.load()) others_run = true;
    if (!worker->queue_.empty()) work = true;
  }
  bool had_a_look = false;  // that was its turn to have, and nothing called for it
  if (!work) {
    const Nanoseconds now = runtime_.clock().now();
    note_pace(now, false);
    if (others_run) others_ran_ = now;
    const bool guard = others_run || now - others_ran_ < kGuardFor;
    const Nanoseconds due = timers_.next_due();
    Nanoseconds timeout = due == kNever ? kNever : (due > now ? due - now : 0);
    if (guard && timeout > watch_span_) timeout = watch_span_;
    counters.parks.add();
    looked_outside_ = now;
    if (guard) runtime_.guards_.fetch_add(1);
    runtime_.reactor_->park(index_, timeout);
    if (guard) runtime_.guards_.fetch_sub(1);
    had_a_look = guard;
  }
  runtime_.idle_.fetch_sub(1);
  parked_.store(false);
  if (wake_to_search_.exchange(false, std::memory_order_acquire)) searching_ = true;
  const Nanoseconds now = looked_outside_ = runtime_.clock().now();
  note_pace(now, true);
  if (alone_since_ != 0) alone_since_ = now;  // it came with the sleep's end
  if (now >= timers_.next_due()) fire_timers(now);
  const bool called = !had_a_look || has_work() || searching_;
  if (others_run) {
    if (now >= watch_at_) watch_others(now);
  } else {
    watch_span_ = called ? kWatchMin : kWatchMax;
    watch_at_ = now + watch_span_;
  }
  // It may be about to get stuck: another has to be up to notice. (If it is searching, stop_searching wakes one.)
  if (called && runtime_.guards_.load() == 0 && runtime_.idle_.load(std::memory_order_relaxed) > 0) {
    runtime_.wake_idle_worker();
  }
}

// Work was found. The last one that searched lets another search: there may be more.
void Worker::stop_searching() noexcept {
  if (!searching_) return;
  searching_ = false;
  if (runtime_.searching_.fetch_sub(1) == 1) runtime_.wake_idle_worker();
}

// See "Sleep" 3.
void Worker::watch_others(Nanoseconds now) noexcept {
  bool any_stuck = false;
  for (unsigned i = 0; i < runtime_.workers_.size(); ++i) {
    Worker& other = *runtime_.workers_[i];
    if (&other == this || other.parked_.load()) continue;
    Seen& seen = seen_[i];
    const std::uint64_t steps = other.steps_.load(std::memory_order_relaxed);
    if (steps != seen.steps || steps % 2 == 0) {
      seen = {.steps = steps, .since = now, .cpu = other.cpu_time(), .reported = false};
      continue;
    }
    any_stuck = true;
    if (now >= other.timers_.next_due()) fire_timers_of(other, now);
    if (Process* process = other.chat_.steal()) enqueue(*process, false);
    if (Process* process = other.queue_.steal(&queue_)) enqueue(*process, false);
    const Process* running = other.running_.load(std::memory_order_relaxed);
    // A thread that the system does not let run is not to blame: count its own time, and only in the end the clock's.
    const Nanoseconds span = now - seen.since;
    const Nanoseconds limit = runtime_.options_.long_step;
    const bool is_long =
        span >= limit && (other.cpu_time() - seen.cpu >= limit || span >= kLongStepClockFactor * limit);
    if (is_long && !seen.reported && running != nullptr) {
      seen.reported = true;
      counters.long_steps.add();
      const Pid pid = running->pid();
      if (Log* log = runtime_.log()) {
        log->warn("otp", "a step runs long without an await; the other workers go on",
                  {{"pid", pid.to_string()},
                   {"label", runtime_.tags_.find(pid).label},
                   {"ms", std::to_string(span / kMillisecond)}});
      }
      if (runtime_.parts_.hook != nullptr) runtime_.parts_.hook->on_long_step(pid, span);
    }
  }
  watch_span_ = any_stuck ? kWatchMin : std::min(watch_span_ * 2, kWatchMax);
  watch_at_ = now + watch_span_;
}

// How long this worker's thread has run on a core. Threads: any thread.
Nanoseconds Worker::cpu_time() const noexcept {
  timespec t{};
  if (clock_gettime(cpu_clock_.load(std::memory_order_acquire), &t) != 0) return 0;
  return static_cast<Nanoseconds>(t.tv_sec) * kSecond + t.tv_nsec;
}

// One at a time: what is due is delivered in order.
void Worker::fire_timers_of(Worker& worker, Nanoseconds now) noexcept {
  if (worker.timers_in_hand_.exchange(true, std::memory_order_acquire)) return;
  worker.timers_.advance(now, &due_);
  runtime_.deliver(&due_, &due_order_);
  worker.timers_in_hand_.store(false, std::memory_order_release);
}

void Worker::run(Process& process) noexcept {
  const std::uint64_t number = steps_.load(std::memory_order_relaxed) + 1;
  running_.store(&process, std::memory_order_relaxed);
  steps_.store(number, std::memory_order_relaxed);
  process.budget_ = runtime_.options_.reductions_per_slice;
  if (runtime_.options_.deterministic_seed) process.budget_ = 1 + static_cast<std::int32_t>(random_.below(8));
  for (;;) {
    if (!process.drain()) {
      runtime_.finish(process, *this);
      break;
    }
    process.woken_ = false;  // it looks at everything from here on
    const std::int32_t budget = process.budget_;
    const Step step = process.body_->resume(process, Budget{budget});
    process.reductions_.store(
        process.reductions_.load(std::memory_order_relaxed) + static_cast<std::uint64_t>(budget - process.budget_) + 1,
        std::memory_order_relaxed);
    if (step == Step::kExit || process.exit_pending_) {
      runtime_.finish(process, *this);
      break;
    }
    process.count_rest();
    if (step != Step::kYield && process.park(step)) break;  // it may already run elsewhere: not ours any more
    if (step == Step::kYield || !process.charge()) {
      ran_long_ = true;  // sockets and timers have waited
      to_the_back(process);
      break;
    }
  }
  steps_.store(number + 1, std::memory_order_relaxed);
  running_.store(nullptr, std::memory_order_relaxed);
}

bool Worker::step() {
  const Nanoseconds now = looked_outside_ = runtime_.clock().now();
  while (now >= timers_.next_due()) fire_timers(now);
  runtime_.reactor_->poll();
  while (Process* injected = runtime_.take_injected(nullptr)) deterministic_.push_back(injected);
  if (deterministic_.empty()) return false;
  const std::size_t at = random_.below(deterministic_.size());
  Process* process = deterministic_[at];
  deterministic_[at] = deterministic_.back();
  deterministic_.pop_back();
  run(*process);
  return true;
}

}  // namespace rusm::otp
