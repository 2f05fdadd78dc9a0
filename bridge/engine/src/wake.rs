//! The waker that guests are polled with.
//!
//! 1. While an instance is being polled its waker is borrowed from the instance and costs no allocation; only what keeps
//!    a waker (a timer, a socket, a stream) makes a counted copy, and all copies of one instance share it.
//! 2. A wake on the polling thread during the poll does not go to the embedder: it sets a flag in the poll's frame,
//!    and the instance is polled again in the same resume.
//! 3. A wake from anywhere else calls the embedder, which must take it at any time, also after the instance is gone.

#![allow(non_camel_case_types)]

use std::cell::{Cell, OnceCell};
use std::ffi::c_void;
use std::future::Future;
use std::pin::Pin;
use std::ptr;
use std::sync::Arc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

/// Makes a waiting instance runnable. `wake` may be called from any thread, at any time until the engine is freed, also
/// after the instance was dropped, any number of times; it must not block and must not call into this library.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rusm_waker {
    pub wake: Option<unsafe extern "C" fn(context: *mut c_void, id: u64)>,
    pub context: *mut c_void,
    pub id: u64,
}

struct SharedWaker(rusm_waker);

// SAFETY: `wake` may be called from any thread by contract, and the pointer is only handed back to it.
unsafe impl Send for SharedWaker {}
// SAFETY: as above.
unsafe impl Sync for SharedWaker {}

impl SharedWaker {
    fn call(&self) {
        if let Some(wake) = self.0.wake {
            // SAFETY: the embedder's contract for `rusm_waker`.
            unsafe { wake(self.0.context, self.0.id) };
        }
    }
}

/// The waker of one instance. Must not move while a frame of it is current.
pub struct WakeSlot {
    target: Cell<rusm_waker>,
    shared: OnceCell<Arc<SharedWaker>>,
}

impl Default for WakeSlot {
    fn default() -> WakeSlot {
        WakeSlot {
            target: Cell::new(rusm_waker {
                wake: None,
                context: ptr::null_mut(),
                id: 0,
            }),
            shared: OnceCell::new(),
        }
    }
}

impl WakeSlot {
    /// Takes effect for wakers made from now on; copies made before keep their target.
    pub fn set_target(&mut self, target: rusm_waker) {
        let old = self.target.replace(target);
        if (old.wake.map(|f| f as usize), old.context, old.id)
            != (target.wake.map(|f| f as usize), target.context, target.id)
        {
            self.shared.take();
        }
    }

    fn shared(&self) -> &Arc<SharedWaker> {
        self.shared.get_or_init(|| Arc::new(SharedWaker(self.target.get())))
    }
}

/// What happened during one poll. Lives on the stack of the resume.
pub struct Frame {
    slot: *const WakeSlot,
    woken: Cell<bool>,
    out_of_budget: Cell<bool>,
}

thread_local! {
    static CURRENT: Cell<*const Frame> = const { Cell::new(ptr::null()) };
}

impl Frame {
    /// Calls `poll` with a waker of `slot`, this frame being current meanwhile.
    pub fn run<R>(slot: &WakeSlot, poll: impl FnOnce(&Frame, &mut Context<'_>) -> R) -> R {
        struct Restore(*const Frame);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let frame = Frame {
            slot,
            woken: Cell::new(false),
            out_of_budget: Cell::new(false),
        };
        // SAFETY: the slot outlives this call, and so the borrowed waker, which nothing can keep without cloning it.
        let waker = unsafe { Waker::from_raw(RawWaker::new(ptr::from_ref(slot).cast(), &BORROWED)) };
        let waker = std::mem::ManuallyDrop::new(waker);
        let _restore = Restore(CURRENT.replace(&frame));
        poll(&frame, &mut Context::from_waker(&waker))
    }

    /// Whether something woke the instance during the poll; resets it.
    pub fn take_woken(&self) -> bool {
        self.woken.replace(false)
    }

    /// Whether the guest gave up its slice during the poll; resets it.
    pub fn take_out_of_budget(&self) -> bool {
        self.out_of_budget.replace(false)
    }
}

/// The current frame of this thread, if it belongs to the instance that `is` recognises by its slot.
fn note_wake(is: impl FnOnce(&WakeSlot) -> bool) -> bool {
    // A thread whose locals are already destroyed polls nothing.
    let current = CURRENT.try_with(Cell::get).unwrap_or(ptr::null());
    if current.is_null() {
        return false;
    }
    // SAFETY: a current frame is alive, and so is its slot.
    let (frame, slot) = unsafe { (&*current, &*(*current).slot) };
    if is(slot) {
        frame.woken.set(true);
        return true;
    }
    false
}

static BORROWED: RawWakerVTable = RawWakerVTable::new(clone_borrowed, wake_borrowed, wake_borrowed, drop_borrowed);
static SHARED: RawWakerVTable = RawWakerVTable::new(clone_shared, wake_shared, wake_shared_by_ref, drop_shared);

unsafe fn clone_borrowed(data: *const ()) -> RawWaker {
    // SAFETY: a borrowed waker points to a live slot.
    let slot = unsafe { &*data.cast::<WakeSlot>() };
    RawWaker::new(Arc::into_raw(Arc::clone(slot.shared())).cast(), &SHARED)
}

unsafe fn wake_borrowed(data: *const ()) {
    if !note_wake(|slot| ptr::eq(slot, data.cast())) {
        // SAFETY: a borrowed waker points to a live slot.
        SharedWaker(unsafe { &*data.cast::<WakeSlot>() }.target.get()).call();
    }
}

unsafe fn drop_borrowed(_data: *const ()) {}

unsafe fn clone_shared(data: *const ()) -> RawWaker {
    // SAFETY: a shared waker owns one count.
    unsafe { Arc::increment_strong_count(data.cast::<SharedWaker>()) };
    RawWaker::new(data, &SHARED)
}

unsafe fn wake_shared(data: *const ()) {
    // SAFETY: a shared waker owns one count, which this call consumes.
    unsafe {
        wake_shared_by_ref(data);
        drop_shared(data);
    }
}

unsafe fn wake_shared_by_ref(data: *const ()) {
    let data = data.cast::<SharedWaker>();
    if !note_wake(|slot| {
        slot.shared
            .get()
            .is_some_and(|shared| ptr::eq(Arc::as_ptr(shared), data))
    }) {
        // SAFETY: a shared waker owns one count.
        unsafe { &*data }.call();
    }
}

unsafe fn drop_shared(data: *const ()) {
    // SAFETY: a shared waker owns one count, which this call consumes.
    unsafe { Arc::decrement_strong_count(data.cast::<SharedWaker>()) };
}

/// Suspends a guest whose slice is over. Wakes nobody: the embedder resumes it when its turn comes.
#[derive(Default)]
pub struct YieldSlice {
    yielded: bool,
}

impl Future for YieldSlice {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        let current = CURRENT.get();
        if !current.is_null() {
            // SAFETY: a current frame is alive.
            unsafe { &*current }.out_of_budget.set(true);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    unsafe extern "C" fn count(context: *mut c_void, id: u64) {
        // SAFETY: the tests pass a live counter.
        unsafe { &*context.cast::<AtomicU64>() }.fetch_add(id, Ordering::Relaxed);
    }

    fn slot(counter: &AtomicU64, id: u64) -> WakeSlot {
        let mut slot = WakeSlot::default();
        slot.set_target(rusm_waker {
            wake: Some(count),
            context: ptr::from_ref(counter).cast_mut().cast(),
            id,
        });
        slot
    }

    #[test]
    fn a_wake_during_the_poll_is_noted_and_not_passed_on() {
        let calls = AtomicU64::new(0);
        let slot = slot(&calls, 1);
        let kept = Frame::run(&slot, |frame, cx| {
            cx.waker().wake_by_ref();
            assert!(frame.take_woken());
            let kept = cx.waker().clone();
            kept.wake_by_ref();
            assert!(frame.take_woken());
            assert!(!frame.take_woken());
            kept
        });
        assert_eq!(calls.load(Ordering::Relaxed), 0);
        kept.wake();
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_wake_from_another_thread_goes_to_the_embedder_also_during_the_poll() {
        let calls = AtomicU64::new(0);
        let slot = slot(&calls, 1);
        Frame::run(&slot, |frame, cx| {
            let kept = cx.waker().clone();
            assert!(std::thread::spawn(move || kept.wake()).join().is_ok());
            assert!(!frame.take_woken());
        });
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_nested_poll_of_another_instance_does_not_catch_the_wake() {
        let calls = AtomicU64::new(0);
        let (outer, inner) = (slot(&calls, 1), slot(&calls, 16));
        Frame::run(&outer, |outer_frame, outer_cx| {
            Frame::run(&inner, |inner_frame, _| {
                let clone = outer_cx.waker().clone();
                clone.wake();
                assert!(!inner_frame.take_woken());
            });
            assert!(!outer_frame.take_woken());
        });
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_waker_outlives_its_instance() {
        let calls = AtomicU64::new(0);
        let slot = slot(&calls, 1);
        let kept = Frame::run(&slot, |_, cx| cx.waker().clone());
        drop(slot);
        kept.wake();
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_slice_yields_once_without_waking() {
        let calls = AtomicU64::new(0);
        let slot = slot(&calls, 1);
        let mut slice = YieldSlice::default();
        Frame::run(&slot, |frame, cx| {
            assert!(Pin::new(&mut slice).poll(cx).is_pending());
            assert!(frame.take_out_of_budget());
            assert!(!frame.take_woken());
            assert!(Pin::new(&mut slice).poll(cx).is_ready());
            assert!(!frame.take_out_of_budget());
        });
        assert_eq!(calls.load(Ordering::Relaxed), 0);
    }
}
