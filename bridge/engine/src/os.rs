//! The system's memory, as the slab tier uses it: the only place that calls the kernel for it.
//!
//! In unit tests each call can be made to fail, on the thread that asks for it.

use std::ffi::{c_int, c_void};
use std::io;
use std::ptr;

pub(crate) const PAGE_BYTES: usize = 4096;

const PROT_NONE: c_int = 0;
const PROT_READ_WRITE: c_int = 1 | 2;
const MAP_PRIVATE_ANONYMOUS_NORESERVE: c_int = 0x02 | 0x20 | 0x4000;
const MADV_DONTNEED: c_int = 4;
const MADV_NOHUGEPAGE: c_int = 15;
/// Linux 6.13: a page that faults on every access without a mapping of its own.
const MADV_GUARD_INSTALL: c_int = 102;

unsafe extern "C" {
    fn mmap(addr: *mut c_void, len: usize, prot: c_int, flags: c_int, fd: c_int, offset: i64) -> *mut c_void;
    fn munmap(addr: *mut c_void, len: usize) -> c_int;
    fn mprotect(addr: *mut c_void, len: usize, prot: c_int) -> c_int;
    fn madvise(addr: *mut c_void, len: usize, advice: c_int) -> c_int;
}

fn checked(returned: c_int) -> io::Result<()> {
    if returned == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Address space that reads as zero and takes memory page by page as it is written to; one mapping.
pub fn reserve(bytes: usize) -> io::Result<*mut u8> {
    faults::check(faults::Call::Reserve)?;
    // SAFETY: a new anonymous mapping touches nothing that exists.
    let base = unsafe {
        mmap(
            ptr::null_mut(),
            bytes,
            PROT_READ_WRITE,
            MAP_PRIVATE_ANONYMOUS_NORESERVE,
            -1,
            0,
        )
    };
    if base as isize == -1 {
        return Err(io::Error::last_os_error());
    }
    // A huge page would give one guest the memory of hundreds. Kernels without them refuse; that is as good.
    // SAFETY: the mapping just made.
    unsafe { madvise(base, bytes, MADV_NOHUGEPAGE) };
    Ok(base.cast())
}

/// # Safety
/// The range must come from `reserve` and nobody may use it any more.
pub unsafe fn release(base: *mut u8, bytes: usize) {
    // SAFETY: by contract. There is nothing to do about a failure.
    unsafe { munmap(base.cast(), bytes) };
}

/// Makes a range read as zero and gives its pages back.
///
/// # Safety
/// The range must be page aligned, inside one reservation, and nobody else may use it.
pub unsafe fn discard(base: *mut u8, bytes: usize) {
    let given_back = faults::check(faults::Call::Discard).and_then(|()| {
        // SAFETY: by contract.
        checked(unsafe { madvise(base.cast(), bytes, MADV_DONTNEED) })
    });
    if given_back.is_err() {
        // Locked pages, say. It must read as zero all the same.
        // SAFETY: by contract.
        unsafe { ptr::write_bytes(base, 0, bytes) };
    }
}

/// Makes a page fault on every access, for as long as its reservation lives. `install`: as `has_guard_install` says.
///
/// # Safety
/// As for `discard`.
pub unsafe fn guard(page: *mut u8, install: bool) -> io::Result<()> {
    faults::check(faults::Call::Guard)?;
    // SAFETY: by contract.
    unsafe {
        if install {
            checked(madvise(page.cast(), PAGE_BYTES, MADV_GUARD_INSTALL))
        } else {
            checked(mprotect(page.cast(), PAGE_BYTES, PROT_NONE))
        }
    }
}

/// Whether guard pages take no mappings of their own.
pub fn has_guard_install() -> bool {
    let Ok(page) = reserve(PAGE_BYTES) else {
        return false;
    };
    // SAFETY: a reservation of one page, which nobody else knows.
    unsafe {
        let installed = guard(page, true).is_ok();
        release(page, PAGE_BYTES);
        installed
    }
}

#[cfg(not(test))]
mod faults {
    pub enum Call {
        Reserve,
        Discard,
        Guard,
    }

    pub fn check(_: Call) -> std::io::Result<()> {
        Ok(())
    }
}

/// Failures on order.
#[cfg(test)]
pub mod faults {
    use std::cell::Cell;
    use std::io;

    #[derive(Clone, Copy, PartialEq, Eq)]
    pub enum Call {
        Reserve,
        Discard,
        Guard,
    }

    thread_local! {
        static FAILING: Cell<Option<Call>> = const { Cell::new(None) };
    }

    /// Runs `body` while every such call of this thread fails for want of memory.
    pub fn with<R>(call: Call, body: impl FnOnce() -> R) -> R {
        FAILING.set(Some(call));
        let result = body();
        FAILING.set(None);
        result
    }

    pub fn check(call: Call) -> io::Result<()> {
        const ENOMEM: i32 = 12;
        if FAILING.get() == Some(call) {
            Err(io::Error::from_raw_os_error(ENOMEM))
        } else {
            Ok(())
        }
    }
}
