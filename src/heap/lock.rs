//! The locks of heaps: tried, not waited for.
//!
//! A thread that finds its heap taken goes on to the next and stays with the one it got. Only an
//! allocation that finds every heap taken yields and tries again; fork, trim and the last try
//! before ENOMEM wait for one lock after the other. A fork's own thread works on under the locks
//! that it holds.

use crate::fork;
use crate::layout::{Counters, Heap, NO_UNIT};
use crate::os::{self, Access};
use crate::size_class::Class;
use core::cell::Cell;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

static HEAPS: AtomicPtr<Heap> = AtomicPtr::new(core::ptr::null_mut());
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
        for current in &heap.current {
            current.store(NO_UNIT, Ordering::Relaxed);
        }
    }
    HEAPS.store(heaps, Ordering::Relaxed);
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
    // SAFETY: mapped for ever; indices come from `count`, from records and from heaps themselves.
    unsafe { &*HEAPS.load(Ordering::Relaxed).add(index as usize) }
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

impl Held {
    /// The heap.
    #[inline(always)]
    pub(super) fn heap(&self) -> &'static Heap {
        self.heap
    }

    /// The heap's number.
    #[inline(always)]
    pub(super) fn index(&self) -> u32 {
        self.heap.index.load(Ordering::Relaxed)
    }

    /// The counters of a class.
    #[inline(always)]
    pub(super) fn counters(&self, class: Class) -> &'static Counters {
        // SAFETY: class indices are below CLASSES, by the type.
        unsafe { self.heap.counters.get_unchecked(class.index()) }
    }

    /// The place of a current slab; `class` is a small class or `RUN`.
    #[inline(always)]
    pub(super) fn current(&self, class: usize) -> &'static AtomicU32 {
        debug_assert!(class < self.heap.current.len());
        // SAFETY: small classes and RUN are below the length, and so is what a carved record holds.
        unsafe { self.heap.current.get_unchecked(class) }
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

/// Takes the heap's lock if it is free.
#[inline]
pub(super) fn try_lock(heap: &'static Heap) -> Option<Held> {
    if heap.lock.load(Ordering::Relaxed) == 0 && heap.lock.swap(1, Ordering::Acquire) == 0 {
        return Some(Held { heap, unlock: true, retired: Cell::new(false) });
    }
    if fork::is_mine() {
        return Some(Held { heap, unlock: false, retired: Cell::new(false) });
    }
    None
}

/// Tries every heap once, `home` first; `home` becomes the one that was got.
#[inline(always)]
pub(super) fn try_any(home: &mut u32) -> Option<Held> {
    let heap = heap(*home);
    if heap.lock.load(Ordering::Relaxed) == 0 && heap.lock.swap(1, Ordering::Acquire) == 0 {
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

/// Takes all locks for a fork, in the order of their numbers; a lock that cannot be had (because
/// this very thread holds it, further down its stack) is skipped.
pub(crate) fn lock_all_for_fork() {
    for heap in all() {
        for _ in 0..ROUNDS {
            if heap.lock.load(Ordering::Relaxed) == 0 && heap.lock.swap(1, Ordering::Acquire) == 0 {
                let index = heap.index.load(Ordering::Relaxed);
                if let Some(word) = FORK_TOOK.get(index as usize / 64) {
                    word.fetch_or(1 << (index % 64), Ordering::Relaxed);
                }
                break;
            }
            os::yield_now();
        }
    }
}

/// Gives the locks up that `lock_all_for_fork` took; in the child, every lock: whoever held one
/// besides did not come along.
pub(crate) fn unlock_after_fork(in_child: bool) {
    for heap in all() {
        let index = heap.index.load(Ordering::Relaxed);
        let bit = 1 << (index % 64);
        let took = FORK_TOOK
            .get(index as usize / 64)
            .is_some_and(|word| word.fetch_and(!bit, Ordering::Relaxed) & bit != 0);
        if took || in_child {
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
