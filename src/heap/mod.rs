//! Heaps: a lock and the slabs behind it.
//!
//! There are up to four heaps to a processor; a thread that shares its heap and finds it taken stays with
//! the first one whose lock it gets.
//! The holder of a lock works on its slabs with plain loads and stores; everyone else frees into
//! them by one atomic add and a hint. This file has the two ways in: `refill` and `flush`.

mod batch;
mod clear;
mod flush;
mod hint;
mod lock;
mod mark;
#[cfg(all(test, loom))]
mod models;
mod pages;
mod progression;
mod quick;
mod remote;
mod row;
mod run;
mod slab;
mod sweep;
mod walk;

pub(crate) use batch::{flush_many, refill_many};
pub(crate) use clear::{clear_all, clear_some};
pub(crate) use lock::{
    all, attach, attached, count, detach, heap, init, lock_all_for_fork, reset_threads, stay,
    unlock_after_fork, wanted,
};
pub(crate) use progression::write as write_progression;
pub(crate) use remote::{free_block, locate};
pub(crate) use sweep::{reclaim, start_resweep};
pub(crate) use walk::is_sparse;

use crate::arena::{purge, units};
use crate::layout::{Heap, MAX_DEPTH};
use crate::misuse::{Misuse, report};
use crate::size_class::Class;
use crate::sync::{AtomicU64, Ordering};
use flush::{Marked, Places};
use lock::{Held, Quick, lock_any, try_any};
use mark::Stopped;
use row::Row;

/// Every so many flushes of a heap look at a slab or two that others may have freed into.
const FLUSHES_PER_SWEEP: u32 = 8;
/// Every so many of these sweeps look for pages to return.
const SWEEPS_PER_STEP: u32 = 2;

/// Blocks on their way out of a heap: written downwards from `end`, of each slab the lowest address
/// first, so that a magazine filled this way hands the lowest address out first.
pub(crate) struct Batch {
    /// One past the slot that is written first.
    end: *mut *mut u8,
    /// Slots written.
    len: usize,
}

impl Batch {
    /// A batch that is written below `end`.
    ///
    /// # Safety
    /// As many slots below `end` as the refill asks for are the caller's to write.
    pub(crate) const unsafe fn below(end: *mut *mut u8) -> Self {
        Self { end, len: 0 }
    }

    /// Blocks written so far.
    #[inline(always)]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The block that was written first.
    ///
    /// # Safety
    /// There is one.
    #[inline(always)]
    pub(crate) unsafe fn lowest(&self) -> usize {
        // SAFETY: the caller's contract.
        unsafe { self.end.sub(1).read() as usize }
    }

    /// The block that was written last.
    ///
    /// # Safety
    /// There is one.
    #[inline(always)]
    pub(crate) unsafe fn highest(&self) -> usize {
        // SAFETY: the caller's contract.
        unsafe { self.next().read() as usize }
    }

    /// One past the next slot to be written.
    #[inline(always)]
    fn next(&self) -> *mut *mut u8 {
        // SAFETY: no refill writes more than it was asked for.
        unsafe { self.end.sub(self.len) }
    }

    /// Counts `taken` blocks that were written below `next`.
    #[inline(always)]
    fn grow(&mut self, taken: usize) {
        self.len += taken;
    }

    #[inline]
    fn push(&mut self, block: *mut u8) {
        // SAFETY: as in `next`.
        unsafe { self.next().sub(1).write(block) };
        self.len += 1;
    }
}

/// Adds to a counter that only the holder of a lock writes.
#[inline(always)]
fn bump(counter: &AtomicU64, by: usize) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(by as u64), Ordering::Relaxed);
}

/// The refill of a burst: `COUNT` neighbours from the current slab of a deep class in heap `home`. The
/// address of the lowest; `None`, and nothing done, if that heap's lock is taken or there is no such row
/// where the slab guesses one. `token` is the calling thread's.
#[inline(always)]
pub(crate) fn refill_row<const COUNT: usize>(
    home: u32,
    class: Class,
    token: usize,
) -> Option<usize> {
    quick::take::<COUNT>(home, class, token)
}

/// The flush of a burst: a full magazine of a deep class, neighbours in a slab of heap `home`. The number of this
/// flush, for `sweep_if_due`; `None`, and nothing done, if anything is otherwise.
#[inline(always)]
pub(crate) fn flush_row(
    home: u32,
    class: Class,
    blocks: &[*mut u8; MAX_DEPTH],
    token: usize,
) -> Option<u32> {
    let row = Row::of_full(class, blocks)?;
    quick::give::<MAX_DEPTH>(home, class, &row, token)
}

/// The same for the older half of a magazine, with the sweep; whether it was done.
#[inline(always)]
pub(crate) fn flush_half<const COUNT: usize>(
    home: u32,
    class: Class,
    blocks: &[*mut u8; COUNT],
    token: usize,
) -> bool {
    let Some(row) = Row::of(class, blocks) else { return false };
    let Some(turn) = quick::give::<COUNT>(home, class, &row, token) else { return false };
    sweep_if_due(home, class, turn);
    true
}

/// The number of this flush.
#[inline(always)]
fn next_turn(heap: &Heap) -> u32 {
    let turn = heap.turn.load(Ordering::Relaxed).wrapping_add(1);
    heap.turn.store(turn, Ordering::Relaxed);
    turn
}

/// Sweeps a little in a heap, if its lock is still free.
fn sweep_home(home: u32, class: Class) {
    if let Some(held) = lock::try_lock(heap(home)) {
        let outcome = sweep::look_around(&held, 2);
        walk::watch(&held, class);
        let retired = held.release();
        settle(outcome, retired);
    }
}

/// Writes 1 to `want` blocks of `class` to `out`; `false` if there is no memory.
///
/// `home` is the heap to try first, and the heap that served. Bounded: the current slab, 4 slabs of
/// this heap, 2 of others, then a fresh unit. The only wait is for one lock of all.
#[inline(never)]
pub(crate) fn refill(home: &mut u32, class: Class, want: usize, out: &mut Batch) -> bool {
    let Some(held) = lock_any(home) else { return false };
    if !class.is_medium() && slab::take_from_current(&held, class, want, out) {
        count_refill(held.heap(), class, want);
        return true;
    }
    let outcome = take(&held, class, want, out);
    let retired = held.release();
    settle(outcome, retired);
    out.len != 0 || refill_from_fresh(home, class, want, out)
}

/// The rest of `refill` when no slab has a block: claims a unit, without the lock for the system
/// calls that it may need, and carves it for the first heap whose lock can be had.
#[cold]
#[inline(never)]
fn refill_from_fresh(home: &mut u32, class: Class, want: usize, out: &mut Batch) -> bool {
    let Some(unit) = units::claim(1, 1, crate::hit::token()) else { return false };
    let Some(held) = lock_any(home) else {
        units::release(unit, 1);
        return false;
    };
    if class.is_medium() {
        run::carve(&held, unit);
    } else {
        slab::carve(&held, unit, class);
    }
    walk::note_fresh(&held, class);
    let outcome = take(&held, class, want, out);
    let retired = held.release();
    settle(outcome, retired);
    out.len != 0
}

#[inline(never)]
fn take(held: &Held, class: Class, want: usize, out: &mut Batch) -> Result<(), Misuse> {
    let outcome = if class.is_medium() {
        run::take(held, class, want, out)
    } else {
        slab::take(held, class, want, out)
    };
    if out.len != 0 {
        count_refill(held.heap(), class, out.len);
        if walk::is_sparse(held.heap(), class) {
            crate::magazine::note_sparse(class);
        }
    }
    outcome
}

#[inline(always)]
fn count_refill(heap: &Heap, class: Class, blocks: usize) {
    let counters = heap.counters_of(class);
    bump(&counters.refills, 1);
    bump(&counters.refilled_blocks, blocks);
}

/// The flush of a deep class whose blocks, at least one, are no row: as `flush`, without looking for one. `home` is where the
/// thread keeps its heap's number, and becomes the heap that it stays with. `token` is the calling thread's.
#[inline(always)]
pub(crate) fn flush_scattered(home: &mut u32, class: Class, blocks: &[*mut u8], token: usize) {
    let Some(held) = lock::try_quickly(*home, token) else {
        return flush_elsewhere(home, class, blocks);
    };
    let mut places = Places::uninit();
    // SAFETY: 1 to 31 blocks.
    let marked = unsafe { flush::mark(&held, class, blocks, &mut places) };
    if marked != Marked::Until(Stopped::Done) {
        // SAFETY: `mark` has located them.
        return unsafe { flush_rest(held.keep(), *home, class, blocks, &places, marked) };
    }
    end_quickly(held, *home, class, blocks.len());
}

/// `flush_scattered` where not all blocks were in slabs that need nothing more.
///
/// # Safety
/// `places` is what `flush::mark` has located `blocks` to.
#[cold]
#[inline(never)]
unsafe fn flush_rest(
    held: Held,
    home: u32,
    class: Class,
    blocks: &[*mut u8],
    places: &Places,
    marked: Marked,
) {
    // SAFETY: the caller's contract.
    let outcome = unsafe { flush::go_on(&held, class, blocks, places, marked) };
    finish_flush(held, outcome, home, class, blocks.len());
}

/// `flush_scattered` where the thread's heap is taken, or somebody forks.
#[cold]
#[inline(never)]
fn flush_elsewhere(home: &mut u32, class: Class, blocks: &[*mut u8]) {
    let mut got = *home;
    // SAFETY: a slice of blocks, at most a magazine's.
    unsafe { flush(&mut got, class, blocks.as_ptr(), blocks.len()) };
    stay(home, got);
}

/// The end of a flush in which nothing was retired: counts, unlocks, and sweeps every so often.
#[inline(always)]
fn end_quickly(held: Quick, home: u32, class: Class, blocks: usize) {
    count_flush(&held, class, blocks);
    let turn = next_turn(&held);
    drop(held);
    sweep_if_due(home, class, turn);
}

/// Whether the flush of that number is one of those that sweep.
#[inline(always)]
pub(crate) fn is_due(turn: u32) -> bool {
    turn.is_multiple_of(FLUSHES_PER_SWEEP)
}

/// What every 8th flush does once the lock was given up.
#[inline(always)]
pub(crate) fn sweep_if_due(home: u32, class: Class, turn: u32) {
    if is_due(turn) {
        sweep_and_look(home, class, turn / FLUSHES_PER_SWEEP);
    }
}

/// The sweeps of every 8th flush.
#[cold]
#[inline(never)]
fn sweep_and_look(home: u32, class: Class, turn: u32) {
    sweep_home(home, class);
    look_elsewhere(home, class, turn);
}

/// The end of a flush under the lock of heap `home`: counts, sweeps every so often, unlocks, and does
/// what needs no lock.
#[inline(always)]
fn finish_flush(
    held: Held,
    mut outcome: Result<(), Misuse>,
    home: u32,
    class: Class,
    blocks: usize,
) {
    count_flush(held.heap(), class, blocks);
    let turn = next_turn(held.heap());
    let due = turn.is_multiple_of(FLUSHES_PER_SWEEP) && outcome.is_ok();
    if due {
        outcome = sweep::look_around(&held, 2);
        walk::watch(&held, class);
    }
    let retired = held.release();
    settle(outcome, retired);
    if due {
        look_elsewhere(home, class, turn / FLUSHES_PER_SWEEP);
    }
}

#[inline(always)]
fn count_flush(heap: &Heap, class: Class, blocks: usize) {
    let counters = heap.counters_of(class);
    bump(&counters.flushes, 1);
    bump(&counters.flushed_blocks, blocks);
}

/// Takes back blocks of one class. `home` as in `refill`.
///
/// With some heap's lock, its own blocks are plain writes and all others one atomic add to a word;
/// without, all are. Waits for nobody. Aborts if a pointer is not a block of that class.
///
/// # Safety
/// `count` pointers, 1 to 32, can be read at `blocks`.
#[inline(never)]
pub(crate) unsafe fn flush(home: &mut u32, class: Class, blocks: *const *mut u8, count: usize) {
    // SAFETY: the caller's contract.
    let slice = unsafe { core::slice::from_raw_parts(blocks, count) };
    let Some(held) = try_any(home) else {
        return settle(remote::give_all(None, class, slice), false);
    };
    let outcome = if class.is_medium() {
        remote::give_all(Some(&held), class, slice)
    } else {
        flush::give(&held, class, slice)
    };
    finish_flush(held, outcome, *home, class, count);
}

/// By turns sweeps a little in some other heap, if its threads are idle or gone and its lock is free, and looks for pages to
/// return, three times of four in the thread's own heap.
#[cold]
#[inline(never)]
fn look_elsewhere(home: u32, class: Class, turn: u32) {
    if walk::is_sparse(heap(home), class) {
        crate::magazine::note_sparse(class);
    }
    // Never its own, so that a lone thread does the same work whatever the number of heaps. There are
    // four to a processor, so 8 and the number of others have no common factor: all get their step.
    let others = count() - 1;
    let behind = home + 1 + turn % others;
    let other = if behind > others { behind - others - 1 } else { behind };
    let owns_none = hint::owns_none(other);
    // One or the other, so that no flush pays for both.
    if turn.is_multiple_of(SWEEPS_PER_STEP) {
        let elsewhere = turn.is_multiple_of(4 * SWEEPS_PER_STEP) && !owns_none;
        walk::step(heap(if elsewhere { other } else { home }));
    } else if !owns_none
        && is_idle(heap(other))
        && let Some(held) = lock::try_lock(heap(other))
    {
        let outcome = sweep::look_around(&held, 4);
        let retired = held.release();
        settle(outcome, retired);
    }
}

/// Whether no thread has flushed into a heap since somebody asked last. One whose threads do sweeps it itself, and its slabs are in the
/// caches of their processors.
fn is_idle(heap: &Heap) -> bool {
    let turn = heap.turn.load(Ordering::Relaxed);
    let idle = heap.visited.load(Ordering::Relaxed) == turn;
    if !idle {
        heap.visited.store(turn, Ordering::Relaxed);
    }
    idle
}

/// What is done once no lock is held: report misuse, purge if units came back.
#[inline(always)]
fn settle(outcome: Result<(), Misuse>, retired: bool) {
    if let Err(misuse) = outcome {
        report(misuse);
    }
    if retired {
        purge::purge_if_due();
    }
}
