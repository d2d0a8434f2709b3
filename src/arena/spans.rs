//! Spans: blocks above 32 KiB, as units in a row.
//!
//! The record of a span's first unit holds its length; nothing is kept for the units inside. A free
//! swaps the head's `span_live`, so of two frees only one wins (of those that a thread keeps, `kept.rs` tells). What the window cannot hold (very
//! large, very aligned, or no room) becomes a mapping of its own in `direct`.

use super::{direct, policy, purge, shelf, tables, units, window};
use crate::layout::{KIND_NONE, KIND_SPAN, UNIT_BYTES, UNIT_SHIFT};
use crate::misuse::Fault;
use crate::os;
use crate::sync::{AtomicUsize, Ordering};
use core::ptr;

/// Largest span, bytes; larger blocks are mapped directly.
pub(crate) const SPAN_MAX: usize = 256 << 20;
/// Largest alignment served from the window, bytes.
pub(super) const SPAN_ALIGN_MAX: usize = 32 << 20;

/// Largest block that gets room to grow in the window, bytes. Above, its pages are moved as it grows
/// (`moving.rs`), which needs none there.
const GROW_MAX: usize = 32 << 20;

/// Zeroed blocks from this size on are not written to: what is not known to be zero goes back to the
/// system first. glibc's calloc does so from 32 MiB on too, the most its threshold for mappings grows to.
const PURGE_TO_CLEAR: usize = 32 << 20;

/// Longest span that its thread keeps (`kept.rs`), units; longer ones go to the shelf.
pub(super) const KEPT_MAX: u32 = 32;

/// A retired span in one word, for those who keep some (`kept.rs`, `shelf.rs`): its first unit, and its
/// length in units above that. 0 is none.
pub(super) const fn word(first: u32, units: u32) -> u64 {
    (units as u64) << 32 | first as u64
}

pub(super) const fn first_of(word: u64) -> u32 {
    word as u32
}

pub(super) const fn units_of(word: u64) -> u32 {
    (word >> 32) as u32
}

/// `Record::span_live` of a block that the program has.
pub(super) const LIVE: u32 = 1;

/// Bytes of units in spans, and of direct mappings.
static LARGE: AtomicUsize = AtomicUsize::new(0);

/// Bytes held by large blocks, and by spans that threads keep.
pub(crate) fn large() -> usize {
    LARGE.load(Ordering::Relaxed) + direct::bytes()
}

/// Whether a block of that kind has room in the window.
pub(crate) const fn fits_window(size: usize, align: usize) -> bool {
    size <= SPAN_MAX && align <= SPAN_ALIGN_MAX
}

/// Allocates a large block. NULL if there is no memory.
///
/// `size` may be anything above 0; `align` is a power of two. With `zero`, the block reads as zero.
pub(crate) fn allocate(size: usize, align: usize, zero: bool, token: usize) -> *mut u8 {
    if size > (isize::MAX as usize).saturating_sub(align) {
        return ptr::null_mut();
    }
    if fits_window(size, align) {
        let len = size.div_ceil(UNIT_BYTES).max(1);
        let align_units = (align >> UNIT_SHIFT).max(1);
        if len > KEPT_MAX as usize
            && align_units == 1
            && let Some(unit) = shelf::take(size)
        {
            policy::span_begins(window::address_of(unit), size.next_multiple_of(UNIT_BYTES));
            if zero {
                // SAFETY: the span is this thread's.
                unsafe { clear_old(unit, size) };
            }
            return window::address_of(unit) as *mut u8;
        }
        let room = if align_units == 1 { shelf::with_room(len) } else { len };
        if let Some((unit, len)) = claim(len, room, align_units, token) {
            publish(unit, len, size);
            let block = window::address_of(unit) as *mut u8;
            policy::span_begins(block as usize, len << UNIT_SHIFT);
            if zero {
                // SAFETY: the units are claimed and committed, so this thread alone may write them.
                unsafe { clear(unit, size) };
            }
            return block;
        }
    }
    direct::allocate(size, align)
}

/// Claims `room` units, or `len` if there is no address space for that many; and how many it got.
fn claim(len: usize, room: usize, align: usize, token: usize) -> Option<(u32, usize)> {
    if room > len
        && let Some(unit) = units::claim(room, align, token)
    {
        return Some((unit, room));
    }
    Some((units::claim(len, align, token)?, len))
}

fn publish(unit: u32, len: usize, size: usize) {
    // SAFETY: a claimed unit is below the bound.
    let (record, entry) = unsafe { (tables::record(unit), tables::entry(unit)) };
    record.span_units.store(len as u32, Ordering::Relaxed);
    record.span_bytes.store(size, Ordering::Relaxed);
    let goes_to_shelf = len > KEPT_MAX as usize;
    let dirty = goes_to_shelf && units::count_dirty(unit as usize, len) != 0;
    shelf::describe(record, len, dirty);
    record.span_live.store(LIVE, Ordering::Relaxed);
    entry.kind.store(KIND_SPAN, Ordering::Release);
    LARGE.fetch_add(len << UNIT_SHIFT, Ordering::Relaxed);
}

/// Zeroes the first `size` bytes of claimed units, leaving alone those that are known to be zero.
///
/// # Safety
/// The caller holds the units.
unsafe fn clear(unit: u32, size: usize) {
    let units = size.div_ceil(UNIT_BYTES);
    if size >= PURGE_TO_CLEAR
        && units::count_dirty(unit as usize, units) != 0
        && os::purge(window::address_of(unit), units << UNIT_SHIFT)
    {
        // SAFETY: a claimed unit is below the bound.
        shelf::cleared(unsafe { tables::record(unit) }, size);
        return;
    }
    let mut offset = 0;
    while offset < size {
        if units::is_dirty(unit as usize + (offset >> UNIT_SHIFT)) {
            let len = UNIT_BYTES.min(size - offset);
            // SAFETY: inside the units that the caller holds.
            unsafe { ptr::write_bytes((window::address_of(unit) + offset) as *mut u8, 0, len) };
        }
        offset += UNIT_BYTES;
    }
}

/// Zeroes the first `size` bytes of a span that was in use, as far as its pages may be resident.
///
/// # Safety
/// The caller holds the span.
unsafe fn clear_old(unit: u32, size: usize) {
    // SAFETY: a claimed unit is below the bound.
    let record = unsafe { tables::record(unit) };
    // Whole units: a block that shrank within its last one may have written behind what it was then.
    let written = shelf::reach(record).next_multiple_of(UNIT_BYTES);
    let block = window::address_of(unit);
    if size >= PURGE_TO_CLEAR
        && (written == 0 || os::purge(block, written.min(size.next_multiple_of(UNIT_BYTES))))
    {
        shelf::cleared(record, size);
        return;
    }
    // SAFETY: the span is at least that long, and the caller's.
    unsafe { ptr::write_bytes(block as *mut u8, 0, size.min(written)) };
}

/// The head of the span that starts at `block`, or what is wrong with the pointer.
#[inline(never)]
fn head(unit: u32, block: usize) -> Result<&'static crate::layout::Record, Fault> {
    // SAFETY: the callers got `unit` from `unit_of`, so it is below the bound.
    let (record, entry) = unsafe { (tables::record(unit), tables::entry(unit)) };
    if entry.kind.load(Ordering::Acquire) == KIND_SPAN {
        if block != window::address_of(unit) {
            return Err(Fault::Inside);
        }
        if record.span_live.load(Ordering::Relaxed) != LIVE {
            return Err(Fault::DoubleFree); // kept by the thread that freed it, or on the shelf
        }
        return Ok(record);
    }
    Err(fault_outside(unit))
}

/// What is wrong with a pointer into a unit in which neither slab nor span begins.
#[cold]
#[inline(never)]
pub(crate) fn fault_outside(unit: u32) -> Fault {
    if !units::is_free(unit) {
        Fault::Inside
    } else if units::is_dirty(unit as usize) {
        Fault::DoubleFree // free memory that was in use once
    } else {
        Fault::Foreign
    }
}

/// Ends the span that starts at `block`, which lies in `unit`; its units, still claimed.
fn end(unit: u32, block: usize) -> Result<usize, Fault> {
    let record = head(unit, block)?;
    if record.span_live.swap(0, Ordering::AcqRel) != LIVE {
        return Err(Fault::DoubleFree);
    }
    let len = record.span_units.load(Ordering::Relaxed) as usize;
    shelf::settle(record, len);
    // SAFETY: as in `head`.
    unsafe { tables::entry(unit) }.kind.store(KIND_NONE, Ordering::Relaxed);
    LARGE.fetch_sub(len << UNIT_SHIFT, Ordering::Relaxed);
    policy::span_ends(block, len << UNIT_SHIFT);
    Ok(len)
}

/// Frees the span that starts at `block`, which lies in `unit`.
pub(crate) fn free(unit: u32, block: usize) -> Result<(), Fault> {
    let record = head(unit, block)?;
    let len = record.span_units.load(Ordering::Relaxed);
    if len > KEPT_MAX {
        if record.span_live.swap(0, Ordering::AcqRel) != LIVE {
            return Err(Fault::DoubleFree);
        }
        policy::span_ends(block, (len as usize) << UNIT_SHIFT);
        if !shelf::put(unit, len) {
            give_back(unit, len);
        }
    } else {
        let len = end(unit, block)?;
        units::release(unit, len);
    }
    purge::purge_if_due();
    Ok(())
}

/// Frees a span whose pages were moved elsewhere: its units are zero.
pub(super) fn free_empty(unit: u32, block: usize) -> Result<(), Fault> {
    let len = end(unit, block)?;
    units::release_empty(unit, len);
    Ok(())
}

/// Makes a retired span live again, as one of `size` bytes.
#[inline]
pub(super) fn revive(unit: u32, size: usize) {
    // SAFETY: a claimed unit is below the bound.
    let record = unsafe { tables::record(unit) };
    record.span_bytes.store(size, Ordering::Relaxed);
    record.span_live.store(LIVE, Ordering::Relaxed);
}

/// Gives the units of a retired span back.
#[inline(never)]
pub(super) fn give_back(unit: u32, len: u32) {
    // SAFETY: as in `revive`.
    unsafe { tables::entry(unit) }.kind.store(KIND_NONE, Ordering::Relaxed);
    LARGE.fetch_sub((len as usize) << UNIT_SHIFT, Ordering::Relaxed);
    units::release(unit, len as usize);
}

/// Gives the units of a retired span back, whose pages are gone.
pub(super) fn give_back_empty(unit: u32, len: u32) {
    // SAFETY: as in `revive`.
    unsafe { tables::entry(unit) }.kind.store(KIND_NONE, Ordering::Relaxed);
    LARGE.fetch_sub((len as usize) << UNIT_SHIFT, Ordering::Relaxed);
    units::release_empty(unit, len as usize);
}

/// Bytes of the units of the span at `block`.
pub(super) fn bytes(unit: u32, block: usize) -> Result<usize, Fault> {
    Ok((head(unit, block)?.span_units.load(Ordering::Relaxed) as usize) << UNIT_SHIFT)
}

/// Bytes that the program may use of the span at `block`, and the bytes it asked for.
pub(crate) fn sizes(unit: u32, block: usize) -> Result<(usize, usize), Fault> {
    let record = head(unit, block)?;
    let asked = record.span_bytes.load(Ordering::Relaxed);
    Ok((
        asked
            .next_multiple_of(4096)
            .min((record.span_units.load(Ordering::Relaxed) as usize) << UNIT_SHIFT),
        asked,
    ))
}

/// Resizes a span that grows inside the units that it has: whether it does.
#[inline]
pub(crate) fn resize_within(unit: u32, block: usize, size: usize) -> bool {
    let Ok(record) = head(unit, block) else { return false };
    let fits = size >= record.span_bytes.load(Ordering::Relaxed)
        && size.div_ceil(UNIT_BYTES) <= record.span_units.load(Ordering::Relaxed) as usize;
    if fits {
        record.span_bytes.store(size, Ordering::Relaxed);
    }
    fits
}

/// Resizes a span without moving it: gives back its tail, or takes the free units behind it.
///
/// `false`, and nothing changed, if it would have to move. The caller owns the block.
pub(crate) fn resize(unit: u32, block: usize, size: usize) -> Result<bool, Fault> {
    let record = head(unit, block)?;
    let old = record.span_units.load(Ordering::Relaxed) as usize;
    if size > SPAN_MAX {
        return Ok(false);
    }
    let new = size.div_ceil(UNIT_BYTES).max(1);
    if new > old {
        if !units::claim_at(unit + old as u32, new - old) {
            return Ok(false);
        }
        LARGE.fetch_add((new - old) << UNIT_SHIFT, Ordering::Relaxed);
        record.span_units.store(new as u32, Ordering::Relaxed);
    } else if size < record.span_bytes.load(Ordering::Relaxed) && new < old {
        // It shrinks: the tail goes back, and room that it had to grow.
        record.span_units.store(new as u32, Ordering::Relaxed);
        shelf::settle(record, new);
        LARGE.fetch_sub((old - new) << UNIT_SHIFT, Ordering::Relaxed);
        let tail = unit + new as u32;
        policy::span_ends(window::address_of(tail), (old - new) << UNIT_SHIFT);
        units::release(tail, old - new);
        purge::purge_if_due();
    }
    record.span_bytes.store(size, Ordering::Relaxed);
    Ok(true)
}

/// Allocates a block for one that grew to `size` bytes and has to move: with room to grow on, if
/// there is some.
pub(crate) fn allocate_to_grow(size: usize, align: usize, token: usize) -> *mut u8 {
    let len = size.div_ceil(UNIT_BYTES);
    let slack = (len / 4).max(1);
    if size <= GROW_MAX
        && align <= UNIT_BYTES
        && let Some(unit) = units::claim(len + slack, 1, token)
    {
        publish(unit, len + slack, size);
        policy::span_begins(window::address_of(unit), (len + slack) << UNIT_SHIFT);
        return window::address_of(unit) as *mut u8;
    }
    allocate(size, align, false, token)
}
