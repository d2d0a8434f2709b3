//! Kept spans: what a thread has freed last stays with it for its next block of about that size.
//!
//! A pair of `malloc` and `free` between 32 KiB and 2 MiB then touches no bitset, and nothing that another
//! thread writes: plain loads and stores on the thread's record and on the head of the span, no locked
//! operation. The span freed last has the first place, which the short ways look at
//! (`take_last`, `put_last`); those before it follow. Bounded by number and bytes; what is
//! pushed out, and everything at thread exit, goes back to the arena.
//!
//! **Who may do what.** The thread that holds the record takes and puts, `busy` meanwhile; a signal
//! handler that finds it busy goes to the arena instead. A span leaves its place before it is handed out
//! or put elsewhere, so that the child of a fork never finds it in two hands. Others take a span in three
//! steps (`empty_others`): they exchange it for a mark of their own (`new_mark`); have every thread of the
//! process pass a memory barrier, which is a system call; and look at `busy`. A thread that is not busy by
//! then has either written the place anew, which the others then see and leave alone, or finds the mark
//! there from now on: the span is theirs. Of a busy one nobody can tell: they put back what they took,
//! unless it has written the place. So the thread's own way needs no order between its store of `busy` and
//! its loads, and where the system has no such call, what other threads keep stays with them. No two marks
//! are the same: behind what its thread wrote, somebody else's would look as if nothing had been written.
//! Modelled by `arena::kept::models`.
//!
//! **Freed twice.** The head of a kept span names the thread that keeps it (`name`): to a free that comes
//! later it is not live, and if two threads free it at the very same moment, the one whose name is not
//! there any more finds that when it wants to hand it out.

use super::spans::{self, LIVE};
use super::{purge, tables, window};
use crate::hit;
use crate::layout::{KEPT_SPANS, KIND_SPAN, KeptSpans, Record, Thread, UNIT_BYTES, UNIT_SHIFT};
use crate::misuse::{Fault, Misuse, report};
use crate::os;
use crate::rolled::{opaque, rolled};
use crate::sync::{AtomicUsize, Ordering, compiler_fence};
use crate::thread;
use core::ptr;

/// Most units that a thread keeps: 2 MiB. ARCHITECTURE.md, "Kept spans".
const KEPT_UNITS: u32 = spans::KEPT_MAX;
/// The same in bytes: no larger block can be among them.
pub(crate) const KEPT_BYTES: usize = KEPT_UNITS as usize * UNIT_BYTES;

/// Whether that is a span, and neither nothing nor somebody's mark.
#[inline(always)]
const fn is_span(place: usize) -> bool {
    if usize::BITS == 64 { place.cast_signed() > 0 } else { place >= UNIT_BYTES }
}

/// What stands in the places of spans while somebody else takes them: another value each time, none of which
/// is an address. (With 32 bits it repeats after 65,535 times, all of which would have to fall between two
/// steps of one.)
fn new_mark() -> usize {
    static MARKS: AtomicUsize = AtomicUsize::new(0);
    let number = MARKS.fetch_add(1, Ordering::Relaxed);
    if usize::BITS == 64 { number | 1 << (usize::BITS - 1) } else { 1 + number % (UNIT_BYTES - 1) }
}

/// The spans of a thread. Records stay mapped for ever.
///
/// # Safety
/// `thread` is a record.
#[inline(always)]
unsafe fn of(thread: *const Thread) -> &'static KeptSpans {
    // SAFETY: the caller's contract; all fields are atomics.
    unsafe { &(*thread).kept }
}

/// The unit that a kept span begins in.
#[inline(always)]
fn unit_at(block: usize) -> u32 {
    (block.wrapping_sub(window::address_of(0)) >> UNIT_SHIFT) as u32
}

/// The head of a kept span.
#[inline(always)]
fn head_at(block: usize) -> &'static Record {
    // SAFETY: the first unit of a span that was claimed once, so below the bound.
    unsafe { tables::record(unit_at(block)) }
}

fn units_at(block: usize) -> u32 {
    if is_span(block) { head_at(block).span_units.load(Ordering::Relaxed) } else { 0 }
}

/// Whether a span of `len` units serves a block of `want`: an eighth longer at most.
#[inline(always)]
const fn serves(len: usize, want: usize) -> bool {
    len.wrapping_sub(want) <= want / 8
}

/// Writes a place of the record's own thread. A plain store, which a model would let fall between the two halves of
/// somebody's exchange: there it is an exchange as well.
#[inline(always)]
fn write(place: &AtomicUsize, span: usize) {
    cfg_if::cfg_if! {
        if #[cfg(loom)] {
            place.swap(span, Ordering::Relaxed);
        } else {
            place.store(span, Ordering::Relaxed);
        }
    }
}

/// Begins an operation of the record's own thread; `false`, and nothing to end, in a handler in the middle of one.
#[inline(always)]
fn enter(kept: &KeptSpans) -> bool {
    if kept.busy.load(Ordering::Relaxed) != 0 {
        return false;
    }
    kept.busy.store(1, Ordering::Relaxed);
    os::barrier_of_others();
    true
}

/// Ends it. Release: who finds it ended sees what it wrote.
#[inline(always)]
fn leave(kept: &KeptSpans) {
    compiler_fence(Ordering::SeqCst);
    kept.busy.store(0, Ordering::Release);
}

/// What the head of a span says that the thread keeps: whose it is. Cut short, which may give two threads
/// one name, and never one that stands for `LIVE`.
#[inline(always)]
fn name(thread: *const Thread) -> u32 {
    thread.addr() as u32
}

/// Makes a span that left its place live again. Where the head does not have the name of its keeper any
/// more, somebody has freed the block a second time.
#[inline(always)]
fn revive(name: u32, record: &Record, block: usize) {
    compiler_fence(Ordering::SeqCst);
    if record.span_live.load(Ordering::Relaxed) != name {
        freed_twice(block);
    }
    record.span_live.store(LIVE, Ordering::Relaxed);
}

#[cold]
#[inline(never)]
fn freed_twice(pointer: usize) -> ! {
    report(Misuse { fault: Fault::DoubleFree, pointer })
}

/// Puts a live span into the empty place of the last one. Its head is written first: a handler and the
/// child of a fork find both or nothing.
#[inline(always)]
fn place_last(kept: &KeptSpans, name: u32, record: &Record, block: usize) {
    record.span_live.store(name, Ordering::Relaxed);
    kept.head.store(ptr::from_ref(record).cast_mut(), Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    write(&kept.places[0], block);
}

/// Takes the span freed last for `size` bytes, if it serves. NULL, nothing changed, if not.
///
/// # Safety
/// The calling thread holds `thread`.
#[inline(always)]
pub(crate) unsafe fn take_last(thread: *const Thread, size: usize) -> *mut u8 {
    // SAFETY: the caller's contract.
    let kept = unsafe { of(thread) };
    if !enter(kept) {
        return ptr::null_mut();
    }
    let block = kept.places[0].load(Ordering::Relaxed);
    if is_span(block) {
        // SAFETY: `put_last` and `put` wrote it before the place: the head of a span.
        let record = unsafe { &*kept.head.load(Ordering::Relaxed) };
        let same = record.span_bytes.load(Ordering::Relaxed) == size;
        if same
            || serves(
                record.span_units.load(Ordering::Relaxed) as usize,
                size.wrapping_add(UNIT_BYTES - 1) >> UNIT_SHIFT,
            )
        {
            if !same {
                record.span_bytes.store(size, Ordering::Relaxed);
            }
            write(&kept.places[0], 0);
            revive(name(thread), record, block);
            leave(kept);
            return block as *mut u8;
        }
    }
    leave(kept);
    ptr::null_mut()
}

/// Frees the span at `block` into the empty place of the last one. `false`, nothing changed, if `block`
/// is no live span, or the place is taken, or it would be too much; and, with `bytes`, if that is not
/// what it was asked for.
///
/// # Safety
/// The calling thread holds `thread`; a span begins in `unit`, which `block` lies in.
#[inline(always)]
pub(crate) unsafe fn put_last(
    thread: *const Thread,
    unit: u32,
    block: usize,
    bytes: Option<usize>,
) -> bool {
    // SAFETY: the caller's contract.
    let (record, kept) = unsafe { (tables::record(unit), of(thread)) };
    if !block.is_multiple_of(UNIT_BYTES) || !enter(kept) {
        return false;
    }
    let fits = kept.places[0].load(Ordering::Relaxed) == 0
        && record.span_units.load(Ordering::Relaxed) <= kept.room.load(Ordering::Relaxed)
        && record.span_live.load(Ordering::Relaxed) == LIVE
        && bytes.is_none_or(|bytes| record.span_bytes.load(Ordering::Relaxed) == bytes);
    if fits {
        place_last(kept, name(thread), record, block);
    }
    leave(kept);
    fits
}

/// Takes any of the thread's spans that serves `size` bytes at a multiple of up to a unit, the latest
/// freed first. Its content is whatever it was.
///
/// # Safety
/// The calling thread holds `thread`.
#[inline(never)]
pub(crate) unsafe fn take(thread: *const Thread, size: usize) -> Option<*mut u8> {
    // SAFETY: the caller's contract.
    let last = unsafe { take_last(thread, size) };
    if !last.is_null() {
        return Some(last);
    }
    // SAFETY: as above.
    let kept = unsafe { of(thread) };
    if kept.room.load(Ordering::Relaxed) == KEPT_UNITS || !enter(kept) {
        return None;
    }
    let want = size.div_ceil(UNIT_BYTES).max(1); // size 0 comes with a large alignment
    let next = kept.next.load(Ordering::Relaxed) as usize;
    let mut found = None;
    for back in 1..=KEPT_SPANS {
        let index = (next + KEPT_SPANS - back) % KEPT_SPANS;
        let (Some(place), Some(len)) = (kept.places.get(1 + index), kept.lens.get(index)) else {
            break;
        };
        let len = len.load(Ordering::Relaxed);
        if !serves(usize::from(len), want) {
            continue;
        }
        let block = place.load(Ordering::Relaxed);
        if is_span(block) {
            write(place, 0);
            forget(kept, len);
            // The next one put goes where this one was.
            kept.next.store(index as u32, Ordering::Relaxed);
            let record = head_at(block);
            record.span_bytes.store(size, Ordering::Relaxed);
            revive(name(thread), record, block);
            found = Some(block as *mut u8);
            break;
        }
    }
    leave(kept);
    found
}

/// Says that a span of `len` units has left its place behind the first.
fn forget(kept: &KeptSpans, len: u8) {
    let room = kept.room.load(Ordering::Relaxed) + u32::from(len);
    kept.room.store(room.min(KEPT_UNITS), Ordering::Relaxed);
}

/// Frees the span at `block`, which lies in `unit`, into the thread's own; the last one moves to those
/// before it. `false`, nothing changed, if it is too long, or not to be had just now.
///
/// # Safety
/// As for `take`; `unit` is below the window's bound.
#[inline(never)]
pub(crate) unsafe fn put(thread: *const Thread, unit: u32, block: usize) -> Result<bool, Fault> {
    // SAFETY: the caller's contract.
    let (record, entry) = unsafe { (tables::record(unit), tables::entry(unit)) };
    if entry.kind.load(Ordering::Acquire) != KIND_SPAN || !block.is_multiple_of(UNIT_BYTES) {
        return Ok(false); // `free` will say what it is
    }
    let len = record.span_units.load(Ordering::Relaxed);
    // SAFETY: the caller's contract.
    let kept = unsafe { of(thread) };
    if len > KEPT_UNITS || !enter(kept) {
        return Ok(false);
    }
    if record.span_live.load(Ordering::Relaxed) != LIVE {
        leave(kept);
        return Err(Fault::DoubleFree);
    }
    let (moved, any) = move_last(kept, len);
    if moved {
        place_last(kept, name(thread), record, block);
    }
    leave(kept);
    if any {
        purge::purge_if_due();
    }
    Ok(moved)
}

/// Makes the place of the last span empty, and room for `more` units; whether that could be done, and
/// whether something went back to the arena.
fn move_last(kept: &KeptSpans, more: u32) -> (bool, bool) {
    let last = kept.places[0].load(Ordering::Relaxed);
    if last != 0 && !is_span(last) {
        return (false, false);
    }
    let len = units_at(last);
    let next = kept.next.load(Ordering::Relaxed) as usize % KEPT_SPANS;
    let (Some(place), Some(place_len)) = (kept.places.get(1 + next), kept.lens.get(next)) else {
        return (false, false);
    };
    let mut any = false;
    if len + more > kept.room.load(Ordering::Relaxed)
        || (last != 0 && place.load(Ordering::Relaxed) != 0)
    {
        any = make_room(kept, next, len + more);
    }
    if last == 0 {
        return (true, any);
    }
    write(&kept.places[0], 0);
    compiler_fence(Ordering::SeqCst);
    if place.load(Ordering::Relaxed) != 0 || len + more > KEPT_UNITS {
        give_back(last); // somebody is at this place, or the new one takes all that there is
        return (true, true);
    }
    place_len.store(len as u8, Ordering::Relaxed);
    kept.room.store(kept.room.load(Ordering::Relaxed) - len, Ordering::Relaxed);
    write(place, last);
    kept.next.store(((next + 1) % KEPT_SPANS) as u32, Ordering::Relaxed);
    (true, any)
}

/// Gives back what lies in place `next` of the older ones, and the oldest ones behind it until `more`
/// units have room; whether there was anything. Counts anew, for others may have taken some.
#[cold]
#[inline(never)]
fn make_room(kept: &KeptSpans, next: usize, more: u32) -> bool {
    let mut units = rolled(&kept.places)
        .iter()
        .skip(1)
        .map(|place| units_at(place.load(Ordering::Relaxed)))
        .sum::<u32>();
    let mut any = false;
    for ahead in 0..opaque(KEPT_SPANS) {
        if ahead != 0 && units + more <= KEPT_UNITS {
            break;
        }
        let Some(place) = kept.places.get(1 + (next + ahead) % KEPT_SPANS) else { break };
        let oldest = place.load(Ordering::Relaxed);
        if is_span(oldest) {
            units -= units_at(oldest).min(units);
            write(place, 0);
            any |= give_back(oldest);
        }
    }
    kept.room.store(KEPT_UNITS - units, Ordering::Relaxed);
    any
}

/// Gives the calling thread's spans back before the window grows: whether there were any.
pub(super) fn give_up_own() -> bool {
    // SAFETY: this thread's own block.
    let thread = unsafe { (*hit::tls()).thread };
    // SAFETY: not the dummy, so a record, and this thread's.
    thread != hit::dummy_thread() && unsafe { empty_own(thread) }
}

/// Gives a span back that left its place; it is one.
#[cold]
#[inline(never)]
fn give_back(block: usize) -> bool {
    let record = head_at(block);
    let len = record.span_units.load(Ordering::Relaxed);
    record.span_live.store(0, Ordering::Relaxed);
    spans::give_back(unit_at(block), len);
    true
}

/// Makes the places of a record ready for a thread that took it.
pub(crate) fn begin(record: &Thread) {
    record.kept.room.store(KEPT_UNITS, Ordering::Relaxed);
    leave(&record.kept);
}

fn units_in(kept: &KeptSpans) -> u32 {
    rolled(&kept.places).iter().map(|place| units_at(place.load(Ordering::Relaxed))).sum()
}

/// Gives all spans of the calling thread back; whether there were any. Nothing in a handler that came in
/// the middle of an operation on them.
///
/// # Safety
/// The calling thread holds `thread`.
pub(crate) unsafe fn empty_own(thread: *const Thread) -> bool {
    // SAFETY: the caller's contract.
    let kept = unsafe { of(thread) };
    if is_empty(kept) || !enter(kept) {
        return false;
    }
    let any = empty(kept);
    leave(kept);
    any
}

/// Gives all spans of a record back, of which no operation is under way.
#[cold]
#[inline(never)]
fn empty(kept: &KeptSpans) -> bool {
    let mut any = false;
    for place in rolled(&kept.places) {
        let block = place.load(Ordering::Relaxed);
        if is_span(block) {
            write(place, 0);
            any |= give_back(block);
        }
    }
    kept.room.store(KEPT_UNITS, Ordering::Relaxed);
    any
}

/// The exit of a thread: whatever a handler that did not return left undone is never gone on with.
///
/// # Safety
/// The calling thread holds `thread` and is about to give it up.
pub(crate) unsafe fn end(thread: *const Thread) {
    // SAFETY: the caller's contract.
    let kept = unsafe { of(thread) };
    kept.busy.store(1, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    if !is_empty(kept) {
        empty(kept);
    }
    leave(kept);
}

/// Whether the thread that holds the record has nothing there, as far as it knows.
#[inline(always)]
fn is_empty(kept: &KeptSpans) -> bool {
    kept.places[0].load(Ordering::Relaxed) == 0 && kept.room.load(Ordering::Relaxed) == KEPT_UNITS
}

/// Gives back what another thread keeps, if it is not at work on it; whether there was anything. A system
/// call if there is.
fn empty_others(kept: &KeptSpans) -> bool {
    let mut taken = [0; 1 + KEPT_SPANS];
    let mark = new_mark();
    for (place, taken) in rolled(&kept.places).iter().zip(&mut taken) {
        let block = place.load(Ordering::Relaxed);
        if is_span(block)
            && place.compare_exchange(block, mark, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        {
            *taken = block;
        }
    }
    if rolled(&taken).iter().all(|block| *block == 0) {
        return false;
    }
    let ours = os::barrier_everywhere() && kept.busy.load(Ordering::Acquire) == 0;
    let mut any = false;
    for (place, block) in rolled(&kept.places).iter().zip(taken).filter(|(_, block)| *block != 0) {
        // Unless its thread wrote the place.
        let next = if ours { 0 } else { block };
        let left = place.compare_exchange(mark, next, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        any |= ours && left && give_back(block);
    }
    any
}

/// Gives back what all threads keep; whether there was anything. O(threads) system calls, for `purge` and
/// the last try before ENOMEM.
pub(crate) fn empty_all() -> bool {
    let any = give_up_own();
    records().fold(any, |any, record| any | empty_others(&record.kept))
}

/// In the child of a fork: gives back what a thread kept that did not come along.
pub(crate) fn after_fork_of_others(record: &Thread) {
    after_fork(record);
    empty(&record.kept);
    record.kept.busy.store(0, Ordering::Relaxed);
}

/// In the child of a fork: forgets what a thread that did not come along was taking.
pub(crate) fn after_fork(record: &Thread) {
    for place in rolled(&record.kept.places) {
        if !is_span(place.load(Ordering::Relaxed)) {
            place.store(0, Ordering::Relaxed);
        }
    }
}

/// Bytes that all threads keep.
pub(crate) fn all_bytes() -> usize {
    records().map(|record| (units_in(&record.kept) as usize) << UNIT_SHIFT).sum()
}

fn records() -> impl Iterator<Item = &'static Thread> {
    (0..thread::count()).filter_map(thread::record)
}

const _: () = assert!(KEPT_UNITS <= u8::MAX as u32);

#[cfg(all(test, loom))]
mod models;
