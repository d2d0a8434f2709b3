//! Pages inside slabs: a slab with few live blocks gives back those that hold none.
//!
//! Take, advise, give back. Under the heap's lock the pages' free blocks are *taken*: their bits in
//! `local` are cleared, as if they were allocated, so that nobody can hand them out. The lock is
//! given up, the system is told, and the blocks come back as remote frees. A block of such a page
//! that the program frees a second time meanwhile is found by the add or by the fold. A thread that
//! vanishes in a fork in between leaks the pages of one `Taken`.
//!
//! A slab's `purged` says which pages were returned since it was last its class's current slab; only
//! slabs that are not current give pages back, so no refill needs to look at it.
//!
//! On the way of a call: one step at every 16th flush of a heap, 16 slabs looked at, one vector call
//! of up to 8 runs of pages, and none before a whole walk over the heap's slabs has found more free
//! and resident bytes than the settings allow. A slab is passed over the first time, and again
//! whenever its number of blocks in use has changed since: what is about to be reused stays.

use super::lock::{Held, try_lock};
use super::{hint, remote, sweep};
use crate::arena::{purge, tables, window};
use crate::layout::{GRANULE_SHIFT, Heap, Pages, RUN, Record, UNIT_BYTES};
use crate::misuse::{Fault, Misuse};
use crate::os::advise::{Range, purge_ranges, takes_vectors};
use crate::size_class::Class;
use core::sync::atomic::{AtomicU32, Ordering};

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
const SMALL_HEAP: u32 = 32;
/// Bytes of a class that must have been out before half of them coming back asks for a walk.
const WORTH_A_WALK: usize = 256 << 10;
/// Each heap has this part of the floor.
const FLOOR_PARTS: usize = 4;
/// Most runs of pages that are taken together.
pub(super) const MOST_RUNS: usize = 64;

/// Pages in a row that were taken out of a slab.
#[derive(Clone, Copy)]
struct Run {
    unit: u32,
    class: u8,
    /// First page in the unit, and how many.
    first: u8,
    pages: u8,
}

/// What was taken under one hold of a lock. Given back by `finish`, once the lock is given up.
pub(super) struct Taken {
    runs: [Run; MOST_RUNS],
    len: usize,
    most: usize,
}

/// Calls `f(word, mask)` for the words of the bits `from..to`; stops at `false`.
#[inline]
pub(super) fn each_word(from: usize, to: usize, mut f: impl FnMut(usize, u64) -> bool) -> bool {
    let mut bit = from;
    while bit < to {
        let low = bit % 64;
        let here = (64 - low).min(to - bit);
        if !f(bit / 64, (u64::MAX >> (64 - here)) << low) {
            return false;
        }
        bit += here;
    }
    true
}

/// The bits of the blocks (granules) that lie in the bytes `from..to` of a slab, wholly or in part.
fn bits(record: &Record, class: usize, from: usize, to: usize) -> (usize, usize) {
    if class == RUN {
        return (from >> GRANULE_SHIFT, to >> GRANULE_SHIFT);
    }
    let size = Class::from_index(class).size();
    let blocks = record.blocks.load(Ordering::Relaxed) as usize;
    ((from / size).min(blocks), to.div_ceil(size).min(blocks))
}

/// The class that a page of a run slab is as a block.
fn class_of_page(page: usize) -> Option<Class> {
    Class::of(page).filter(|class| class.is_medium() && class.size() == page)
}

impl Taken {
    /// Room for `most` runs.
    pub(super) const fn new(most: usize) -> Self {
        let none = Run { unit: 0, class: 0, first: 0, pages: 0 };
        Self {
            runs: [none; MOST_RUNS],
            len: 0,
            most: if most < MOST_RUNS { most } else { MOST_RUNS },
        }
    }

    pub(super) const fn is_full(&self) -> bool {
        self.len == self.most
    }

    /// Takes the free pages of a slab of the heap whose lock is held, which is not current; their
    /// bytes. Reads at most 64 words of its bitmap.
    fn take(&mut self, record: &Record, unit: u32) -> usize {
        let class = record.identity().class();
        let page = tables::page();
        let pages = UNIT_BYTES / page;
        if pages < 2 || class == 0 || (class == RUN && class_of_page(page).is_none()) {
            return 0;
        }
        let mut bytes = 0;
        let mut first = 0;
        while first < pages && !self.is_full() {
            let purged = record.purged.load(Ordering::Relaxed);
            let is_free = |index: usize| {
                let (from, to) = bits(record, class, index * page, (index + 1) * page);
                purged >> index & 1 == 0
                    && each_word(from, to, |word, mask| {
                        record
                            .local
                            .get(word)
                            .is_some_and(|word| word.load(Ordering::Relaxed) & mask == mask)
                    })
            };
            if !is_free(first) {
                first += 1;
                continue;
            }
            let mut end = first + 1;
            while end < pages && is_free(end) {
                end += 1;
            }
            let (from, to) = bits(record, class, first * page, end * page);
            each_word(from, to, |word, mask| {
                if let Some(word) = record.local.get(word) {
                    word.store(word.load(Ordering::Relaxed) & !mask, Ordering::Relaxed);
                }
                true
            });
            let used = record.used.load(Ordering::Relaxed) + (to - from) as u32;
            record.used.store(used, Ordering::Relaxed);
            if class == RUN
                && let Some(block) = class_of_page(page)
            {
                // Each page is a block of its own class until it comes back.
                for granule in (from..to).step_by(page >> GRANULE_SHIFT) {
                    super::run::start_block(unit, granule, block);
                }
            }
            record.purged.store(purged | ((1 << (end - first)) - 1) << first, Ordering::Relaxed);
            if let Some(slot) = self.runs.get_mut(self.len) {
                let (class, pages) = (class as u8, (end - first) as u8);
                *slot = Run { unit, class, first: first as u8, pages };
                self.len += 1;
            }
            bytes += (end - first) * page;
            first = end;
        }
        bytes
    }

    /// Returns the pages to the system and the blocks to their slabs. No lock is held. Bytes
    /// returned, and system calls made.
    pub(super) fn finish(self) -> Result<purge::Purged, Misuse> {
        let runs = self.runs.get(..self.len).unwrap_or(&[]);
        if runs.is_empty() {
            return Ok(purge::Purged::default());
        }
        let page = tables::page();
        let mut ranges = [Range { address: 0, len: 0 }; MOST_RUNS];
        for (run, range) in runs.iter().zip(&mut ranges) {
            range.address = window::address_of(run.unit) + usize::from(run.first) * page;
            range.len = usize::from(run.pages) * page;
        }
        let ranges = ranges.get(..runs.len()).unwrap_or(&[]);
        let (done, calls) = purge_ranges(ranges);
        let bytes = ranges.iter().take(done).map(|range| range.len).sum();
        // All of them come back before a fault is reported.
        let mut outcome = Ok(());
        for run in runs {
            outcome = outcome.and(run.give_back(page));
        }
        outcome.map(|()| purge::Purged { bytes, calls })
    }
}

impl Run {
    /// Frees the run's blocks without the lock.
    fn give_back(&self, page: usize) -> Result<(), Misuse> {
        // SAFETY: a slab whose blocks are taken is not retired, so its unit is below the bound.
        let record = unsafe { tables::record(self.unit) };
        let class = usize::from(self.class);
        let first = usize::from(self.first) * page;
        let (from, to) = bits(record, class, first, first + usize::from(self.pages) * page);
        let mut twice = None;
        each_word(from, to, |word, mut mask| {
            if class == RUN {
                mask &= every(page >> GRANULE_SHIFT);
            }
            if mask != 0
                && let Err(bits) = remote::add(record, self.unit, class, word, mask)
            {
                twice = Some(word * 64 + bits.trailing_zeros() as usize);
            }
            true
        });
        let Some(index) = twice else { return Ok(()) };
        let size = if class == RUN { 1 << GRANULE_SHIFT } else { Class::from_index(class).size() };
        let pointer = window::address_of(self.unit) + index * size;
        Err(Misuse { fault: Fault::DoubleFree, pointer })
    }
}

/// Every `step`th bit of a word, or its first alone.
const fn every(step: usize) -> u64 {
    let mut bits = 0;
    let mut bit = 0;
    while bit < 64 {
        bits |= 1 << bit;
        bit += step;
    }
    bits
}

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
    let excess = idle.saturating_sub(purge::allowance(live, FLOOR_PARTS));
    state.excess.store(excess, Ordering::Relaxed);
    let mut any = false;
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
                // A few slabs are half free by chance now and then.
                let part = if slabs <= 4 { 3 } else { 2 };
                let is = slabs > 1 && part * used < slabs * UNIT_BYTES;
                sparse.store(is, Ordering::Relaxed);
                any |= is;
            }
        }
    }
    let small = state.met.swap(0, Ordering::Relaxed) < SMALL_HEAP;
    if !any && excess == 0 {
        let pause = if small { PAUSE_SMALL } else { PAUSE_DENSE };
        state.pause.store(pause, Ordering::Relaxed);
    }
}

/// Asks for a walk when half of what a class had out at most has come back. For every 8th flush;
/// counts only what this heap's threads flush, the rest is left to the slow walks.
#[inline(always)]
pub(super) fn watch(held: &Held, class: Class) {
    let pages = &held.heap().pages;
    let counters = held.counters(class);
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

/// Has the next steps come soon, and lets them take pages before a walk has summed up.
#[cold]
#[inline(never)]
fn hurry(pages: &Pages, freed: usize, live: usize) {
    let excess = freed.saturating_sub(purge::allowance(live, FLOOR_PARTS));
    let excess = excess.max(pages.excess.load(Ordering::Relaxed));
    pages.excess.store(excess, Ordering::Relaxed);
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
        let add = |sum: &AtomicU32, by: usize| {
            sum.store(sum.load(Ordering::Relaxed).saturating_add(by as u32), Ordering::Relaxed);
        };
        add(used_by_class, used);
        add(slabs, 1);
        add(&state.met, 1);
        state.live.store(state.live.load(Ordering::Relaxed) + used, Ordering::Relaxed);
        if 2 * used > UNIT_BYTES || held.current(class).load(Ordering::Relaxed) == unit {
            continue;
        }
        let gone = record.purged.load(Ordering::Relaxed).count_ones() as usize * tables::page();
        let idle = (UNIT_BYTES - used).saturating_sub(gone);
        state.idle.store(state.idle.load(Ordering::Relaxed) + idle, Ordering::Relaxed);
        let seen = 1 + record.used.load(Ordering::Relaxed);
        let excess = state.excess.load(Ordering::Relaxed);
        if record.seen.swap(seen, Ordering::Relaxed) != seen || excess == 0 {
            continue;
        }
        let bytes = tidy_and_take(held, record, unit, taken)?;
        state.excess.store(excess.saturating_sub(bytes), Ordering::Relaxed);
    }
    Ok(())
}

/// Folds a slab, and takes its free pages unless it turns out to be empty or is current.
pub(super) fn tidy_and_take(
    held: &Held,
    record: &Record,
    unit: u32,
    taken: &mut Taken,
) -> Result<usize, Misuse> {
    sweep::tidy(held, unit)?;
    let class = record.identity().class();
    if class == 0 || held.current(class).load(Ordering::Relaxed) == unit {
        return Ok(0);
    }
    let bytes = taken.take(record, unit);
    record.seen.store(1 + record.used.load(Ordering::Relaxed), Ordering::Relaxed);
    Ok(bytes)
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
    let mut taken = Taken::new(runs);
    let urgent = heap.pages.pause.load(Ordering::Relaxed) <= PAUSE_MOST;
    let slabs = if urgent { 2 * SLABS_PER_STEP } else { SLABS_PER_STEP };
    let outcome = walk(&held, slabs, &mut taken);
    // While slabs change between two looks there is nothing to take, and no hurry.
    let pause = heap.pages.pause.load(Ordering::Relaxed);
    let pause = if taken.len != 0 { 0 } else { pause.max((2 * pause + 1).min(PAUSE_MOST)) };
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
    if let Some(sparse) = held.heap().pages.sparse.get(place(class.index())) {
        sparse.store(false, Ordering::Relaxed);
    }
}
