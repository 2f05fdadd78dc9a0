// Interprets the program that its first message holds: a series of calls of whatever a node offers to components, with
// arguments as they are passed on the wire. tests/hostcalls/program.h says how a program is laid out.
#include "caller.h"

#include <string.h>

#include "call.h"

namespace {

constexpr unsigned kRegisters = 16;
constexpr unsigned kArgs = 16;
constexpr size_t kScratchBytes = 2048;

struct Head {
  uint32_t calls;
  uint32_t depth;  // of the stack at which they are made
  uint32_t rounds;
  uint32_t end;  // 0 returns, 1 traps, 2 runs for ever
  uint64_t report_to;
  uint8_t scratch[kScratchBytes];
};
struct Record {
  uint32_t call;
  uint32_t reserved;
  uint8_t kinds[kArgs];
  uint64_t args[kArgs];
};
struct Report {
  uint64_t registers[kRegisters];
  uint8_t scratch[kScratchBytes];
};

Report report;
unsigned next_register = 0;

uint64_t argument(const Record& record, unsigned index) {
  const uint64_t value = record.args[index];
  switch (record.kinds[index] & 3) {
    case 1:
      return report.registers[value % kRegisters];
    case 2:
      return reinterpret_cast<uintptr_t>(report.scratch) + value;
    case 3:
      return __builtin_wasm_memory_size(0) * 65536 + value;
    default:
      return value;
  }
}

[[gnu::noinline]] void make_calls(const Record* records, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    uint64_t args[kArgs];
    for (unsigned k = 0; k < kArgs; ++k) args[k] = argument(records[i], k);
    report.registers[next_register++ % kRegisters] = kCalls[records[i].call % kCallCount](args);
  }
}

// Takes up stack that the linear memory knows nothing of.
[[gnu::noinline]] uint32_t deeper(uint32_t depth, const Record* records, uint32_t count) {
  if (depth == 0) {
    make_calls(records, count);
    return 0;
  }
  uint32_t below = deeper(depth - 1, records, count);
  __asm__ volatile("" : "+r"(below));
  return below + 1;
}

}  // namespace

void exports_caller_run() {
  caller_list_u8_t message;
  rusm_runtime_actor_receive(&message);
  Head head;
  if (message.len < sizeof(head)) return;
  memcpy(&head, message.ptr, sizeof(head));
  memcpy(report.scratch, head.scratch, kScratchBytes);
  // They stay where they are: what is written to by a call may be themselves.
  const auto* records = reinterpret_cast<const Record*>(message.ptr + sizeof(head));
  for (uint32_t round = 0; round < head.rounds; ++round) deeper(head.depth, records, head.calls);
  if (head.report_to != 0) {
    caller_list_u8_t bytes = {.ptr = reinterpret_cast<uint8_t*>(&report), .len = sizeof(report)};
    rusm_runtime_actor_send(head.report_to, &bytes);
  }
  if (head.end == 1) __builtin_trap();
  while (head.end == 2) __asm__ volatile("");
}
