//! The functions for guests that are processes, over a `World`: messages come from `inbox`, what was sent lies in
//! `sent`, names are never taken, and whoever asks for anything else is told that there is nothing.

use super::{World, world};
use rusm_bridge::abi::rusm_bytes;
use rusm_bridge::actor_host::*;
use rusm_bridge::event_host::*;
use std::ffi::c_void;

const OK: u32 = rusm_call::OK as u32;
const WOULD_BLOCK: u32 = rusm_call::WOULD_BLOCK as u32;
const NONE: u32 = rusm_call::NONE as u32;
const ERROR: u32 = rusm_call::ERROR as u32;
const TRAP: u32 = rusm_call::TRAP as u32;

pub const OWN_PID: u64 = 7;
/// A message to this pid ends the guest.
pub const TABOO: u64 = 13;

type Context = *mut c_void;

unsafe fn copy(data: *const u8, len: usize) -> Vec<u8> {
    unsafe { rusm_bytes { ptr: data, len }.as_slice() }.to_vec()
}

unsafe extern "C" fn explain(_: Context, text: *mut rusm_bytes) {
    unsafe { text.write(rusm_bytes::of(b"not here")) };
}
unsafe extern "C" fn own_pid(_: Context) -> u64 {
    OWN_PID
}
unsafe extern "C" fn spawn(_: Context, _: rusm_bytes, _: *const rusm_bytes, _: *mut u64) -> u32 {
    ERROR
}
unsafe extern "C" fn supervise(_: Context, _: *const rusm_supervision, _: *mut u64) -> u32 {
    ERROR
}
unsafe extern "C" fn send(context: Context, to: u64, data: *const u8, len: usize) -> u32 {
    if to == TABOO {
        return TRAP;
    }
    world(context).sent.push((to, unsafe { copy(data, len) }));
    OK
}
unsafe extern "C" fn send_after(
    context: Context,
    to: u64,
    _: u64,
    data: *const u8,
    len: usize,
    timer: *mut u64,
) -> u32 {
    world(context).sent.push((to, unsafe { copy(data, len) }));
    unsafe { timer.write(1) };
    OK
}
unsafe extern "C" fn receive(context: Context, timeout_ms: u64, message: *mut rusm_bytes) -> u32 {
    let world: &mut World = world(context);
    world.receives += 1;
    let Some(next) = world.inbox.pop_front() else {
        return if timeout_ms == 0 { NONE } else { WOULD_BLOCK };
    };
    world.current = next;
    unsafe { message.write(rusm_bytes::of(&world.current)) };
    OK
}
unsafe extern "C" fn keep(context: Context) {
    let world = world(context);
    world.inbox.push_front(world.current.clone());
}
unsafe extern "C" fn stash(_: Context, _: *const u8, _: usize) -> u32 {
    OK
}
unsafe extern "C" fn nothing(_: Context) {}
unsafe extern "C" fn processes(_: Context, pids: *mut *const u64, count: *mut usize) {
    static PIDS: [u64; 2] = [OWN_PID, 8];
    unsafe {
        pids.write(PIDS.as_ptr());
        count.write(PIDS.len());
    }
}
unsafe extern "C" fn info(_: Context, _: u64, _: *mut rusm_process_info) -> u32 {
    NONE
}
unsafe extern "C" fn none_of(_: Context, _: u64) -> u32 {
    NONE
}
unsafe extern "C" fn done_with(_: Context, _: u64) -> u32 {
    OK
}
unsafe extern "C" fn named(_: Context, _: rusm_bytes) -> u32 {
    OK
}
unsafe extern "C" fn whereis(_: Context, _: rusm_bytes, _: *mut u64) -> u32 {
    NONE
}
unsafe extern "C" fn note(_: Context, _: rusm_bytes) {}
unsafe extern "C" fn members(_: Context, _: rusm_bytes, _: *mut *const u64, _: *mut usize) {}
unsafe extern "C" fn kill_tag(_: Context, _: rusm_bytes, _: *mut u32) -> u32 {
    NONE
}
unsafe extern "C" fn open(_: Context, _: u64, _: *mut u64) -> u32 {
    NONE
}
unsafe extern "C" fn stream_write(_: Context, _: u64, _: *const u8, _: usize) -> u32 {
    NONE
}
unsafe extern "C" fn stream_close(_: Context, _: u64) {}
unsafe extern "C" fn stream_accept(_: Context, _: *mut u64) -> u32 {
    WOULD_BLOCK
}
unsafe extern "C" fn stream_read(_: Context, _: u64, _: *mut rusm_bytes) -> u32 {
    NONE
}
unsafe extern "C" fn kv_get(_: Context, _: rusm_bytes, _: rusm_bytes, _: *mut rusm_bytes) -> u32 {
    ERROR
}
unsafe extern "C" fn kv_set(_: Context, _: rusm_bytes, _: rusm_bytes, _: rusm_bytes) -> u32 {
    ERROR
}
unsafe extern "C" fn kv_key(_: Context, _: rusm_bytes, _: rusm_bytes) -> u32 {
    ERROR
}
unsafe extern "C" fn kv_list(_: Context, _: rusm_bytes, _: *mut *const rusm_bytes, _: *mut usize) -> u32 {
    ERROR
}
unsafe extern "C" fn log(context: Context, level: u32, text: rusm_bytes) {
    let line = String::from_utf8_lossy(unsafe { text.as_slice() }).into_owned();
    world(context).log.push((level, line));
}

unsafe extern "C" fn receive_event(
    context: Context,
    _: *const rusm_match,
    _: usize,
    timeout_ms: u64,
    event: *mut rusm_event,
) -> u32 {
    unsafe { receive(context, timeout_ms, &raw mut (*event).bytes) }
}
unsafe extern "C" fn send_to(context: Context, to: rusm_pid, data: *const u8, len: usize) -> u32 {
    unsafe { send(context, to.id, data, len) }
}
unsafe extern "C" fn call(
    _: Context,
    _: rusm_pid,
    _: *const u8,
    _: usize,
    _: u64,
    _: *mut rusm_bytes,
    _: *mut rusm_reason,
    _: *mut bool,
) -> u32 {
    WOULD_BLOCK
}
unsafe extern "C" fn watch(_: Context, _: rusm_pid, _: *mut u64) -> u32 {
    ERROR
}
unsafe extern "C" fn link(_: Context, _: rusm_pid) -> u32 {
    ERROR
}
unsafe extern "C" fn unlink(_: Context, _: rusm_pid) {}
unsafe extern "C" fn trap_exit(_: Context, on: bool) -> bool {
    !on
}
unsafe extern "C" fn exit(_: Context, _: *const rusm_reason) -> u32 {
    TRAP
}
unsafe extern "C" fn send_exit(_: Context, _: rusm_pid, _: *const rusm_reason) -> u32 {
    ERROR
}
unsafe extern "C" fn send_to_after(
    context: Context,
    to: rusm_pid,
    delay_ms: u64,
    data: *const u8,
    len: usize,
    timer: *mut u64,
) -> u32 {
    unsafe { send_after(context, to.id, delay_ms, data, len, timer) }
}
unsafe extern "C" fn timer_left(_: Context, _: u64, _: bool, _: *mut u64) -> u32 {
    NONE
}
unsafe extern "C" fn spawn_with(_: Context, _: *const rusm_spawn, _: *mut u64, _: *mut u64) -> u32 {
    ERROR
}
unsafe extern "C" fn supervise_with(_: Context, _: *const rusm_supervisor, _: *mut u64) -> u32 {
    ERROR
}
unsafe extern "C" fn self_info(_: Context, _: *mut rusm_self_info) {}
unsafe extern "C" fn argument(_: Context, _: *mut rusm_bytes) {}

pub fn event_host() -> rusm_event_host {
    rusm_event_host {
        receive_event: Some(receive_event),
        send_to: Some(send_to),
        call: Some(call),
        reply: Some(stream_write),
        watch: Some(watch),
        demonitor: Some(none_of),
        link: Some(link),
        unlink: Some(unlink),
        trap_exit: Some(trap_exit),
        exit: Some(exit),
        send_exit: Some(send_exit),
        start_timer: Some(open),
        send_to_after: Some(send_to_after),
        timer_left: Some(timer_left),
        spawn_with: Some(spawn_with),
        supervise_with: Some(supervise_with),
        self_info: Some(self_info),
        argument: Some(argument),
    }
}

pub fn actor_host() -> rusm_actor_host {
    rusm_actor_host {
        explain: Some(explain),
        own_pid: Some(own_pid),
        spawn: Some(spawn),
        supervise: Some(supervise),
        monitor: Some(done_with),
        send: Some(send),
        send_after: Some(send_after),
        cancel_timer: Some(none_of),
        receive: Some(receive),
        keep: Some(keep),
        stash: Some(stash),
        unstash: Some(nothing),
        processes: Some(processes),
        info: Some(info),
        is_alive: Some(none_of),
        kill: Some(none_of),
        register_name: Some(named),
        unregister_name: Some(named),
        whereis: Some(whereis),
        set_label: Some(note),
        join: Some(named),
        leave: Some(note),
        members: Some(members),
        kill_tag: Some(kill_tag),
        stream_open: Some(open),
        stream_write: Some(stream_write),
        stream_close: Some(stream_close),
        stream_accept: Some(stream_accept),
        stream_read: Some(stream_read),
        kv_get: Some(kv_get),
        kv_set: Some(kv_set),
        kv_delete: Some(kv_key),
        kv_exists: Some(kv_key),
        kv_list: Some(kv_list),
        log: Some(log),
        events: event_host(),
    }
}
