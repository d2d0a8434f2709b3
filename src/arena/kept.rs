//! Kept spans: what a thread has freed last stays with it for its next block of about that size.
//!
//! A pair of `malloc` and `free` between 32 KiB and 2 MiB then touches no bitset and one shared word,
//! the span's own. Bounded by number and bytes; what is pushed out, and everything at thread exit and
//! on `trim`, goes back to the arena. To a free that comes twice the span is dead (`span_live`).

use super::{spans, window};
use crate::layout::{KEPT_SPANS, KeptSpan, Thread, UNIT_BYTES};
use crate::misuse::Fault;
use crate::sync::Ordering;

/// Most units that a thread keeps: 2 MiB. ARCHITECTURE.md, "Kept spans".
const KEPT_UNITS: u32 = 32;

/// Takes a span for `size` bytes at a multiple of up to a unit: one that is at most an eighth longer
/// than needed, the latest freed first. Its content is whatever it was.
///
/// # Safety
/// The calling thread holds `thread`, is ACTIVE and marked busy.
pub(crate) unsafe fn take(thread: *mut Thread, size: usize) -> Option<*mut u8> {
    // SAFETY: the caller's contract: nobody else writes here.
    let kept = unsafe { &mut (*thread).kept };
    let want = size.div_ceil(UNIT_BYTES);
    let count = kept.count as usize;
    let found = kept.spans.get(..count)?.iter().rposition(|span| {
        let len = span.units as usize;
        len >= want && len - want <= want / 8
    })?;
    let span = *kept.spans.get(found)?;
    for later in found + 1..count {
        kept.spans[later - 1] = kept.spans[later];
    }
    kept.count -= 1;
    kept.units.store(kept.units.load(Ordering::Relaxed) - span.units, Ordering::Relaxed);
    spans::revive(span.first, size);
    Some(window::address_of(span.first) as *mut u8)
}

/// Frees the span at `block`, which lies in `unit`, into the thread's own. `false`, nothing changed,
/// if it is too long for that.
///
/// # Safety
/// As for `take`.
pub(crate) unsafe fn put(thread: *mut Thread, unit: u32, block: usize) -> Result<bool, Fault> {
    let Some(len) = spans::retire(unit, block, KEPT_UNITS)? else { return Ok(false) };
    // SAFETY: as in `take`.
    let kept = unsafe { &mut (*thread).kept };
    let mut units = kept.units.load(Ordering::Relaxed) + len;
    let mut count = kept.count as usize;
    if count == KEPT_SPANS || units > KEPT_UNITS {
        // The oldest go, until the new one fits: it is not longer than all of them may be.
        let mut out = 0;
        while out < count && (count - out == KEPT_SPANS || units > KEPT_UNITS) {
            units -= kept.spans[out].units;
            spans::give_back(kept.spans[out].first, kept.spans[out].units);
            out += 1;
        }
        kept.spans.copy_within(out..count, 0);
        count -= out;
        super::purge::purge_if_due();
    }
    kept.spans[count] = KeptSpan { first: unit, units: len };
    kept.count = count as u32 + 1;
    kept.units.store(units, Ordering::Relaxed);
    Ok(true)
}

/// Gives all of the thread's spans back.
///
/// # Safety
/// As for `take`.
pub(crate) unsafe fn empty(thread: *mut Thread) {
    // SAFETY: as in `take`.
    let kept = unsafe { &mut (*thread).kept };
    while let Some(count) = kept.count.checked_sub(1) {
        let span = kept.spans[count as usize];
        kept.count = count;
        kept.units.store(kept.units.load(Ordering::Relaxed) - span.units, Ordering::Relaxed);
        spans::give_back(span.first, span.units);
    }
}
