//! Kept spans: what a thread has freed last stays with it for its next block of about that size.
//!
//! A pair of `malloc` and `free` between 32 KiB and 2 MiB then touches no bitset and one shared word,
//! the span's own. Bounded by number and bytes; what is pushed out, and everything at thread exit and
//! on `trim`, goes back to the arena. To a free that comes twice the span is dead (`span_live`).

use super::{spans, units, window};
use crate::hit;
use crate::layout::{KEPT_SPANS, KeptSpan, KeptSpans, Thread, UNIT_BYTES};
use crate::misuse::Fault;
use crate::thread::{STATE_ACTIVE, STATE_BUSY};
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{Ordering, compiler_fence};

/// Most units that a thread keeps: 2 MiB. ARCHITECTURE.md, "Kept spans".
const KEPT_UNITS: u32 = 32;
/// The same in bytes: no larger block can be among them.
pub(crate) const KEPT_BYTES: usize = KEPT_UNITS as usize * UNIT_BYTES;

/// A thread's kept spans while a call changes them.
struct Open(*mut KeptSpans);

impl Open {
    /// # Safety
    /// The calling thread holds `thread` (or its holder does not exist any more), and no other call
    /// is changing these.
    #[inline(always)]
    unsafe fn new(thread: *mut Thread) -> Self {
        // SAFETY: the caller's contract.
        unsafe { (*thread).kept.busy.store(1, Ordering::Relaxed) };
        compiler_fence(Ordering::SeqCst);
        // SAFETY: as above.
        Self(unsafe { &raw mut (*thread).kept })
    }
}

impl Deref for Open {
    type Target = KeptSpans;
    #[inline(always)]
    fn deref(&self) -> &KeptSpans {
        // SAFETY: `new` was promised that nobody else is here.
        unsafe { &*self.0 }
    }
}

impl DerefMut for Open {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut KeptSpans {
        // SAFETY: as in `deref`.
        unsafe { &mut *self.0 }
    }
}

impl Drop for Open {
    #[inline(always)]
    fn drop(&mut self) {
        compiler_fence(Ordering::SeqCst);
        self.busy.store(0, Ordering::Relaxed);
    }
}

/// Gives the calling thread's spans back before the window grows: whether there were any.
pub(super) fn give_up_own() -> bool {
    let tls = hit::tls();
    // SAFETY: this thread's own block; an ACTIVE or BUSY one has a record, whose spans no other call
    // of this thread is changing unless they are marked so.
    unsafe {
        let thread = (*tls).thread;
        let free = matches!((*tls).state, STATE_ACTIVE | STATE_BUSY)
            && (*thread).kept.busy.load(Ordering::Relaxed) == 0
            && (*thread).kept.count != 0;
        if free {
            empty(thread);
        }
        free
    }
}

/// Takes a span for `size` bytes at a multiple of up to a unit: one that is at most an eighth longer
/// than needed, the latest freed first. Its content is whatever it was.
///
/// # Safety
/// The calling thread holds `thread`, is ACTIVE and marked busy.
pub(crate) unsafe fn take(thread: *mut Thread, size: usize) -> Option<*mut u8> {
    // SAFETY: the caller's contract.
    let kept = &mut *unsafe { Open::new(thread) };
    let want = size.div_ceil(UNIT_BYTES);
    let count = kept.count as usize;
    let found = kept.spans.get(..count)?.iter().rposition(|span| {
        let len = span.units as usize;
        len >= want && len - want <= want / 8
    })?;
    let span = remove(kept, found);
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
    let kept = &mut *unsafe { Open::new(thread) };
    if kept.count as usize == KEPT_SPANS || kept.units.load(Ordering::Relaxed) + len > KEPT_UNITS {
        // The oldest go, until the new one fits: it is not longer than all of them may be.
        while kept.count as usize == KEPT_SPANS
            || kept.units.load(Ordering::Relaxed) + len > KEPT_UNITS
        {
            let oldest = remove(kept, 0);
            spans::give_back(oldest.first, oldest.units);
        }
        units::purge_if_due();
    }
    kept.spans[kept.count as usize] = KeptSpan { first: unit, units: len };
    compiler_fence(Ordering::SeqCst);
    kept.count += 1;
    kept.units.store(kept.units.load(Ordering::Relaxed) + len, Ordering::Relaxed);
    Ok(true)
}

/// Takes the span at `index` out of the list, before anybody does anything with it: a fork may come
/// in between, and its child gives back what it finds listed and dead. While the later ones move
/// down, one is listed twice.
#[inline(always)]
fn remove(kept: &mut KeptSpans, index: usize) -> KeptSpan {
    let span = kept.spans[index];
    for later in index + 1..kept.count as usize {
        kept.spans[later - 1] = kept.spans[later];
    }
    compiler_fence(Ordering::SeqCst);
    kept.count -= 1;
    kept.units.store(kept.units.load(Ordering::Relaxed) - span.units, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    span
}

/// Gives all of the thread's spans back, also those of a thread that did not come along with a fork.
///
/// # Safety
/// As for `take`, or the thread does not exist any more.
pub(crate) unsafe fn empty(thread: *mut Thread) {
    // SAFETY: the caller's contract.
    let kept = &mut *unsafe { Open::new(thread) };
    while let Some(last) = kept.count.checked_sub(1) {
        let span = remove(kept, last as usize);
        if spans::is_retired(span.first) {
            spans::give_back(span.first, span.units);
        }
    }
    kept.units.store(0, Ordering::Relaxed);
}
