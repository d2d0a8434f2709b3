//! Run slabs: 64 KiB of 128-byte granules, shared by all medium classes.
//!
//! `local` has a bit per free granule, `remote` the bit of a block's first granule, and the granule
//! table holds each block's class at its first granule: stored before the block is handed out and
//! kept while it lives, so that a fold knows how long it was. A run lies at a multiple of the
//! largest power of two that divides its class size, as a block in a class slab would.
//!
//! Lowest fit. `longest` bounds the longest free run of a slab, so that a search can pass slabs over
//! without reading them: exact after a search that failed, unknown (all granules) after a free.

use super::hint;
use super::lock::Held;
use super::slab::{adopt, clear_hint, fill, leave_hint, make_current};
use super::{Batch, sweep};
use crate::arena::{tables, window};
use crate::bitset;
use crate::layout::{GRANULE_SHIFT, GRANULES, Identity, KIND_RUN, NO_UNIT, RUN, RUN_WORDS, Record};
use crate::misuse::{Fault, Misuse};
use crate::size_class::{Class, SMALL_CLASSES};
use core::sync::atomic::Ordering;

/// Most run slabs of its own heap that one refill looks into.
const SLABS_PER_REFILL: usize = 16;

/// Granules of a block of a medium class.
#[inline]
pub(super) fn granules_of(class: Class) -> usize {
    class.size() >> GRANULE_SHIFT
}

/// What the granule table says of a medium class.
#[inline]
fn byte_of(class: Class) -> u8 {
    (class.index() - SMALL_CLASSES) as u8
}

/// The medium class that a non-zero byte of the granule table stands for.
#[inline]
pub(super) fn class_of_byte(byte: u8) -> Class {
    Class::from_index(SMALL_CLASSES + usize::from(byte))
}

/// Sets (free) or clears (in use) a range of granules. The lock is held.
fn mark(record: &Record, start: usize, len: usize, free: bool) {
    let mut granule = start;
    let end = start + len;
    while granule < end {
        let from = granule % 64;
        let here = (64 - from).min(end - granule);
        let mask = (u64::MAX >> (64 - here)) << from;
        // SAFETY: a run lies inside its slab's GRANULES granules.
        let word = unsafe { record.local.get_unchecked(granule / 64) };
        let before = word.load(Ordering::Relaxed);
        word.store(if free { before | mask } else { before & !mask }, Ordering::Relaxed);
        granule += here;
    }
    let used = record.used.load(Ordering::Relaxed);
    let used = if free { used - len as u32 } else { used + len as u32 };
    record.used.store(used, Ordering::Relaxed);
}

/// Makes a claimed unit a run slab of this heap and the one in use.
pub(super) fn carve(held: &Held, unit: u32) {
    // SAFETY: a claimed unit is below the bound.
    let (record, entry) = unsafe { (tables::record(unit), tables::entry(unit)) };
    record.blocks.store(GRANULES as u32, Ordering::Relaxed);
    record.used.store(0, Ordering::Relaxed);
    record.longest.store(GRANULES as u32, Ordering::Relaxed);
    fill(&record.local, GRANULES);
    for word in &record.remote[..RUN_WORDS] {
        word.store(0, Ordering::Relaxed);
    }
    record.set_identity(Identity::new(RUN, held.index()));
    hint::set_owned(unit, held.index(), true);
    entry.kind.store(KIND_RUN, Ordering::Release);
    make_current(held, unit, RUN);
}

/// Takes runs of `class` out of one slab until `out` has `want`.
fn take_from(record: &Record, unit: u32, class: Class, want: usize, out: &mut Batch) {
    let len = granules_of(class);
    let align = len & len.wrapping_neg();
    let local = &record.local[..RUN_WORDS];
    while out.len() < want && record.longest.load(Ordering::Relaxed) as usize >= len {
        let Some(start) = bitset::first_run_aligned(local, len, align) else {
            // Too short, or none of them well placed: bound the next search by what there is.
            record.longest.store(longest_run(record) as u32, Ordering::Relaxed);
            return;
        };
        mark(record, start, len, false);
        // SAFETY: the run's first granule is one of the unit's.
        unsafe { tables::granule(unit, start) }.store(byte_of(class), Ordering::Relaxed);
        out.push((window::address_of(unit) + (start << GRANULE_SHIFT)) as *mut u8);
    }
}

/// Length of the longest run of free granules.
fn longest_run(record: &Record) -> usize {
    let mut longest = 0;
    let mut current = 0;
    for word in &record.local[..RUN_WORDS] {
        let mut bits = word.load(Ordering::Relaxed);
        let mut left = 64;
        while left != 0 {
            if bits & 1 == 0 {
                current = 0;
                let zeros = (bits.trailing_zeros() as usize).min(left);
                left -= zeros;
                bits = bits.checked_shr(zeros as u32).unwrap_or(0);
            } else {
                let ones = (bits.trailing_ones() as usize).min(left);
                current += ones;
                longest = longest.max(current);
                left -= ones;
                bits = bits.checked_shr(ones as u32).unwrap_or(0);
            }
        }
    }
    longest
}

/// Fills `out` from the run slab in use, from others of this heap, and from at most two elsewhere.
pub(super) fn take(held: &Held, class: Class, want: usize, out: &mut Batch) -> Result<(), Misuse> {
    let unit = held.current(RUN).load(Ordering::Relaxed);
    if unit != NO_UNIT {
        // SAFETY: run slabs in use are below the bound.
        let record = unsafe { tables::record(unit) };
        hint::clear(unit, RUN);
        fold(record, unit)?;
        take_from(record, unit, class, want, out);
        if out.len() != 0 {
            return Ok(());
        }
    }
    let mut from = 0;
    for _ in 0..SLABS_PER_REFILL {
        let Some(unit) = hint::find_own(held, RUN, from) else { break };
        from = unit + 1;
        // SAFETY: hints stand for units below the bound.
        let record = unsafe { tables::record(unit) };
        if record.identity().class() != RUN {
            hint::clear(unit, RUN);
            continue;
        }
        clear_hint(record, unit, RUN);
        fold(record, unit)?;
        take_from(record, unit, class, want, out);
        if out.len() != 0 {
            make_current(held, unit, RUN);
            return sweep::look_around(held, 2);
        }
        leave_hint(record, unit, RUN);
    }
    for unit in hint::find_foreign(held, RUN).into_iter().flatten() {
        if adopt(held, unit, RUN)? {
            // SAFETY: as above.
            let record = unsafe { tables::record(unit) };
            take_from(record, unit, class, want, out);
            if out.len() != 0 {
                make_current(held, unit, RUN);
                break;
            }
            leave_hint(record, unit, RUN);
        }
    }
    sweep::look_around(held, 2)
}

/// Frees one run of this heap. `start` is its first granule, `class` what the table said there.
pub(super) fn free_local(record: &Record, unit: u32, start: usize, class: Class) {
    // SAFETY: `start` was looked up in the unit's part of the table.
    unsafe { tables::granule(unit, start) }.store(0, Ordering::Relaxed);
    mark(record, start, granules_of(class), true);
    record.longest.store(GRANULES as u32, Ordering::Relaxed);
}

/// Moves what others have freed from `remote` to `local`. The hint was cleared before.
pub(super) fn fold(record: &Record, unit: u32) -> Result<(), Misuse> {
    for (index, remote) in record.remote[..RUN_WORDS].iter().enumerate() {
        if remote.load(Ordering::Relaxed) == 0 {
            continue;
        }
        let mut bits = remote.swap(0, Ordering::Acquire);
        while bits != 0 {
            let start = index * 64 + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            // SAFETY: a remote bit stands for one of the unit's granules.
            let byte = unsafe { tables::granule(unit, start) }.load(Ordering::Relaxed);
            if byte == 0 {
                let pointer = window::address_of(unit) + (start << GRANULE_SHIFT);
                return Err(Misuse { fault: Fault::DoubleFree, pointer });
            }
            free_local(record, unit, start, class_of_byte(byte));
        }
    }
    Ok(())
}
