//! What the embedder answers: a table of functions given once to the engine, and one opaque context for each instance.

#![allow(non_camel_case_types)]

use crate::abi::{Failure, rusm_bytes};
use crate::actor_host::{Actor, rusm_actor_host};
use std::ffi::c_void;

/// Answer of `tick`.
#[repr(u32)]
pub enum rusm_tick {
    /// Run on for another tick.
    CONTINUE = 0,
    /// Give the thread back: `rusm_instance_resume` returns RUSM_STEP_BUDGET.
    YIELD = 1,
    /// End the guest: it exits with RUSM_EXIT_KIND_STOPPED.
    STOP = 2,
}

/// Answer of `http_read`, `http_write` and `http_respond`.
#[repr(u32)]
pub enum rusm_io {
    /// Done; for a read or write `*count` says how many bytes (more than 0).
    OK = 0,
    /// Nothing moved. The embedder makes sure that the instance is resumed once that may have changed.
    WOULD_BLOCK = 1,
    /// The end of the request body.
    END = 2,
    /// The other side is gone: nothing will ever move again.
    BROKEN = 3,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct rusm_http_header {
    pub name: rusm_bytes,
    pub value: rusm_bytes,
}

/// The head of a request. Everything it points to stays valid and unchanged until the callback's instance is dropped.
#[repr(C)]
pub struct rusm_http_head {
    pub method: rusm_bytes,
    /// "http" or "https".
    pub scheme: rusm_bytes,
    pub authority: rusm_bytes,
    pub path_with_query: rusm_bytes,
    pub headers: *const rusm_http_header,
    pub header_count: usize,
}

/// The embedder's functions. They are called on the thread that resumes or drops the instance, while it does; they must
/// not throw, must not block and must not call back into that instance. `context` is the pointer given to `rusm_instance_new`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rusm_host {
    /// An epoch ended while the guest was running: a value of rusm_tick.
    pub tick: Option<unsafe extern "C" fn(context: *mut c_void) -> u32>,
    /// The guest wrote to its standard output (1) or error (2) and its grants say RUSM_STDIO_LOG.
    pub write_log: Option<unsafe extern "C" fn(context: *mut c_void, stream: u32, data: *const u8, len: usize)>,
    /// Fills in the request that an HTTP program answers. False: there is none, the instance exits with RUSM_EXIT_KIND_HOST_ERROR.
    pub http_head: Option<unsafe extern "C" fn(context: *mut c_void, head: *mut rusm_http_head) -> bool>,
    /// Reads from the request body into `data`: a value of rusm_io.
    pub http_read:
        Option<unsafe extern "C" fn(context: *mut c_void, data: *mut u8, capacity: usize, count: *mut usize) -> u32>,
    /// The guest's answer, at most once: RUSM_IO_OK, or RUSM_IO_BROKEN when nobody wants it any more.
    pub http_respond: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            status: u16,
            headers: *const rusm_http_header,
            header_count: usize,
        ) -> u32,
    >,
    /// The guest answered with an error code instead of a response, at most once and never beside `http_respond`.
    pub http_respond_error: Option<unsafe extern "C" fn(context: *mut c_void, text: rusm_bytes)>,
    /// Writes to the response body: a value of rusm_io.
    pub http_write:
        Option<unsafe extern "C" fn(context: *mut c_void, data: *const u8, len: usize, count: *mut usize) -> u32>,
    /// What follows the response body, at most once, right before `http_finish`.
    pub http_trailers:
        Option<unsafe extern "C" fn(context: *mut c_void, trailers: *const rusm_http_header, trailer_count: usize)>,
    /// The response body is complete (true) or broken off (false); exactly once after a successful `http_respond`,
    /// except when the instance is dropped before.
    pub http_finish: Option<unsafe extern "C" fn(context: *mut c_void, complete: bool)>,
    /// For guests that are processes.
    pub actor: rusm_actor_host,
}

/// `rusm_host` with every function present.
#[derive(Clone, Copy)]
pub struct HostTable {
    tick: unsafe extern "C" fn(*mut c_void) -> u32,
    write_log: unsafe extern "C" fn(*mut c_void, u32, *const u8, usize),
    http_head: unsafe extern "C" fn(*mut c_void, *mut rusm_http_head) -> bool,
    http_read: unsafe extern "C" fn(*mut c_void, *mut u8, usize, *mut usize) -> u32,
    http_respond: unsafe extern "C" fn(*mut c_void, u16, *const rusm_http_header, usize) -> u32,
    http_respond_error: unsafe extern "C" fn(*mut c_void, rusm_bytes),
    http_write: unsafe extern "C" fn(*mut c_void, *const u8, usize, *mut usize) -> u32,
    http_trailers: unsafe extern "C" fn(*mut c_void, *const rusm_http_header, usize),
    http_finish: unsafe extern "C" fn(*mut c_void, bool),
    actor: rusm_actor_host,
}

impl HostTable {
    pub fn new(host: &rusm_host) -> Result<HostTable, Failure> {
        host.actor.check()?;
        Ok(HostTable {
            tick: host.tick.ok_or_else(|| Failure::null("host.tick"))?,
            write_log: host.write_log.ok_or_else(|| Failure::null("host.write_log"))?,
            http_head: host.http_head.ok_or_else(|| Failure::null("host.http_head"))?,
            http_read: host.http_read.ok_or_else(|| Failure::null("host.http_read"))?,
            http_respond: host.http_respond.ok_or_else(|| Failure::null("host.http_respond"))?,
            http_respond_error: host
                .http_respond_error
                .ok_or_else(|| Failure::null("host.http_respond_error"))?,
            actor: host.actor,
            http_write: host.http_write.ok_or_else(|| Failure::null("host.http_write"))?,
            http_trailers: host.http_trailers.ok_or_else(|| Failure::null("host.http_trailers"))?,
            http_finish: host.http_finish.ok_or_else(|| Failure::null("host.http_finish"))?,
        })
    }
}

/// What came of a read or a write.
#[derive(Debug, PartialEq, Eq)]
pub enum Moved {
    Bytes(usize),
    WouldBlock,
    End,
    Broken,
}

fn moved(code: u32, count: usize, capacity: usize) -> Moved {
    const OK: u32 = rusm_io::OK as u32;
    const WOULD_BLOCK: u32 = rusm_io::WOULD_BLOCK as u32;
    const END: u32 = rusm_io::END as u32;
    match code {
        OK if count > 0 => Moved::Bytes(count.min(capacity)),
        OK | WOULD_BLOCK => Moved::WouldBlock,
        END => Moved::End,
        _ => Moved::Broken,
    }
}

/// One instance's view of the embedder.
///
/// Threads: as the instance, one at a time. The table lives as long as the engine, the context as long as the instance.
#[derive(Clone, Copy)]
pub struct Host {
    table: &'static HostTable,
    context: *mut c_void,
}

// SAFETY: the embedder promises that its functions may be called from whichever thread drives the instance.
unsafe impl Send for Host {}
// SAFETY: as above; an instance is driven by one thread at a time.
unsafe impl Sync for Host {}

impl Host {
    pub fn new(table: &'static HostTable, context: *mut c_void) -> Host {
        Host { table, context }
    }

    /// What the guest can do as a process.
    #[inline]
    pub fn actor(&self) -> Actor {
        Actor::new(&self.table.actor, self.context)
    }

    pub fn tick(&self) -> u32 {
        // SAFETY: the function and its context are the embedder's, valid while the instance lives. The same holds below.
        unsafe { (self.table.tick)(self.context) }
    }

    pub fn write_log(&self, stream: u32, data: &[u8]) {
        // SAFETY: see `tick`.
        unsafe { (self.table.write_log)(self.context, stream, data.as_ptr(), data.len()) }
    }

    pub fn http_head(&self) -> Option<rusm_http_head> {
        let mut head = rusm_http_head {
            method: rusm_bytes::EMPTY,
            scheme: rusm_bytes::EMPTY,
            authority: rusm_bytes::EMPTY,
            path_with_query: rusm_bytes::EMPTY,
            headers: std::ptr::null(),
            header_count: 0,
        };
        // SAFETY: see `tick`.
        unsafe { (self.table.http_head)(self.context, &mut head) }.then_some(head)
    }

    /// Appends what could be read to `buffer`, whose length must be below its capacity.
    pub fn http_read(&self, buffer: &mut Vec<u8>) -> Moved {
        let spare = buffer.spare_capacity_mut();
        let capacity = spare.len();
        let mut count = 0;
        // SAFETY: see `tick`; the spare capacity is writable.
        let code = unsafe { (self.table.http_read)(self.context, spare.as_mut_ptr().cast(), capacity, &mut count) };
        let moved = moved(code, count, capacity);
        if let Moved::Bytes(count) = moved {
            // SAFETY: the embedder filled in `count` bytes, and `moved` capped it by the capacity.
            unsafe { buffer.set_len(buffer.len() + count) };
        }
        moved
    }

    /// False: nobody wants the response.
    pub fn http_respond(&self, status: u16, headers: &[rusm_http_header]) -> bool {
        // SAFETY: see `tick`.
        let code = unsafe { (self.table.http_respond)(self.context, status, headers.as_ptr(), headers.len()) };
        code == rusm_io::OK as u32
    }

    pub fn http_respond_error(&self, text: &str) {
        // SAFETY: see `tick`.
        unsafe { (self.table.http_respond_error)(self.context, rusm_bytes::of(text.as_bytes())) }
    }

    pub fn http_write(&self, data: &[u8]) -> Moved {
        let mut count = 0;
        // SAFETY: see `tick`.
        let code = unsafe { (self.table.http_write)(self.context, data.as_ptr(), data.len(), &mut count) };
        moved(code, count, data.len())
    }

    pub fn http_trailers(&self, trailers: &[rusm_http_header]) {
        // SAFETY: see `tick`.
        unsafe { (self.table.http_trailers)(self.context, trailers.as_ptr(), trailers.len()) }
    }

    pub fn http_finish(&self, complete: bool) {
        // SAFETY: see `tick`.
        unsafe { (self.table.http_finish)(self.context, complete) }
    }
}
