//! Units: claiming and giving back 64 KiB pieces of the window, one or many in a row.
//!
//! A free unit has its bit in the bitset `Free`; a claim clears bits by atomic AND and looks at what
//! the AND returned, so no lock is taken and a claim that lost a bit to somebody else puts the
//! others back. `Dirty` remembers which units are not known to be zero and may be resident.
//!
//! Lowest address first, everywhere: allocation concentrates and the top of the window drains.
//!
//! Modelled by `arena::units::models`: `claims_that_overlap`, `a_unit_given_back_and_claimed`, `a_purge_against_a_claim`.

use super::tables::{Region, free_words, unit_word};
use super::window::{self, Growth};
use super::{kept, shelf};
use crate::layout::UNIT_SHIFT;
use crate::sync::{AtomicUsize, Ordering};

/// A word of `Free` below which no free unit is likely.
static LOW: AtomicUsize = AtomicUsize::new(0);
/// Free units that are dirty.
pub(super) static DIRTY: AtomicUsize = AtomicUsize::new(0);
/// The fewest that there were since `purge::idle_units` asked last.
pub(super) static LEAST_DIRTY: AtomicUsize = AtomicUsize::new(0);
/// Dirty free units that are kept besides, for what a program made ready ahead.
pub(super) static READY: AtomicUsize = AtomicUsize::new(0);
/// Units in use (claimed).
pub(super) static USED: AtomicUsize = AtomicUsize::new(0);

/// Most words of `Free` that one search reads: 64 GiB of window.
pub(super) const SEARCH_WORDS: usize = 16 * 1024;
/// Rounds of a claim. Each finds a run and loses it to another thread, or grows, or fails; a thread
/// that loses this often is better served elsewhere.
const ROUNDS: usize = 10_000;

/// Bits `from..from + len` of a word; `len` is 1..=64 and the sum at most 64.
#[inline(always)]
pub(super) const fn mask(from: usize, len: usize) -> u64 {
    (u64::MAX >> (64 - len)) << from
}

/// Calls `f(word index, mask)` for each word of the bits `start..start + len`; stops at `false`.
#[inline]
fn for_words(start: usize, len: usize, mut f: impl FnMut(usize, u64) -> bool) -> bool {
    let mut bit = start;
    let end = start + len;
    while bit < end {
        let from = bit % 64;
        let here = (64 - from).min(end - bit);
        if !f(bit / 64, mask(from, here)) {
            return false;
        }
        bit += here;
    }
    true
}

/// Marks freshly committed units as free. Only the grower calls it.
pub(super) fn publish(start: usize, len: usize) {
    for_words(start, len, |word, mask| {
        // SAFETY: the grower has raised the bound above start + len.
        unsafe { unit_word(Region::Free, word) }.fetch_or(mask, Ordering::Release);
        true
    });
    LOW.fetch_min(start / 64, Ordering::Relaxed);
}

/// Clears the free bits of `start..start + len`; `false`, and nothing changed, if one was not set.
pub(super) fn claim_exactly(start: usize, len: usize) -> bool {
    let mut done = 0;
    let all = for_words(start, len, |word, mask| {
        // SAFETY: the callers pass ranges below the bound.
        let free = unsafe { unit_word(Region::Free, word) };
        let got = free.fetch_and(!mask, Ordering::Acquire) & mask;
        if got == mask {
            done = (word * 64 + 64).min(start + len) - start;
            return true;
        }
        if got != 0 {
            free.fetch_or(got, Ordering::Release);
        }
        false
    });
    if !all && done != 0 {
        for_words(start, done, |word, mask| {
            // SAFETY: as above.
            unsafe { unit_word(Region::Free, word) }.fetch_or(mask, Ordering::Release);
            true
        });
    }
    if all {
        USED.fetch_add(len, Ordering::Relaxed);
        let dirty = count_dirty(start, len);
        if dirty != 0 {
            let before = DIRTY.fetch_sub(dirty, Ordering::Relaxed);
            LEAST_DIRTY.fetch_min(before - dirty, Ordering::Relaxed);
        }
    }
    all
}

/// Units of a claimed range that are not known to be zero.
pub(crate) fn count_dirty(start: usize, len: usize) -> usize {
    let mut dirty = 0;
    for_words(start, len, |word, mask| {
        // SAFETY: the range is claimed, so it is below the bound.
        dirty += (unsafe { unit_word(Region::Dirty, word) }.load(Ordering::Relaxed) & mask)
            .count_ones() as usize;
        true
    });
    dirty
}

/// Whether one claimed unit is not known to be zero.
#[inline(never)]
pub(crate) fn is_dirty(unit: usize) -> bool {
    count_dirty(unit, 1) != 0
}

/// The lowest run of `len` free bits at a multiple of `align`, at or above word `from`.
fn find_run(len: usize, align: usize, from: usize) -> Option<usize> {
    let words = free_words();
    let mut start = 0; // of the run that reaches the current position
    let mut have = 0;
    for (index, word) in words.iter().enumerate().skip(from).take(SEARCH_WORDS) {
        let mut bits = word.load(Ordering::Relaxed);
        let mut bit = index * 64;
        let end = bit + 64;
        while bit < end {
            if bits == 0 {
                have = 0;
                break;
            }
            let zeros = bits.trailing_zeros() as usize;
            if zeros != 0 {
                have = 0;
                bits >>= zeros;
                bit += zeros;
            }
            let ones = (bits.trailing_ones() as usize).min(end - bit);
            if have == 0 {
                start = bit;
            }
            have += ones;
            let aligned = start.next_multiple_of(align);
            if start + have >= aligned + len {
                return Some(aligned);
            }
            bit += ones;
            bits = if ones == 64 { 0 } else { bits >> ones };
            if bit < end {
                have = 0;
            }
        }
    }
    None
}

/// Free units right below the window's bound: what a growth need not add. Reads at most 64 words.
fn free_at_end() -> usize {
    let words = free_words();
    let units = crate::hit::window().units.load(Ordering::Relaxed);
    let mut count = 0;
    let mut bit = units;
    for word in words.iter().rev().take(64) {
        let used = if bit.is_multiple_of(64) { 64 } else { bit % 64 };
        let bits = word.load(Ordering::Relaxed) << (64 - used);
        let ones = (bits.leading_ones() as usize).min(used);
        count += ones;
        if ones < used {
            break;
        }
        bit -= used;
    }
    count
}

/// Claims `len` units in a row whose first is a multiple of `align`, growing the window if needed.
///
/// `token` names the calling thread. `None` when the window cannot hold them.
pub(crate) fn claim(len: usize, align: usize, token: usize) -> Option<u32> {
    let mut rounds = 0;
    while rounds < ROUNDS {
        rounds += 1;
        let low = LOW.load(Ordering::Relaxed);
        let found = find_run(len, align, low)
            .or_else(|| if low == 0 { None } else { find_run(len, align, 0) });
        match found {
            Some(start) => {
                if claim_exactly(start, len) {
                    if len == 1 && start / 64 > low {
                        // Everything below was passed over; a free in the meantime makes this fail.
                        let _ = LOW.compare_exchange(
                            low,
                            start / 64,
                            Ordering::Relaxed,
                            Ordering::Relaxed,
                        );
                    }
                    return Some(start as u32);
                }
            }
            None => {
                // The search has a bound, so what lies free at the end is looked at by itself.
                let units = window::committed() >> UNIT_SHIFT;
                let tail = free_at_end();
                let first = (units - tail).next_multiple_of(align);
                if first + len <= units {
                    if claim_exactly(first, len) {
                        return Some(first as u32);
                    }
                    continue;
                }
                if kept::give_up_own() {
                    continue;
                }
                let need = (first + len).saturating_sub(units).max(1);
                match window::grow(need, token) {
                    Growth::Done => {}
                    Growth::Busy => rounds -= 1, // however long the system takes
                    Growth::Failed if shelf::empty(false) => {}
                    Growth::Failed => return None,
                }
            }
        }
    }
    None
}

/// Claims exactly the units `start..start + len`, if all of them are free.
pub(crate) fn claim_at(start: u32, len: usize) -> bool {
    let end = start as usize + len;
    end <= window::committed() >> UNIT_SHIFT && claim_exactly(start as usize, len)
}

/// Gives claimed units back. Their content counts as non-zero from here on.
#[inline(never)]
pub(crate) fn release(start: u32, len: usize) {
    let start = start as usize;
    for_words(start, len, |word, mask| {
        // SAFETY: the range was claimed, so it is below the bound.
        unsafe { unit_word(Region::Dirty, word) }.fetch_or(mask, Ordering::Relaxed);
        true
    });
    DIRTY.fetch_add(len, Ordering::Relaxed);
    put_back(start, len);
}

/// Gives claimed units back that have no pages: their content is zero.
#[inline(never)]
pub(crate) fn release_empty(start: u32, len: usize) {
    let start = start as usize;
    for_words(start, len, |word, mask| {
        // SAFETY: as in `release`.
        unsafe { unit_word(Region::Dirty, word) }.fetch_and(!mask, Ordering::Relaxed);
        true
    });
    put_back(start, len);
}

/// Sets the free bits of units that the caller holds.
#[inline(never)]
pub(super) fn put_back(start: usize, len: usize) {
    for_words(start, len, |word, mask| {
        // SAFETY: as in `release`. Release: whoever claims the unit sees what its last holder wrote
        // into its record.
        unsafe { unit_word(Region::Free, word) }.fetch_or(mask, Ordering::Release);
        true
    });
    USED.fetch_sub(len, Ordering::Relaxed);
    LOW.fetch_min(start / 64, Ordering::Relaxed);
}

/// Whether a unit is free.
pub(crate) fn is_free(unit: u32) -> bool {
    // SAFETY: the callers pass units below the bound.
    let word = unsafe { unit_word(Region::Free, unit as usize / 64) };
    word.load(Ordering::Relaxed) >> (unit % 64) & 1 != 0
}

/// Keeps that many more dirty free units from here on.
pub(crate) fn keep_ready(units: usize) {
    READY.fetch_add(units, Ordering::Relaxed);
}

#[cfg(all(test, loom))]
mod models;
