//! Threads: registering at the first slow call, giving everything back at exit.
//!
//! A thread's block starts NEW; its first slow call makes it REGISTERING (the registration itself
//! may call `calloc`) and ACTIVE, its exit makes it LATE. Outside ACTIVE every call works in
//! single-block mode (`single.rs`), which uses nothing of the thread.
//!
//! Records lie in mappings of 1, 1, 2, 4, ... records, found by number; free ones form a stack whose
//! head carries a tag against the ABA problem (modelled by `thread::models`).

use crate::arena::kept;
use crate::heap;
use crate::hit;
use crate::layout::{MAX_DEPTH, Thread, Tls, Top};
use crate::magazine;
use crate::os::{self, Access};
use crate::rolled::opaque;
use crate::size_class::{CLASSES, Class, MEDIUM_CLASSES};
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering, compiler_fence};
use core::ffi::c_void;
use core::ptr;

/// The thread has made no slow call yet.
pub(crate) const STATE_NEW: usize = 0;
/// The thread is telling the system that it wants to know of its exit.
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code, reason = "threads are registered by the key there: hit/key.rs")
)]
pub(crate) const STATE_REGISTERING: usize = 1;
/// The thread has a record and magazines.
pub(crate) const STATE_ACTIVE: usize = 2;
/// The thread's exit has run, or it could not be registered.
pub(crate) const STATE_LATE: usize = 3;
/// ACTIVE, and a slow call is under way: a signal handler that finds it so uses nothing of it.
pub(crate) const STATE_BUSY: usize = 4;

/// Mappings of records: number 0 holds one, number k the 2^(k-1) from that number on.
const BLOCKS: usize = 23;
static RECORDS: [AtomicPtr<Thread>; BLOCKS] = [const { AtomicPtr::new(ptr::null_mut()) }; BLOCKS];
/// Records ever made.
static COUNT: AtomicU32 = AtomicU32::new(0);
/// Free records: tag << 32 | 1 + index of the first.
static FREE: AtomicU64 = AtomicU64::new(0);

/// The record with number `index`, if it was made.
pub(crate) fn record(index: u32) -> Option<&'static Thread> {
    let (block, first) = block_of(index);
    let start = RECORDS.get(block)?.load(Ordering::Acquire);
    if start.is_null() {
        return None;
    }
    // SAFETY: a block is mapped for ever, and has its records, zero at first; what others than the
    // holder read of them are atomics.
    Some(unsafe { &*start.add((index - first) as usize) })
}

/// The mapping that record `index` is in, and the number of its first record.
fn block_of(index: u32) -> (usize, u32) {
    let block = u32::BITS - index.leading_zeros();
    (block as usize, (1 << block) >> 1)
}

/// Records ever made.
pub(crate) fn count() -> u32 {
    COUNT.load(Ordering::Acquire)
}

fn pop_free() -> Option<*mut Thread> {
    let mut head = FREE.load(Ordering::Acquire);
    loop {
        let index = (head as u32).checked_sub(1)?;
        let record = record(index)?;
        let next = record.next.load(Ordering::Relaxed);
        let new = ((head >> 32) + 1) << 32 | u64::from(next);
        match FREE.compare_exchange_weak(head, new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Some(ptr::from_ref(record).cast_mut()),
            Err(now) => head = now,
        }
    }
}

fn push_free(record: &Thread) {
    let mut head = FREE.load(Ordering::Relaxed);
    loop {
        record.next.store(head as u32, Ordering::Relaxed);
        let new = ((head >> 32) + 1) << 32 | u64::from(record.index + 1);
        match FREE.compare_exchange_weak(head, new, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => head = now,
        }
    }
}

/// A record nobody has used yet. NULL if there is no memory for it.
fn make() -> *mut Thread {
    loop {
        let index = COUNT.load(Ordering::Relaxed);
        let (block, first) = block_of(index);
        let Some(place) = RECORDS.get(block) else { return ptr::null_mut() };
        if place.load(Ordering::Acquire).is_null() {
            let bytes = size_of::<Thread>() * first.max(1) as usize;
            let Ok(fresh) = os::map(bytes, Access::ReadWrite) else { return ptr::null_mut() };
            if place
                .compare_exchange(
                    ptr::null_mut(),
                    fresh.cast(),
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                )
                .is_err()
            {
                os::unmap(fresh, bytes);
            }
        }
        if COUNT.compare_exchange(index, index + 1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            && let Some(record) = record(index)
        {
            let record = ptr::from_ref(record).cast_mut();
            // SAFETY: the exchange made this thread the record's only holder.
            unsafe { (*record).index = index };
            return record;
        }
    }
}

/// Takes a record and attaches it to a heap. NULL if there is no memory for it.
pub(crate) fn take_record() -> *mut Thread {
    let record = pop_free().unwrap_or_else(make);
    if record.is_null() {
        return record;
    }
    // SAFETY: popped or made: this thread is its only holder.
    unsafe {
        for class in 0..opaque(MEDIUM_CLASSES + 1) {
            (&raw mut (*record).medium_tops).cast::<Top>().add(class).write(hit::dummy_top());
        }
        (*record).last_depths = (&raw const (*record).depths).cast::<[u8; CLASSES + 3]>().read();
        (*record).last_demand = (&raw const (*record).demand).cast::<[u8; CLASSES + 3]>().read();
        for depth in &(*record).depths {
            depth.store(0, Ordering::Relaxed);
        }
        (&raw mut (*record).demand).write_bytes(0, 1); // nobody else reads them
        kept::begin(&*record);
        (*record).heap = heap::attach();
        (*record).live.store(1, Ordering::Release);
    }
    record
}

/// Makes the calling thread ACTIVE if it is new and can be; whether it is.
///
/// # Safety
/// `tls` is the calling thread's block.
#[cold]
#[inline(never)]
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) unsafe fn register(tls: *mut Tls) -> bool {
    // SAFETY: the block belongs to this thread; REGISTERING keeps signal handlers and what the
    // registration calls in single-block mode.
    unsafe {
        if (*tls).state != STATE_NEW || crate::check::is_on() || !crate::init::is_complete() {
            return false;
        }
        (*tls).state = STATE_REGISTERING;
        compiler_fence(Ordering::SeqCst);
        let record = take_record();
        if record.is_null() {
            (*tls).state = STATE_NEW;
            return false;
        }
        // Its record from here on, so that a fork in the middle does not take it for a stranger's.
        (*tls).thread = record;
        let registered = crate::init::at_thread_exit(record);
        compiler_fence(Ordering::SeqCst);
        if registered {
            (*tls).state = STATE_ACTIVE;
        } else {
            (*tls).thread = hit::dummy_thread();
            give_up(record);
            (*tls).state = STATE_LATE;
        }
        registered
    }
}

/// Blocks that are reached by a key are ACTIVE from the start (`hit/key.rs`).
///
/// # Safety
/// None needed.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) unsafe fn register(_: *mut Tls) -> bool {
    false
}

/// Gives a record back that no thread uses any more.
pub(crate) fn give_up(record: *mut Thread) {
    // SAFETY: the caller holds the record.
    let record = unsafe { &*record };
    heap::detach(record.heap);
    record.live.store(0, Ordering::Release);
    push_free(record);
}

/// The exit of a thread: flushes at most one magazine per class and makes the thread LATE.
///
/// # Safety
/// Called by the system on the exiting thread, with the record it registered.
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code, reason = "threads are registered by the key there: hit/key.rs")
)]
pub(crate) unsafe extern "C" fn on_exit(record: *mut c_void) {
    let tls = hit::tls();
    let record = record.cast::<Thread>();
    // SAFETY: this thread's own block and record.
    unsafe {
        if (*tls).thread == record {
            (*tls).state = STATE_BUSY;
            compiler_fence(Ordering::SeqCst);
            flush_magazines(tls);
            kept::end(record);
            (*tls).state = STATE_LATE;
            compiler_fence(Ordering::SeqCst);
            (*tls).thread = hit::dummy_thread();
            give_up(record);
        }
    }
}

/// Empties every magazine of the calling thread and gives its spans back.
///
/// # Safety
/// `tls` is the calling thread's block, ACTIVE and marked busy.
pub(crate) unsafe fn flush_all(tls: *mut Tls) {
    // SAFETY: the caller's contract; an ACTIVE thread has a record.
    unsafe {
        flush_magazines(tls);
        kept::empty_own((*tls).thread);
    }
}

/// Empties every magazine of the calling thread.
///
/// # Safety
/// As for `flush_all`.
#[inline(always)]
unsafe fn flush_magazines(tls: *mut Tls) {
    // SAFETY: the caller's contract; an ACTIVE thread has a record.
    let depths = unsafe { &(*(*tls).thread).depths };
    for class in 1..CLASSES {
        // SAFETY: one for each class. 0: the class was never used, so its top stands on the dummy.
        if unsafe { depths.get_unchecked(class) }.load(Ordering::Relaxed) != 0 {
            // SAFETY: the caller's contract.
            unsafe { magazine::empty(tls, Class::from_index(class)) };
        }
    }
}

/// Bytes that the calling thread's magazines hold: exact.
///
/// # Safety
/// `tls` is the calling thread's block and ACTIVE.
pub(crate) unsafe fn cached_bytes(tls: *mut Tls) -> usize {
    // SAFETY: the caller's contract.
    (1..CLASSES).map(|class| unsafe { magazine::held(tls, Class::from_index(class)) } * Class::from_index(class).size()).sum()
}

/// Most bytes that the magazines of `record` can hold.
pub(crate) fn cached_bound(record: &Thread) -> usize {
    let depths = record.depths.iter().take(CLASSES).enumerate().skip(1);
    depths
        .map(|(class, depth)| {
            magazine::depth_of(depth.load(Ordering::Relaxed)) * Class::from_index(class).size()
        })
        .sum()
}

/// Most bytes that the magazines of any one thread can hold.
pub(crate) fn cached_limit() -> usize {
    (1..CLASSES).map(Class::from_index).map(|class| class.max_depth() * class.size()).sum()
}

/// In the child of a fork: frees the records of threads that did not come along.
pub(crate) fn after_fork(own: *const Thread) {
    for index in 0..count() {
        if let Some(record) = record(index)
            && !ptr::eq(record, own)
            && record.live.load(Ordering::Relaxed) != 0
        {
            record.live.store(0, Ordering::Relaxed);
            kept::after_fork_of_others(record);
            push_free(record);
        } else if let Some(record) = record(index) {
            kept::after_fork(record);
        }
    }
}

const _: () = assert!(MAX_DEPTH <= u8::MAX as usize);

#[cfg(all(test, loom))]
pub(crate) mod models;
#[cfg(all(test, loom))]
pub(crate) use models::make_for_models;
