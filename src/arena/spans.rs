//! Spans: blocks above 32 KiB, as units in a row.
//!
//! The record of a span's first unit holds its length; nothing is kept for the units inside. A free
//! swaps the head's `span_live`, so of two frees only one wins. What the window cannot hold (very
//! large, very aligned, or no room) becomes a mapping of its own in `direct`.

use super::{direct, tables, units, window};
use crate::layout::{KIND_NONE, KIND_SPAN, UNIT_BYTES, UNIT_SHIFT};
use crate::misuse::Fault;
use crate::sync::{AtomicUsize, Ordering};
use core::ptr;

/// Largest span, bytes; larger blocks are mapped directly.
pub(crate) const SPAN_MAX: usize = 256 << 20;
/// Largest alignment served from the window, bytes.
pub(super) const SPAN_ALIGN_MAX: usize = 32 << 20;

/// Bytes of units in spans, and of direct mappings.
static LARGE: AtomicUsize = AtomicUsize::new(0);

/// Bytes held by large blocks.
pub(crate) fn large() -> usize {
    LARGE.load(Ordering::Relaxed) + direct::bytes()
}

/// Allocates a large block. NULL if there is no memory.
///
/// `size` may be anything above 0; `align` is a power of two. With `zero`, the block reads as zero.
pub(crate) fn allocate(size: usize, align: usize, zero: bool, token: usize) -> *mut u8 {
    if size > (isize::MAX as usize).saturating_sub(align) {
        return ptr::null_mut();
    }
    if size <= SPAN_MAX && align <= SPAN_ALIGN_MAX {
        let len = size.div_ceil(UNIT_BYTES).max(1);
        let align_units = (align >> UNIT_SHIFT).max(1);
        if let Some(unit) = units::claim(len, align_units, token) {
            publish(unit, len, size);
            let block = window::address_of(unit) as *mut u8;
            if zero {
                // SAFETY: the units are claimed and committed, so this thread alone may write them.
                unsafe { clear(unit, size) };
            }
            return block;
        }
    }
    direct::allocate(size, align)
}

fn publish(unit: u32, len: usize, size: usize) {
    // SAFETY: a claimed unit is below the bound.
    let (record, entry) = unsafe { (tables::record(unit), tables::entry(unit)) };
    record.span_units.store(len as u32, Ordering::Relaxed);
    record.span_bytes.store(size, Ordering::Relaxed);
    record.span_live.store(1, Ordering::Relaxed);
    entry.kind.store(KIND_SPAN, Ordering::Release);
    LARGE.fetch_add(len << UNIT_SHIFT, Ordering::Relaxed);
}

/// Zeroes the first `size` bytes of claimed units, leaving alone those that are known to be zero.
///
/// # Safety
/// The caller holds the units.
unsafe fn clear(unit: u32, size: usize) {
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

/// The head of the span that starts at `block`, or what is wrong with the pointer.
fn head(unit: u32, block: usize) -> Result<&'static crate::layout::Record, Fault> {
    // SAFETY: the callers got `unit` from `unit_of`, so it is below the bound.
    let (record, entry) = unsafe { (tables::record(unit), tables::entry(unit)) };
    if entry.kind.load(Ordering::Acquire) == KIND_SPAN {
        if block == window::address_of(unit) {
            return Ok(record);
        }
        return Err(Fault::Inside);
    }
    Err(if !units::is_free(unit) {
        Fault::Inside
    } else if units::is_dirty(unit as usize) {
        Fault::DoubleFree // free memory that was in use once
    } else {
        Fault::Foreign
    })
}

/// Frees the span that starts at `block`, which lies in `unit`.
pub(crate) fn free(unit: u32, block: usize) -> Result<(), Fault> {
    let record = head(unit, block)?;
    if record.span_live.swap(0, Ordering::AcqRel) == 0 {
        return Err(Fault::DoubleFree);
    }
    let len = record.span_units.load(Ordering::Relaxed) as usize;
    // SAFETY: as in `head`.
    unsafe { tables::entry(unit) }.kind.store(KIND_NONE, Ordering::Relaxed);
    LARGE.fetch_sub(len << UNIT_SHIFT, Ordering::Relaxed);
    units::release(unit, len);
    units::purge_if_due();
    Ok(())
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
    }
    record.span_units.store(new as u32, Ordering::Relaxed);
    record.span_bytes.store(size, Ordering::Relaxed);
    if new < old {
        LARGE.fetch_sub((old - new) << UNIT_SHIFT, Ordering::Relaxed);
        units::release(unit + new as u32, old - new);
        units::purge_if_due();
    }
    Ok(true)
}
