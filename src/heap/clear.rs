//! Clearing heaps out, for those who ask: `purge` for all that there is, `maintain` for a little.
//!
//! Unlike the steps on the way of a call (`pages.rs`) this looks at every slab, the current ones too,
//! which are current no longer then: folds it, retires it if it is empty, and takes the pages that
//! hold no live block. One lock at a time, given up after at most 64 slabs or runs of pages.

use super::lock::{Held, all, heap, lock_patiently, try_lock};
use super::pages::{MOST_RUNS, Taken, tidy_and_take};
use super::{hint, settle, slab, sweep};
use crate::arena::purge::Purged;
use crate::arena::tables;
use crate::layout::{NO_UNIT, REQUESTED};
use crate::misuse::Misuse;
use crate::sync::Ordering;

/// Slabs that are looked at under one hold of a lock.
const SLICE: usize = 64;

/// What a slice came to.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cleared {
    /// Unit to go on from; `None` once all slabs of the heap were looked at.
    pub next: Option<u32>,
    /// Slabs looked at.
    pub slabs: usize,
    /// Pages returned.
    pub purged: Purged,
}

/// Clears out every heap. Waits for one lock at a time.
pub(crate) fn clear_all() -> Purged {
    let mut sum = Purged::default();
    for heap in all() {
        let mut from = 0;
        while let Some(held) = lock_patiently(heap) {
            let cleared = slice(held, from, SLICE, MOST_RUNS, true);
            sum.bytes += cleared.purged.bytes;
            sum.calls += cleared.purged.calls;
            let Some(next) = cleared.next else { break };
            from = next;
        }
    }
    sum
}

/// Clears out a few slabs of heap `index` from unit `from` on: those that did not change since they
/// were looked at last. `None` if the lock is taken.
pub(crate) fn clear_some(index: u32, from: u32, slabs: usize, runs: usize) -> Option<Cleared> {
    Some(slice(try_lock(heap(index))?, from, slabs.min(SLICE), runs, false))
}

fn slice(held: Held, from: u32, slabs: usize, runs: usize, every: bool) -> Cleared {
    let mut cleared = Cleared { next: Some(from), ..Cleared::default() };
    let mut taken = Taken::new(runs);
    let outcome = look(&held, slabs, every, &mut taken, &mut cleared);
    let retired = held.release();
    settle(outcome, false);
    let _ = retired; // who clears out sees to the free units next
    match taken.finish() {
        Ok(purged) => cleared.purged = purged,
        Err(misuse) => crate::misuse::report(misuse),
    }
    cleared
}

fn look(
    held: &Held,
    slabs: usize,
    every: bool,
    taken: &mut Taken,
    cleared: &mut Cleared,
) -> Result<(), Misuse> {
    while cleared.slabs < slabs && !taken.is_full() {
        let Some(at) = cleared.next else { break };
        cleared.slabs += 1;
        let unit = match hint::next_owned(held, at) {
            Ok(unit) => unit,
            Err(next) => {
                cleared.next = if next == 0 { None } else { Some(next) };
                continue;
            }
        };
        // SAFETY: owned slabs are below the bound.
        let record = unsafe { tables::record(unit) };
        let class = record.identity().class();
        let seen = 1 + record.used.load(Ordering::Relaxed);
        if every || record.seen.swap(seen, Ordering::Relaxed) == seen {
            let current = held.current(class);
            if current.load(Ordering::Relaxed) == unit {
                current.store(NO_UNIT, Ordering::Relaxed);
                record.purged.store(0, Ordering::Relaxed);
            }
            if tidy_and_take(held, record, unit, taken)? != 0 {
                let purged = record.purged.load(Ordering::Relaxed);
                record.purged.store(purged | REQUESTED, Ordering::Relaxed);
            }
            if taken.is_full() {
                cleared.next = Some(unit); // there may be more of it
                break;
            }
        } else if slab::is_hinted(unit, class) {
            sweep::tidy(held, unit)?;
        }
        cleared.next = Some(unit + 1);
    }
    Ok(())
}
