//! Freeing one block of a class slab: its bit set, the slab's count of used blocks one less.
//!
//! On x86_64 four instructions of assembly (the bit by number from memory, the carry is the double
//! free; the count in place, zero is "empty"), where the compiler needs eleven. The twin in Rust
//! serves every other target, and the tests hold the two together.

use crate::layout::Record;
use crate::sync::Ordering;

/// What freeing a block came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Marked {
    /// Done.
    Freed,
    /// Done, and the slab has no used block any more.
    Emptied,
    /// The bit was set already; nothing was changed.
    Twice,
}

/// Sets bit `index` of `local` and counts it.
///
/// # Safety
/// The owning heap's lock is held; `index` is below the slab's number of blocks.
#[inline(always)]
pub(super) unsafe fn mark(record: &Record, index: u32) -> Marked {
    cfg_if::cfg_if! {
        if #[cfg(all(target_arch = "x86_64", not(loom)))] {
            // SAFETY: the caller's contract; only the lock's holder writes these two fields, and
            // those who read `local` without it (to name a fault) read whole words.
            unsafe {
                core::arch::asm!(
                    "bts qword ptr [{record} + {local}], {index}",
                    "jc {twice}",
                    "sub dword ptr [{record} + {used}], 1",
                    "jz {emptied}",
                    record = in(reg) record,
                    index = in(reg) u64::from(index),
                    local = const core::mem::offset_of!(Record, local),
                    used = const core::mem::offset_of!(Record, used),
                    twice = label { return Marked::Twice },
                    emptied = label { return Marked::Emptied },
                    options(nostack)
                );
            }
            Marked::Freed
        } else {
            // SAFETY: the caller's contract.
            unsafe { mark_portably(record, index) }
        }
    }
}

/// `mark` without assembly.
///
/// # Safety
/// That of `mark`.
#[inline(always)]
#[cfg_attr(target_arch = "x86_64", allow(dead_code, reason = "the twin, for the test"))]
unsafe fn mark_portably(record: &Record, index: u32) -> Marked {
    // SAFETY: the index is below the number of blocks, so its word is one of local's.
    let word = unsafe { record.local.get_unchecked(index as usize / 64) };
    let bit = 1u64 << (index % 64);
    let before = word.load(Ordering::Relaxed);
    if before & bit != 0 {
        return Marked::Twice;
    }
    word.store(before | bit, Ordering::Relaxed);
    let used = record.used.load(Ordering::Relaxed) - 1;
    record.used.store(used, Ordering::Relaxed);
    if used == 0 { Marked::Emptied } else { Marked::Freed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::MaybeUninit;

    #[test]
    fn both_ways_agree_on_every_bit() {
        // SAFETY: all zero bits are a valid Record.
        let (one, two): (Record, Record) =
            unsafe { (MaybeUninit::zeroed().assume_init(), MaybeUninit::zeroed().assume_init()) };
        for step in 0..4096u32 {
            let index = step * 1237 % 4096;
            for record in [&one, &two] {
                record.used.store(1 + step % 2, Ordering::Relaxed);
            }
            for _ in 0..2 {
                // SAFETY: the records are this test's; the index is below 4,096.
                let (a, b) = unsafe { (mark(&one, index), mark_portably(&two, index)) };
                assert_eq!(a, b);
            }
            assert_eq!(one.used.load(Ordering::Relaxed), two.used.load(Ordering::Relaxed));
        }
        for (a, b) in one.local.iter().zip(&two.local) {
            assert_eq!(a.load(Ordering::Relaxed), u64::MAX);
            assert_eq!(b.load(Ordering::Relaxed), u64::MAX);
        }
    }
}
