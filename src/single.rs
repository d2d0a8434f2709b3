//! Single-block mode: one block at a time, using nothing of the thread.
//!
//! It serves checked mode, a thread that is registering or has ended, and a call that a signal
//! handler makes inside a slow call of its own thread. An allocation takes one block under any lock
//! that it gets, a free is one remote free.

use crate::check;
use crate::heap::{self, Batch};
use crate::hit;
use crate::misuse::{Fault, Misuse};
use crate::size_class::Class;
use core::ptr;

/// Allocates one block of `class`. NULL if there is no memory.
pub(crate) fn allocate(class: Class) -> *mut u8 {
    let mut block: *mut u8 = ptr::null_mut();
    // SAFETY: one slot is asked for, and there is one.
    let mut batch = unsafe { Batch::below((&raw mut block).add(1)) };
    let mut home = (hit::token() / 64) as u32 % heap::count().max(1); // spread threads that have no heap
    if !heap::refill(&mut home, class, 1, &mut batch) {
        // Waits for locks, but not for one that this thread holds itself.
        heap::reclaim();
        if !heap::refill(&mut home, class, 1, &mut batch) {
            return ptr::null_mut();
        }
    }
    check::born(block);
    block
}

/// Frees one block of a slab, whose class must be `class` if one is given, or one that holds it; in checked mode
/// no block has another class than it was asked for.
pub(crate) fn free(block: *mut u8, class: Option<Class>) -> Result<(), Misuse> {
    let pointer = block as usize;
    let wrong = |fault| Misuse { fault, pointer };
    let place = heap::locate(pointer).map_err(wrong)?;
    let is_one = |class| place.class == class || place.class.holds(class) && !check::is_on();
    if class.is_some_and(|class| !is_one(class)) {
        return Err(wrong(Fault::WrongSize));
    }
    check::dies(block).map_err(wrong)?;
    heap::free_block(&place)?;
    crate::stats::count_remote(place.class, 1);
    Ok(())
}
