// The C ABI of the engine. Generated from bridge/engine by cbindgen; `cargo test --release` in bridge/ fails when it is
// out of date and says how to renew it.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A `timeout_ms` that never passes.
#define RUSM_NO_TIMEOUT UINT64_MAX

// The entries that a component or module has: bits of `rusm_component_info.entries`.
#define RUSM_ENTRY_BIT_HTTP 1

#define RUSM_ENTRY_BIT_COMMAND 2

// A `shutdown_ms` that waits for ever.
#define RUSM_SHUTDOWN_INFINITY UINT64_MAX

// What DNS allows, with a dot at the end; a text of a guest that is longer is not even copied.
#define NAME_BYTES_MAX 255

// How a call ended. On anything but OK the call's `error` buffer holds a text and no other output was written.
enum rusm_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  RUSM_STATUS_OK = 0,
  // A null pointer, text that is not UTF-8, a value out of range.
  RUSM_STATUS_INVALID_ARGUMENT = 1,
  // The bytes are not WebAssembly, or not an artifact of this engine.
  RUSM_STATUS_INVALID_WASM = 2,
  // Valid WebAssembly that cannot run here: wrong world, or an import that nobody offers.
  RUSM_STATUS_UNSUPPORTED = 3,
  // The operating system refused memory, threads or a file.
  RUSM_STATUS_SYSTEM = 4,
  // A defect of this library: it panicked and the panic was contained.
  RUSM_STATUS_PANIC = 5,
  // Beyond a limit that was given.
  RUSM_STATUS_LIMIT = 6,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum rusm_status rusm_status;
#else
typedef uint32_t rusm_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

enum rusm_reason_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  RUSM_REASON_KIND_NORMAL = 0,
  RUSM_REASON_KIND_SHUTDOWN = 1,
  RUSM_REASON_KIND_KILLED = 2,
  RUSM_REASON_KIND_NOPROC = 3,
  RUSM_REASON_KIND_NOCONNECTION = 4,
  RUSM_REASON_KIND_TIMEOUT = 5,
  RUSM_REASON_KIND_CRASHED = 6,
  RUSM_REASON_KIND_LIMIT = 7,
  RUSM_REASON_KIND_OTHER = 8,
  RUSM_REASON_KIND_KILL = 9,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum rusm_reason_kind rusm_reason_kind;
#else
typedef uint32_t rusm_reason_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Where a resume left the instance.
enum rusm_step
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // It could run on: resume it when its turn comes again. Nothing will wake it.
  RUSM_STEP_BUDGET = 0,
  // It waits: for its waker, or for what a callback said would block.
  RUSM_STEP_WAITING = 1,
  // It ended: `rusm_instance_exit` tells how. Do not resume it again.
  RUSM_STEP_DONE = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum rusm_step rusm_step;
#else
typedef uint32_t rusm_step;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Why a guest ended.
enum rusm_exit_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Returned, or exited with code 0.
  RUSM_EXIT_KIND_NORMAL = 0,
  // Exited with another code, see `code`; a command that returned an error has code 1.
  RUSM_EXIT_KIND_EXIT_CODE = 1,
  // Trapped: unreachable, out of bounds, division by zero and the like.
  RUSM_EXIT_KIND_TRAP = 2,
  // Failed after its memory limit refused it more.
  RUSM_EXIT_KIND_MEMORY_LIMIT = 3,
  // Failed after its table limit refused it more.
  RUSM_EXIT_KIND_TABLE_LIMIT = 4,
  // `tick` said RUSM_TICK_STOP.
  RUSM_EXIT_KIND_STOPPED = 5,
  RUSM_EXIT_KIND_STACK_OVERFLOW = 6,
  // The engine has no slot left, or the system no memory for one; the guest did not run.
  RUSM_EXIT_KIND_NO_CAPACITY = 7,
  // A host function failed, or the guest could not be set up.
  RUSM_EXIT_KIND_HOST_ERROR = 8,
  // A defect of this library: a host function panicked and the panic was contained.
  RUSM_EXIT_KIND_PANIC = 9,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum rusm_exit_kind rusm_exit_kind;
#else
typedef uint32_t rusm_exit_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How a call of a guest came out.
enum rusm_call
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  RUSM_CALL_OK = 0,
  // Nothing was done. The instance is suspended, and asks again whenever it is resumed.
  RUSM_CALL_WOULD_BLOCK = 1,
  // There is no such thing, or the time has passed.
  RUSM_CALL_NONE = 2,
  // Refused or failed: `explain` has the text that the guest is given.
  RUSM_CALL_ERROR = 3,
  // The guest ends here: `explain` has the text.
  RUSM_CALL_TRAP = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum rusm_call rusm_call;
#else
typedef uint32_t rusm_call;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What is called when an instance runs.
enum rusm_entry
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // `wasi:http/incoming-handler`: answers one request.
  RUSM_ENTRY_HTTP = 0,
  // `wasi:cli/run` of a component, `_start` of a core module.
  RUSM_ENTRY_COMMAND = 1,
  // A function at the top level, by name, without parameters and results.
  RUSM_ENTRY_EXPORT = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum rusm_entry rusm_entry;
#else
typedef uint32_t rusm_entry;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

enum rusm_event_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  RUSM_EVENT_KIND_MESSAGE = 0,
  RUSM_EVENT_KIND_REQUEST = 1,
  RUSM_EVENT_KIND_DOWN = 2,
  RUSM_EVENT_KIND_EXIT = 3,
  RUSM_EVENT_KIND_STREAM = 4,
  RUSM_EVENT_KIND_TIMER = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum rusm_event_kind rusm_event_kind;
#else
typedef uint32_t rusm_event_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Answer of `http_read`, `http_write` and `http_respond`.
enum rusm_io
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Done; for a read or write `*count` says how many bytes (more than 0).
  RUSM_IO_OK = 0,
  // Nothing moved. The embedder makes sure that the instance is resumed once that may have changed.
  RUSM_IO_WOULD_BLOCK = 1,
  // The end of the request body.
  RUSM_IO_END = 2,
  // The other side is gone: nothing will ever move again.
  RUSM_IO_BROKEN = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum rusm_io rusm_io;
#else
typedef uint32_t rusm_io;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What a rule speaks of.
enum rusm_network_rule_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Every name and every public address.
  RUSM_NETWORK_RULE_KIND_PUBLIC = 0,
  // One name.
  RUSM_NETWORK_RULE_KIND_HOST = 1,
  // Every name below one, but not that name itself.
  RUSM_NETWORK_RULE_KIND_SUBDOMAINS = 2,
  // The addresses that begin with the same bits.
  RUSM_NETWORK_RULE_KIND_NETWORK = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum rusm_network_rule_kind rusm_network_rule_kind;
#else
typedef uint32_t rusm_network_rule_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Where a guest's standard streams go.
enum rusm_stdio
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Input is empty, output vanishes.
  RUSM_STDIO_NONE = 0,
  // Input is empty, output goes to `rusm_host.write_log`.
  RUSM_STDIO_LOG = 1,
  // The streams of this operating system process.
  RUSM_STDIO_INHERIT = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum rusm_stdio rusm_stdio;
#else
typedef uint32_t rusm_stdio;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Answer of `tick`.
enum rusm_tick
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Run on for another tick.
  RUSM_TICK_CONTINUE = 0,
  // Give the thread back: `rusm_instance_resume` returns RUSM_STEP_BUDGET.
  RUSM_TICK_YIELD = 1,
  // End the guest: it exits with RUSM_EXIT_KIND_STOPPED.
  RUSM_TICK_STOP = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum rusm_tick rusm_tick;
#else
typedef uint32_t rusm_tick;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Loaded code. Threads: any; immutable.
typedef struct rusm_component rusm_component;

// Threads: any. Immutable after construction, but for what Wasmtime synchronises itself.
typedef struct rusm_engine rusm_engine;

// Immutable after construction; any thread.
typedef struct rusm_grants rusm_grants;

// Threads: any, one at a time.
typedef struct rusm_instance rusm_instance;

// Threads: any; immutable.
typedef struct rusm_program rusm_program;

// Bytes owned by this library. Give them back with `rusm_buffer_free`; a zeroed one is empty and needs no freeing.
typedef struct rusm_buffer {
  uint8_t *ptr;
  uintptr_t len;
  uintptr_t capacity;
} rusm_buffer;

// Bytes owned by the caller, valid for the duration of the call. `ptr` may be null when `len` is 0.
typedef struct rusm_bytes {
  const uint8_t *ptr;
  uintptr_t len;
} rusm_bytes;

// What is compiled at most. Zero means zero.
typedef struct rusm_compile_limits {
  // Bytes of the component or module.
  uint64_t wasm_bytes_max;
  // Functions, over all modules of a component.
  uint64_t functions_max;
  // Bytes of the largest function's body.
  uint64_t function_bytes_max;
  // How long the caller waits once its turn has come.
  uint64_t time_ms_max;
} rusm_compile_limits;

// What a component is and what each of its instances takes from the pool.
typedef struct rusm_component_info {
  // False: a core module.
  bool is_component;
  // RUSM_ENTRY_BIT_HTTP, RUSM_ENTRY_BIT_COMMAND.
  uint32_t entries;
  uint32_t core_instances;
  uint32_t memories;
  uint32_t tables;
  // Bytes of the largest memory at start.
  uint64_t memory_bytes_initial;
} rusm_component_info;

// Sizes of the engine. All are the embedder's choice; zero means zero.
typedef struct rusm_engine_config {
  // False: every instance maps and unmaps its own memory. Slower, but sized by nothing but the machine.
  bool pooling;
  // Slots of the pool, by what an instance takes.
  uint32_t component_instances_max;
  uint32_t core_instances_max;
  uint32_t memories_max;
  uint32_t tables_max;
  uint32_t stacks_max;
  // Slots that keep the image of a component nobody runs at the moment.
  uint32_t unused_warm_slots_max;
  // What one component may take.
  uint32_t core_instances_per_component_max;
  uint32_t memories_per_component_max;
  uint32_t tables_per_component_max;
  // The largest linear memory, in bytes; at most `memory_reservation_bytes` in a pool.
  uint64_t memory_bytes_max;
  // The largest table, in elements.
  uint64_t table_elements_max;
  // Address space of one linear memory; from 4 GiB on, 32-bit memories need no bounds checks.
  uint64_t memory_reservation_bytes;
  uint64_t memory_guard_bytes;
  // What stays mapped of a slot that nobody uses.
  uint64_t memory_keep_resident_bytes;
  uint64_t table_keep_resident_bytes;
  uint64_t stack_keep_resident_bytes;
  // The stack of a guest and of the host functions that it calls, and the guest's part of it.
  uint64_t stack_bytes;
  uint64_t wasm_stack_bytes_max;
  // Zeroes a stack before the next guest uses it.
  bool stack_zeroing;
  // Finds the touched pages of a slot by asking the kernel, where it can be asked (Linux 6.7).
  bool pagemap_scan;
  // False: explicit checks instead of signal handlers, for sanitizers; not for code that nobody trusts.
  bool signals_based_traps;
  // Threads for file access.
  uint32_t blocking_threads_max;
  // Threads for compiling.
  uint32_t compile_threads_max;
  // Keeps what a crashed guest leaves behind until `rusm_instance_core_dump` or the end of the instance.
  bool core_dumps;
  // Guests of the overflow, each with a stack and a memory; 0: there is no overflow.
  uint32_t overflow_guests_max;
  // Address space for the overflow's stacks, and for the memories of each size.
  uint64_t overflow_region_bytes_max;
} rusm_engine_config;

typedef struct rusm_http_header {
  struct rusm_bytes name;
  struct rusm_bytes value;
} rusm_http_header;

// The head of a request. Everything it points to stays valid and unchanged until the callback's instance is dropped.
typedef struct rusm_http_head {
  struct rusm_bytes method;
  // "http" or "https".
  struct rusm_bytes scheme;
  struct rusm_bytes authority;
  struct rusm_bytes path_with_query;
  const struct rusm_http_header *headers;
  uintptr_t header_count;
} rusm_http_head;

// What a guest asks a supervisor to look after. `strategy`: 0 one for one, 1 one for all, 2 rest for one.
typedef struct rusm_supervision {
  uint32_t strategy;
  const struct rusm_bytes *children;
  uintptr_t child_count;
  uint32_t restarts_max;
  uint32_t within_ms;
} rusm_supervision;

// What a guest is told of a process. Texts are UTF-8.
typedef struct rusm_process_info {
  uint64_t pid;
  uint32_t links;
  uint32_t monitors;
  uint32_t mailbox_depth;
  bool trap_exit;
  bool has_label;
  struct rusm_bytes label;
  const struct rusm_bytes *names;
  uintptr_t name_count;
} rusm_process_info;

// A process of this or another node: what WIT calls `pid`.
typedef struct rusm_pid {
  uint64_t id;
  uint32_t incarnation;
} rusm_pid;
#define rusm_pid_NONE (rusm_pid){ .id = 0, .incarnation = 0 }

// One kind of event that is wanted. `any`: whatever its number (DOWN, TIMER) or sender (EXIT).
typedef struct rusm_match {
  uint32_t kind;
  bool any;
  uint64_t number;
  struct rusm_pid from;
  // How a MESSAGE or REQUEST begins.
  struct rusm_bytes prefix;
} rusm_match;

// Why a process ended, or is to end. `kind`: a value of rusm_reason_kind; `what`: of a crash its kind, of a limit its
// name.
typedef struct rusm_reason {
  uint32_t kind;
  struct rusm_bytes what;
  struct rusm_bytes text;
} rusm_reason;
#define rusm_reason_NORMAL (rusm_reason){ .kind = (uint32_t)rusm_reason_kind_NORMAL, .what = rusm_bytes_EMPTY, .text = rusm_bytes_EMPTY }

// What a process receives. `kind`: a value of rusm_event_kind.
typedef struct rusm_event {
  uint32_t kind;
  // EXIT: of a link.
  bool linked;
  // REQUEST its token, DOWN its monitor, STREAM, TIMER.
  uint64_t number;
  // REQUEST, DOWN, EXIT.
  struct rusm_pid from;
  // MESSAGE, REQUEST.
  struct rusm_bytes bytes;
  // DOWN, EXIT.
  struct rusm_reason reason;
} rusm_event;

// What a guest starts. A name that is not there: nothing is registered.
typedef struct rusm_spawn {
  struct rusm_bytes component;
  bool link;
  bool monitor;
  bool has_label;
  struct rusm_bytes label;
  bool has_name;
  struct rusm_bytes name;
  struct rusm_bytes argument;
} rusm_spawn;

// A child of a supervisor. `restart`: 0 permanent, 1 transient, 2 temporary; `shutdown_ms` 0: killed.
typedef struct rusm_child {
  struct rusm_bytes id;
  struct rusm_bytes component;
  uint32_t restart;
  uint64_t shutdown_ms;
  bool has_name;
  struct rusm_bytes name;
  struct rusm_bytes argument;
} rusm_child;

// `strategy` as in rusm_supervision.
typedef struct rusm_supervisor {
  uint32_t strategy;
  const struct rusm_child *children;
  uintptr_t child_count;
  bool has_intensity;
  uint32_t restarts;
  uint64_t within_ms;
  bool has_backoff;
  uint64_t first_ms;
  uint64_t max_ms;
  double factor;
  uint64_t quiet_ms;
} rusm_supervisor;

// What a guest may hold. UINT64_MAX: unlimited.
typedef struct rusm_limits {
  uint64_t memory_bytes;
  uint64_t cpu_ns;
  uint64_t lifetime_ns;
  uint64_t mailbox_bytes;
  uint64_t message_bytes;
  uint64_t timer_bytes;
  uint64_t chunk_bytes;
  uint32_t mailbox_messages;
  uint32_t timers;
  uint32_t streams;
  uint32_t names;
  uint32_t monitors;
  uint32_t children;
  uint32_t keys;
  uint32_t processes;
} rusm_limits;

// What a guest is told of itself. Texts are UTF-8.
typedef struct rusm_self_info {
  struct rusm_pid pid;
  bool has_parent;
  struct rusm_pid parent;
  struct rusm_bytes component;
  bool has_label;
  struct rusm_bytes label;
  const struct rusm_bytes *names;
  uintptr_t name_count;
  uint32_t links;
  uint32_t monitors;
  bool trap_exit;
  uint32_t mailbox_depth;
  uint64_t mailbox_bytes;
  uint64_t cpu_ns;
  struct rusm_limits limits;
} rusm_self_info;

// More of the embedder's functions for guests that are processes.
typedef struct rusm_event_host {
  // call: OK, WOULD_BLOCK, NONE when the time has passed, ERROR, TRAP. No matches: whatever comes next. The time runs
  // from the first call on, and the matches must stay the same while it blocks.
  uint32_t (*receive_event)(void *context,
                            const struct rusm_match *matches,
                            uintptr_t match_count,
                            uint64_t timeout_ms,
                            struct rusm_event *event);
  // call: OK, TRAP.
  uint32_t (*send_to)(void *context, struct rusm_pid to, const uint8_t *data, uintptr_t len);
  // call: OK with the answer, WOULD_BLOCK, NONE with the reason why there is none, ERROR, TRAP. The bytes are taken
  // over by the first call.
  uint32_t (*call)(void *context,
                   struct rusm_pid to,
                   const uint8_t *data,
                   uintptr_t len,
                   uint64_t timeout_ms,
                   struct rusm_bytes *answer,
                   struct rusm_reason *reason,
                   bool *timed_out);
  // call: OK, NONE when there is no such request, TRAP.
  uint32_t (*reply)(void *context, uint64_t token, const uint8_t *data, uintptr_t len);
  // call: OK, ERROR, TRAP.
  uint32_t (*watch)(void *context, struct rusm_pid target, uint64_t *monitor);
  // call: OK, NONE.
  uint32_t (*demonitor)(void *context, uint64_t monitor);
  // call: OK, ERROR, TRAP.
  uint32_t (*link)(void *context, struct rusm_pid target);
  void (*unlink)(void *context, struct rusm_pid target);
  // What it was.
  bool (*trap_exit)(void *context, bool on);
  // call: TRAP.
  uint32_t (*exit)(void *context, const struct rusm_reason *reason);
  // call: OK, ERROR, TRAP when it is the guest itself that ends.
  uint32_t (*send_exit)(void *context, struct rusm_pid target, const struct rusm_reason *reason);
  // call: OK, TRAP.
  uint32_t (*start_timer)(void *context, uint64_t delay_ms, uint64_t *timer);
  // call: OK, TRAP.
  uint32_t (*send_to_after)(void *context,
                            struct rusm_pid to,
                            uint64_t delay_ms,
                            const uint8_t *data,
                            uintptr_t len,
                            uint64_t *timer);
  // call: OK, NONE. `cancel`: and it never fires.
  uint32_t (*timer_left)(void *context, uint64_t timer, bool cancel, uint64_t *left_ms);
  // call: OK, ERROR, TRAP. `monitor` is 0 when none was asked for.
  uint32_t (*spawn_with)(void *context, const struct rusm_spawn *what, uint64_t *pid, uint64_t *monitor);
  // call: OK, ERROR, TRAP.
  uint32_t (*supervise_with)(void *context, const struct rusm_supervisor *what, uint64_t *pid);
  void (*self_info)(void *context, struct rusm_self_info *info);
  // What the process was started with.
  void (*argument)(void *context, struct rusm_bytes *argument);
} rusm_event_host;

// The embedder's functions for guests that are processes; the rules of rusm_host apply. `call` in a comment: the result
// is a value of rusm_call.
typedef struct rusm_actor_host {
  // The text of the ERROR or TRAP that the last function answered.
  void (*explain)(void *context, struct rusm_bytes *text);
  uint64_t (*own_pid)(void *context);
  // call: OK, ERROR, TRAP. A null source: the component as the node knows it.
  uint32_t (*spawn)(void *context, struct rusm_bytes component, const struct rusm_bytes *source, uint64_t *pid);
  // call: OK, ERROR, TRAP.
  uint32_t (*supervise)(void *context, const struct rusm_supervision *what, uint64_t *pid);
  // call: OK, TRAP.
  uint32_t (*monitor)(void *context, uint64_t target);
  // call: OK, TRAP.
  uint32_t (*send)(void *context, uint64_t to, const uint8_t *data, uintptr_t len);
  // call: OK, TRAP.
  uint32_t (*send_after)(void *context,
                         uint64_t to,
                         uint64_t delay_ms,
                         const uint8_t *data,
                         uintptr_t len,
                         uint64_t *timer);
  // call: OK, NONE.
  uint32_t (*cancel_timer)(void *context, uint64_t timer);
  // call: OK, WOULD_BLOCK, NONE when the time has passed, TRAP. The time runs from the first call on.
  uint32_t (*receive)(void *context, uint64_t timeout_ms, struct rusm_bytes *message);
  // The message that was received last is received again next.
  void (*keep)(void *context);
  // call: OK, TRAP.
  uint32_t (*stash)(void *context, const uint8_t *data, uintptr_t len);
  void (*unstash)(void *context);
  void (*processes)(void *context, const uint64_t **pids, uintptr_t *count);
  // call: OK, NONE.
  uint32_t (*info)(void *context, uint64_t target, struct rusm_process_info *info);
  // call: OK, NONE.
  uint32_t (*is_alive)(void *context, uint64_t target);
  // call: OK, NONE, TRAP when it is the guest itself.
  uint32_t (*kill)(void *context, uint64_t target);
  // call: OK, NONE.
  uint32_t (*register_name)(void *context, struct rusm_bytes name);
  // call: OK, NONE.
  uint32_t (*unregister_name)(void *context, struct rusm_bytes name);
  // call: OK, NONE.
  uint32_t (*whereis)(void *context, struct rusm_bytes name, uint64_t *pid);
  void (*set_label)(void *context, struct rusm_bytes label);
  // call: OK, TRAP.
  uint32_t (*join)(void *context, struct rusm_bytes tag);
  void (*leave)(void *context, struct rusm_bytes tag);
  void (*members)(void *context, struct rusm_bytes tag, const uint64_t **pids, uintptr_t *count);
  // call: OK, NONE when it is not allowed, TRAP when the guest is one of them.
  uint32_t (*kill_tag)(void *context, struct rusm_bytes tag, uint32_t *count);
  // call: OK, NONE when nobody is there, TRAP.
  uint32_t (*stream_open)(void *context, uint64_t to, uint64_t *stream);
  // call: OK, WOULD_BLOCK, NONE when nobody reads or there is no such stream, TRAP.
  uint32_t (*stream_write)(void *context, uint64_t stream, const uint8_t *data, uintptr_t len);
  void (*stream_close)(void *context, uint64_t stream);
  // call: OK, WOULD_BLOCK, TRAP.
  uint32_t (*stream_accept)(void *context, uint64_t *stream);
  // call: OK, WOULD_BLOCK, NONE at the end or when there is no such stream, TRAP.
  uint32_t (*stream_read)(void *context, uint64_t stream, struct rusm_bytes *chunk);
  // call: OK, WOULD_BLOCK, NONE, ERROR.
  uint32_t (*kv_get)(void *context, struct rusm_bytes bucket, struct rusm_bytes key, struct rusm_bytes *value);
  // call: OK, WOULD_BLOCK, ERROR.
  uint32_t (*kv_set)(void *context, struct rusm_bytes bucket, struct rusm_bytes key, struct rusm_bytes value);
  // call: OK, WOULD_BLOCK, NONE, ERROR.
  uint32_t (*kv_delete)(void *context, struct rusm_bytes bucket, struct rusm_bytes key);
  // call: OK, WOULD_BLOCK, NONE, ERROR.
  uint32_t (*kv_exists)(void *context, struct rusm_bytes bucket, struct rusm_bytes key);
  // call: OK, WOULD_BLOCK, ERROR.
  uint32_t (*kv_list)(void *context, struct rusm_bytes bucket, const struct rusm_bytes **keys, uintptr_t *count);
  // Writes a line to the node's log. `level`: 0 error, 1 warn, 2 info, 3 debug.
  void (*log)(void *context, uint32_t level, struct rusm_bytes text);
  struct rusm_event_host events;
} rusm_actor_host;

// The embedder's functions. They are called on the thread that resumes or drops the instance, while it does; they must
// not throw, must not block and must not call back into that instance. `context` is the pointer given to `rusm_instance_new`.
typedef struct rusm_host {
  // An epoch ended while the guest was running: a value of rusm_tick.
  uint32_t (*tick)(void *context);
  // The guest wrote to its standard output (1) or error (2) and its grants say RUSM_STDIO_LOG.
  void (*write_log)(void *context, uint32_t stream, const uint8_t *data, uintptr_t len);
  // Fills in the request that an HTTP program answers. False: there is none, the instance exits with RUSM_EXIT_KIND_HOST_ERROR.
  bool (*http_head)(void *context, struct rusm_http_head *head);
  // Reads from the request body into `data`: a value of rusm_io.
  uint32_t (*http_read)(void *context, uint8_t *data, uintptr_t capacity, uintptr_t *count);
  // The guest's answer, at most once: RUSM_IO_OK, or RUSM_IO_BROKEN when nobody wants it any more.
  uint32_t (*http_respond)(void *context,
                           uint16_t status,
                           const struct rusm_http_header *headers,
                           uintptr_t header_count);
  // The guest answered with an error code instead of a response, at most once and never beside `http_respond`.
  void (*http_respond_error)(void *context, struct rusm_bytes text);
  // Writes to the response body: a value of rusm_io.
  uint32_t (*http_write)(void *context, const uint8_t *data, uintptr_t len, uintptr_t *count);
  // What follows the response body, at most once, right before `http_finish`.
  void (*http_trailers)(void *context, const struct rusm_http_header *trailers, uintptr_t trailer_count);
  // The response body is complete (true) or broken off (false); exactly once after a successful `http_respond`,
  // except when the instance is dropped before.
  void (*http_finish)(void *context, bool complete);
  // For guests that are processes.
  struct rusm_actor_host actor;
} rusm_host;

// How much of the pool and of the overflow is in use.
typedef struct rusm_pool_usage {
  uint64_t component_instances;
  uint64_t core_instances;
  uint64_t memories;
  uint64_t tables;
  uint64_t stacks;
  // Slots that keep the image of a component, ready for its next instance.
  uint64_t unused_warm_memories;
  uint64_t overflow_memories;
  uint64_t overflow_stacks;
} rusm_pool_usage;

// What was refused so far, over all guests of an engine.
typedef struct rusm_refusals {
  // Connections, datagrams and listeners whose address is not allowed.
  uint64_t addresses;
  // Look-ups of names that are not allowed.
  uint64_t names;
  // Outgoing HTTP requests beyond `http_requests_max`.
  uint64_t http_requests;
} rusm_refusals;

typedef struct rusm_network_rule {
  // A value of rusm_network_rule_kind.
  uint32_t kind;
  // In lower case and without a dot at its end; for HOST and SUBDOMAINS.
  struct rusm_bytes host;
  // IPv6, or IPv4 as ::ffff:a.b.c.d; for NETWORK.
  uint8_t address[16];
  // How many bits of `address` count, of 128: 96 more than for IPv4 alone.
  uint32_t prefix_bits;
  uint16_t port_first;
  uint16_t port_last;
} rusm_network_rule;

// What one capability says about the network.
typedef struct rusm_network_policy {
  // Where the guest may connect and send to.
  const struct rusm_network_rule *reach;
  uintptr_t reach_count;
  // Which addresses of this machine it may listen on; NETWORK, or PUBLIC for all of them.
  const struct rusm_network_rule *listen;
  uintptr_t listen_count;
} rusm_network_policy;

typedef struct rusm_env {
  struct rusm_bytes name;
  struct rusm_bytes value;
} rusm_env;

// A folder that the guest sees. It is opened when an instance starts.
typedef struct rusm_preopen {
  struct rusm_bytes host_path;
  struct rusm_bytes guest_path;
  bool read_only;
} rusm_preopen;

// Limits and rights. Zero means zero: there are no hidden defaults.
typedef struct rusm_grants_config {
  // Sum over all linear memories of the instance, in bytes.
  uint64_t memory_bytes_max;
  // Sum over all tables of the instance, in elements.
  uint64_t table_elements_max;
  // Bytes that one host call may copy out of the guest.
  uint64_t hostcall_bytes_max;
  // Host resources (streams, files, fields, ...) that the instance may hold.
  uint32_t resources_max;
  // Bytes of one set of HTTP fields, bookkeeping included.
  uint32_t http_fields_bytes_max;
  // Bytes of one call for random bytes.
  uint64_t random_bytes_max;
  // A value of rusm_stdio.
  uint32_t stdio;
  // What the guest may reach and where it may listen; it may do what all of these allow, and nothing without one.
  const struct rusm_network_policy *network;
  uintptr_t network_count;
  // Outgoing HTTP requests under way at once, over all instances with these grants.
  uint32_t http_requests_max;
  // The longest that an outgoing HTTP request may wait for each of: its connection, the head of the response, the
  // next piece of its body. A guest may choose less.
  uint64_t http_timeout_ms_max;
  const struct rusm_bytes *args;
  uintptr_t arg_count;
  const struct rusm_env *env;
  uintptr_t env_count;
  const struct rusm_preopen *preopens;
  uintptr_t preopen_count;
} rusm_grants_config;

// Makes a waiting instance runnable. `wake` may be called from any thread, at any time until the engine is freed, also
// after the instance was dropped, any number of times; it must not block and must not call into this library.
typedef struct rusm_waker {
  void (*wake)(void *context, uint64_t id);
  void *context;
  uint64_t id;
} rusm_waker;

// A guest's end. Free it with `rusm_exit_free`.
typedef struct rusm_exit {
  rusm_exit_kind kind;
  int32_t code;
  // The largest sum of its linear memories, in bytes.
  uint64_t memory_bytes_peak;
  // One line; empty for NORMAL.
  struct rusm_buffer text;
  // Its frames, innermost first, one a line, with file and line where it carries debug information; may be empty.
  struct rusm_buffer backtrace;
} rusm_exit;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Threads: any, one at a time for one buffer. `buffer` is empty afterwards; null is allowed.
//
// # Safety
// `buffer` must be null or point to a buffer that this library filled in and that was not freed since.
void rusm_buffer_free(struct rusm_buffer *buffer);

// Validates and compiles a component or a core module, binary or text, into an artifact for `rusm_component_load`.
// Takes long (milliseconds to seconds) and happens on the engine's compiling threads, at low priority; the caller waits.
// Fails with RUSM_STATUS_LIMIT beyond one of `limits`. Threads: any.
//
// # Safety
// `engine` must be a live engine, `wasm` and `limits` valid during the call, `artifact` writable, `error` null or writable.
rusm_status rusm_compile(const struct rusm_engine *engine,
                         struct rusm_bytes wasm,
                         const struct rusm_compile_limits *limits,
                         struct rusm_buffer *artifact,
                         struct rusm_buffer *error);

// Loads an artifact; its bytes are copied. Threads: any.
//
// # Safety
// The bytes are executed: they must come from `rusm_compile`, unchanged (an artifact of another engine is recognised
// and refused, a forged one is not). `engine` must outlive the component; `out` writable, `error` null or writable.
rusm_status rusm_component_load(const struct rusm_engine *engine,
                                struct rusm_bytes artifact,
                                struct rusm_component **out,
                                struct rusm_buffer *error);

// Threads: any.
//
// # Safety
// `component` must be live and `out` writable.
void rusm_component_describe(const struct rusm_component *component, struct rusm_component_info *out);

// Threads: any. Programs made from the component stay valid. Null is allowed.
//
// # Safety
// `component` must be null or come from `rusm_component_load`, freed once.
void rusm_component_free(struct rusm_component *component);

// Starts an engine. `config` and `host` are copied. Threads: any.
//
// # Safety
// `config` and `host` must be valid during the call, the functions in `host` until the engine is freed; `out` must be
// writable, `error` null or writable.
rusm_status rusm_engine_new(const struct rusm_engine_config *config,
                            const struct rusm_host *host,
                            struct rusm_engine **out,
                            struct rusm_buffer *error);

// Threads: any, but none that is inside `rusm_thread_enter` of this engine. All components, programs and instances of
// the engine must have been freed before. Waits for file accesses that are under way. Null is allowed.
//
// # Safety
// `engine` must be null or come from `rusm_engine_new`, freed once.
void rusm_engine_free(struct rusm_engine *engine);

// The engine's overflow, on which components can be compiled and loaded as on the engine itself; null if it has none.
// Freed with the engine; everything else that is asked of the engine holds for both. Threads: any.
//
// # Safety
// `engine` must be a live engine.
const struct rusm_engine *rusm_engine_overflow(const struct rusm_engine *engine);

// Whether the pages that guard the stacks of an overflow take no mappings of their own (Linux 6.13); else each takes two.
// Threads: any.
bool rusm_guards_are_free(void);

// Ends the current tick: each guest that runs calls `tick` at its next check. Threads: any; async-signal-safe.
//
// # Safety
// `engine` must be a live engine.
void rusm_engine_increment_epoch(const struct rusm_engine *engine);

// Fills in 32 bytes that differ between engines that cannot share artifacts: version, target, CPU features, settings.
// Not a cryptographic hash. Threads: any.
//
// # Safety
// `engine` must be a live engine and `out` writable for 32 bytes.
void rusm_engine_compat_hash(const struct rusm_engine *engine, uint8_t *out);

// All zero without a pool. Threads: any.
//
// # Safety
// `engine` must be a live engine and `out` writable.
void rusm_engine_pool_usage(const struct rusm_engine *engine, struct rusm_pool_usage *out);

// What guests were refused so far. Threads: any.
//
// # Safety
// `engine` must be a live engine and `out` writable.
void rusm_engine_refusals(const struct rusm_engine *engine, struct rusm_refusals *out);

// Prepares the calling thread for driving many instances of `engine`: the rest of its life each resume and drop is
// cheaper. Undo with `rusm_thread_leave` before the thread ends. A thread that does without works, too.
//
// # Safety
// `engine` must live until `rusm_thread_leave`.
void rusm_thread_enter(const struct rusm_engine *engine);

// Undoes `rusm_thread_enter` on the calling thread; nothing happens if there is nothing to undo.
void rusm_thread_leave(void);

// Copies `config`. Threads: any.
//
// # Safety
// `config` and everything it points to must be valid during the call; `out` writable, `error` null or writable.
rusm_status rusm_grants_new(const struct rusm_grants_config *config,
                            struct rusm_grants **out,
                            struct rusm_buffer *error);

// Threads: any. Every instance that was made with these grants must have been dropped. Null is allowed.
//
// # Safety
// `grants` must be null or come from `rusm_grants_new`, freed once.
void rusm_grants_free(struct rusm_grants *grants);

// Makes an instance that has not run yet. Cheap: nothing is taken from the pool before the first resume. Null if
// `program` or `grants` is null. Threads: any.
//
// # Safety
// `program`, its engine and `grants` must outlive the instance; `context` is handed to the callbacks and must stay
// valid for them until the instance is dropped.
struct rusm_instance *rusm_instance_new(const struct rusm_program *program,
                                        const struct rusm_grants *grants,
                                        void *context);

// Runs the instance until it ends, waits, or `tick` takes the thread from it. `waker` is copied; pass the same one each
// time. Callbacks are called meanwhile, on this thread. Threads: any, one at a time for one instance.
//
// # Safety
// `instance` must be live; `waker` must be null or valid during the call.
rusm_step rusm_instance_resume(struct rusm_instance *instance, const struct rusm_waker *waker);

// Tells how the instance ended and fills in `out`, for `rusm_exit_free`. False if it did not end, or was asked before.
// Making the texts takes longer than most guests run. Threads: as resume.
//
// # Safety
// `instance` must be live and `out` writable.
bool rusm_instance_exit(struct rusm_instance *instance, struct rusm_exit *out);

// Whether `rusm_instance_core_dump` could write one: the engine keeps them and the guest crashed. Threads: as resume.
//
// # Safety
// `instance` must be live.
bool rusm_instance_has_core_dump(const struct rusm_instance *instance);

// Writes the core dump of a guest that crashed, before `rusm_instance_exit`: in the format of WebAssembly's tool
// conventions, `name` in it as the program's name. False if there is none: the engine keeps none (`core_dumps`), the
// guest did not crash, or its memories have more than `bytes_max` together. Threads: as resume.
//
// # Safety
// `instance` must be live, `name` valid during the call, `out` writable.
bool rusm_instance_core_dump(struct rusm_instance *instance,
                             struct rusm_bytes name,
                             uint64_t bytes_max,
                             struct rusm_buffer *out);

// Ends the instance wherever it is and frees it with all that it held; a suspended guest's host calls are unwound, so
// callbacks may be called meanwhile. Threads: any, as resume. Null is allowed.
//
// # Safety
// `instance` must be null or come from `rusm_instance_new`, dropped once.
void rusm_instance_drop(struct rusm_instance *instance);

// Frees the texts of an exit. Threads: any.
//
// # Safety
// `exit` must be null or filled in by `rusm_instance_exit`.
void rusm_exit_free(struct rusm_exit *exit);

extern void *mmap(void *addr, uintptr_t len, int prot, int flags, int fd, int64_t offset);

extern int munmap(void *addr, uintptr_t len);

extern int mprotect(void *addr, uintptr_t len, int prot);

extern int madvise(void *addr, uintptr_t len, int advice);

// Resolves imports and exports. `name` is the function's name for RUSM_ENTRY_EXPORT and ignored otherwise.
// Fails with RUSM_STATUS_UNSUPPORTED for the wrong world or an import that nobody offers; the text names it.
// The component may be freed afterwards. Threads: any.
//
// # Safety
// `component` must be live and its engine outlive the program; `name` valid during the call; `out` writable, `error`
// null or writable. `entry` is a value of rusm_entry.
rusm_status rusm_program_new(const struct rusm_component *component,
                             uint32_t entry,
                             struct rusm_bytes name,
                             struct rusm_program **out,
                             struct rusm_buffer *error);

// Threads: any. Every instance of the program must have been dropped. Null is allowed.
//
// # Safety
// `program` must be null or come from `rusm_program_new`, freed once.
void rusm_program_free(struct rusm_program *program);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus
