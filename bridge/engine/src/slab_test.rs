use super::*;
use crate::os::faults::{Call, with};

const PAGE: usize = 64 << 10;
const STACK: usize = 128 << 10;

fn slab(stacks_max: usize, memories_max: usize) -> Result<Arc<Slab>> {
    Slab::new(SlabSizes {
        stacks_max,
        stack_bytes: STACK,
        memories_max,
        memory_bytes_max: 16 << 20,
        region_bytes_max: 1 << 30,
    })
}

fn stack(slab: &Arc<Slab>) -> Result<Box<dyn StackMemory>> {
    SlabStacks(Arc::clone(slab)).new_stack(STACK, false)
}

fn bytes(base: *mut u8, count: usize) -> &'static mut [u8] {
    // SAFETY: the tests ask for what they own.
    unsafe { std::slice::from_raw_parts_mut(base, count) }
}

fn is_zero(base: *mut u8, count: usize) -> bool {
    bytes(base, count).iter().all(|byte| *byte == 0)
}

#[test]
fn what_one_tenant_wrote_the_next_does_not_find() -> Result<()> {
    for refused in [None, Some(Call::Discard)] {
        let slab = slab(1, 1)?;
        let mut memory = slab.take_memory(PAGE)?;
        memory.grow_to(2 * PAGE)?;
        let base = memory.as_ptr();
        bytes(base, 2 * PAGE).fill(0xa5);
        let first = stack(&slab)?;
        let (bottom, size) = (first.range().start as *mut u8, first.range().len());
        bytes(bottom, size).fill(0xa5);
        let end = || drop((memory, first));
        match refused {
            Some(call) => with(call, end),
            None => end(),
        }
        let memory = slab.take_memory(PAGE)?;
        assert_eq!(memory.as_ptr(), base, "the slot is used again");
        assert!(is_zero(base, memory.byte_capacity()));
        let next = stack(&slab)?;
        assert_eq!(next.range().start as *mut u8, bottom);
        assert!(is_zero(bottom, size));
    }
    Ok(())
}

#[test]
fn a_memory_that_outgrows_its_slot_moves_with_what_it_holds() -> Result<()> {
    let slab = slab(1, 2)?;
    let mut memory = slab.take_memory(2 * PAGE)?;
    assert_eq!(memory.byte_capacity(), SMALLEST_CLASS_BYTES);
    let small = memory.as_ptr();
    bytes(small, 2 * PAGE)[PAGE + 7] = 42;
    memory.grow_to(3 * PAGE)?;
    assert_ne!(memory.as_ptr(), small);
    assert_eq!(memory.byte_size(), 3 * PAGE);
    assert_eq!(slab.memories_used(), 1, "the small slot is free again");
    let there = bytes(memory.as_ptr(), memory.byte_capacity());
    assert_eq!(there.iter().filter(|byte| **byte != 0).count(), 1);
    assert_eq!(there[PAGE + 7], 42);
    let next = slab.take_memory(PAGE)?;
    assert_eq!(next.as_ptr(), small);
    assert!(is_zero(small, SMALLEST_CLASS_BYTES));
    Ok(())
}

#[test]
fn a_full_slab_says_so_and_recovers() -> Result<()> {
    let slab = slab(2, 1)?;
    let held = (stack(&slab)?, stack(&slab)?);
    let refused = stack(&slab).err().map(|error| error.to_string());
    assert_eq!(
        refused.as_deref(),
        Some("the engine has no room for another stack: all 2 are taken")
    );
    drop(held);
    assert!(stack(&slab).is_ok());
    let mut larger = slab.take_memory(PAGE)?;
    // A full class is passed over, until there is none.
    let mut memories = Vec::new();
    let refused = loop {
        match slab.take_memory(PAGE) {
            Ok(memory) => memories.push(memory),
            Err(error) => break error.to_string(),
        }
    };
    assert_eq!(refused, "the engine has no room for another memory: all 1 are taken");
    assert_eq!(memories.len(), slab.classes.len() - 1);
    assert!(larger.grow_to(8 << 20).is_err(), "there is nowhere to move to");
    assert_eq!(larger.byte_size(), PAGE);
    drop(memories);
    larger.grow_to(8 << 20)?;
    assert!(larger.grow_to(17 << 20).is_err(), "more than any memory may have");
    Ok(())
}

#[test]
fn a_system_that_refuses_is_told_and_asked_again() -> Result<()> {
    let slab = slab(2, 2)?;
    let refused = with(Call::Reserve, || {
        slab.take_memory(PAGE).err().map(|error| error.to_string())
    });
    assert_eq!(
        refused.as_deref(),
        Some(
            "the engine has no room for another memory: the system refuses memory: Cannot allocate memory (os error 12)"
        )
    );
    assert!(with(Call::Guard, || stack(&slab).is_err()));
    assert_eq!((slab.memories_used(), slab.stacks_used()), (0, 0));
    let memory = slab.take_memory(PAGE)?;
    let stack = stack(&slab)?;
    assert_eq!((slab.memories_used(), slab.stacks_used()), (1, 1));
    drop((memory, stack));
    assert_eq!((slab.memories_used(), slab.stacks_used()), (0, 0));
    Ok(())
}

/// The page below a stack cannot be read: a system call that is to read it says so, instead of a signal.
fn can_be_read(address: *const u8) -> Result<bool> {
    use std::io::Write;
    let (_reader, mut writer) = std::io::pipe()?;
    // SAFETY: only the system reads it.
    Ok(writer.write(unsafe { std::slice::from_raw_parts(address, 1) }).is_ok())
}

#[test]
fn a_page_that_faults_lies_below_each_stack() -> Result<()> {
    let slab = slab(3, 1)?;
    let stacks = [stack(&slab)?, stack(&slab)?, stack(&slab)?];
    for stack in &stacks {
        assert_eq!(stack.guard_range().end as usize, stack.range().start);
        assert!(!can_be_read(stack.guard_range().start)?);
        assert!(can_be_read(stack.range().start as *const u8)?);
    }
    let guard = stacks[1].guard_range().start;
    drop(stacks);
    assert!(!can_be_read(guard)?, "nor after its tenant's end");
    Ok(())
}

#[test]
fn a_memory_for_code_that_does_not_check_its_accesses_is_refused() -> Result<()> {
    let creator = SlabMemories(slab(1, 1)?);
    let make = |reserved, guard| {
        let made = creator.new_memory(MemoryType::new(1, None), PAGE, None, Some(reserved), guard);
        made.map(|memory| memory.byte_size())
    };
    assert!(make(4 << 30, 0).is_err());
    assert!(make(0, 4096).is_err());
    assert_eq!(make(0, 0), Ok(PAGE));
    Ok(())
}
