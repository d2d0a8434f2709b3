//! Sweeps: what others freed into slabs that nobody refills from any more must come back.
//!
//! Every 4th refill that leaves its slab for another, each that found none, and every 8th flush look at the next slabs of their heap
//! that have a hint (a turning cursor, any class): fold, retire, or leave hinted. `reclaim` does it
//! for every slab of every heap, in slices; after a fork each heap visits all of its slabs once,
//! hint or no hint, because a thread that vanished may have stood between its free and its hint.

use super::hint;
use super::lock::{Held, all, lock_patiently};
use super::{settle as report_and_purge, slab};
use crate::arena::{kept, shelf, tables, window};
use crate::bitset;
use crate::layout::{Identity, NO_UNIT, Record, UNIT_SHIFT};
use crate::misuse::Misuse;
use crate::size_class::SMALL_CLASSES;
use crate::sync::Ordering;

/// Refills that leave their slab to a sweep.
const REFILLS_PER_SWEEP: u32 = 4;
/// Slabs that a refill visits regardless of hints after a fork.
const RESWEEP: usize = 8;
/// Slabs that `reclaim` visits before it gives the lock up for a moment.
const SLICE: usize = 64;

/// Folds one slab, and retires it or sets its hint.
#[inline(never)]
pub(super) fn tidy(held: &Held, unit: u32) -> Result<(), Misuse> {
    // SAFETY: owned slabs are below the bound.
    let record = unsafe { tables::record(unit) };
    let class = record.identity().class();
    slab::clear_hint(record, unit, class);
    if held.current(class).load(Ordering::Relaxed) == unit {
        record.set_identity(record.identity().quiet());
        return slab::fold_any(record, unit, class);
    }
    slab::fold_any(record, unit, class)?;
    slab::settle_other(held, record, unit, class)
}

/// Whether `tidy` would leave a slab that has its hint as it is: one of a small class, not current, neither empty nor full,
/// into which nobody else has freed. Whoever does so now finds the hint set.
fn is_tidy(held: &Held, record: &Record, unit: u32, class: usize) -> bool {
    let used = record.used.load(Ordering::Relaxed);
    let blocks = record.blocks.load(Ordering::Relaxed);
    class <= SMALL_CLASSES
        && used != 0
        && used != blocks
        && record.identity() == Identity::new(class, held.index()).quiet()
        && held.current(class).load(Ordering::Relaxed) != unit
        && bitset::first_set(slab::words(&record.remote, blocks as usize)).is_none()
}

/// What a refill does that found blocks in another slab: looks around at every 4th time, since the lines of slabs that were not
/// looked at lately cost it as much as those it needs.
pub(super) fn after_refill(held: &Held) -> Result<(), Misuse> {
    let turns = &held.heap().refill_turn;
    let turn = turns.load(Ordering::Relaxed).wrapping_add(1);
    turns.store(turn, Ordering::Relaxed);
    if turn.is_multiple_of(REFILLS_PER_SWEEP) { look_around(held, 2) } else { Ok(()) }
}

/// Looks at the next `count` slabs of the heap behind its cursor.
pub(super) fn look_around(held: &Held, count: usize) -> Result<(), Misuse> {
    let heap = held.heap();
    let again = heap.resweep.load(Ordering::Relaxed);
    let count = if again != 0 { RESWEEP } else { count };
    for _ in 0..count {
        let from = heap.sweep.load(Ordering::Relaxed);
        match hint::next_owned(held, from) {
            Ok(unit) => {
                heap.sweep.store(unit + 1, Ordering::Relaxed);
                // SAFETY: owned slabs are below the bound.
                let record = unsafe { tables::record(unit) };
                let class = record.identity().class();
                let hinted = slab::is_hinted(unit, class);
                if again != 0 || hinted && !is_tidy(held, record, unit, class) {
                    tidy(held, unit)?;
                }
            }
            Err(next) => {
                heap.sweep.store(next, Ordering::Relaxed);
                if next == 0 && again != 0 {
                    heap.resweep.store(again - 1, Ordering::Relaxed);
                }
                break;
            }
        }
    }
    Ok(())
}

/// In the child of a fork: has every heap visit all of its slabs once more.
pub(crate) fn start_resweep() {
    for heap in all() {
        heap.sweep.store(0, Ordering::Relaxed);
        heap.resweep.store(1, Ordering::Relaxed);
    }
}

/// Folds every slab of every heap and gives the empty ones back, current slabs included, and the spans
/// that threads keep.
///
/// Waits for one lock at a time and gives it up after every 64 slabs. Whether any unit came back.
pub(crate) fn reclaim() -> bool {
    let mut any = kept::empty_all() | shelf::empty(true);
    for heap in all() {
        let mut from = 0;
        loop {
            let Some(held) = lock_patiently(heap) else { break };
            let mut outcome = if from == 0 { release_current(&held) } else { Ok(()) };
            let mut done = false;
            for _ in 0..SLICE {
                if outcome.is_err() {
                    break;
                }
                match hint::next_owned(&held, from) {
                    Ok(unit) => {
                        from = unit + 1;
                        outcome = tidy(&held, unit);
                    }
                    Err(0) => {
                        done = true;
                        break;
                    }
                    Err(next) => from = next,
                }
            }
            any |= held.release();
            report_and_purge(outcome, false);
            if done || from as usize >= window::committed() >> UNIT_SHIFT {
                break;
            }
        }
    }
    any
}

/// Makes no slab current, so that empty ones can be retired; what they hold stays hinted.
pub(super) fn release_current(held: &Held) -> Result<(), Misuse> {
    for current in &held.heap().current {
        let unit = current.swap(NO_UNIT, Ordering::Relaxed);
        if unit != NO_UNIT {
            tidy(held, unit)?;
        }
    }
    Ok(())
}
