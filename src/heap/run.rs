//! Run slabs: 64 KiB of 128-byte granules, shared by all medium classes.
//!
//! `local` has a bit per free granule, `remote` the bit of a block's first granule, and the granule
//! table holds each block's class at its first granule: stored before the block is handed out and
//! kept while it lives, so that a fold knows how long it was. A run lies at a multiple of the
//! largest power of two that divides its class size, as a block in a class slab would.
//!
//! Lowest fit. A byte per unit says the largest class that may still fit (`fits`), so that a search
//! passes over the others without reading them: a search that fails lowers it, a free sets it to
//! "anything".
//!
//! Modelled by `heap::models::remote_free_against_refill_from_a_run_slab`.

use super::hint::{self, Fitting};
use super::lock::Held;
use super::slab::{adopt, clear_hint, clear_hints, fill, leave_hint, make_current};
use super::{Batch, sweep};
use crate::arena::{tables, window};
use crate::bitset;
use crate::layout::{
    FITTING, GRANULE_SHIFT, GRANULES, Identity, KIND_RUN, NO_UNIT, ROOMY, RUN, RUN_WORDS, Record,
};
use crate::misuse::{Fault, Misuse};
use crate::size_class::{Class, SMALL_CLASSES};
use crate::sync::Ordering;

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

/// Says that a block of `class` starts at a granule of a unit. Under the lock, before anyone has it.
pub(super) fn start_block(unit: u32, granule: usize, class: Class) {
    // SAFETY: the callers' granules are the unit's.
    unsafe { tables::granule(unit, granule) }.store(byte_of(class), Ordering::Relaxed);
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
    record.fits.store(ROOMY as u32, Ordering::Relaxed);
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
    while out.len() < want && record.fits.load(Ordering::Relaxed) as usize >= class.index() {
        let Some(start) = bitset::engine().first_run_aligned(local, len, align) else {
            // Too short, or none of them well placed: nothing of this class or above until a free.
            // (A larger class of lesser alignment might still fit; it is given up for the bound.)
            let longest = largest_within(0, bitset::longest_run(local), SMALL_CLASSES);
            record.fits.store(longest.min(class.index() - 1) as u32, Ordering::Relaxed);
            return;
        };
        mark(record, start, len, false);
        // SAFETY: the run's first granule is one of the unit's.
        unsafe { tables::granule(unit, start) }.store(byte_of(class), Ordering::Relaxed);
        out.push((window::address_of(unit) + (start << GRANULE_SHIFT)) as *mut u8);
    }
}

/// Fills `out` from the run slab in use, from others of this heap, and from at most two elsewhere.
pub(super) fn take(held: &Held, class: Class, want: usize, out: &mut Batch) -> Result<(), Misuse> {
    let wanted = Fitting(class.index());
    let unit = held.current(RUN).load(Ordering::Relaxed);
    if unit != NO_UNIT {
        // SAFETY: run slabs in use are below the bound.
        let record = unsafe { tables::record(unit) };
        clear_hint(record, unit, RUN);
        fold(record, unit)?;
        record.set_identity(record.identity().quiet());
        take_from(record, unit, class, want, out);
        if out.len() != 0 {
            return Ok(());
        }
    }
    for _ in 0..SLABS_PER_REFILL {
        let Some(unit) = hint::find_own(held, wanted) else { break };
        // SAFETY: hints stand for units below the bound.
        let record = unsafe { tables::record(unit) };
        if record.identity().class() != RUN {
            clear_hints(unit, RUN); // stale
            continue;
        }
        clear_hint(record, unit, RUN);
        fold(record, unit)?;
        take_from(record, unit, class, want, out);
        if out.len() != 0 {
            make_current(held, unit, RUN);
            return sweep::after_refill(held);
        }
        // It fits less than was thought, so the next search does not find it: that is the progress.
        leave_hint(record, unit, RUN);
    }
    for unit in hint::find_foreign(held, wanted).into_iter().flatten() {
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

/// The free run that the free granules `start..end` are part of: its first granule, and its end.
fn merged(record: &Record, start: usize, end: usize) -> (usize, usize) {
    let mut low = start;
    while low != 0 {
        // SAFETY: granules before `start` are the slab's.
        let word = unsafe { record.local.get_unchecked((low - 1) / 64) }.load(Ordering::Relaxed);
        let within = (low - 1) % 64 + 1; // bits below `low` in this word
        let ones = (word << (64 - within)).leading_ones() as usize;
        low -= ones.min(within);
        if ones < within {
            break;
        }
    }
    let mut high = end;
    while high < GRANULES {
        // SAFETY: below the slab's end.
        let word = unsafe { record.local.get_unchecked(high / 64) }.load(Ordering::Relaxed);
        let ones = (word >> (high % 64)).trailing_ones() as usize;
        high += ones;
        if !high.is_multiple_of(64) || ones == 0 {
            break;
        }
    }
    (low, high)
}

/// The largest medium class above `least` that fits into the free granules `low..high`, or `least`.
fn largest_within(low: usize, high: usize, least: usize) -> usize {
    let mut index = match Class::of((high - low) << GRANULE_SHIFT) {
        Some(class) => class.index(),
        None => ROOMY,
    };
    while index > least {
        let len = granules_of(Class::from_index(index));
        let align = len & len.wrapping_neg();
        if low.next_multiple_of(align) + len <= high {
            return index;
        }
        index -= 1;
    }
    least
}

/// After a free the run that it made may fit more than was known. The hint says so.
fn fits_more(record: &Record, unit: u32, start: usize, len: usize) {
    let fits = record.fits.load(Ordering::Relaxed) as usize;
    if fits == ROOMY {
        return;
    }
    let (low, high) = merged(record, start, start + len);
    let now = largest_within(low, high, fits);
    if now == fits {
        return;
    }
    record.fits.store(now as u32, Ordering::Relaxed);
    if hint::is_set(unit, FITTING) {
        hint::set_fitting(record, unit);
    }
}

/// Frees one run of this heap. `start` is its first granule, `class` what the table said there.
pub(super) fn free_local(record: &Record, unit: u32, start: usize, class: Class) {
    // SAFETY: `start` was looked up in the unit's part of the table.
    unsafe { tables::granule(unit, start) }.store(0, Ordering::Relaxed);
    mark(record, start, granules_of(class), true);
    fits_more(record, unit, start, granules_of(class));
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
