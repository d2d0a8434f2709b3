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
//! When that is done on the way of a call is `walk.rs`'s matter, when on request `clear.rs`'s.

use super::lock::Held;
use super::{remote, sweep};
use crate::arena::{purge, tables, window};
use crate::layout::{GRANULE_SHIFT, RUN, Record, UNIT_BYTES};
use crate::misuse::{Fault, Misuse};
use crate::os::advise::{Range, purge_ranges};
use crate::size_class::Class;
use crate::sync::Ordering;
use core::mem::MaybeUninit;
use core::slice::from_raw_parts;

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
    /// The first `len` are written. Zeros for all of them cost more than most steps of a walk.
    runs: [MaybeUninit<Run>; MOST_RUNS],
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
        Self {
            runs: [MaybeUninit::uninit(); MOST_RUNS],
            len: 0,
            most: if most < MOST_RUNS { most } else { MOST_RUNS },
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
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
                slot.write(Run { unit, class, first: first as u8, pages });
                self.len += 1;
            }
            bytes += (end - first) * page;
            first = end;
        }
        bytes
    }

    /// Returns the pages to the system and the blocks to their slabs. No lock is held. Bytes
    /// returned, and system calls made.
    pub(super) fn finish(&self) -> Result<purge::Purged, Misuse> {
        // SAFETY: the first `len` runs are written, and no more than there are.
        let runs = unsafe { from_raw_parts(self.runs.as_ptr().cast::<Run>(), self.len) };
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
    #[inline(never)]
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
