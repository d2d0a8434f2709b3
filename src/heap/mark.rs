//! Freeing located blocks of class slabs: each one's bit set, its slab's count of used blocks one less.
//!
//! On x86_64 seven instructions of assembly a block: its record and index, the identity, the bit by number from
//! memory (the carry is the double free) and the count in place (zero is "empty", and a decrement leaves the carry alone, so
//! that one jump asks for both). The compiler needs three times as many. Four to a step. The twin in Rust
//! serves every other target, and the tests hold the two together.

use crate::arena::window::WINDOW_BITS;
use crate::bitset::Located;
use crate::layout::{Identity, Record, UNIT_SHIFT};
use crate::sync::Ordering;

/// Why `mark_all` stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stopped {
    /// All are marked.
    Done,
    /// The block at that place is not in a slab of that identity, or its bit was set already; it was
    /// not marked.
    Odd(usize),
    /// The block at that place was marked, and its slab has no used block any more.
    Emptied(usize),
}

/// Marks located blocks from `from` (below `count`) on: sets each one's bit in `local` and counts it,
/// as long as their slabs have the identity `expected`.
///
/// # Safety
/// The lock of the heap that `expected` names is held; `located` has `count` entries, which `locate` has
/// found right for the size of its class; `records` is the table of records.
#[inline(always)]
pub(super) unsafe fn mark_all(
    records: *const Record,
    expected: Identity,
    located: *const Located,
    from: usize,
    count: usize,
) -> Stopped {
    cfg_if::cfg_if! {
        if #[cfg(all(target_arch = "x86_64", not(loom)))] {
            // One block, `$at` bytes behind where `at` stands.
            macro_rules! block {
                ($at:literal, $odd:literal, $stop:literal) => {
                    concat!(
                        // Eighths of records fit into 32 bits, and addresses multiply by 8.
                        "imul {unit:e}, dword ptr [{end} + {at} + {unit_at} + ", $at, "], {eighth}\n",
                        "mov {index:e}, dword ptr [{end} + {at} + {index_at} + ", $at, "]\n",
                        "cmp qword ptr [{records} + 8*{unit} + {identity}], {expected}\n",
                        "jne ", $odd, "f\n",
                        "bts qword ptr [{records} + 8*{unit} + {local}], {index:r}\n", // carry: it was free
                        "dec dword ptr [{records} + 8*{unit} + {used}]\n", // zero: empty; the carry stays
                        "jbe ", $stop, "f\n",                              // either
                    )
                };
            }
            let bytes = size_of::<Located>();
            let mut at = (from as isize - count as isize) * bytes as isize;
            let stopped: u32;
            // SAFETY: the caller's contract; only the lock's holder writes these two fields, and
            // those who read `local` without it (to name a fault) read whole words.
            unsafe {
                core::arch::asm!(
                    "add {at}, 24",             // where the last of four is, while there are four
                    "jns 3f",
                    "2:",
                    block!("-24", "52", "62"),
                    block!("-16", "53", "63"),
                    block!("-8", "54", "64"),
                    block!("0", "55", "65"),
                    "add {at}, 32",
                    "js 2b",
                    "3:",                       // up to three are left
                    "sub {at}, 24",
                    "jz 8f",
                    "4:",
                    block!("0", "55", "65"),
                    "add {at}, 8",
                    "jnz 4b",
                    "8:",
                    "xor {index:e}, {index:e}",
                    "jmp 9f",
                    "52: sub {at}, 8",          // which of the four it was
                    "53: sub {at}, 8",
                    "54: sub {at}, 8",
                    "55:",
                    "mov {index:e}, 1",
                    "jmp 9f",
                    "62: lea {at}, [{at} - 8]", // the same, and the carry stays
                    "63: lea {at}, [{at} - 8]",
                    "64: lea {at}, [{at} - 8]",
                    "65:",
                    "mov {index:e}, 2",
                    "jnc 9f",
                    "inc dword ptr [{records} + 8*{unit} + {used}]", // it was free: not one less
                    "mov {index:e}, 1",
                    "9:",
                    end = in(reg) located.add(count),
                    at = inout(reg) at,
                    unit = out(reg) _,
                    index = out(reg) stopped,
                    records = in(reg) records,
                    expected = in(reg) expected.0,
                    unit_at = const core::mem::offset_of!(Located, unit),
                    index_at = const core::mem::offset_of!(Located, index),
                    eighth = const size_of::<Record>() / 8,
                    identity = const core::mem::offset_of!(Record, identity),
                    local = const core::mem::offset_of!(Record, local),
                    used = const core::mem::offset_of!(Record, used),
                    options(nostack)
                );
            }
            let place = at.wrapping_add_unsigned(count * bytes).cast_unsigned() / bytes;
            match stopped {
                0 => Stopped::Done,
                1 => Stopped::Odd(place),
                _ => Stopped::Emptied(place),
            }
        } else {
            // SAFETY: the caller's contract.
            unsafe { mark_portably(records, expected, located, from, count) }
        }
    }
}

/// `mark_all` without assembly.
///
/// # Safety
/// That of `mark_all`.
#[inline(always)]
#[cfg_attr(
    all(target_arch = "x86_64", not(loom)),
    allow(dead_code, reason = "the twin, for the test")
)]
unsafe fn mark_portably(
    records: *const Record,
    expected: Identity,
    located: *const Located,
    from: usize,
    count: usize,
) -> Stopped {
    for at in from..count {
        // SAFETY: the caller's contract: the unit is below the bound, the index below its blocks.
        let (record, word, bit) = unsafe {
            let place = located.add(at).read();
            let record = &*records.add(place.unit as usize);
            (record, record.local.get_unchecked(place.word()), place.bit())
        };
        let before = word.load(Ordering::Relaxed);
        if record.identity() != expected || before & bit != 0 {
            return Stopped::Odd(at);
        }
        word.store(before | bit, Ordering::Relaxed);
        let used = record.used.load(Ordering::Relaxed).wrapping_sub(1);
        record.used.store(used, Ordering::Relaxed);
        if used == 0 {
            return Stopped::Emptied(at);
        }
    }
    Stopped::Done
}

// The assembly multiplies a unit with eighths of a record in 32 bits, and steps by 8 bytes.
const _: () = {
    let units = 1u64 << (WINDOW_BITS - UNIT_SHIFT);
    assert!(units * (size_of::<Record>() as u64 / 8) <= 1 << 32);
    assert!(size_of::<Record>().is_multiple_of(8) && size_of::<Located>() == 8);
};

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::MaybeUninit;
    use std::vec::Vec;

    #[test]
    fn both_ways_agree_on_every_stop() {
        const MINE: Identity = Identity::new(4, 1).quiet();
        // SAFETY: all zero bits are valid Records.
        let (one, two): ([Record; 4], [Record; 4]) =
            unsafe { (MaybeUninit::zeroed().assume_init(), MaybeUninit::zeroed().assume_init()) };
        for records in [&one, &two] {
            for (unit, record) in records.iter().enumerate() {
                record.used.store(1 + 7 * unit as u32, Ordering::Relaxed);
                record.set_identity(if unit == 3 { MINE.loud() } else { MINE });
            }
        }
        // Every block of every slab, and each again after a while: odd ones, twice freed ones, empty slabs.
        let mut seed = 1u32;
        let located: Vec<Located> = (0..4096u32)
            .map(|step| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                Located { index: step * 1237 % 2048, unit: seed >> 30 }
            })
            .collect();
        let (mut odd, mut emptied) = (0, 0);
        for batch in located.chunks(31) {
            let mut from = 0;
            while from < batch.len() {
                // SAFETY: the records are this test's; units are below 4, indices below 4,096.
                let (a, b) = unsafe {
                    let (at, count) = (batch.as_ptr(), batch.len());
                    (
                        mark_all(one.as_ptr(), MINE, at, from, count),
                        mark_portably(two.as_ptr(), MINE, at, from, count),
                    )
                };
                assert_eq!(a, b);
                from = match a {
                    Stopped::Done => batch.len(),
                    Stopped::Odd(at) => {
                        odd += 1;
                        at + 1
                    }
                    Stopped::Emptied(at) => {
                        emptied += 1;
                        at + 1
                    }
                };
            }
        }
        assert!(odd > 1000 && emptied == 3, "{odd} {emptied}");
        for (a, b) in one.iter().zip(&two) {
            assert_eq!(a.used.load(Ordering::Relaxed), b.used.load(Ordering::Relaxed));
            for (a, b) in a.local.iter().zip(&b.local) {
                assert_eq!(a.load(Ordering::Relaxed), b.load(Ordering::Relaxed));
            }
        }
    }
}
