//! What the embedder answers to guests that are processes: the functions behind `rusm:runtime` and the module `rusm`.
//!
//! All of them follow one pattern: what comes from the guest is passed as numbers and bytes that are valid during the
//! call; what goes to the guest is the embedder's memory, valid until its next function is called for that instance.
//! The answer is a value of `rusm_call`.

#![allow(non_camel_case_types)]

use crate::abi::{Failure, rusm_bytes};
use crate::event_host::rusm_event_host;
use std::ffi::c_void;

/// How a call of a guest came out.
#[repr(u32)]
pub enum rusm_call {
    OK = 0,
    /// Nothing was done. The instance is suspended, and asks again whenever it is resumed.
    WOULD_BLOCK = 1,
    /// There is no such thing, or the time has passed.
    NONE = 2,
    /// Refused or failed: `explain` has the text that the guest is given.
    ERROR = 3,
    /// The guest ends here: `explain` has the text.
    TRAP = 4,
}

/// What a guest is told of a process. Texts are UTF-8.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rusm_process_info {
    pub pid: u64,
    pub links: u32,
    pub monitors: u32,
    pub mailbox_depth: u32,
    pub trap_exit: bool,
    pub has_label: bool,
    pub label: rusm_bytes,
    pub names: *const rusm_bytes,
    pub name_count: usize,
}

/// What a guest asks a supervisor to look after. `strategy`: 0 one for one, 1 one for all, 2 rest for one.
#[repr(C)]
pub struct rusm_supervision {
    pub strategy: u32,
    pub children: *const rusm_bytes,
    pub child_count: usize,
    pub restarts_max: u32,
    pub within_ms: u32,
}

/// A `timeout_ms` that never passes.
pub const RUSM_NO_TIMEOUT: u64 = u64::MAX;

/// The embedder's functions for guests that are processes; the rules of rusm_host apply. `call` in a comment: the result
/// is a value of rusm_call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rusm_actor_host {
    /// The text of the ERROR or TRAP that the last function answered.
    pub explain: Option<unsafe extern "C" fn(context: *mut c_void, text: *mut rusm_bytes)>,
    pub own_pid: Option<unsafe extern "C" fn(context: *mut c_void) -> u64>,
    /// call: OK, ERROR, TRAP. A null source: the component as the node knows it.
    pub spawn: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            component: rusm_bytes,
            source: *const rusm_bytes,
            pid: *mut u64,
        ) -> u32,
    >,
    /// call: OK, ERROR, TRAP.
    pub supervise:
        Option<unsafe extern "C" fn(context: *mut c_void, what: *const rusm_supervision, pid: *mut u64) -> u32>,
    /// call: OK, TRAP.
    pub monitor: Option<unsafe extern "C" fn(context: *mut c_void, target: u64) -> u32>,
    /// call: OK, TRAP.
    pub send: Option<unsafe extern "C" fn(context: *mut c_void, to: u64, data: *const u8, len: usize) -> u32>,
    /// call: OK, TRAP.
    pub send_after: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            to: u64,
            delay_ms: u64,
            data: *const u8,
            len: usize,
            timer: *mut u64,
        ) -> u32,
    >,
    /// call: OK, NONE.
    pub cancel_timer: Option<unsafe extern "C" fn(context: *mut c_void, timer: u64) -> u32>,
    /// call: OK, WOULD_BLOCK, NONE when the time has passed, TRAP. The time runs from the first call on.
    pub receive: Option<unsafe extern "C" fn(context: *mut c_void, timeout_ms: u64, message: *mut rusm_bytes) -> u32>,
    /// The message that was received last is received again next.
    pub keep: Option<unsafe extern "C" fn(context: *mut c_void)>,
    /// call: OK, TRAP.
    pub stash: Option<unsafe extern "C" fn(context: *mut c_void, data: *const u8, len: usize) -> u32>,
    pub unstash: Option<unsafe extern "C" fn(context: *mut c_void)>,
    pub processes: Option<unsafe extern "C" fn(context: *mut c_void, pids: *mut *const u64, count: *mut usize)>,
    /// call: OK, NONE.
    pub info: Option<unsafe extern "C" fn(context: *mut c_void, target: u64, info: *mut rusm_process_info) -> u32>,
    /// call: OK, NONE.
    pub is_alive: Option<unsafe extern "C" fn(context: *mut c_void, target: u64) -> u32>,
    /// call: OK, NONE, TRAP when it is the guest itself.
    pub kill: Option<unsafe extern "C" fn(context: *mut c_void, target: u64) -> u32>,
    /// call: OK, NONE.
    pub register_name: Option<unsafe extern "C" fn(context: *mut c_void, name: rusm_bytes) -> u32>,
    /// call: OK, NONE.
    pub unregister_name: Option<unsafe extern "C" fn(context: *mut c_void, name: rusm_bytes) -> u32>,
    /// call: OK, NONE.
    pub whereis: Option<unsafe extern "C" fn(context: *mut c_void, name: rusm_bytes, pid: *mut u64) -> u32>,
    pub set_label: Option<unsafe extern "C" fn(context: *mut c_void, label: rusm_bytes)>,
    /// call: OK, TRAP.
    pub join: Option<unsafe extern "C" fn(context: *mut c_void, tag: rusm_bytes) -> u32>,
    pub leave: Option<unsafe extern "C" fn(context: *mut c_void, tag: rusm_bytes)>,
    pub members:
        Option<unsafe extern "C" fn(context: *mut c_void, tag: rusm_bytes, pids: *mut *const u64, count: *mut usize)>,
    /// call: OK, NONE when it is not allowed, TRAP when the guest is one of them.
    pub kill_tag: Option<unsafe extern "C" fn(context: *mut c_void, tag: rusm_bytes, count: *mut u32) -> u32>,
    /// call: OK, NONE when nobody is there, TRAP.
    pub stream_open: Option<unsafe extern "C" fn(context: *mut c_void, to: u64, stream: *mut u64) -> u32>,
    /// call: OK, WOULD_BLOCK, NONE when nobody reads or there is no such stream, TRAP.
    pub stream_write:
        Option<unsafe extern "C" fn(context: *mut c_void, stream: u64, data: *const u8, len: usize) -> u32>,
    pub stream_close: Option<unsafe extern "C" fn(context: *mut c_void, stream: u64)>,
    /// call: OK, WOULD_BLOCK, TRAP.
    pub stream_accept: Option<unsafe extern "C" fn(context: *mut c_void, stream: *mut u64) -> u32>,
    /// call: OK, WOULD_BLOCK, NONE at the end or when there is no such stream, TRAP.
    pub stream_read: Option<unsafe extern "C" fn(context: *mut c_void, stream: u64, chunk: *mut rusm_bytes) -> u32>,
    /// call: OK, WOULD_BLOCK, NONE, ERROR.
    pub kv_get: Option<
        unsafe extern "C" fn(context: *mut c_void, bucket: rusm_bytes, key: rusm_bytes, value: *mut rusm_bytes) -> u32,
    >,
    /// call: OK, WOULD_BLOCK, ERROR.
    pub kv_set: Option<
        unsafe extern "C" fn(context: *mut c_void, bucket: rusm_bytes, key: rusm_bytes, value: rusm_bytes) -> u32,
    >,
    /// call: OK, WOULD_BLOCK, NONE, ERROR.
    pub kv_delete: Option<unsafe extern "C" fn(context: *mut c_void, bucket: rusm_bytes, key: rusm_bytes) -> u32>,
    /// call: OK, WOULD_BLOCK, NONE, ERROR.
    pub kv_exists: Option<unsafe extern "C" fn(context: *mut c_void, bucket: rusm_bytes, key: rusm_bytes) -> u32>,
    /// call: OK, WOULD_BLOCK, ERROR.
    pub kv_list: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            bucket: rusm_bytes,
            keys: *mut *const rusm_bytes,
            count: *mut usize,
        ) -> u32,
    >,
    /// Writes a line to the node's log. `level`: 0 error, 1 warn, 2 info, 3 debug.
    pub log: Option<unsafe extern "C" fn(context: *mut c_void, level: u32, text: rusm_bytes)>,
    pub events: rusm_event_host,
}

/// A call that did not come to its end by itself.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    WouldBlock,
    None,
    Error(String),
    Trap(String),
}

pub type Answer<T> = Result<T, Refused>;

/// The functions and the context of one instance.
#[derive(Clone, Copy)]
pub struct Actor {
    pub(crate) host: &'static rusm_actor_host,
    pub(crate) context: *mut c_void,
}

// SAFETY: the embedder promises that its functions may be called from whichever thread drives the instance.
unsafe impl Send for Actor {}
// SAFETY: as above; an instance is driven by one thread at a time.
unsafe impl Sync for Actor {}

impl rusm_actor_host {
    /// Fails when a function is missing.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        // SAFETY: structs of nothing but nullable function pointers, read as the pointers that they are.
        let functions = unsafe {
            std::slice::from_raw_parts(
                std::ptr::from_ref(self).cast::<usize>(),
                size_of::<rusm_actor_host>() / size_of::<usize>(),
            )
        };
        match functions.iter().position(|function| *function == 0) {
            Some(index) => Err(Failure::null(&format!("function {index} of host.actor"))),
            None => Ok(()),
        }
    }
}

/// Calls a function of the table, all of which are there since `check`.
macro_rules! call {
    ($self:ident.$($function:ident).+($($argument:expr),*)) => {{
        #[cfg(test)]
        crate::actor_test::maybe_panic();
        match $self.host.$($function).+ {
            // SAFETY: the embedder's function and its context, valid while the instance lives.
            Some(function) => unsafe { function($self.context, $($argument),*) },
            None => Default::default(),
        }
    }};
}
pub(crate) use call;

/// # Safety
/// `bytes` must stay valid until the guest was given them.
pub(crate) unsafe fn until_the_next_call(bytes: rusm_bytes) -> &'static [u8] {
    // SAFETY: by contract.
    unsafe { bytes.as_slice() }
}

/// # Safety
/// As above, for `count` items.
pub(crate) unsafe fn items<T>(items: *const T, count: usize) -> &'static [T] {
    if items.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: by contract.
    unsafe { std::slice::from_raw_parts(items, count) }
}

pub(crate) fn text_of(bytes: rusm_bytes) -> String {
    // SAFETY: valid until the embedder's next function is called, and copied before.
    String::from_utf8_lossy(unsafe { bytes.as_slice() }).into_owned()
}

impl Actor {
    pub fn new(host: &'static rusm_actor_host, context: *mut c_void) -> Actor {
        Actor { host, context }
    }

    #[inline]
    pub(crate) fn answer(self, code: u32) -> Answer<()> {
        if code == rusm_call::OK as u32 {
            return Ok(());
        }
        Err(self.refusal(code))
    }

    fn refusal(self, code: u32) -> Refused {
        const WOULD_BLOCK: u32 = rusm_call::WOULD_BLOCK as u32;
        const NONE: u32 = rusm_call::NONE as u32;
        const ERROR: u32 = rusm_call::ERROR as u32;
        match code {
            WOULD_BLOCK => Refused::WouldBlock,
            NONE => Refused::None,
            _ => {
                let mut text = rusm_bytes::EMPTY;
                call!(self.explain(&mut text));
                let text = text_of(text);
                if code == ERROR {
                    Refused::Error(text)
                } else {
                    Refused::Trap(text)
                }
            }
        }
    }

    pub fn own_pid(self) -> u64 {
        call!(self.own_pid())
    }

    /// `source`: where code comes from that is not the node's.
    pub fn spawn(self, component: &str, source: Option<&str>) -> Answer<u64> {
        let mut pid = 0;
        let source = source.map(|source| rusm_bytes::of(source.as_bytes()));
        let source = source.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        self.answer(call!(self.spawn(
            rusm_bytes::of(component.as_bytes()),
            source,
            &mut pid
        )))
        .map(|()| pid)
    }

    pub fn supervise(self, strategy: u32, children: &[String], restarts_max: u32, within_ms: u32) -> Answer<u64> {
        let children: Vec<rusm_bytes> = children.iter().map(|name| rusm_bytes::of(name.as_bytes())).collect();
        let what = rusm_supervision {
            strategy,
            children: children.as_ptr(),
            child_count: children.len(),
            restarts_max,
            within_ms,
        };
        let mut pid = 0;
        self.answer(call!(self.supervise(&what, &mut pid))).map(|()| pid)
    }

    pub fn monitor(self, target: u64) -> Answer<()> {
        self.answer(call!(self.monitor(target)))
    }

    #[inline]
    pub fn send(self, to: u64, message: &[u8]) -> Answer<()> {
        self.answer(call!(self.send(to, message.as_ptr(), message.len())))
    }

    pub fn send_after(self, to: u64, delay_ms: u64, message: &[u8]) -> Answer<u64> {
        let mut timer = 0;
        let code = call!(self.send_after(to, delay_ms, message.as_ptr(), message.len(), &mut timer));
        self.answer(code).map(|()| timer)
    }

    pub fn cancel_timer(self, timer: u64) -> bool {
        self.answer(call!(self.cancel_timer(timer))).is_ok()
    }

    /// The message is valid until the next call.
    #[inline]
    pub fn receive(self, timeout_ms: u64) -> Answer<&'static [u8]> {
        let mut message = rusm_bytes::EMPTY;
        self.answer(call!(self.receive(timeout_ms, &mut message)))?;
        // SAFETY: lowered or copied before anything else is called.
        Ok(unsafe { until_the_next_call(message) })
    }

    pub fn keep(self) {
        call!(self.keep())
    }

    pub fn stash(self, message: &[u8]) -> Answer<()> {
        self.answer(call!(self.stash(message.as_ptr(), message.len())))
    }

    pub fn unstash(self) {
        call!(self.unstash())
    }

    pub fn processes(self) -> &'static [u64] {
        let (mut pids, mut count) = (std::ptr::null(), 0);
        call!(self.processes(&mut pids, &mut count));
        // SAFETY: lowered or copied before anything else is called.
        unsafe { items(pids, count) }
    }

    pub fn info(self, target: u64) -> Option<ProcessInfo> {
        let mut info = rusm_process_info {
            pid: 0,
            links: 0,
            monitors: 0,
            mailbox_depth: 0,
            trap_exit: false,
            has_label: false,
            label: rusm_bytes::EMPTY,
            names: std::ptr::null(),
            name_count: 0,
        };
        self.answer(call!(self.info(target, &mut info))).ok()?;
        // SAFETY: copied before anything else is called.
        let names = unsafe { items(info.names, info.name_count) };
        Some(ProcessInfo {
            pid: info.pid,
            links: info.links,
            monitors: info.monitors,
            names: names.iter().map(|name| text_of(*name)).collect(),
            label: info.has_label.then(|| text_of(info.label)),
            mailbox_depth: info.mailbox_depth,
            trap_exit: info.trap_exit,
        })
    }

    pub fn is_alive(self, target: u64) -> bool {
        self.answer(call!(self.is_alive(target))).is_ok()
    }

    pub fn kill(self, target: u64) -> Answer<()> {
        self.answer(call!(self.kill(target)))
    }

    pub fn register(self, name: &str) -> bool {
        self.answer(call!(self.register_name(rusm_bytes::of(name.as_bytes()))))
            .is_ok()
    }

    pub fn unregister(self, name: &str) -> bool {
        self.answer(call!(self.unregister_name(rusm_bytes::of(name.as_bytes()))))
            .is_ok()
    }

    pub fn whereis(self, name: &str) -> Option<u64> {
        let mut pid = 0;
        self.answer(call!(self.whereis(rusm_bytes::of(name.as_bytes()), &mut pid)))
            .ok()?;
        Some(pid)
    }

    pub fn set_label(self, label: &str) {
        call!(self.set_label(rusm_bytes::of(label.as_bytes())))
    }

    pub fn join(self, tag: &str) -> Answer<()> {
        self.answer(call!(self.join(rusm_bytes::of(tag.as_bytes()))))
    }

    pub fn leave(self, tag: &str) {
        call!(self.leave(rusm_bytes::of(tag.as_bytes())))
    }

    pub fn members(self, tag: &str) -> &'static [u64] {
        let (mut pids, mut count) = (std::ptr::null(), 0);
        call!(self.members(rusm_bytes::of(tag.as_bytes()), &mut pids, &mut count));
        // SAFETY: lowered or copied before anything else is called.
        unsafe { items(pids, count) }
    }

    pub fn kill_tag(self, tag: &str) -> Answer<u32> {
        let mut count = 0;
        self.answer(call!(self.kill_tag(rusm_bytes::of(tag.as_bytes()), &mut count)))
            .map(|()| count)
    }

    pub fn stream_open(self, to: u64) -> Answer<u64> {
        let mut stream = 0;
        self.answer(call!(self.stream_open(to, &mut stream))).map(|()| stream)
    }

    pub fn stream_write(self, stream: u64, chunk: &[u8]) -> Answer<()> {
        self.answer(call!(self.stream_write(stream, chunk.as_ptr(), chunk.len())))
    }

    pub fn stream_close(self, stream: u64) {
        call!(self.stream_close(stream))
    }

    pub fn stream_accept(self) -> Answer<u64> {
        let mut stream = 0;
        self.answer(call!(self.stream_accept(&mut stream))).map(|()| stream)
    }

    /// The chunk is valid until the next call.
    pub fn stream_read(self, stream: u64) -> Answer<&'static [u8]> {
        let mut chunk = rusm_bytes::EMPTY;
        self.answer(call!(self.stream_read(stream, &mut chunk)))?;
        // SAFETY: lowered or copied before anything else is called.
        Ok(unsafe { until_the_next_call(chunk) })
    }

    /// The value is valid until the next call.
    pub fn kv_get(self, bucket: &str, key: &str) -> Answer<&'static [u8]> {
        let mut value = rusm_bytes::EMPTY;
        let (bucket, key) = (rusm_bytes::of(bucket.as_bytes()), rusm_bytes::of(key.as_bytes()));
        self.answer(call!(self.kv_get(bucket, key, &mut value)))?;
        // SAFETY: lowered or copied before anything else is called.
        Ok(unsafe { until_the_next_call(value) })
    }

    pub fn kv_set(self, bucket: &str, key: &str, value: &[u8]) -> Answer<()> {
        let (bucket, key) = (rusm_bytes::of(bucket.as_bytes()), rusm_bytes::of(key.as_bytes()));
        self.answer(call!(self.kv_set(bucket, key, rusm_bytes::of(value))))
    }

    pub fn kv_delete(self, bucket: &str, key: &str) -> Answer<()> {
        let (bucket, key) = (rusm_bytes::of(bucket.as_bytes()), rusm_bytes::of(key.as_bytes()));
        self.answer(call!(self.kv_delete(bucket, key)))
    }

    pub fn kv_exists(self, bucket: &str, key: &str) -> Answer<()> {
        let (bucket, key) = (rusm_bytes::of(bucket.as_bytes()), rusm_bytes::of(key.as_bytes()));
        self.answer(call!(self.kv_exists(bucket, key)))
    }

    pub fn kv_list(self, bucket: &str) -> Answer<Vec<String>> {
        let (mut keys, mut count) = (std::ptr::null(), 0);
        self.answer(call!(self.kv_list(
            rusm_bytes::of(bucket.as_bytes()),
            &mut keys,
            &mut count
        )))?;
        // SAFETY: copied before anything else is called.
        let keys: &[rusm_bytes] = unsafe { items(keys, count) };
        Ok(keys.iter().map(|key| text_of(*key)).collect())
    }

    pub fn log(self, level: u32, text: &str) {
        call!(self.log(level, rusm_bytes::of(text.as_bytes())))
    }
}

/// `rusm_process_info`, copied.
pub struct ProcessInfo {
    pub pid: u64,
    pub links: u32,
    pub monitors: u32,
    pub names: Vec<String>,
    pub label: Option<String>,
    pub mailbox_depth: u32,
    pub trap_exit: bool,
}
