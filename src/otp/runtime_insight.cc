// What can be read of a runtime while it goes on.
#include <algorithm>

#include "otp/process.h"
#include "otp/runtime.h"
#include "otp/worker.h"

namespace rusm::otp {

bool Runtime::is_alive(Pid pid) const noexcept {
  // The slot knows the generation of its next tenant before there is one.
  const Process* process = find(pid);
  return process != nullptr && (process->inbox_.load(std::memory_order_acquire) & Process::kClosed) == 0;
}

std::optional<ProcessInfo> Runtime::info(Pid pid) const noexcept {
  const Process* process = find(pid);
  if (process == nullptr) return std::nullopt;
  const std::uintptr_t word = process->inbox_.load(std::memory_order_acquire);
  ProcessInfo info{.pid = pid,
                   .state = (word & Process::kWaitAny) != 0       ? ProcessInfo::State::kWaiting
                            : (word & Process::kWaitSignals) != 0 ? ProcessInfo::State::kWaitingForSignals
                                                                  : ProcessInfo::State::kActive,
                   .wait = process->wait_.load(std::memory_order_relaxed),
                   .reductions = process->reductions_.load(std::memory_order_relaxed),
                   .received = process->received_.load(std::memory_order_relaxed),
                   .mailbox_length = 0,
                   .mailbox_bytes = 0,
                   .label = {},
                   .parent = {},
                   .awaited = false};
  const std::uint64_t load = process->load_.load(std::memory_order_relaxed);
  if (process->is_bounded()) {
    const std::uint64_t room = process->room_.load(std::memory_order_relaxed);
    info.mailbox_length = static_cast<std::uint32_t>(MailboxRoom::messages(room) - MailboxRoom::messages(load));
    info.mailbox_bytes = (MailboxRoom::units(room) - MailboxRoom::units(load)) * MailboxRoom::kUnit;
  } else {
    info.mailbox_length = static_cast<std::uint32_t>(load / Process::kOneMessage);
    info.mailbox_bytes = load % Process::kOneMessage;
  }
  Tag tag = tags_.find(pid);
  info.label = std::move(tag.label);
  info.parent = tag.parent;
  info.awaited = tag.awaited;
  // What was read belongs to this tenant only if it still is.
  if ((word & Process::kClosed) != 0 || find(pid) != process) {
    return std::nullopt;
  }
  return info;
}

std::vector<PastExit> Runtime::last_exits() const {
  std::vector<PastExit> exits;
  for (const auto& worker : workers_) {
    const std::vector<PastExit> others = std::exchange(exits, {});
    std::ranges::merge(others, worker->last_exits.list(), std::back_inserter(exits), std::greater(), &PastExit::at,
                       &PastExit::at);
  }
  return exits;
}

std::vector<Pid> Runtime::processes() const {
  std::vector<Pid> pids;
  table_.for_each([&](const Process& process) {
    const Pid pid = process.pid();
    if (is_alive(pid)) pids.push_back(pid);
  });
  return pids;
}

std::size_t Runtime::process_count() const noexcept {
  std::uint64_t exits = 0;
  std::uint64_t spawns = 0;
  for (const auto& worker : workers_) exits += worker->counters.exits.get();
  for (const auto& worker : workers_) spawns += worker->counters.spawns.get();
  spawns += outside_spawns_.load(std::memory_order_relaxed);
  return spawns > exits ? spawns - exits : 0;
}

Counters Runtime::counters() const noexcept {
  Counters sum;
  for (const auto& worker : workers_) {
    const auto& c = worker->counters;
    sum.spawns += c.spawns.get();
    sum.exits += c.exits.get();
    sum.crashes += c.crashes.get();
    sum.sends += c.sends.get();
    sum.sheds += c.sheds.get();
    sum.steps += worker->steps_.load(std::memory_order_relaxed) / 2;
    sum.steals += c.steals.get();
    sum.parks += c.parks.get();
    sum.long_steps += c.long_steps.get();
  }
  sum.spawns += outside_spawns_.load(std::memory_order_relaxed);
  sum.sends += outside_sends_.load(std::memory_order_relaxed);
  sum.sheds += outside_sheds_.load(std::memory_order_relaxed);
  return sum;
}

}  // namespace rusm::otp
