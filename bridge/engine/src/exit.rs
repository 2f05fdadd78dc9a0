//! How a guest ended, as data.

#![allow(non_camel_case_types)]

use crate::abi::{panic_text, rusm_buffer};
use crate::backtrace::frames;
use crate::guest::Guest;
use crate::slab::NO_ROOM;
use std::any::Any;
use wasmtime::{Error, PoolConcurrencyLimitError, Result, Store, Trap, WasmBacktrace, WasmCoreDump};
use wasmtime_wasi::I32Exit;

/// Why a guest ended.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum rusm_exit_kind {
    /// Returned, or exited with code 0.
    NORMAL = 0,
    /// Exited with another code, see `code`; a command that returned an error has code 1.
    EXIT_CODE = 1,
    /// Trapped: unreachable, out of bounds, division by zero and the like.
    TRAP = 2,
    /// Failed after its memory limit refused it more.
    MEMORY_LIMIT = 3,
    /// Failed after its table limit refused it more.
    TABLE_LIMIT = 4,
    /// `tick` said RUSM_TICK_STOP.
    STOPPED = 5,
    STACK_OVERFLOW = 6,
    /// The engine has no slot left, or the system no memory for one; the guest did not run.
    NO_CAPACITY = 7,
    /// A host function failed, or the guest could not be set up.
    HOST_ERROR = 8,
    /// A defect of this library: a host function panicked and the panic was contained.
    PANIC = 9,
}

/// A guest's end. Free it with `rusm_exit_free`.
#[repr(C)]
pub struct rusm_exit {
    pub kind: rusm_exit_kind,
    pub code: i32,
    /// The largest sum of its linear memories, in bytes.
    pub memory_bytes_peak: u64,
    /// One line; empty for NORMAL.
    pub text: rusm_buffer,
    /// Its frames, innermost first, one a line, with file and line where it carries debug information; may be empty.
    pub backtrace: rusm_buffer,
}

/// A guest's end before anybody asked for its texts: symbolising costs more than most guests run.
pub struct Ending {
    kind: rusm_exit_kind,
    code: i32,
    memory_bytes_peak: u64,
    error: Option<Error>,
    text: String,
    /// The guest's memory as it was, for a core dump.
    remains: Option<Box<Store<Guest>>>,
}

impl Ending {
    /// As `of`, for a guest that ran. Its store lives on where a core dump may be wanted: of a guest that crashed, not of
    /// one that came to a limit.
    pub fn after(result: Result<i32>, store: Store<Guest>) -> Ending {
        let mut ending = Ending::of(result, store.data());
        let dump = |error: &Error| error.downcast_ref::<WasmCoreDump>().is_some();
        if ending.is_crash() && ending.error.as_ref().is_some_and(dump) {
            ending.remains = Some(Box::new(store));
        }
        ending
    }

    fn is_crash(&self) -> bool {
        matches!(
            self.kind,
            rusm_exit_kind::TRAP | rusm_exit_kind::STACK_OVERFLOW | rusm_exit_kind::HOST_ERROR
        )
    }

    /// Whether `core_dump` has something to write.
    pub fn has_core_dump(&self) -> bool {
        self.remains.is_some()
    }

    /// The guest's memory, globals and stack in the format of WebAssembly's tool conventions, if its memories have at
    /// most `bytes_max` together. Once.
    pub fn core_dump(&mut self, name: &str, bytes_max: u64) -> Option<Vec<u8>> {
        let mut store = self.remains.take()?;
        let dump = self.error.as_ref()?.downcast_ref::<WasmCoreDump>()?;
        let bytes: u64 = dump
            .memories()
            .iter()
            .map(|memory| memory.data_size(&*store) as u64)
            .sum();
        (bytes <= bytes_max).then(|| dump.serialize(&mut *store, name))
    }

    /// `result` is what the guest's entry returned: Ok(0), or a code.
    pub fn of(result: Result<i32>, guest: &Guest) -> Ending {
        let memory_bytes_peak = guest.limits.memory_bytes_peak();
        let (kind, code, error) = match result {
            Ok(0) => (rusm_exit_kind::NORMAL, 0, None),
            Ok(code) => (rusm_exit_kind::EXIT_CODE, code, None),
            Err(error) => match error.downcast_ref::<I32Exit>() {
                Some(I32Exit(0)) => (rusm_exit_kind::NORMAL, 0, None),
                Some(I32Exit(code)) => (rusm_exit_kind::EXIT_CODE, *code, None),
                None => (classify(&error, guest), 0, Some(error)),
            },
        };
        Ending {
            kind,
            code,
            memory_bytes_peak,
            error,
            text: String::new(),
            remains: None,
        }
    }

    pub fn host_error(text: impl Into<String>) -> Ending {
        Ending {
            kind: rusm_exit_kind::HOST_ERROR,
            code: 0,
            memory_bytes_peak: 0,
            error: None,
            text: text.into(),
            remains: None,
        }
    }

    pub fn panic(payload: &(dyn Any + Send)) -> Ending {
        Ending {
            kind: rusm_exit_kind::PANIC,
            code: 0,
            memory_bytes_peak: 0,
            error: None,
            text: panic_text(payload),
            remains: None,
        }
    }

    pub fn is_normal(&self) -> bool {
        self.kind == rusm_exit_kind::NORMAL
    }

    pub fn into_exit(self) -> rusm_exit {
        let text = match (&self.error, self.kind) {
            (Some(error), _) => one_line(error),
            (None, rusm_exit_kind::EXIT_CODE) => format!("exited with code {}", self.code),
            (None, _) => self.text,
        };
        let backtrace = self
            .error
            .as_ref()
            .and_then(|error| error.downcast_ref::<WasmBacktrace>());
        rusm_exit {
            kind: self.kind,
            code: self.code,
            memory_bytes_peak: self.memory_bytes_peak,
            text: rusm_buffer::from_text(text),
            backtrace: rusm_buffer::from_text(backtrace.map(frames).unwrap_or_default()),
        }
    }
}

/// The slab had no slot, or the system refused what one needs: Wasmtime passes that on as a text. Of a guest that did run
/// no text is made: that takes long.
fn is_without_capacity(error: &Error) -> bool {
    const SYSTEM_REFUSES: &str = "(os error 12)";
    if error.downcast_ref::<WasmBacktrace>().is_some() {
        return false;
    }
    error.chain().any(|cause| {
        let text = cause.to_string();
        text.starts_with(NO_ROOM) || text.ends_with(SYSTEM_REFUSES)
    })
}

fn classify(error: &Error, guest: &Guest) -> rusm_exit_kind {
    if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
        return rusm_exit_kind::NO_CAPACITY;
    }
    let trap = error.downcast_ref::<Trap>();
    match trap {
        Some(Trap::Interrupt) if guest.stopped => return rusm_exit_kind::STOPPED,
        Some(Trap::StackOverflow) => return rusm_exit_kind::STACK_OVERFLOW,
        _ => {}
    }
    // A guest that is refused memory usually aborts; what it then says is the consequence, not the cause.
    if guest.limits.memory_refused() {
        return rusm_exit_kind::MEMORY_LIMIT;
    }
    if guest.limits.table_refused() {
        return rusm_exit_kind::TABLE_LIMIT;
    }
    if trap.is_some() {
        rusm_exit_kind::TRAP
    } else if is_without_capacity(error) {
        rusm_exit_kind::NO_CAPACITY
    } else {
        rusm_exit_kind::HOST_ERROR
    }
}

/// The chain of causes without the backtrace, which is reported on its own.
fn one_line(error: &Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let part = cause.to_string().replace('\n', " ");
        let is_report = part.starts_with("error while executing at wasm backtrace:")
            || part.starts_with("wasm coredump generated while executing");
        if is_report || text.contains(&part) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&part);
    }
    text
}
