//! The portable backend: four words at a time, no feature of any CPU asked for.
//! It serves every target without a vector backend, bitmaps too small for vectors, and `BITMAG_BACKEND=scalar`.
//! `engine` calls it; the vector backends call it for what is left over at the ends.

use crate::sync::{AtomicU8, AtomicU64, Ordering::Relaxed};

use super::expand::{Rest, pointer};
use super::{BATCH, Located, Spacing, run};

/// The bit of the first non-zero word, the words taken one by one.
#[inline]
pub(super) fn first_set_small(words: &[AtomicU64]) -> Option<usize> {
    for (i, word) in words.iter().enumerate() {
        let word = word.load(Relaxed);
        if word != 0 {
            return Some(i * 64 + word.trailing_zeros() as usize);
        }
    }
    None
}

/// The lowest set bit.
pub(super) fn first_set(words: &[AtomicU64]) -> Option<usize> {
    let (fours, rest) = words.as_chunks::<4>();
    for (i, four) in fours.iter().enumerate() {
        let [a, b, c, d] = four.each_ref().map(|w| w.load(Relaxed));
        if a | b | c | d != 0
            && let Some(bit) = first_set_small(four)
        {
            return Some(i * 256 + bit);
        }
    }
    Some(fours.len() * 256 + first_set_small(rest)?)
}

/// The bit of the last non-zero word, the words taken one by one.
#[inline]
pub(super) fn last_set_small(words: &[AtomicU64]) -> Option<usize> {
    for (i, word) in words.iter().enumerate().rev() {
        let word = word.load(Relaxed);
        if word != 0 {
            return Some(i * 64 + 63 - word.leading_zeros() as usize);
        }
    }
    None
}

/// The highest set bit.
pub(super) fn last_set(words: &[AtomicU64]) -> Option<usize> {
    let (rest, fours) = words.as_rchunks::<4>();
    for (i, four) in fours.iter().enumerate().rev() {
        let [a, b, c, d] = four.each_ref().map(|w| w.load(Relaxed));
        if a | b | c | d != 0
            && let Some(bit) = last_set_small(four)
        {
            return Some((rest.len() + i * 4) * 64 + bit);
        }
    }
    last_set_small(rest)
}

/// The lowest common bit of two bitmaps of one length, word by word.
#[inline]
pub(super) fn first_set_and_small(a: &[AtomicU64], b: &[AtomicU64]) -> Option<usize> {
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        let word = a.load(Relaxed) & b.load(Relaxed);
        if word != 0 {
            return Some(i * 64 + word.trailing_zeros() as usize);
        }
    }
    None
}

/// The lowest common bit of two bitmaps of one length.
pub(super) fn first_set_and(a: &[AtomicU64], b: &[AtomicU64]) -> Option<usize> {
    let (a_fours, a_rest) = a.as_chunks::<4>();
    let (b_fours, b_rest) = b.as_chunks::<4>();
    for (i, (a, b)) in a_fours.iter().zip(b_fours).enumerate() {
        let [a0, a1, a2, a3] = a.each_ref().map(|w| w.load(Relaxed));
        let [b0, b1, b2, b3] = b.each_ref().map(|w| w.load(Relaxed));
        if (a0 & b0) | (a1 & b1) | (a2 & b2) | (a3 & b3) != 0
            && let Some(bit) = first_set_and_small(a, b)
        {
            return Some(i * 256 + bit);
        }
    }
    Some(a_fours.len() * 256 + first_set_and_small(a_rest, b_rest)?)
}

/// The lowest run of `n` (1 to 64) bits that starts where `starts` has a bit.
pub(super) fn short_run(words: &[AtomicU64], n: u32, starts: u64) -> Option<usize> {
    if n != 64 {
        return run::short(words, n, starts);
    }
    // A row of 64 is the ones at the top of a word and at the bottom of the next: no doubling needed.
    let mut word = words.first()?.load(Relaxed);
    for i in 0..words.len() {
        let next = words.get(i + 1).map_or(0, |w| w.load(Relaxed));
        if word | (next & !next.wrapping_add(1)) == !0
            && let Some(bit) = run::short_at(words, i, n, starts)
        {
            return Some(bit);
        }
        word = next;
    }
    None
}

/// The highest word that is not all ones, as an index.
pub(super) fn last_not_full(words: &[AtomicU64]) -> Option<usize> {
    let (rest, fours) = words.as_rchunks::<4>();
    for (i, four) in fours.iter().enumerate().rev() {
        let [a, b, c, d] = four.each_ref().map(|w| w.load(Relaxed));
        if a & b & c & d != !0
            && let Some(word) = four.iter().rposition(|w| w.load(Relaxed) != !0)
        {
            return Some(rest.len() + i * 4 + word);
        }
    }
    rest.iter().rposition(|w| w.load(Relaxed) != !0)
}

/// The index of the first byte that is at least `least`.
pub(super) fn first_byte_at_least(bytes: &[AtomicU8], least: u8) -> Option<usize> {
    let (fours, rest) = bytes.as_chunks::<4>();
    for (i, four) in fours.iter().enumerate() {
        let [a, b, c, d] = four.each_ref().map(|byte| byte.load(Relaxed) >= least);
        if a | b | c | d
            && let Some(byte) = four.iter().position(|byte| byte.load(Relaxed) >= least)
        {
            return Some(i * 4 + byte);
        }
    }
    Some(fours.len() * 4 + rest.iter().position(|byte| byte.load(Relaxed) >= least)?)
}

/// How many bits are set.
pub(super) fn count(words: &[AtomicU64]) -> usize {
    words.iter().map(|w| w.load(Relaxed).count_ones() as usize).sum()
}

/// Whether every bit is set.
pub(super) fn all_set(words: &[AtomicU64]) -> bool {
    let (fours, rest) = words.as_chunks::<4>();
    fours.iter().all(|four| {
        let [a, b, c, d] = four.each_ref().map(|w| w.load(Relaxed));
        a & b & c & d == !0
    }) && rest.iter().all(|w| w.load(Relaxed) == !0)
}

/// Whether every bit is set in one of two bitmaps of one length.
pub(super) fn all_set_or(a: &[AtomicU64], b: &[AtomicU64]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.load(Relaxed) | b.load(Relaxed) == !0)
}

/// Takes bits and writes pointers: see `Engine::expand`.
///
/// # Safety
/// Those of `Engine::expand`.
pub(super) unsafe fn expand(
    words: &[AtomicU64],
    k: usize,
    base: usize,
    size: usize,
    top: *mut *mut u8,
) -> Rest {
    let (mut left, mut first, mut slot) = (k, base, top);
    for word in words {
        if left == 0 {
            return Rest { left, at: word };
        }
        let mut bits = word.load(Relaxed);
        if bits != 0 {
            while bits != 0 && left != 0 {
                let address = first.wrapping_add(bits.trailing_zeros() as usize * size);
                bits &= bits - 1;
                left -= 1;
                // SAFETY: one of the k slots below top, which are the caller's to write.
                unsafe {
                    slot = slot.sub(1);
                    slot.write(pointer(address));
                }
            }
            word.store(bits, Relaxed);
            if bits != 0 {
                return Rest { left, at: word };
            }
        }
        first = first.wrapping_add(size.wrapping_mul(64));
    }
    Rest { left, at: words.as_ptr_range().end }
}

/// Finds unit and index of each pointer: see `Engine::locate`.
///
/// # Safety
/// Those of `Engine::locate`, and `k` is at most `BATCH`.
#[inline(never)]
pub(super) unsafe fn locate(
    pointers: *const *mut u8,
    k: usize,
    base: usize,
    units: usize,
    spacing: &Spacing,
    out: &mut [Located; BATCH],
) -> u32 {
    let mut faults = 0;
    let blocks = spacing.blocks();
    for (i, out) in out.iter_mut().enumerate().take(k) {
        // SAFETY: i is less than k, and k pointers can be read.
        let delta = unsafe { pointers.add(i).read() }.addr().wrapping_sub(base);
        let (unit, offset) = (delta >> 16, delta & 0xffff);
        let index = spacing.index(offset);
        *out = Located { index: index as u32, unit: unit as u32 };
        let whole = index * spacing.size() == offset && index < blocks;
        let fault = unit >= units || !whole;
        faults |= u32::from(fault) << i;
    }
    faults
}
