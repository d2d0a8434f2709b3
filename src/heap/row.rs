//! Rows: neighbours in one slab of the class, taken or freed as one range of bits.
//!
//! A program that frees in the order it allocated, or in the opposite one, makes rows again; a fresh
//! slab is one long row. For them a refill or a flush needs no search and no vector engine: one load of
//! 64 bits from wherever the row begins, one store. `Record::row` remembers where to try next: behind what
//! was taken last, until a free of scattered blocks may have made lower ones free, so that the lowest
//! addresses still go first. It is no more than a guess, and what is not a row goes the general way. Small classes only: the size of class
//! c is 16 c.

use super::progression;
use crate::arena::{tables, window};
use crate::hit;
use crate::layout::{Heap, Identity, MAX_DEPTH, NO_UNIT, SLAB_WORDS, UNIT_BYTES, UNIT_SHIFT};
use crate::size_class::Class;
use crate::sync::{AtomicU64, Ordering};

/// Longest row, blocks: as many bits lie in 8 bytes from any bit on.
const MOST: usize = 57;

/// For the holder of the heap's lock: takes `count` blocks (1 to 31) from where the class's current slab guesses a row; the address of
/// the first. `None`, and nothing done, if there is no current slab or no row.
#[inline(always)]
#[cfg_attr(
    all(target_arch = "x86_64", target_pointer_width = "64", not(loom)),
    allow(dead_code, reason = "the twin of quick.rs")
)]
pub(super) fn take(heap: &Heap, class: Class, count: usize) -> Option<usize> {
    let unit = heap.current_of(class.index()).load(Ordering::Relaxed);
    if unit == NO_UNIT {
        return None;
    }
    // SAFETY: current slabs are below the bound.
    let record = unsafe { tables::record(unit) };
    let first = record.row.load(Ordering::Relaxed) as usize;
    if first + count > record.blocks.load(Ordering::Relaxed) as usize
        || !flip(&record.local, first, count, true)
    {
        return None;
    }
    record.row.store((first + count) as u32, Ordering::Relaxed);
    add(&record.used, count as u32);
    Some(window::address_of(unit) + first * 16 * class.index())
}

/// For the holder of the heap's lock: frees blocks, at least two, that are neighbours in a row of a quiet slab of this heap and class, unless
/// that empties one that is not current. `false`, and nothing done, if anything is otherwise.
#[inline(always)]
pub(super) fn give(heap: &Heap, row: &Row, class: Class) -> bool {
    // SAFETY: `Row::of` has compared the unit with the bound.
    let record = unsafe { tables::record(row.unit) };
    let used = record.used.load(Ordering::Relaxed);
    if record.identity() != Identity::new(class.index(), heap.number()).quiet()
        || used < row.count as u32
        || used == row.count as u32
            && heap.current_of(class.index()).load(Ordering::Relaxed) != row.unit
        || row.first + row.count > record.blocks.load(Ordering::Relaxed) as usize
        || !flip(&record.local, row.first, row.count, false)
    {
        return false;
    }
    record.used.store(used - row.count as u32, Ordering::Relaxed);
    // One comparison for "lower than the guess, and there is one": NO_ROW is far above, and lower guesses wrap around.
    let lowest = record.row.load(Ordering::Relaxed);
    if lowest.wrapping_sub(row.first as u32 + 1) < 64 * SLAB_WORDS as u32 {
        record.row.store(row.first as u32, Ordering::Relaxed);
    }
    true
}

/// Where a row of blocks lies.
pub(super) struct Row {
    pub(super) unit: u32,
    /// Index of the first block.
    pub(super) first: usize,
    count: usize,
    /// From each block to the next one: the size, or less the size.
    stride: usize,
}

impl Row {
    /// The row that these pointers are, if they are neighbours of that class's size, ascending or
    /// descending, inside the window; whose blocks they are is not looked at.
    #[inline(always)]
    pub(super) fn of(class: Class, blocks: &[*mut u8]) -> Option<Self> {
        if blocks.len() > MOST {
            return None;
        }
        let row = Self::by_the_first(class, blocks)?;
        progression::is_one(blocks, row.stride).then_some(row)
    }

    /// The row of `count` blocks from that one on.
    #[cfg(all(test, not(loom), target_arch = "x86_64", target_pointer_width = "64"))]
    pub(super) fn at(unit: u32, first: usize, count: usize) -> Self {
        Self { unit, first, count, stride: 0 }
    }

    /// The same for a full magazine.
    #[inline(always)]
    pub(super) fn of_full(class: Class, blocks: &[*mut u8; MAX_DEPTH]) -> Option<Self> {
        let row = Self::by_the_first(class, blocks)?;
        progression::is_full_one(blocks, row.stride).then_some(row)
    }

    /// The row that they are if the others are as the first two say.
    #[inline(always)]
    fn by_the_first(class: Class, blocks: &[*mut u8]) -> Option<Self> {
        let [first, second, ..] = *blocks else { return None };
        let (first, count, size) = (first as usize, blocks.len(), 16 * class.index());
        let stride = (second as usize).wrapping_sub(first);
        let lowest = if stride == size {
            first
        } else if stride == size.wrapping_neg() {
            first.wrapping_sub((count - 1) * size)
        } else {
            return None;
        };
        let window = hit::window();
        let offset = lowest.wrapping_sub(window.base.load(Ordering::Relaxed));
        let unit = offset >> UNIT_SHIFT;
        let within = offset % UNIT_BYTES;
        if unit >= window.units.load(Ordering::Relaxed) || !class.divides(within) {
            return None;
        }
        let first = ((within as u64 * class.reciprocal()) >> 32) as usize;
        Some(Self { unit: unit as u32, first, count, stride })
    }
}

/// Adds to a number that only the holder of a lock writes.
#[inline(always)]
#[cfg_attr(
    all(target_arch = "x86_64", target_pointer_width = "64", not(loom)),
    allow(dead_code, reason = "for `take`")
)]
fn add(number: &crate::sync::AtomicU32, by: u32) {
    number.store(number.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

cfg_if::cfg_if! {
    if #[cfg(all(target_arch = "x86_64", not(loom)))] {
        use core::arch::asm;
        /// Turns `count` bits (at most `MOST`) from `first` on from `set` to its opposite; `false`, and
        /// nothing done, if one of them is otherwise. The caller has compared the end with the
        /// slab's number of blocks.
        #[inline(always)]
        fn flip(local: &[AtomicU64; SLAB_WORDS], first: usize, count: usize, set: bool) -> bool {
            // The 8 bytes that begin with the bit's; at the bitmap's end the last 8.
            let byte = (first / 8).min(size_of_val(local) - 8);
            let bits = (u64::MAX >> (64 - count)) << (first - 8 * byte);
            // SAFETY: 8 bytes within `local`, written by the holder of the lock alone. Who reads them
            // without it takes one word at a time to name a fault, and any mixture will do.
            unsafe {
                let at = local.as_ptr().cast::<u8>().add(byte);
                let now: u64;
                asm!("mov {now}, qword ptr [{at}]", now = out(reg) now, at = in(reg) at,
                    options(nostack, readonly, preserves_flags));
                let new = now ^ bits;
                // All set, none is in the new ones; none set, none in the old ones.
                if if set { new } else { now } & bits != 0 {
                    return false;
                }
                asm!("mov qword ptr [{at}], {new}", new = in(reg) new, at = in(reg) at,
                    options(nostack, preserves_flags));
            }
            true
        }
    } else {
        /// Turns `count` bits (at most `MOST`) from `first` on from `set` to its opposite; `false`, and
        /// nothing done, if one of them is otherwise. The caller has compared the end with the
        /// slab's number of blocks.
        #[inline(always)]
        fn flip(local: &[AtomicU64; SLAB_WORDS], first: usize, count: usize, set: bool) -> bool {
            let (word, shift) = (first / 64, first % 64);
            let bits = u128::from(u64::MAX >> (64 - count)) << shift;
            let (low, high) = (bits as u64, (bits >> 64) as u64);
            // SAFETY: both words hold bits of blocks, so they are inside; without a high part the second
            // is the first again.
            let (one, two) = unsafe {
                (local.get_unchecked(word), local.get_unchecked(word + usize::from(high != 0)))
            };
            let (now, then) = (one.load(Ordering::Relaxed), two.load(Ordering::Relaxed));
            let wanted = if set { (low, high) } else { (0, 0) };
            if (now & low, then & high) != wanted {
                return false;
            }
            if high != 0 {
                two.store(then ^ high, Ordering::Relaxed);
            }
            one.store(now ^ low, Ordering::Relaxed);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn flips_exactly_the_range_or_nothing() {
        for count in [1, 2, 15, 31, 57] {
            for first in (0..=64 * SLAB_WORDS - count).step_by(3).chain([64 * SLAB_WORDS - count]) {
                let mut naive: Vec<bool> = (0..64 * SLAB_WORDS).map(|bit| bit % 7 < 3).collect();
                naive[first..first + count].fill(true);
                let word = |bits: &[bool]| {
                    bits.iter().rev().fold(0, |word, bit| word << 1 | u64::from(*bit))
                };
                let local: [AtomicU64; SLAB_WORDS] =
                    core::array::from_fn(|at| AtomicU64::new(word(&naive[64 * at..64 * at + 64])));
                assert!(!flip(&local, first, count, false));
                assert!(flip(&local, first, count, true));
                naive[first..first + count].fill(false);
                for (at, found) in local.iter().enumerate() {
                    assert_eq!(found.load(Ordering::Relaxed), word(&naive[64 * at..64 * at + 64]));
                }
                assert!(!flip(&local, first, count, true));
                assert!(flip(&local, first, count, false));
                if count > 1 {
                    local[(first + count / 2) / 64]
                        .fetch_xor(1 << ((first + count / 2) % 64), Ordering::Relaxed);
                    assert!(
                        !flip(&local, first, count, true) && !flip(&local, first, count, false)
                    );
                }
            }
        }
    }
}
