//! Plain C types that cross the boundary, and the two rules every export follows:
//! a panic never leaves Rust, and an error is a status plus a text a user can act on.

#![allow(non_camel_case_types)]

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

/// Bytes owned by the caller, valid for the duration of the call. `ptr` may be null when `len` is 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rusm_bytes {
    pub ptr: *const u8,
    pub len: usize,
}

impl rusm_bytes {
    pub const EMPTY: rusm_bytes = rusm_bytes {
        ptr: ptr::null(),
        len: 0,
    };

    pub fn of(slice: &[u8]) -> rusm_bytes {
        rusm_bytes {
            ptr: slice.as_ptr(),
            len: slice.len(),
        }
    }

    /// # Safety
    /// `ptr` must be valid for `len` bytes for as long as `'a`, or null.
    pub unsafe fn as_slice<'a>(&self) -> &'a [u8] {
        if self.ptr.is_null() || self.len == 0 {
            return &[];
        }
        // SAFETY: not null, and the caller vouches for the length and the lifetime.
        unsafe { std::slice::from_raw_parts(self.ptr, self.len) }
    }

    /// # Safety
    /// As `as_slice`.
    pub unsafe fn to_text(self, what: &str) -> Result<String, Failure> {
        // SAFETY: forwarded to the caller.
        match std::str::from_utf8(unsafe { self.as_slice() }) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(Failure::new(
                rusm_status::INVALID_ARGUMENT,
                format!("{what} is not UTF-8"),
            )),
        }
    }
}

/// Bytes owned by this library. Give them back with `rusm_buffer_free`; a zeroed one is empty and needs no freeing.
#[repr(C)]
pub struct rusm_buffer {
    pub ptr: *mut u8,
    pub len: usize,
    pub capacity: usize,
}

impl rusm_buffer {
    pub const EMPTY: rusm_buffer = rusm_buffer {
        ptr: ptr::null_mut(),
        len: 0,
        capacity: 0,
    };

    pub fn from_vec(bytes: Vec<u8>) -> rusm_buffer {
        if bytes.capacity() == 0 {
            return rusm_buffer::EMPTY;
        }
        let mut bytes = std::mem::ManuallyDrop::new(bytes);
        rusm_buffer {
            ptr: bytes.as_mut_ptr(),
            len: bytes.len(),
            capacity: bytes.capacity(),
        }
    }

    pub fn from_text(text: String) -> rusm_buffer {
        rusm_buffer::from_vec(text.into_bytes())
    }
}

/// Threads: any, one at a time for one buffer. `buffer` is empty afterwards; null is allowed.
///
/// # Safety
/// `buffer` must be null or point to a buffer that this library filled in and that was not freed since.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rusm_buffer_free(buffer: *mut rusm_buffer) {
    if buffer.is_null() {
        return;
    }
    // SAFETY: not null; the caller vouches for the rest.
    let taken = unsafe { ptr::replace(buffer, rusm_buffer::EMPTY) };
    if !taken.ptr.is_null() {
        // SAFETY: made by `from_vec` from exactly these three values.
        drop(unsafe { Vec::from_raw_parts(taken.ptr, taken.len, taken.capacity) });
    }
}

/// How a call ended. On anything but OK the call's `error` buffer holds a text and no other output was written.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum rusm_status {
    OK = 0,
    /// A null pointer, text that is not UTF-8, a value out of range.
    INVALID_ARGUMENT = 1,
    /// The bytes are not WebAssembly, or not an artifact of this engine.
    INVALID_WASM = 2,
    /// Valid WebAssembly that cannot run here: wrong world, or an import that nobody offers.
    UNSUPPORTED = 3,
    /// The operating system refused memory, threads or a file.
    SYSTEM = 4,
    /// A defect of this library: it panicked and the panic was contained.
    PANIC = 5,
    /// Beyond a limit that was given.
    LIMIT = 6,
}

/// An operating error on its way out: what kind, and a text that a user can act on.
#[derive(Debug)]
pub struct Failure {
    pub status: rusm_status,
    pub text: String,
}

impl Failure {
    pub fn new(status: rusm_status, text: impl Into<String>) -> Failure {
        Failure {
            status,
            text: text.into(),
        }
    }

    pub fn null(what: &str) -> Failure {
        Failure::new(rusm_status::INVALID_ARGUMENT, format!("{what} is null"))
    }
}

/// The text of a caught panic.
pub fn panic_text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a text".to_owned()
    }
}

/// Runs the body of an export: a failure or a panic becomes a status and a text in `error` (if not null).
///
/// # Safety
/// `error` must be null or writable; what it held is overwritten, not freed.
pub unsafe fn call(error: *mut rusm_buffer, body: impl FnOnce() -> Result<(), Failure>) -> rusm_status {
    let body = || {
        #[cfg(test)]
        crate::actor_test::maybe_panic_in_export();
        body()
    };
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return rusm_status::OK,
        Ok(Err(failure)) => failure,
        Err(payload) => Failure::new(rusm_status::PANIC, panic_text(payload.as_ref())),
    };
    if !error.is_null() {
        // SAFETY: not null and writable by contract.
        unsafe { error.write(rusm_buffer::from_text(failure.text)) };
    }
    failure.status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_status_and_its_text() {
        let mut error = rusm_buffer::EMPTY;
        // SAFETY: `error` is a local.
        let status = unsafe { call(&mut error, || std::panic::panic_any("boom".to_owned())) };
        assert_eq!(status, rusm_status::PANIC);
        // SAFETY: the buffer was just filled in.
        let text = unsafe { std::slice::from_raw_parts(error.ptr, error.len) }.to_vec();
        assert_eq!(text, b"boom");
        // SAFETY: filled in by this library, freed once; the second time it is empty.
        unsafe {
            rusm_buffer_free(&mut error);
            rusm_buffer_free(&mut error);
        }
    }

    #[test]
    fn bytes_may_be_null_when_empty() {
        // SAFETY: null is allowed.
        assert!(unsafe { rusm_bytes::EMPTY.as_slice() }.is_empty());
    }
}
