//! The slab tier's memories and stacks: slots of a few large reservations, so that a guest costs no mapping of its own
//! and their number is bounded by memory and not by `vm.max_map_count`.
//!
//! Why this isolates as hard as the pool does:
//!
//! 1. *Access.* The pool leans on address space: 4 GiB and a guard behind each memory, so that no 32-bit address can
//!    leave it. Here code is compiled for a reservation and a guard of zero bytes, so each access is compared with the
//!    memory's length, and Cranelift's Spectre guard turns the address of a refused one into null, also in
//!    speculation. Nothing behind a memory's length is ever addressed, whatever lies there; `new_memory` refuses to make
//!    a memory for code compiled with other settings. The length and the base are read anew after whatever may have
//!    changed them, because the memory is declared as one that may move.
//! 2. *Stacks.* Code of a guest checks its own limit. The host functions that it calls may have what is left, and a page
//!    that faults lies below each stack, as in the pool; none is shared.
//! 3. *Remains.* What a guest touched is given back to the system before its slot can be taken again, memory and stack
//!    alike, always. Where the system refuses, it is overwritten. Pages beyond a memory's length were never written:
//!    by the guest because of 1, by the host because Wasmtime hands out no more than the length.
//! 4. *Double use.* A slot is owned by the value that frees it when dropped, once.
//!
//! Memories lie in classes by size, each four times the one before; one that outgrows its slot moves to a larger one, pages
//! of zeros left out. So small guests share the pages of page tables, and few sizes suffice.

use crate::os::{self, PAGE_BYTES};
use std::fmt;
use std::ops::Range;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wasmtime::{Error, LinearMemory, MemoryCreator, MemoryType, Result, StackCreator, StackMemory, bail};

const SMALLEST_CLASS_BYTES: usize = 128 << 10;
const CLASS_FACTOR: usize = 4;

/// How a message begins that says the tier has no room: what Wasmtime passes on of a failed memory is a text.
pub const NO_ROOM: &str = "the engine has no room for another";

/// Why a slot could not be had.
#[derive(Debug)]
pub struct NoRoom {
    what: &'static str,
    why: String,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{NO_ROOM} {}: {}", self.what, self.why)
    }
}

impl std::error::Error for NoRoom {}

/// Sizes of the tier.
#[derive(Clone, Copy)]
pub struct SlabSizes {
    pub stacks_max: usize,
    pub stack_bytes: usize,
    pub memories_max: usize,
    /// The largest memory.
    pub memory_bytes_max: usize,
    /// Address space of all stacks, and of all memories of one class: of large memories there are fewer.
    pub region_bytes_max: usize,
}

/// Equal slots in one reservation, made when the first is taken. Threads: any.
struct Region {
    what: &'static str,
    slot_bytes: usize,
    slots_max: usize,
    /// The first page of a slot is its guard.
    guarded: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    base: usize,
    /// Slots from here on were never taken.
    fresh: usize,
    /// Free again, and zero.
    returned: Vec<u32>,
    used: usize,
}

impl Region {
    fn new(what: &'static str, slot_bytes: usize, slots_max: usize, bytes_max: usize, guarded: bool) -> Region {
        Region {
            what,
            slot_bytes,
            slots_max: slots_max.min(bytes_max / slot_bytes).max(1),
            guarded,
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock panics; and the state would be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self, error: impl fmt::Display) -> NoRoom {
        NoRoom {
            what: self.what,
            why: format!("the system refuses memory: {error}"),
        }
    }

    fn make(&self, state: &mut State) -> Result<(), NoRoom> {
        // Its room is there before the slots are, so that giving one back cannot fail.
        let room = state.returned.try_reserve_exact(self.slots_max);
        room.map_err(|error| self.refused(error))?;
        let base = os::reserve(self.slot_bytes * self.slots_max).map_err(|error| self.refused(error))?;
        state.base = base as usize;
        Ok(())
    }

    /// A slot of zeros: its number and its address.
    fn take(&self, install_guards: bool) -> Result<(u32, *mut u8), NoRoom> {
        let mut state = self.lock();
        if state.base == 0 {
            self.make(&mut state)?;
        }
        let base = state.base;
        let address = |slot: u32| (base + slot as usize * self.slot_bytes) as *mut u8;
        if let Some(slot) = state.returned.pop() {
            let at = address(slot);
            state.used += 1;
            return Ok((slot, at));
        }
        if state.fresh == self.slots_max {
            return Err(NoRoom {
                what: self.what,
                why: format!("all {} are taken", self.slots_max),
            });
        }
        let slot = u32::try_from(state.fresh).map_err(|error| self.refused(error))?;
        let at = address(slot);
        if self.guarded {
            // SAFETY: the first page of a slot that nobody has.
            unsafe { os::guard(at, install_guards) }.map_err(|error| self.refused(error))?;
        }
        state.fresh += 1;
        state.used += 1;
        Ok((slot, at))
    }

    /// # Safety
    /// The slot must have been taken, and be zero but for its guard; nobody may use it any more.
    unsafe fn give(&self, slot: u32) {
        let mut state = self.lock();
        state.used -= 1;
        state.returned.push(slot);
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let base = self.lock().base;
        if base != 0 {
            // SAFETY: slots hold on to the slab, so there are none any more.
            unsafe { os::release(base as *mut u8, self.slot_bytes * self.slots_max) };
        }
    }
}

/// Threads: any.
pub struct Slab {
    stacks: Region,
    classes: Vec<Region>,
    stack_bytes: usize,
    memory_bytes_max: usize,
    install_guards: bool,
}

impl Slab {
    pub fn new(sizes: SlabSizes) -> Result<Arc<Slab>> {
        if !sizes.stack_bytes.is_multiple_of(PAGE_BYTES) || sizes.stack_bytes == 0 {
            bail!("a stack has {} bytes, which are no whole pages", sizes.stack_bytes);
        }
        let mut classes = Vec::new();
        let mut bytes = SMALLEST_CLASS_BYTES;
        loop {
            classes.push(Region::new(
                "memory",
                bytes,
                sizes.memories_max,
                sizes.region_bytes_max,
                false,
            ));
            if bytes >= sizes.memory_bytes_max {
                break;
            }
            bytes = bytes.saturating_mul(CLASS_FACTOR);
        }
        Ok(Arc::new(Slab {
            stacks: Region::new(
                "stack",
                PAGE_BYTES + sizes.stack_bytes,
                sizes.stacks_max,
                sizes.region_bytes_max,
                true,
            ),
            classes,
            stack_bytes: sizes.stack_bytes,
            memory_bytes_max: sizes.memory_bytes_max,
            install_guards: os::has_guard_install(),
        }))
    }

    pub fn stacks_used(&self) -> usize {
        self.stacks.lock().used
    }

    pub fn memories_used(&self) -> usize {
        self.classes.iter().map(|class| class.lock().used).sum()
    }

    /// A slot of the smallest class with room for so many bytes; a full one is passed over.
    fn take_memory(self: &Arc<Slab>, bytes: usize) -> Result<SlabMemory, NoRoom> {
        if bytes > self.memory_bytes_max {
            return Err(NoRoom {
                what: "memory",
                why: format!("{bytes} bytes, and at most {} are allowed", self.memory_bytes_max),
            });
        }
        let mut refused = None;
        for (class, region) in self.classes.iter().enumerate() {
            if region.slot_bytes < bytes {
                continue;
            }
            match region.take(self.install_guards) {
                Ok((slot, base)) => {
                    return Ok(SlabMemory {
                        slab: Arc::clone(self),
                        class,
                        slot,
                        base: Base(base),
                        capacity: region.slot_bytes,
                        bytes,
                    });
                }
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(refused.unwrap_or(NoRoom {
            what: "memory",
            why: "there is no size for it".to_owned(),
        }))
    }
}

#[derive(Clone, Copy)]
struct Base(*mut u8);
// SAFETY: the slot behind it is used by its owner alone.
unsafe impl Send for Base {}
// SAFETY: as above.
unsafe impl Sync for Base {}

/// One linear memory. Threads: one owner.
struct SlabMemory {
    slab: Arc<Slab>,
    class: usize,
    slot: u32,
    base: Base,
    capacity: usize,
    bytes: usize,
}

/// Copies what is not zero, page by page, so that pages nobody wrote stay none.
///
/// # Safety
/// Both must be valid for `bytes`, and not overlap; `to` must be zero.
unsafe fn copy_written(from: *const u8, to: *mut u8, bytes: usize) {
    static ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];
    let mut at = 0;
    while at < bytes {
        let count = PAGE_BYTES.min(bytes - at);
        // SAFETY: inside both by contract.
        unsafe {
            let page = std::slice::from_raw_parts(from.add(at), count);
            if Some(page) != ZEROS.get(..count) {
                ptr::copy_nonoverlapping(from.add(at), to.add(at), count);
            }
        }
        at += count;
    }
}

// SAFETY: the base stays valid and zero-filled for `capacity` bytes until the value is dropped, and moves in `grow_to` only
// beyond that.
unsafe impl LinearMemory for SlabMemory {
    fn byte_size(&self) -> usize {
        self.bytes
    }

    fn byte_capacity(&self) -> usize {
        self.capacity
    }

    fn grow_to(&mut self, new_size: usize) -> Result<()> {
        if new_size > self.capacity {
            let mut larger = self.slab.take_memory(new_size)?;
            // SAFETY: two slots; the larger one is new and so zero, and has room for what this one has.
            unsafe { copy_written(self.base.0, larger.base.0, self.bytes) };
            std::mem::swap(self, &mut larger);
        } else if new_size > self.slab.memory_bytes_max {
            bail!(
                "{new_size} bytes of memory, and at most {} are allowed",
                self.slab.memory_bytes_max
            );
        }
        self.bytes = new_size;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.base.0
    }
}

impl Drop for SlabMemory {
    fn drop(&mut self) {
        let Some(region) = self.slab.classes.get(self.class) else {
            return;
        };
        // SAFETY: the slot is ours until `give`; nothing beyond its length was written to.
        unsafe {
            os::discard(self.base.0, self.bytes.next_multiple_of(PAGE_BYTES));
            region.give(self.slot);
        }
    }
}

pub struct SlabMemories(pub Arc<Slab>);

// SAFETY: memories are zero-filled, owned, and for code that checks every access; see above.
unsafe impl MemoryCreator for SlabMemories {
    fn new_memory(
        &self,
        ty: MemoryType,
        minimum: usize,
        _maximum: Option<usize>,
        reserved_size_in_bytes: Option<usize>,
        guard_size_in_bytes: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        if ty.is_shared() || reserved_size_in_bytes != Some(0) || guard_size_in_bytes != 0 {
            return Err("this memory needs address space that the slab does not have".to_owned());
        }
        match self.0.take_memory(minimum) {
            Ok(memory) => Ok(Box::new(memory)),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The stack of one guest. Threads: one owner.
struct SlabStack {
    slab: Arc<Slab>,
    slot: u32,
    guard: Base,
}

impl SlabStack {
    fn bottom(&self) -> *mut u8 {
        self.guard.0.wrapping_add(PAGE_BYTES)
    }
}

// SAFETY: page aligned and zero-filled, with a page below it that faults.
unsafe impl StackMemory for SlabStack {
    fn top(&self) -> *mut u8 {
        self.bottom().wrapping_add(self.slab.stack_bytes)
    }

    fn range(&self) -> Range<usize> {
        self.bottom() as usize..self.top() as usize
    }

    fn guard_range(&self) -> Range<*mut u8> {
        self.guard.0..self.bottom()
    }
}

impl Drop for SlabStack {
    fn drop(&mut self) {
        // SAFETY: the slot is ours until `give`.
        unsafe {
            os::discard(self.bottom(), self.slab.stack_bytes);
            self.slab.stacks.give(self.slot);
        }
    }
}

pub struct SlabStacks(pub Arc<Slab>);

// SAFETY: stacks are zero-filled, owned and guarded.
unsafe impl StackCreator for SlabStacks {
    fn new_stack(&self, size: usize, _zeroed: bool) -> Result<Box<dyn StackMemory>, Error> {
        if size != self.0.stack_bytes {
            bail!("a stack of {size} bytes, and the slab's have {}", self.0.stack_bytes);
        }
        let (slot, guard) = self.0.stacks.take(self.0.install_guards)?;
        Ok(Box::new(SlabStack {
            slab: Arc::clone(&self.0),
            slot,
            guard: Base(guard),
        }))
    }
}

#[cfg(test)]
#[path = "slab_test.rs"]
mod tests;
