//! Heaps: a lock and the slabs behind it.
//!
//! There are up to four heaps to a processor; a thread stays with the first one whose lock it gets.
//! The holder of a lock works on its slabs with plain loads and stores; everyone else frees into
//! them by one atomic add and a hint. This file has the two ways in: `refill` and `flush`.

mod hint;
mod lock;
mod remote;
mod run;
mod slab;
mod sweep;

pub(crate) use lock::{
    all, attach, attached, count, detach, heap, init, lock_all_for_fork, reset_threads,
    unlock_after_fork, wanted,
};
pub(crate) use remote::{free_block, locate};
pub(crate) use sweep::{reclaim, start_resweep};

use crate::arena::units;
use crate::layout::SLOTS;
use crate::misuse::{Misuse, report};
use crate::size_class::Class;
use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};
use lock::{Held, lock_any, try_any};

/// Blocks on their way between a heap and a magazine: `slots[SLOTS - len..]`, of each slab the
/// lowest address last, as a magazine wants them.
pub(crate) struct Batch {
    slots: [*mut u8; SLOTS],
    len: usize,
}

impl Batch {
    pub(crate) const fn new() -> Self {
        Self { slots: [ptr::null_mut(); SLOTS], len: 0 }
    }

    /// The blocks.
    pub(crate) fn blocks(&self) -> &[*mut u8] {
        self.slots.get(SLOTS - self.len..).unwrap_or(&[])
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where the next blocks go: they are written below this place.
    fn end(&mut self) -> *mut *mut u8 {
        // SAFETY: `len` is at most SLOTS.
        unsafe { self.slots.as_mut_ptr().add(SLOTS - self.len) }
    }

    /// Counts `taken` blocks that were written below `end`.
    fn grow(&mut self, taken: usize) {
        debug_assert!(self.len + taken <= SLOTS);
        self.len += taken;
    }

    fn push(&mut self, block: *mut u8) {
        debug_assert!(self.len < SLOTS);
        // SAFETY: refills ask for at most SLOTS - 1 blocks.
        unsafe { self.end().sub(1).write(block) };
        self.len += 1;
    }
}

/// Adds to a counter that only the holder of a lock writes.
#[inline]
fn bump(counter: &AtomicU64, by: usize) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(by as u64), Ordering::Relaxed);
}

/// Fills `out` with 1 to `want` blocks of `class`; `false` if there is no memory.
///
/// `home` is the heap to try first, and the heap that served. Bounded: the current slab, 4 slabs of
/// this heap, 2 of others, then a fresh unit. The only wait is for one lock of all.
pub(crate) fn refill(
    home: &mut u32,
    class: Class,
    want: usize,
    out: &mut Batch,
    token: usize,
) -> bool {
    let Some(held) = lock_any(home) else { return false };
    let outcome = take(&held, class, want, out);
    let retired = held.release();
    settle(outcome, retired);
    if out.len != 0 {
        return true;
    }
    // The lock is given up for the system calls that a fresh unit may need.
    let Some(unit) = units::claim(1, 1, token) else { return false };
    let Some(held) = lock_any(home) else {
        units::release(unit, 1);
        return false;
    };
    if class.is_medium() {
        run::carve(&held, unit);
    } else {
        slab::carve(&held, unit, class);
    }
    let outcome = take(&held, class, want, out);
    let retired = held.release();
    settle(outcome, retired);
    out.len != 0
}

fn take(held: &Held, class: Class, want: usize, out: &mut Batch) -> Result<(), Misuse> {
    let outcome = if class.is_medium() {
        run::take(held, class, want, out)
    } else {
        slab::take(held, class, want, out)
    };
    if out.len != 0 {
        let counters = held.counters(class);
        bump(&counters.refills, 1);
        bump(&counters.refilled_blocks, out.len);
    }
    outcome
}

/// Takes back blocks of one class. `home` as in `refill`.
///
/// With some heap's lock, its own blocks are plain writes and all others one atomic add to a word;
/// without, all are. Waits for nobody. Aborts if a pointer is not a block of that class.
pub(crate) fn flush(home: &mut u32, class: Class, blocks: &[*mut u8]) {
    match try_any(home) {
        Some(held) => {
            let outcome = remote::give_all(Some(&held), class, blocks).and_then(|()| {
                let counters = held.counters(class);
                bump(&counters.flushes, 1);
                bump(&counters.flushed_blocks, blocks.len());
                sweep::look_around(&held, 1)
            });
            let retired = held.release();
            settle(outcome, retired);
        }
        None => settle(remote::give_all(None, class, blocks), false),
    }
}

/// What is done once no lock is held: report misuse, purge if units came back.
fn settle(outcome: Result<(), Misuse>, retired: bool) {
    if let Err(misuse) = outcome {
        report(misuse);
    }
    if retired {
        units::purge_if_due();
    }
}
