//! The locks of heaps: tried, not waited for.
//!
//! A thread that finds its heap taken goes on to the next, and stays there if it shared its own with
//! others: else whoever holds that lock only sweeps, and soon. Only an
//! allocation that finds every heap taken yields and tries again; fork, trim and the last try
//! before ENOMEM wait for one lock after the other. A fork's own thread works on under the locks
//! that it holds. Modelled by `heap::models`: `the_lock_orders_its_holders`, `a_lock_that_is_taken_stays_taken`.

use crate::fork;
use crate::hit::window;
use crate::layout::{Counters, Heap, NO_UNIT};
use crate::os::{self, Access};
use crate::rolled::rolled;
use crate::size_class::Class;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use core::cell::Cell;
use core::hint::assert_unchecked;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Most heaps of a process.
const MAX_HEAPS: usize = 256;
/// Rounds over all heaps before an allocation gives up and returns NULL. Only a signal handler
/// whose own thread holds every lock gets there: while another thread forks, rounds do not count.
const ROUNDS: usize = 100_000;

/// Number of heaps for this machine: four to a processor.
pub(crate) fn wanted() -> usize {
    (4 * os::processors()).min(MAX_HEAPS)
}

/// Maps the heaps. Called once. `false` if there is no memory for them.
pub(crate) fn init(count: usize) -> bool {
    let Ok(heaps) = os::map(count * size_of::<Heap>(), Access::ReadWrite) else { return false };
    let heaps = heaps.cast::<Heap>();
    for index in 0..count {
        // SAFETY: just mapped, zero, which is a valid Heap; nobody else knows of it yet.
        let heap = unsafe { &*heaps.add(index) };
        heap.index.store(index as u32, Ordering::Relaxed);
        for current in rolled(&heap.current) {
            current.store(NO_UNIT, Ordering::Relaxed);
        }
    }
    window().heaps.store(heaps as usize, Ordering::Relaxed);
    COUNT.store(count as u32, Ordering::Release);
    true
}

/// Number of heaps; 0 before `init`.
pub(crate) fn count() -> u32 {
    COUNT.load(Ordering::Acquire)
}

/// The heap with a number below `count()`.
#[inline(always)]
pub(crate) fn heap(index: u32) -> &'static Heap {
    debug_assert!(index < COUNT.load(Ordering::Relaxed));
    let heaps = window().heaps.load(Ordering::Relaxed);
    // SAFETY: mapped for ever, and not at 0, which the compiler does not see of a number; indices come from `count`, from records
    // and from heaps themselves.
    unsafe {
        assert_unchecked(heaps != 0);
        &*(heaps as *const Heap).add(index as usize)
    }
}

/// All heaps.
pub(crate) fn all() -> impl Iterator<Item = &'static Heap> {
    (0..count()).map(heap)
}

/// Attaches a new thread to the heap with the fewest; its number.
pub(crate) fn attach() -> u32 {
    let mut best = 0;
    let mut fewest = u32::MAX;
    for heap in all() {
        let threads = heap.threads.load(Ordering::Relaxed);
        if threads < fewest {
            fewest = threads;
            best = heap.index.load(Ordering::Relaxed);
        }
    }
    heap(best).threads.fetch_add(1, Ordering::Relaxed);
    best
}

/// A thread leaves its heap.
pub(crate) fn detach(index: u32) {
    heap(index).threads.fetch_sub(1, Ordering::Relaxed);
}

/// Has a thread, whose heap stands in `home`, stay with the heap that it got, unless it has its own for
/// itself: each heap that a thread wanders through keeps a slab of each of its classes.
pub(crate) fn stay(home: &mut u32, got: u32) {
    if got != *home && heap(*home).threads.load(Ordering::Relaxed) > 1 {
        detach(*home);
        *home = got;
        heap(got).threads.fetch_add(1, Ordering::Relaxed);
    }
}

/// Threads attached to all heaps.
pub(crate) fn attached() -> usize {
    all().map(|heap| heap.threads.load(Ordering::Relaxed) as usize).sum()
}

/// A heap whose lock this thread holds.
pub(super) struct Held {
    heap: &'static Heap,
    /// Whether the lock is to be given up: not when this thread is forking and holds all of them.
    unlock: bool,
    /// Whether units went back to the arena.
    retired: Cell<bool>,
}

impl Heap {
    /// Own number.
    #[inline(always)]
    pub(super) fn number(&self) -> u32 {
        self.index.load(Ordering::Relaxed)
    }

    /// The counters of a class.
    #[inline(always)]
    pub(super) fn counters_of(&self, class: Class) -> &Counters {
        // SAFETY: class indices are below CLASSES, by the type.
        unsafe { self.counters.get_unchecked(class.index()) }
    }

    /// The place of a current slab; `class` is a small class or `RUN`.
    #[inline(always)]
    pub(super) fn current_of(&self, class: usize) -> &AtomicU32 {
        debug_assert!(class < self.current.len());
        // SAFETY: small classes and RUN are below the length, and so is what a carved record holds.
        unsafe { self.current.get_unchecked(class) }
    }
}

impl Held {
    /// The heap.
    #[inline(always)]
    pub(super) fn heap(&self) -> &'static Heap {
        self.heap
    }

    /// The heap's number.
    #[inline(always)]
    pub(super) fn index(&self) -> u32 {
        self.heap.number()
    }

    /// The place of a current slab; `class` is a small class or `RUN`.
    #[inline(always)]
    pub(super) fn current(&self, class: usize) -> &'static AtomicU32 {
        self.heap.current_of(class)
    }

    /// Notes that a unit went back.
    pub(super) fn note_retired(&self) {
        self.retired.set(true);
    }

    /// Gives the lock up; whether units went back to the arena meanwhile.
    pub(super) fn release(self) -> bool {
        self.retired.get()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.unlock {
            self.heap.lock.store(0, Ordering::Release);
        }
    }
}

/// Makes the calling thread the holder of a lock that is free.
#[inline(always)]
fn acquire(heap: &Heap) -> bool {
    heap.lock.load(Ordering::Relaxed) == 0
        && !fork::is_another_s()
        && heap
            .lock
            .compare_exchange(0, fork::token(), Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
}

/// Takes the heap's lock if it is free.
#[inline]
pub(super) fn try_lock(heap: &'static Heap) -> Option<Held> {
    if acquire(heap) {
        return Some(Held { heap, unlock: true, retired: Cell::new(false) });
    }
    if fork::is_mine() && fork_took(heap) {
        return Some(Held { heap, unlock: false, retired: Cell::new(false) });
    }
    None
}

/// Takes the lock of heap `index` if it is free and nobody forks. For the shortest ways.
#[inline(always)]
pub(super) fn try_quickly(index: u32, token: usize) -> Option<Quick> {
    let heap = heap(index);
    let free = fork::is_nobody_s()
        && heap.lock.compare_exchange(0, token, Ordering::Acquire, Ordering::Relaxed).is_ok();
    if free { Some(Quick(heap)) } else { None } // not then_some: dropping one that was not got unlocks
}

/// A heap whose lock this thread holds for a few instructions, in which nothing is retired.
pub(super) struct Quick(&'static Heap);

impl Quick {
    /// The same lock, for longer.
    #[inline(always)]
    pub(super) fn keep(self) -> Held {
        let heap = self.0;
        core::mem::forget(self);
        Held { heap, unlock: true, retired: Cell::new(false) }
    }
}

impl core::ops::Deref for Quick {
    type Target = Heap;

    #[inline(always)]
    fn deref(&self) -> &Heap {
        self.0
    }
}

impl Drop for Quick {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.lock.store(0, Ordering::Release);
    }
}

/// Tries every heap once, `home` first; `home` becomes the one that was got.
#[inline(always)]
pub(super) fn try_any(home: &mut u32) -> Option<Held> {
    let heap = heap(*home);
    if acquire(heap) {
        return Some(Held { heap, unlock: true, retired: Cell::new(false) });
    }
    try_others(home)
}

/// `try_any` once the first one was found taken.
#[cold]
#[inline(never)]
fn try_others(home: &mut u32) -> Option<Held> {
    let count = count();
    for step in 0..count {
        let mut index = *home + step;
        if index >= count {
            index -= count;
        }
        if let Some(held) = try_lock(heap(index)) {
            *home = index;
            return Some(held);
        }
    }
    None
}

/// Gets some heap's lock, yielding while all are taken: the only wait on the way of a call.
#[inline(always)]
pub(super) fn lock_any(home: &mut u32) -> Option<Held> {
    match try_any(home) {
        Some(held) => Some(held),
        None => wait_any(home),
    }
}

/// `lock_any` once all were found taken.
#[cold]
#[inline(never)]
fn wait_any(home: &mut u32) -> Option<Held> {
    let mut rounds = 0;
    while rounds < ROUNDS {
        if let Some(held) = try_any(home) {
            return Some(held);
        }
        os::yield_now();
        rounds += usize::from(!fork::is_another_s());
    }
    None
}

/// Waits for one heap's lock. For fork, trim and the last try before ENOMEM only.
///
/// `None` if it could not be had, as when this thread itself holds it further down its stack.
pub(super) fn lock_patiently(heap: &'static Heap) -> Option<Held> {
    let mut rounds = 0;
    while rounds < ROUNDS {
        if let Some(held) = try_lock(heap) {
            return Some(held);
        }
        os::yield_now();
        rounds += usize::from(!fork::is_another_s());
    }
    None
}

/// Which locks the fork under way took.
static FORK_TOOK: [AtomicU64; MAX_HEAPS / 64] = [const { AtomicU64::new(0) }; MAX_HEAPS / 64];

/// The word and bit of `FORK_TOOK` that stand for a heap.
fn fork_bit(heap: &Heap) -> (&'static AtomicU64, u64) {
    let index = heap.index.load(Ordering::Relaxed);
    // SAFETY: there are at most MAX_HEAPS heaps.
    (unsafe { FORK_TOOK.get_unchecked(index as usize / 64) }, 1 << (index % 64))
}

/// Whether the fork under way holds this heap's lock.
fn fork_took(heap: &Heap) -> bool {
    let (word, bit) = fork_bit(heap);
    word.load(Ordering::Relaxed) & bit != 0
}

/// Takes all locks for a fork, in the order of their numbers, however long their holders need. A
/// lock that this very thread holds further down its stack stays with that call.
pub(crate) fn lock_all_for_fork() {
    for heap in all() {
        loop {
            if acquire(heap) {
                let (word, bit) = fork_bit(heap);
                word.fetch_or(bit, Ordering::Relaxed);
                break;
            }
            if heap.lock.load(Ordering::Relaxed) == fork::token() {
                break;
            }
            os::yield_now();
        }
    }
}

/// Gives up the locks that `lock_all_for_fork` took, on both sides of the fork.
pub(crate) fn unlock_after_fork() {
    for heap in all() {
        let (word, bit) = fork_bit(heap);
        if word.fetch_and(!bit, Ordering::Relaxed) & bit != 0 {
            heap.lock.store(0, Ordering::Release);
        }
    }
}

/// In the child of a fork: one thread is left, attached to `heap` if it has one.
pub(crate) fn reset_threads(own: Option<u32>) {
    for heap in all() {
        let attached = own == Some(heap.index.load(Ordering::Relaxed));
        heap.threads.store(u32::from(attached), Ordering::Relaxed);
    }
}
