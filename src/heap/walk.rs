//! When slabs give pages back on the way of a call, and which classes are sparse.
//!
//! One step to every 16 flushes of a heap, fewer where the last walk found nothing to do: 16 slabs
//! looked at (32 while there is something), one vector call of up to 16 runs of pages, and none
//! before half of what a class had out has come back, or a whole walk over the heap's slabs has found
//! more free and resident bytes than the settings allow. A slab is passed over the first time, and
//! again whenever its number of blocks in use has changed since: what is about to be reused stays.

use super::hint;
use super::lock::{Held, try_lock};
use super::pages::{Taken, tidy_and_take};
use crate::arena::{purge, tables};
use crate::layout::{GRANULE_SHIFT, Heap, Pages, RUN, Record, UNIT_BYTES};
use crate::misuse::Misuse;
use crate::os::advise::takes_vectors;
use crate::rolled::opaque;
use crate::size_class::{CLASSES, Class};
use crate::sync::Ordering;

/// Slabs that one step on the way of a call looks at.
const SLABS_PER_STEP: usize = 16;
/// Runs of pages that it takes.
const RUNS_PER_STEP: usize = 16;
/// The same where the kernel wants a call for each.
const RUNS_ONE_BY_ONE: usize = 8;
/// Steps left out after one where the last walk found nothing to do, and in a heap of less than
/// `SMALL_HEAP` slabs.
const PAUSE_DENSE: u32 = 7;
const PAUSE_SMALL: u32 = 15;
/// The same while there may be something to do, but nothing was ripe lately.
const PAUSE_MOST: u32 = 3;
const SMALL_HEAP: usize = 32;
/// Bytes of a class that must have been out before half of them coming back asks for a walk.
const WORTH_A_WALK: usize = 256 << 10;
/// Most bytes that one look at a class counts as replaced.
const MOST_REPLACED: usize = 1 << 20;
/// Bytes replaced in a heap after which everybody's memory of the last peak fades.
const FORGOTTEN_AT_ONCE: usize = 256 << 10;
/// Each heap has this part of the floor.
const FLOOR_PARTS: usize = 4;
/// Bytes in use in a slab, by its header.
fn used_bytes(record: &Record, class: usize) -> usize {
    let used = record.used.load(Ordering::Relaxed) as usize;
    used * if class == RUN { 1 << GRANULE_SHIFT } else { Class::from_index(class).size() }
}

/// The place in the sums that a class has: all run slabs share one.
fn place(class: usize) -> usize {
    class.min(RUN)
}

/// The end of a walk: what is to go back until the next one's end, which classes are sparse, and how
/// often the next steps come.
#[cold]
fn sum_up(state: &Pages) {
    let live = state.live.swap(0, Ordering::Relaxed);
    let idle = state.idle.swap(0, Ordering::Relaxed);
    purge::note_idle(state.last_idle.swap(idle, Ordering::Relaxed), idle);
    let excess = match idle {
        0 => 0,
        _ => idle.saturating_sub(purge::allowance_of_slabs(live, FLOOR_PARTS, idle)),
    };
    // What was asked for while this walk was on its way stands until one has seen all of it.
    let hurried = if state.hurried.swap(false, Ordering::Relaxed) {
        state.excess.load(Ordering::Relaxed)
    } else {
        0
    };
    let excess = excess.max(hurried);
    state.excess.store(excess, Ordering::Relaxed);
    let mut any = false;
    let mut met = 0;
    for (index, word) in state.classes.iter().enumerate() {
        let mut bits = word.swap(0, Ordering::Relaxed);
        while bits != 0 {
            let class = index * 64 + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            if let (Some(used), Some(slabs), Some(sparse)) =
                (state.used.get(class), state.slabs.get(class), state.sparse.get(class))
            {
                let used = used.swap(0, Ordering::Relaxed) as usize;
                let slabs = slabs.swap(0, Ordering::Relaxed) as usize;
                met += slabs;
                // A few slabs are half free by chance now and then.
                let part = if slabs <= 4 { 3 } else { 2 };
                let is = slabs > 1 && part * used < slabs * UNIT_BYTES;
                sparse.store(is, Ordering::Relaxed);
                any |= is;
            }
        }
    }
    if !any && excess == 0 {
        let pause = if met < SMALL_HEAP { PAUSE_SMALL } else { PAUSE_DENSE };
        state.pause.store(pause, Ordering::Relaxed);
    }
}

/// Asks for a walk when half of what a class had out at most has come back. For every 8th flush;
/// counts only what this heap's threads flush, the rest is left to the slow walks.
#[inline(always)]
pub(super) fn watch(held: &Held, class: Class) {
    let pages = &held.heap().pages;
    let counters = held.heap().counters_of(class);
    let out = counters.refilled_blocks.load(Ordering::Relaxed) as u32;
    let out = out.wrapping_sub(counters.flushed_blocks.load(Ordering::Relaxed) as u32);
    let Some(peak) = pages.peak.get(class.index()) else { return };
    let most = peak.load(Ordering::Relaxed);
    if out > most && out < u32::MAX / 2 {
        peak.store(out, Ordering::Relaxed);
    } else if out < most / 2 && most as usize * class.size() >= WORTH_A_WALK {
        peak.store(out, Ordering::Relaxed);
        hurry(pages, (most - out) as usize * class.size(), out as usize * class.size());
    }
}

/// Counts what the refills of the class at the cursor took since it was last looked at here, if they took something before
/// that look, too: a load that only fills or only empties has replaced nothing.
#[cold]
#[inline(never)]
fn count_replaced(held: &Held) {
    let pages = &held.heap().pages;
    let Some(unit) = pages.cursor.load(Ordering::Relaxed).checked_sub(1) else { return };
    // SAFETY: the cursor is behind a unit that was below the bound.
    let class = unsafe { tables::record(unit) }.identity().class();
    if class == 0 {
        return; // it has gone
    }
    // Of a run slab's classes any.
    let class = if class != RUN { class } else { RUN + unit as usize % (CLASSES - RUN) };
    let class = Class::from_index(class);
    let Some(last) = pages.refilled.get(class.index()) else { return };
    let counted = held.heap().counters_of(class).refilled_blocks.load(Ordering::Relaxed) as u32;
    let before = last.load(Ordering::Relaxed);
    // The lowest bit says whether there were any.
    let blocks = (counted << 1).wrapping_sub(before & !1) >> 1;
    last.store(counted << 1 | u32::from(blocks != 0), Ordering::Relaxed);
    if blocks == 0 || before & 1 == 0 {
        return;
    }
    let bytes = (blocks as usize * class.size()).min(MOST_REPLACED);
    let sum = pages.replaced.load(Ordering::Relaxed) + bytes;
    if sum < FORGOTTEN_AT_ONCE {
        pages.replaced.store(sum, Ordering::Relaxed);
    } else {
        pages.replaced.store(0, Ordering::Relaxed);
        purge::forget(sum);
    }
}

/// Has the next steps come soon, and lets them take pages before a walk has summed up.
#[cold]
#[inline(never)]
fn hurry(pages: &Pages, freed: usize, live: usize) {
    let idle = pages.last_idle.load(Ordering::Relaxed);
    let excess = freed.saturating_sub(purge::allowance_of_slabs(live, FLOOR_PARTS, idle));
    let excess = excess.max(pages.excess.load(Ordering::Relaxed));
    pages.excess.store(excess, Ordering::Relaxed);
    pages.hurried.store(true, Ordering::Relaxed);
    pages.rest.store(0, Ordering::Relaxed);
    pages.pause.store(0, Ordering::Relaxed);
}

/// Goes on with the walk over the heap's slabs: sums up, and takes pages while there is an excess.
fn walk(held: &Held, slabs: usize, taken: &mut Taken) -> Result<(), Misuse> {
    let state = &held.heap().pages;
    for _ in 0..slabs {
        if taken.is_full() {
            break;
        }
        let unit = match hint::next_owned(held, state.cursor.load(Ordering::Relaxed)) {
            Ok(unit) => unit,
            Err(next) => {
                state.cursor.store(next, Ordering::Relaxed);
                if next != 0 {
                    continue;
                }
                sum_up(state);
                break;
            }
        };
        state.cursor.store(unit + 1, Ordering::Relaxed);
        // SAFETY: owned slabs are below the bound.
        let record = unsafe { tables::record(unit) };
        let class = record.identity().class();
        let Some((used_by_class, slabs)) =
            state.used.get(class).zip(state.slabs.get(class)).filter(|_| class != 0)
        else {
            continue;
        };
        let used = used_bytes(record, class);
        if let Some(word) = state.classes.get(class / 64) {
            word.store(word.load(Ordering::Relaxed) | 1 << (class % 64), Ordering::Relaxed);
        }
        let sum = used_by_class.load(Ordering::Relaxed).saturating_add(used as u32);
        used_by_class.store(sum, Ordering::Relaxed);
        slabs.store(slabs.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        state.live.store(state.live.load(Ordering::Relaxed) + used, Ordering::Relaxed);
        if 2 * used > UNIT_BYTES || held.current(class).load(Ordering::Relaxed) == unit {
            continue;
        }
        let gone = record.purged_pages() * tables::page();
        let idle = (UNIT_BYTES - used).saturating_sub(gone);
        state.idle.store(state.idle.load(Ordering::Relaxed) + idle, Ordering::Relaxed);
        let seen = 1 + record.used.load(Ordering::Relaxed);
        let excess = state.excess.load(Ordering::Relaxed);
        if record.seen.swap(seen, Ordering::Relaxed) != seen || excess == 0 {
            continue;
        }
        let bytes = tidy_and_take(held, record, unit, taken)?;
        purge::returned(bytes);
        state.excess.store(excess.saturating_sub(bytes), Ordering::Relaxed);
    }
    Ok(())
}

/// A step on the way of a call, if the heap's lock is free: see the head of this file.
#[inline(never)]
pub(super) fn step(heap: &'static Heap) {
    let rest = heap.pages.rest.load(Ordering::Relaxed);
    if rest != 0 {
        heap.pages.rest.store(rest - 1, Ordering::Relaxed);
        return;
    }
    let Some(held) = try_lock(heap) else { return };
    let runs = if takes_vectors() { RUNS_PER_STEP } else { RUNS_ONE_BY_ONE };
    let mut taken = Taken::new(opaque(runs)); // or the compiler makes the walk twice
    let urgent = heap.pages.pause.load(Ordering::Relaxed) <= PAUSE_MOST;
    let slabs = if urgent { 2 * SLABS_PER_STEP } else { SLABS_PER_STEP };
    let outcome = walk(&held, slabs, &mut taken);
    if purge::remembers() {
        count_replaced(&held);
    }
    // While slabs change between two looks there is nothing to take, and no hurry.
    let pause = heap.pages.pause.load(Ordering::Relaxed);
    let pause = if !taken.is_empty() { 0 } else { pause.max((2 * pause + 1).min(PAUSE_MOST)) };
    heap.pages.pause.store(pause, Ordering::Relaxed);
    heap.pages.rest.store(pause, Ordering::Relaxed);
    let retired = held.release();
    super::settle(outcome, retired);
    super::settle(taken.finish().map(drop), false);
}

/// Whether a class held several slabs and more than half of them was free lately.
pub(crate) fn is_sparse(heap: &Heap, class: Class) -> bool {
    heap.pages.sparse.get(place(class.index())).is_some_and(|sparse| sparse.load(Ordering::Relaxed))
}

/// A class needed a fresh slab: it is not sparse.
pub(super) fn note_fresh(held: &Held, class: Class) {
    purge::note_fresh();
    if let Some(sparse) = held.heap().pages.sparse.get(place(class.index())) {
        sparse.store(false, Ordering::Relaxed);
    }
}
