//! Runs of set bits: what every backend shares of the search for n free units, granules or pages in a row.
//! Up to 64 bits a word and its successor decide (`short`, and `long_enough` for one pair); beyond that `long` looks
//! at the end of each place first, so that a search for a long run reads few words. Backends speed up the first.

use crate::sync::{AtomicU64, Ordering::Relaxed};

use super::dispatch::Backend;
use super::engine::Engine;

/// The bits of a word that are multiples of `align`, a power of two up to 64.
#[inline]
pub(super) const fn starts(align: usize) -> u64 {
    match align {
        1 => !0,
        2 => 0x5555_5555_5555_5555,
        4 => 0x1111_1111_1111_1111,
        8 => 0x0101_0101_0101_0101,
        16 => 0x0001_0001_0001_0001,
        32 => 0x0000_0001_0000_0001,
        _ => 1,
    }
}

/// The bits of `low` that start a run of `n` (1 to 64) set bits in `low` and its successor `high`.
#[inline(always)]
pub(super) fn long_enough(mut low: u64, mut high: u64, n: u32) -> u64 {
    // Invariant: a bit of low (and of high as far as it is looked at later) says that `length` bits from it are set.
    let mut length = 1;
    while length * 2 <= n {
        low &= low >> length | high << (64 - length);
        high &= high >> length;
        length *= 2;
    }
    let rest = n - length;
    if rest > 0 {
        low &= low >> rest | high << (64 - rest);
    }
    low
}

/// The lowest run of `n` (1 to 64) bits that starts where `starts` has a bit, word by word.
pub(super) fn short(words: &[AtomicU64], n: u32, starts: u64) -> Option<usize> {
    for i in 0..words.len() {
        if let Some(bit) = short_at(words, i, n, starts) {
            return Some(bit);
        }
    }
    None
}

/// The lowest such run that starts in word `i`.
#[inline(always)]
pub(super) fn short_at(words: &[AtomicU64], i: usize, n: u32, starts: u64) -> Option<usize> {
    let low = words.get(i)?.load(Relaxed);
    if low == 0 {
        return None;
    }
    let high = words.get(i + 1).map_or(0, |w| w.load(Relaxed));
    let found = long_enough(low, high, n) & starts;
    (found != 0).then(|| i * 64 + found.trailing_zeros() as usize)
}

/// Up to so many bits 64 in a row are looked for first: faster than looking at one word in n / 64.
const ROWS: usize = 2048;
/// The same for the scalar backend.
const SCALAR_ROWS: usize = 256;

/// Up to so many words are gone through one by one: less than a search has to set up.
const FEW_WORDS: usize = 16;

/// The lowest run of more than 64 set bits at a multiple of `align`, word by word.
fn by_words(words: &[AtomicU64], n: usize, align: usize) -> Option<usize> {
    let mut start = 0usize; // the first aligned bit of the run that reaches the word
    for (i, word) in words.iter().enumerate() {
        let word = word.load(Relaxed);
        let end = i * 64 + word.trailing_ones() as usize;
        if end >= start + n {
            return Some(start);
        }
        if word != !0 {
            let top = (i + 1) * 64 - word.leading_ones() as usize;
            start = top.checked_add(align - 1)? & !(align - 1);
        }
    }
    None
}

/// The length of the longest run of set bits in the words.
pub(crate) fn longest(words: &[AtomicU64]) -> usize {
    let mut best = 0;
    let mut before = 0; // ones that reach the word from below
    for word in words {
        let word = word.load(Relaxed);
        if word == !0 {
            before += 64;
            continue;
        }
        best = best.max(before + word.trailing_ones() as usize);
        before = word.leading_ones() as usize;
        // A run inside the word that is longer than the best one is at most 62 bits.
        if best < 62 {
            let mut longer = long_enough(word, 0, best as u32 + 1);
            while longer != 0 {
                best += 1;
                longer &= longer >> 1; // starts of runs that are longer by one: so is the one behind
            }
        }
    }
    best.max(before)
}

/// The lowest run of `n` set bits at a multiple of `align`, for n or align above 64; n bits fit into the words.
///
/// Looks at the end of each place first: the highest zero there says where the next place begins, mostly n bits on.
#[inline(never)] // three callers' worth of code for searches that read many words
pub(super) fn long(engine: Engine, words: &[AtomicU64], n: usize, align: usize) -> Option<usize> {
    if n > 64 && words.len() <= FEW_WORDS {
        return by_words(words, n, align);
    }
    let total = words.len().checked_mul(64)?;
    let rows = if engine.backend() == Backend::Scalar { SCALAR_ROWS } else { ROWS };
    let by_rows = (65..=rows).contains(&n) && align <= 64;
    let mut start = 0usize;
    let mut sure = 0; // the bits from start up to here are known to be ones
    while n <= total.saturating_sub(start) {
        if by_rows && start >= sure {
            // The bit before start is a zero, or the beginning: a row found does not begin before it.
            let row = engine.full_row(words, start)?;
            start = start.max(row).checked_add(align - 1)? & !(align - 1);
            if n > total.saturating_sub(start) {
                break;
            }
        }
        let end = start + n;
        // A place begins in another word than the one where it ends, or at the beginning of that.
        let last = (end - 1) / 64;
        let zeros = !words.get(last)?.load(Relaxed) & (!0 >> (63 - (end - 1) % 64));
        let zero = if zeros != 0 {
            last * 64 + 63 - zeros.leading_zeros() as usize
        } else {
            let from = start.max(sure).min(last * 64);
            match last_zero(engine, words.get(..last)?, from) {
                Some(zero) => zero,
                None => return Some(start),
            }
        };
        start = zero.checked_add(align)? & !(align - 1);
        sure = end;
    }
    None
}

/// The highest zero bit of the words, from bit `from` on.
fn last_zero(engine: Engine, words: &[AtomicU64], from: usize) -> Option<usize> {
    let first = from / 64;
    let mut between = words.get(first..)?;
    while let Some(index) = engine.last_not_full(between) {
        let mut zeros = !between.get(index)?.load(Relaxed);
        if index == 0 {
            zeros &= !0 << (from % 64);
        }
        if zeros != 0 {
            return Some((first + index) * 64 + 63 - zeros.leading_zeros() as usize);
        }
        between = between.get(..index)?;
    }
    None
}
