//! Hints: which slabs may have free blocks, and which heap owns which slab.
//!
//! `claimable[row]` has a bit for each unit that may have something to take (row: a small class, or
//! the largest medium class that may fit into a run slab); `owned[heap]` one for
//! each slab of a heap. Both lie by chunk, with one summary bit per row and chunk in the group's
//! words, so that a search reads a handful of words however large the window is.
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
use crate::layout::{CHUNK_UNITS, CHUNK_WORDS, GROUP_CHUNKS, HINTS, Row};
use crate::sync::{AtomicU64, Ordering};

/// Rows of hints: one for a small class, those of all classes from a medium one up for runs.
pub(super) type Rows = core::ops::RangeInclusive<usize>;

/// Most chunks that one search looks into.
const SEARCH_CHUNKS: usize = 8;

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

/// Says that a slab may have something to take. For whoever has freed without the lock.
#[inline]
pub(super) fn set(unit: u32, hint: usize) {
    set_bit(unit, hint);
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

/// The bits of a word in any of the rows.
#[inline]
fn any_row(rows: Rows, word: impl Fn(usize) -> u64) -> u64 {
    rows.fold(0, |bits, row| bits | word(row))
}

/// The lowest slab of this heap, from unit `from` on, that has a hint in any of `rows`.
///
/// Looks into 8 chunks; the next search goes on where one that found nothing stopped.
pub(super) fn find_own(held: &Held, rows: Rows, from: u32) -> Option<u32> {
    // SAFETY: rows of hints are below HINTS.
    let cursor = unsafe { held.heap().search.get_unchecked(*rows.start()) };
    let start = (cursor.load(Ordering::Relaxed) as usize).max(from as usize / CHUNK_UNITS);
    let owned = HINTS + held.index() as usize;
    let mut looked = 0;
    let chunks = chunks();
    let mut group = start / GROUP_CHUNKS;
    while group * GROUP_CHUNKS < chunks {
        // SAFETY: the group's first chunk holds units below the bound.
        let summary = |row| unsafe { tables::summary(group, row) }.load(Ordering::Relaxed);
        let mut bits = any_row(rows.clone(), summary) & summary(owned);
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
            // SAFETY: a summary bit stands for a chunk that holds units below the bound.
            let row_of = |row| unsafe { tables::row(chunk, row) };
            let first =
                if chunk == from as usize / CHUNK_UNITS { from as usize % CHUNK_UNITS } else { 0 };
            for index in first / 64..CHUNK_WORDS {
                let word = |row: usize| row_of(row).words[index].load(Ordering::Relaxed);
                let mut found = any_row(rows.clone(), word) & word(owned);
                if index == first / 64 {
                    found &= u64::MAX << (first % 64);
                }
                if found != 0 {
                    let bit = index * 64 + found.trailing_zeros() as usize;
                    return Some((chunk * CHUNK_UNITS + bit) as u32);
                }
            }
            for row in rows.clone() {
                if summary(row) & bits & bits.wrapping_neg() != 0 {
                    drop_empty_summary(chunk, row);
                }
            }
            bits &= bits - 1;
        }
        group += 1;
    }
    cursor.store(0, Ordering::Relaxed);
    None
}

/// Up to two slabs that others own and that have a hint in any of `rows`.
pub(super) fn find_foreign(held: &Held, rows: Rows) -> [Option<u32>; 2] {
    let owned = HINTS + held.index() as usize;
    // Goes on behind the last two, which may be such as nobody can have.
    let elsewhere = &held.heap().elsewhere;
    let from = elsewhere.load(Ordering::Relaxed) as usize;
    let mut found = [None; 2];
    let mut looked = 0;
    elsewhere.store(0, Ordering::Relaxed);
    for group in from / CHUNK_UNITS / GROUP_CHUNKS..chunks().div_ceil(GROUP_CHUNKS) {
        // SAFETY: as in `find_own`.
        let summary = |row| unsafe { tables::summary(group, row) }.load(Ordering::Relaxed);
        let mut bits = any_row(rows.clone(), summary);
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
            for index in 0..CHUNK_WORDS {
                // SAFETY: as in `find_own`.
                let word =
                    |row| unsafe { tables::row(chunk, row) }.words[index].load(Ordering::Relaxed);
                let mut others = any_row(rows.clone(), word) & !word(owned);
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
    let chunks = chunks();
    let mut chunk = from as usize / CHUNK_UNITS;
    let mut within = from as usize % CHUNK_UNITS;
    let mut groups = 0;
    while chunk < chunks && groups < SEARCH_CHUNKS {
        // SAFETY: below the number of chunks that hold units below the bound.
        let bits = unsafe { tables::summary(chunk / GROUP_CHUNKS, owned) }.load(Ordering::Relaxed);
        let bits = bits >> (chunk % GROUP_CHUNKS);
        if bits == 0 {
            chunk = (chunk / GROUP_CHUNKS + 1) * GROUP_CHUNKS;
        } else {
            if bits & 1 == 0 {
                chunk += bits.trailing_zeros() as usize;
                within = 0;
            }
            // Word by word, because the next slab is mostly in the same one or there is none.
            // SAFETY: as above.
            let row = unsafe { tables::row(chunk, owned) };
            let mut above = u64::MAX << (within % 64);
            let mut index = within / 64;
            while let Some(word) = row.words.get(index) {
                let bits = word.load(Ordering::Relaxed) & above;
                if bits != 0 {
                    let bit = index * 64 + bits.trailing_zeros() as usize;
                    return Ok((chunk * CHUNK_UNITS + bit) as u32);
                }
                above = u64::MAX;
                index += 1;
            }
            chunk += 1;
        }
        within = 0;
        groups += 1;
    }
    Err(if chunk < chunks { (chunk * CHUNK_UNITS) as u32 } else { 0 })
}
