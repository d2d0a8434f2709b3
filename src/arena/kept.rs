//! Kept spans: what a thread has freed last stays with it for its next block of about that size.
//!
//! A pair of `malloc` and `free` between 32 KiB and 2 MiB then touches no bitset and one shared word,
//! the span's own. Bounded by number and bytes; what is pushed out, and everything at thread exit, goes
//! back to the arena. To a free that comes twice the span is dead (`span_live`).
//!
//! Each span is one word: its thread takes and puts it by an exchange, and so may anybody else. So
//! `purge`, and whoever finds no memory, gives back what all threads keep, a fork's child what vanished
//! threads kept, and a signal handler in the middle of a call finds every word whole.

use super::spans::{self, first_of, units_of, word};
use super::{purge, window};
use crate::hit;
use crate::layout::{KEPT_SPANS, KeptSpans, Thread, UNIT_BYTES, UNIT_SHIFT};
use crate::misuse::Fault;
use crate::sync::{AtomicU64, Ordering};
use crate::thread;

/// Most units that a thread keeps: 2 MiB. ARCHITECTURE.md, "Kept spans".
const KEPT_UNITS: u32 = spans::KEPT_MAX;
/// The same in bytes: no larger block can be among them.
pub(crate) const KEPT_BYTES: usize = KEPT_UNITS as usize * UNIT_BYTES;

/// The spans of a thread. Records stay mapped for ever.
///
/// # Safety
/// `thread` is a record.
#[inline(always)]
unsafe fn of(thread: *const Thread) -> &'static KeptSpans {
    // SAFETY: the caller's contract; all fields are atomics.
    unsafe { &(*thread).kept }
}

/// Takes a span for `size` bytes at a multiple of up to a unit: one that is at most an eighth longer
/// than needed, the latest freed first. Its content is whatever it was.
///
/// # Safety
/// The calling thread holds `thread`.
pub(crate) unsafe fn take(thread: *const Thread, size: usize) -> Option<*mut u8> {
    // SAFETY: the caller's contract.
    let kept = unsafe { of(thread) };
    let want = size.div_ceil(UNIT_BYTES).max(1); // size 0 comes with a large alignment
    let next = kept.next.load(Ordering::Relaxed) as usize;
    for back in 1..=KEPT_SPANS {
        let slot = kept.spans.get((next + KEPT_SPANS - back) % KEPT_SPANS)?;
        let span = slot.load(Ordering::Relaxed);
        let len = units_of(span) as usize;
        if len >= want
            && len - want <= want / 8
            && slot.compare_exchange(span, 0, Ordering::Acquire, Ordering::Relaxed).is_ok()
        {
            // The next one put goes where this one was.
            kept.next.store(((next + KEPT_SPANS - back) % KEPT_SPANS) as u32, Ordering::Relaxed);
            spans::revive(first_of(span), size);
            return Some(window::address_of(first_of(span)) as *mut u8);
        }
    }
    None
}

/// Frees the span at `block`, which lies in `unit`, into the thread's own. `false`, nothing changed,
/// if it is too long for that.
///
/// # Safety
/// As for `take`.
pub(crate) unsafe fn put(thread: *const Thread, unit: u32, block: usize) -> Result<bool, Fault> {
    let Some(len) = spans::retire(unit, block, KEPT_UNITS)? else { return Ok(false) };
    // SAFETY: as in `take`.
    let kept = unsafe { of(thread) };
    let next = kept.next.load(Ordering::Relaxed) as usize % KEPT_SPANS;
    let Some(slot) = kept.spans.get(next) else { return Ok(false) };
    let units = len + units_in(kept);
    let fits = units <= KEPT_UNITS && slot.load(Ordering::Relaxed) == 0;
    let any = !fits && make_room(kept, next, units);
    // Empty by now, and only its own thread puts. Release: who takes it sees what is written here.
    slot.store(word(unit, len), Ordering::Release);
    kept.next.store(((next + 1) % KEPT_SPANS) as u32, Ordering::Relaxed);
    if any {
        purge::purge_if_due();
    }
    Ok(true)
}

/// Gives back what lies in slot `next`, and the oldest ones behind it until no more than may be kept is
/// left of `units`; whether there was anything.
#[cold]
#[inline(never)]
fn make_room(kept: &KeptSpans, next: usize, mut units: u32) -> bool {
    let mut any = false;
    for ahead in 0..KEPT_SPANS {
        let Some(slot) = kept.spans.get((next + ahead) % KEPT_SPANS) else { break };
        if ahead != 0 && units <= KEPT_UNITS {
            break;
        }
        if slot.load(Ordering::Relaxed) != 0 {
            let oldest = slot.swap(0, Ordering::Acquire);
            units -= units_of(oldest).min(units);
            any |= give_back(oldest);
        }
    }
    any
}

/// Gives the calling thread's spans back before the window grows: whether there were any.
pub(super) fn give_up_own() -> bool {
    // SAFETY: this thread's own block.
    let thread = unsafe { (*hit::tls()).thread };
    // SAFETY: not the dummy, so a record.
    thread != hit::dummy_thread() && unsafe { empty(thread) }
}

/// Gives back the span of a slot, if it still has one.
#[cold]
#[inline(never)]
fn give_back_of(slot: &AtomicU64) -> bool {
    give_back(slot.swap(0, Ordering::AcqRel))
}

#[inline(never)]
fn give_back(span: u64) -> bool {
    if span != 0 {
        spans::give_back(first_of(span), units_of(span));
    }
    span != 0
}

fn units_in(kept: &KeptSpans) -> u32 {
    kept.spans.iter().map(|slot| units_of(slot.load(Ordering::Relaxed))).sum()
}

/// Gives all spans of a thread back, whosever it is; whether there were any.
///
/// # Safety
/// `thread` is a record.
pub(crate) unsafe fn empty(thread: *const Thread) -> bool {
    // SAFETY: the caller's contract.
    let kept = unsafe { of(thread) };
    let mut any = false;
    for slot in &kept.spans {
        if slot.load(Ordering::Relaxed) != 0 {
            any |= give_back_of(slot);
        }
    }
    any
}

/// Gives back what all threads keep; whether there was anything. O(threads), for `purge` and the last
/// try before ENOMEM.
pub(crate) fn empty_all() -> bool {
    // SAFETY: these are records.
    records().fold(false, |any, record| any | unsafe { empty(record) })
}

/// Bytes that all threads keep.
pub(crate) fn all_bytes() -> usize {
    records().map(|record| (units_in(&record.kept) as usize) << UNIT_SHIFT).sum()
}

fn records() -> impl Iterator<Item = &'static Thread> {
    (0..thread::count()).filter_map(thread::record)
}
