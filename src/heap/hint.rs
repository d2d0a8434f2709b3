//! Hints: which slabs may have free blocks, and which heap owns which slab.
//!
//! `claimable[row]` has a bit for each unit that may have something to take (row: a small class, or
//! for run slabs one row where a byte per unit says what fits and one where nobody knows);
//! `owned[heap]` one for each slab of a heap. Both lie by chunk, with one summary bit per row and
//! chunk in the group's words, so that a search reads a handful of words however large the window is.
//!
//! Invariant: a slab with a bit in local or remote is its heap's current slab of the class, or has
//! its bit in `claimable`, or a thread stands between its free and its hint. A hint may be stale
//! (the slab full, retired, or of another class by now); whoever follows it looks again.
//!
//! Summary protocol. Set: row bit, then summary bit. Clear: summary bit, then the row is read again
//! and the summary set again if it is not empty. All four accesses are sequentially consistent, so
//! one of the two sides sees the other. Modelled by `heap::models::a_hint_against_a_search_that_drops_the_summary`.

use super::lock::Held;
use crate::arena::tables;
use crate::bitset;
use crate::layout::{
    CHUNK_UNITS, CHUNK_WORDS, FITTING, GROUP_CHUNKS, HINTS, RUN, Record, Row, UNKNOWN,
};
use crate::rolled::opaque;
use crate::size_class::SMALL_CLASSES;
use crate::sync::{AtomicU64, Ordering};

/// Most chunks that one search looks into.
const SEARCH_CHUNKS: usize = 8;

/// Each byte's highest and lowest bit.
const HIGHEST: u64 = 0x8080_8080_8080_8080;
const LOWEST: u64 = 0x0101_0101_0101_0101;

fn word_and_bit(row: &'static Row, unit: u32) -> (&'static AtomicU64, u64) {
    let within = unit as usize % CHUNK_UNITS;
    // SAFETY: a chunk has 512 units and a row 512 bits.
    (unsafe { row.words.get_unchecked(within / 64) }, 1 << (within % 64))
}

fn place(unit: u32, row: usize) -> (&'static AtomicU64, u64) {
    // SAFETY: units that have hints are below the bound, and rows are hint classes or owners.
    word_and_bit(unsafe { tables::row(unit as usize / CHUNK_UNITS, row) }, unit)
}

fn summary(unit: u32, row: usize) -> (&'static AtomicU64, u64) {
    let chunk = unit as usize / CHUNK_UNITS;
    // SAFETY: as in `place`.
    (unsafe { tables::summary(chunk / GROUP_CHUNKS, row) }, 1 << (chunk % GROUP_CHUNKS))
}

fn set_bit(unit: u32, row: usize) {
    let (word, bit) = place(unit, row);
    word.fetch_or(bit, Ordering::SeqCst);
    let (summary, bit) = summary(unit, row);
    if summary.load(Ordering::SeqCst) & bit == 0 {
        summary.fetch_or(bit, Ordering::SeqCst);
    }
}

/// Says that a slab of `class`, a small one or `RUN`, may have something to take. For whoever has freed
/// without the lock, and so does not know what fits into a run slab.
#[inline]
pub(super) fn set(unit: u32, class: usize) {
    set_bit(unit, if class == RUN { UNKNOWN } else { class });
}

/// The same for the holder of the lock, who need not write what stands there already: nobody else
/// clears the hint of a slab of this heap.
#[inline]
pub(super) fn set_own(unit: u32, hint: usize) {
    if !is_set(unit, hint) {
        set_bit(unit, hint);
    }
}

/// Whether a slab has its hint.
#[inline]
pub(super) fn is_set(unit: u32, hint: usize) -> bool {
    let (word, bit) = place(unit, hint);
    word.load(Ordering::Relaxed) & bit != 0
}

/// Takes a hint back. Before a fold, never after it.
#[inline]
pub(super) fn clear(unit: u32, hint: usize) {
    let (word, bit) = place(unit, hint);
    if word.load(Ordering::Relaxed) & bit != 0 {
        word.fetch_and(!bit, Ordering::AcqRel);
    }
}

/// Makes a unit one of the heap's slabs, or no longer.
pub(super) fn set_owned(unit: u32, heap: u32, owned: bool) {
    let row = HINTS + heap as usize;
    if owned {
        set_bit(unit, row);
    } else {
        let (word, bit) = place(unit, row);
        word.fetch_and(!bit, Ordering::SeqCst);
        drop_empty_summary(unit as usize / CHUNK_UNITS, row);
    }
}

/// Clears a summary bit whose row is empty.
fn drop_empty_summary(chunk: usize, row: usize) {
    // SAFETY: the callers' chunks hold units below the bound.
    let words = unsafe { &tables::row(chunk, row).words };
    if words.iter().any(|word| word.load(Ordering::Relaxed) != 0) {
        return;
    }
    // SAFETY: as above.
    let summary = unsafe { tables::summary(chunk / GROUP_CHUNKS, row) };
    let bit = 1 << (chunk % GROUP_CHUNKS);
    summary.fetch_and(!bit, Ordering::SeqCst);
    if words.iter().any(|word| word.load(Ordering::SeqCst) != 0) {
        summary.fetch_or(bit, Ordering::SeqCst);
    }
}

/// Whether the heap with that index certainly has no slab, by a look without its lock: false too in a
/// window of more than one group of chunks.
#[inline]
pub(super) fn owns_none(heap: u32) -> bool {
    // SAFETY: the first chunk exists.
    let summary = unsafe { tables::summary(0, HINTS + heap as usize) };
    summary.load(Ordering::Relaxed) == 0 && chunks() <= GROUP_CHUNKS
}

fn chunks() -> usize {
    (crate::arena::window::committed() >> crate::layout::UNIT_SHIFT).div_ceil(CHUNK_UNITS)
}

/// The slabs that a search looks for.
pub(super) trait Wanted: Copy {
    /// The class whose place to go on from is used.
    fn class(self) -> usize;
    /// Chunks of a group that may have hints.
    fn chunks(self, group: usize) -> u64;
    /// Hints in word `index` of a chunk.
    fn hints(self, chunk: usize, index: usize) -> u64;
    /// The lowest unit within a chunk that has a hint and belongs to the heap, whose lock is held.
    fn lowest(self, chunk: usize, heap: usize) -> Option<usize>;
    /// Clears the summary bits of what is empty.
    fn drop_empty(self, chunk: usize);
}

/// Slabs of a small class.
#[derive(Clone, Copy)]
pub(super) struct OfClass(pub usize);

impl Wanted for OfClass {
    #[inline(always)]
    fn class(self) -> usize {
        self.0
    }

    #[inline(always)]
    fn chunks(self, group: usize) -> u64 {
        summary_of(group, self.0)
    }

    #[inline(always)]
    fn hints(self, chunk: usize, index: usize) -> u64 {
        word_of(chunk, self.0, index)
    }

    #[inline(always)]
    fn lowest(self, chunk: usize, heap: usize) -> Option<usize> {
        for index in 0..CHUNK_WORDS {
            let found = word_of(chunk, HINTS + heap, index) & self.hints(chunk, index);
            if found != 0 {
                return Some(index * 64 + found.trailing_zeros() as usize);
            }
        }
        None
    }

    fn drop_empty(self, chunk: usize) {
        drop_empty_summary(chunk, self.0);
    }
}

/// Run slabs into which a medium class may fit.
#[derive(Clone, Copy)]
pub(super) struct Fitting(pub usize);

impl Wanted for Fitting {
    #[inline(always)]
    fn class(self) -> usize {
        self.0
    }

    #[inline(always)]
    fn chunks(self, group: usize) -> u64 {
        summary_of(group, FITTING) | summary_of(group, UNKNOWN)
    }

    #[inline(always)]
    fn hints(self, chunk: usize, index: usize) -> u64 {
        let unknown = word_of(chunk, UNKNOWN, index);
        match word_of(chunk, FITTING, index) {
            0 => unknown,
            known => {
                // SAFETY: the callers' chunks hold units below the bound, and their words are 8.
                let fits = unsafe { tables::fits(chunk, index) };
                unknown | known & bitset::bytes_at_least(fits, fits_byte(self.0))
            }
        }
    }

    #[inline(always)]
    fn lowest(self, chunk: usize, heap: usize) -> Option<usize> {
        let least = fits_byte(self.0);
        // SAFETY: the callers' chunks hold units below the bound; `heap` is one.
        let most = unsafe { tables::most(chunk, heap) };
        // The highest bit of each byte that is at least `least`: none is above 127.
        let mut words = (most.load(Ordering::Relaxed) | HIGHEST) - LOWEST * u64::from(least);
        words &= HIGHEST;
        if summary_of(chunk / GROUP_CHUNKS, UNKNOWN) >> (chunk % GROUP_CHUNKS) & 1 != 0 {
            for index in 0..CHUNK_WORDS {
                if word_of(chunk, UNKNOWN, index) & word_of(chunk, HINTS + heap, index) != 0 {
                    words |= 0x80 << (8 * index);
                }
            }
        }
        while words != 0 {
            let index = words.trailing_zeros() as usize / 8;
            let found = word_of(chunk, HINTS + heap, index) & self.hints(chunk, index);
            if found != 0 {
                return Some(index * 64 + found.trailing_zeros() as usize);
            }
            // Nothing that is known fits; what does so later says it.
            let others = most.load(Ordering::Relaxed) & !(0xff << (8 * index));
            most.store(others | u64::from(least - 1) << (8 * index), Ordering::Relaxed);
            words &= words - 1;
        }
        None
    }

    fn drop_empty(self, chunk: usize) {
        drop_empty_summary(chunk, FITTING);
        drop_empty_summary(chunk, UNKNOWN);
    }
}

/// A medium class as the bytes of `FITS` have it.
#[inline(always)]
fn fits_byte(class: usize) -> u8 {
    (class - SMALL_CLASSES) as u8
}

/// Says of a run slab that it may have room for the class that its record says, and below. Its owner's
/// lock is held.
pub(super) fn set_fitting(record: &Record, unit: u32) {
    let (chunk, within) = (unit as usize / CHUNK_UNITS, unit as usize % CHUNK_UNITS);
    let byte = fits_byte(record.fits.load(Ordering::Relaxed) as usize);
    let heap = record.identity().owner().unwrap_or(0) as usize;
    // SAFETY: units that have hints are below the bound; a chunk has 8 words of 64 units.
    let (fits, most) = unsafe {
        (tables::fits(chunk, within / 64).get_unchecked(within % 64), tables::most(chunk, heap))
    };
    fits.store(byte, Ordering::Relaxed);
    let (all, shift) = (most.load(Ordering::Relaxed), within / 64 * 8);
    if ((all >> shift) as u8) < byte {
        most.store(all & !(0xff << shift) | u64::from(byte) << shift, Ordering::Relaxed);
    }
    set_own(unit, FITTING);
}

#[inline(always)]
fn summary_of(group: usize, row: usize) -> u64 {
    // SAFETY: the callers' groups hold units below the bound, and rows are hints or owners.
    unsafe { tables::summary(group, row) }.load(Ordering::Relaxed)
}

#[inline(always)]
fn word_of(chunk: usize, row: usize, index: usize) -> u64 {
    // SAFETY: as in `summary_of`; a row has 8 words.
    unsafe { tables::row(chunk, row).words.get_unchecked(index) }.load(Ordering::Relaxed)
}

/// The lowest slab of this heap that has such a hint.
///
/// Looks into 8 chunks; the next search goes on where one that found nothing stopped.
pub(super) fn find_own(held: &Held, wanted: impl Wanted) -> Option<u32> {
    // SAFETY: a class.
    let cursor = unsafe { held.heap().search.get_unchecked(wanted.class()) };
    let start = cursor.load(Ordering::Relaxed) as usize;
    let owned = HINTS + held.index() as usize;
    let mut looked = 0;
    let chunks = chunks();
    let mut group = start / GROUP_CHUNKS;
    while group * GROUP_CHUNKS < chunks {
        let mut bits = wanted.chunks(group) & summary_of(group, owned);
        if group == start / GROUP_CHUNKS {
            bits &= u64::MAX << (start % GROUP_CHUNKS);
        }
        while bits != 0 {
            let chunk = group * GROUP_CHUNKS + bits.trailing_zeros() as usize;
            if looked == SEARCH_CHUNKS {
                cursor.store(chunk as u32, Ordering::Relaxed);
                return None;
            }
            looked += 1;
            if let Some(bit) = wanted.lowest(chunk, held.index() as usize) {
                return Some((chunk * CHUNK_UNITS + bit) as u32);
            }
            wanted.drop_empty(chunk);
            bits &= bits - 1;
        }
        group += 1;
    }
    cursor.store(0, Ordering::Relaxed);
    None
}

/// Up to two slabs that others own and that have such a hint.
pub(super) fn find_foreign(held: &Held, wanted: impl Wanted) -> [Option<u32>; 2] {
    let owned = HINTS + held.index() as usize;
    // Goes on behind the last two, which may be such as nobody can have.
    let elsewhere = &held.heap().elsewhere;
    let from = elsewhere.load(Ordering::Relaxed) as usize;
    let mut found = [None; 2];
    let mut looked = 0;
    elsewhere.store(0, Ordering::Relaxed);
    for group in from / CHUNK_UNITS / GROUP_CHUNKS..chunks().div_ceil(GROUP_CHUNKS) {
        let mut bits = wanted.chunks(group);
        while bits != 0 {
            if looked == SEARCH_CHUNKS {
                return found;
            }
            looked += 1;
            let chunk = group * GROUP_CHUNKS + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            if chunk < from / CHUNK_UNITS {
                continue;
            }
            for index in 0..opaque(CHUNK_WORDS) {
                let mut others = wanted.hints(chunk, index) & !word_of(chunk, owned, index);
                while others != 0 {
                    let unit = (chunk * CHUNK_UNITS + index * 64) as u32 + others.trailing_zeros();
                    others &= others - 1;
                    if (unit as usize) < from {
                        continue;
                    }
                    elsewhere.store(unit + 1, Ordering::Relaxed);
                    match &mut found {
                        [slot @ None, _] | [_, slot @ None] => *slot = Some(unit),
                        _ => return found,
                    }
                }
            }
        }
    }
    found
}

/// The heap's first slab at or behind unit `from`; `NO_UNIT`-like `None` at the end of the window or
/// after 8 chunks without one, with the unit to go on from.
pub(super) fn next_owned(held: &Held, from: u32) -> Result<u32, u32> {
    let owned = HINTS + held.index() as usize;
    let (chunk, within) = (from as usize / CHUNK_UNITS, from as usize % CHUNK_UNITS);
    if chunk < chunks() {
        // Mostly in the same word.
        let bits = word_of(chunk, owned, within / 64) >> (within % 64);
        if bits != 0 {
            return Ok(from + bits.trailing_zeros());
        }
    }
    next_owned_behind(owned, (from | 63) + 1)
}

/// The rest of `next_owned`, from the first unit of a word on.
#[inline(never)]
fn next_owned_behind(owned: usize, from: u32) -> Result<u32, u32> {
    let chunks = chunks();
    let mut chunk = from as usize / CHUNK_UNITS;
    let mut index = from as usize % CHUNK_UNITS / 64;
    let mut groups = 0;
    while chunk < chunks && groups < SEARCH_CHUNKS {
        groups += 1;
        // The rest of a chunk is looked through, of others the summary is asked first.
        if index == 0 {
            let bits = summary_of(chunk / GROUP_CHUNKS, owned) >> (chunk % GROUP_CHUNKS);
            if bits == 0 {
                chunk = (chunk / GROUP_CHUNKS + 1) * GROUP_CHUNKS;
                continue;
            }
            chunk += bits.trailing_zeros() as usize;
        }
        // SAFETY: below the number of chunks that hold units below the bound.
        let row = unsafe { tables::row(chunk, owned) };
        // All words but the first at once: a small heap has nothing there.
        let others = row.words.iter().skip(1);
        if index != 0 && others.fold(0, |all, word| all | word.load(Ordering::Relaxed)) == 0 {
            index = row.words.len();
        }
        while let Some(word) = row.words.get(index) {
            let bits = word.load(Ordering::Relaxed);
            if bits != 0 {
                let bit = index * 64 + bits.trailing_zeros() as usize;
                return Ok((chunk * CHUNK_UNITS + bit) as u32);
            }
            index += 1;
        }
        index = 0;
        chunk += 1;
    }
    Err(if chunk < chunks { (chunk * CHUNK_UNITS) as u32 } else { 0 })
}
