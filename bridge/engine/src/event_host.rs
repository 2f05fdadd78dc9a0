//! What the embedder answers to `rusm:runtime@0.2.0` beyond what 0.1.0 asks. The rules of `actor_host` apply.

#![allow(non_camel_case_types)]

use crate::abi::rusm_bytes;
use crate::actor_host::{Actor, Answer, call, items, text_of, until_the_next_call};
use std::ffi::c_void;

/// A process of this or another node: what WIT calls `pid`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rusm_pid {
    pub id: u64,
    pub incarnation: u32,
}

impl rusm_pid {
    pub const NONE: rusm_pid = rusm_pid { id: 0, incarnation: 0 };
}

#[repr(u32)]
pub enum rusm_reason_kind {
    NORMAL = 0,
    SHUTDOWN = 1,
    KILLED = 2,
    NOPROC = 3,
    NOCONNECTION = 4,
    TIMEOUT = 5,
    CRASHED = 6,
    LIMIT = 7,
    OTHER = 8,
    KILL = 9,
}

/// Why a process ended, or is to end. `kind`: a value of rusm_reason_kind; `what`: of a crash its kind, of a limit its
/// name.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rusm_reason {
    pub kind: u32,
    pub what: rusm_bytes,
    pub text: rusm_bytes,
}

impl rusm_reason {
    pub const NORMAL: rusm_reason = rusm_reason {
        kind: rusm_reason_kind::NORMAL as u32,
        what: rusm_bytes::EMPTY,
        text: rusm_bytes::EMPTY,
    };
}

#[repr(u32)]
pub enum rusm_event_kind {
    MESSAGE = 0,
    REQUEST = 1,
    DOWN = 2,
    EXIT = 3,
    STREAM = 4,
    TIMER = 5,
}

/// What a process receives. `kind`: a value of rusm_event_kind.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rusm_event {
    pub kind: u32,
    /// EXIT: of a link.
    pub linked: bool,
    /// REQUEST its token, DOWN its monitor, STREAM, TIMER.
    pub number: u64,
    /// REQUEST, DOWN, EXIT.
    pub from: rusm_pid,
    /// MESSAGE, REQUEST.
    pub bytes: rusm_bytes,
    /// DOWN, EXIT.
    pub reason: rusm_reason,
}

/// One kind of event that is wanted. `any`: whatever its number (DOWN, TIMER) or sender (EXIT).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rusm_match {
    pub kind: u32,
    pub any: bool,
    pub number: u64,
    pub from: rusm_pid,
    /// How a MESSAGE or REQUEST begins.
    pub prefix: rusm_bytes,
}

/// What a guest starts. A name that is not there: nothing is registered.
#[repr(C)]
pub struct rusm_spawn {
    pub component: rusm_bytes,
    pub link: bool,
    pub monitor: bool,
    pub has_label: bool,
    pub label: rusm_bytes,
    pub has_name: bool,
    pub name: rusm_bytes,
    pub argument: rusm_bytes,
}

/// A `shutdown_ms` that waits for ever.
pub const RUSM_SHUTDOWN_INFINITY: u64 = u64::MAX;

/// A child of a supervisor. `restart`: 0 permanent, 1 transient, 2 temporary; `shutdown_ms` 0: killed.
#[repr(C)]
pub struct rusm_child {
    pub id: rusm_bytes,
    pub component: rusm_bytes,
    pub restart: u32,
    pub shutdown_ms: u64,
    pub has_name: bool,
    pub name: rusm_bytes,
    pub argument: rusm_bytes,
}

/// `strategy` as in rusm_supervision.
#[repr(C)]
pub struct rusm_supervisor {
    pub strategy: u32,
    pub children: *const rusm_child,
    pub child_count: usize,
    pub has_intensity: bool,
    pub restarts: u32,
    pub within_ms: u64,
    pub has_backoff: bool,
    pub first_ms: u64,
    pub max_ms: u64,
    pub factor: f64,
    pub quiet_ms: u64,
}

/// What a guest may hold. UINT64_MAX: unlimited.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rusm_limits {
    pub memory_bytes: u64,
    pub cpu_ns: u64,
    pub lifetime_ns: u64,
    pub mailbox_bytes: u64,
    pub message_bytes: u64,
    pub timer_bytes: u64,
    pub chunk_bytes: u64,
    pub mailbox_messages: u32,
    pub timers: u32,
    pub streams: u32,
    pub names: u32,
    pub monitors: u32,
    pub children: u32,
    pub keys: u32,
    pub processes: u32,
}

/// What a guest is told of itself. Texts are UTF-8.
#[repr(C)]
pub struct rusm_self_info {
    pub pid: rusm_pid,
    pub has_parent: bool,
    pub parent: rusm_pid,
    pub component: rusm_bytes,
    pub has_label: bool,
    pub label: rusm_bytes,
    pub names: *const rusm_bytes,
    pub name_count: usize,
    pub links: u32,
    pub monitors: u32,
    pub trap_exit: bool,
    pub mailbox_depth: u32,
    pub mailbox_bytes: u64,
    pub cpu_ns: u64,
    pub limits: rusm_limits,
}

/// More of the embedder's functions for guests that are processes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rusm_event_host {
    /// call: OK, WOULD_BLOCK, NONE when the time has passed, ERROR, TRAP. No matches: whatever comes next. The time runs
    /// from the first call on, and the matches must stay the same while it blocks.
    pub receive_event: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            matches: *const rusm_match,
            match_count: usize,
            timeout_ms: u64,
            event: *mut rusm_event,
        ) -> u32,
    >,
    /// call: OK, TRAP.
    pub send_to: Option<unsafe extern "C" fn(context: *mut c_void, to: rusm_pid, data: *const u8, len: usize) -> u32>,
    /// call: OK with the answer, WOULD_BLOCK, NONE with the reason why there is none, ERROR, TRAP. The bytes are taken
    /// over by the first call.
    pub call: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            to: rusm_pid,
            data: *const u8,
            len: usize,
            timeout_ms: u64,
            answer: *mut rusm_bytes,
            reason: *mut rusm_reason,
            timed_out: *mut bool,
        ) -> u32,
    >,
    /// call: OK, NONE when there is no such request, TRAP.
    pub reply: Option<unsafe extern "C" fn(context: *mut c_void, token: u64, data: *const u8, len: usize) -> u32>,
    /// call: OK, ERROR, TRAP.
    pub watch: Option<unsafe extern "C" fn(context: *mut c_void, target: rusm_pid, monitor: *mut u64) -> u32>,
    /// call: OK, NONE.
    pub demonitor: Option<unsafe extern "C" fn(context: *mut c_void, monitor: u64) -> u32>,
    /// call: OK, ERROR, TRAP.
    pub link: Option<unsafe extern "C" fn(context: *mut c_void, target: rusm_pid) -> u32>,
    pub unlink: Option<unsafe extern "C" fn(context: *mut c_void, target: rusm_pid)>,
    /// What it was.
    pub trap_exit: Option<unsafe extern "C" fn(context: *mut c_void, on: bool) -> bool>,
    /// call: TRAP.
    pub exit: Option<unsafe extern "C" fn(context: *mut c_void, reason: *const rusm_reason) -> u32>,
    /// call: OK, ERROR, TRAP when it is the guest itself that ends.
    pub send_exit:
        Option<unsafe extern "C" fn(context: *mut c_void, target: rusm_pid, reason: *const rusm_reason) -> u32>,
    /// call: OK, TRAP.
    pub start_timer: Option<unsafe extern "C" fn(context: *mut c_void, delay_ms: u64, timer: *mut u64) -> u32>,
    /// call: OK, TRAP.
    pub send_to_after: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            to: rusm_pid,
            delay_ms: u64,
            data: *const u8,
            len: usize,
            timer: *mut u64,
        ) -> u32,
    >,
    /// call: OK, NONE. `cancel`: and it never fires.
    pub timer_left:
        Option<unsafe extern "C" fn(context: *mut c_void, timer: u64, cancel: bool, left_ms: *mut u64) -> u32>,
    /// call: OK, ERROR, TRAP. `monitor` is 0 when none was asked for.
    pub spawn_with: Option<
        unsafe extern "C" fn(context: *mut c_void, what: *const rusm_spawn, pid: *mut u64, monitor: *mut u64) -> u32,
    >,
    /// call: OK, ERROR, TRAP.
    pub supervise_with:
        Option<unsafe extern "C" fn(context: *mut c_void, what: *const rusm_supervisor, pid: *mut u64) -> u32>,
    pub self_info: Option<unsafe extern "C" fn(context: *mut c_void, info: *mut rusm_self_info)>,
    /// What the process was started with.
    pub argument: Option<unsafe extern "C" fn(context: *mut c_void, argument: *mut rusm_bytes)>,
}

/// A call that has no answer.
pub struct Unanswered {
    pub timed_out: bool,
    pub reason: rusm_reason,
}

const NO_LIMITS: rusm_limits = rusm_limits {
    memory_bytes: 0,
    cpu_ns: 0,
    lifetime_ns: 0,
    mailbox_bytes: 0,
    message_bytes: 0,
    timer_bytes: 0,
    chunk_bytes: 0,
    mailbox_messages: 0,
    timers: 0,
    streams: 0,
    names: 0,
    monitors: 0,
    children: 0,
    keys: 0,
    processes: 0,
};

impl Actor {
    /// What the event points to is valid until the next call.
    #[inline]
    pub fn receive_event(self, matches: &[rusm_match], timeout_ms: u64) -> Answer<rusm_event> {
        let mut event = rusm_event {
            kind: 0,
            linked: false,
            number: 0,
            from: rusm_pid::NONE,
            bytes: rusm_bytes::EMPTY,
            reason: rusm_reason::NORMAL,
        };
        let code = call!(
            self.events
                .receive_event(matches.as_ptr(), matches.len(), timeout_ms, &mut event)
        );
        self.answer(code).map(|()| event)
    }

    #[inline]
    pub fn send_to(self, to: rusm_pid, message: &[u8]) -> Answer<()> {
        self.answer(call!(self.events.send_to(to, message.as_ptr(), message.len())))
    }

    /// The answer, or why there is none; both are valid until the next call.
    pub fn call(self, to: rusm_pid, request: &[u8], timeout_ms: u64) -> Answer<Result<&'static [u8], Unanswered>> {
        let mut answer = rusm_bytes::EMPTY;
        let mut reason = rusm_reason::NORMAL;
        let mut timed_out = false;
        let code = call!(self.events.call(
            to,
            request.as_ptr(),
            request.len(),
            timeout_ms,
            &mut answer,
            &mut reason,
            &mut timed_out
        ));
        match self.answer(code) {
            // SAFETY: lowered before anything else is called.
            Ok(()) => Ok(Ok(unsafe { until_the_next_call(answer) })),
            Err(crate::actor_host::Refused::None) => Ok(Err(Unanswered { timed_out, reason })),
            Err(refused) => Err(refused),
        }
    }

    pub fn reply(self, token: u64, answer: &[u8]) -> Answer<()> {
        self.answer(call!(self.events.reply(token, answer.as_ptr(), answer.len())))
    }

    pub fn watch(self, target: rusm_pid) -> Answer<u64> {
        let mut monitor = 0;
        self.answer(call!(self.events.watch(target, &mut monitor)))
            .map(|()| monitor)
    }

    pub fn demonitor(self, monitor: u64) -> bool {
        self.answer(call!(self.events.demonitor(monitor))).is_ok()
    }

    pub fn link(self, target: rusm_pid) -> Answer<()> {
        self.answer(call!(self.events.link(target)))
    }

    pub fn unlink(self, target: rusm_pid) {
        call!(self.events.unlink(target))
    }

    pub fn trap_exit(self, on: bool) -> bool {
        call!(self.events.trap_exit(on))
    }

    pub fn exit(self, reason: &rusm_reason) -> Answer<()> {
        self.answer(call!(self.events.exit(reason)))
    }

    pub fn send_exit(self, target: rusm_pid, reason: &rusm_reason) -> Answer<()> {
        self.answer(call!(self.events.send_exit(target, reason)))
    }

    pub fn start_timer(self, delay_ms: u64) -> Answer<u64> {
        let mut timer = 0;
        self.answer(call!(self.events.start_timer(delay_ms, &mut timer)))
            .map(|()| timer)
    }

    pub fn send_to_after(self, to: rusm_pid, delay_ms: u64, message: &[u8]) -> Answer<u64> {
        let mut timer = 0;
        let code = call!(
            self.events
                .send_to_after(to, delay_ms, message.as_ptr(), message.len(), &mut timer)
        );
        self.answer(code).map(|()| timer)
    }

    /// The ms that were, or are, left.
    pub fn timer_left(self, timer: u64, cancel: bool) -> Option<u64> {
        let mut left = 0;
        self.answer(call!(self.events.timer_left(timer, cancel, &mut left)))
            .ok()?;
        Some(left)
    }

    /// The pid and the monitor, or 0.
    pub fn spawn_with(self, what: &rusm_spawn) -> Answer<(u64, u64)> {
        let (mut pid, mut monitor) = (0, 0);
        self.answer(call!(self.events.spawn_with(what, &mut pid, &mut monitor)))
            .map(|()| (pid, monitor))
    }

    pub fn supervise_with(self, what: &rusm_supervisor) -> Answer<u64> {
        let mut pid = 0;
        self.answer(call!(self.events.supervise_with(what, &mut pid)))
            .map(|()| pid)
    }

    pub fn self_info(self) -> SelfInfo {
        let mut info = rusm_self_info {
            pid: rusm_pid::NONE,
            has_parent: false,
            parent: rusm_pid::NONE,
            component: rusm_bytes::EMPTY,
            has_label: false,
            label: rusm_bytes::EMPTY,
            names: std::ptr::null(),
            name_count: 0,
            links: 0,
            monitors: 0,
            trap_exit: false,
            mailbox_depth: 0,
            mailbox_bytes: 0,
            cpu_ns: 0,
            limits: NO_LIMITS,
        };
        call!(self.events.self_info(&mut info));
        // SAFETY: copied before anything else is called.
        let names = unsafe { items(info.names, info.name_count) };
        SelfInfo {
            component: text_of(info.component),
            label: info.has_label.then(|| text_of(info.label)),
            names: names.iter().map(|name| text_of(*name)).collect(),
            raw: info,
        }
    }

    /// Valid until the next call.
    pub fn argument(self) -> &'static [u8] {
        let mut argument = rusm_bytes::EMPTY;
        call!(self.events.argument(&mut argument));
        // SAFETY: lowered before anything else is called.
        unsafe { until_the_next_call(argument) }
    }
}

/// `rusm_self_info` with its texts copied: those of `raw` are not to be looked at any more.
pub struct SelfInfo {
    pub component: String,
    pub label: Option<String>,
    pub names: Vec<String>,
    pub raw: rusm_self_info,
}
