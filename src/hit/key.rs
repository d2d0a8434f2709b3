//! A thread's block by pthread key, for architectures whose thread-local storage bitmag does not
//! reach by itself.
//!
//! The block lies in the thread's record. A thread without one reads a static block whose tops all
//! stand on the dummy; one that has ended reads another of the same kind. `pthread_setspecific` may
//! call `calloc`: while it runs, the thread's id stands in a small table, and calls from inside it
//! are served in single-block mode.

use crate::init;
use crate::layout::{SLOTS, Thread, Tls, Top, Window};
use crate::os;
use crate::size_class::{MEDIUM_CLASSES, SMALL_CLASSES};
use crate::sync::{AtomicU32, AtomicUsize, Ordering, compiler_fence};
use crate::thread::{self, STATE_ACTIVE, STATE_LATE, STATE_NEW};
use core::ffi::c_void;
use core::ptr;

#[cfg_attr(target_pointer_width = "64", repr(C, align(256)))]
#[cfg_attr(target_pointer_width = "32", repr(C, align(128)))]
struct Dummy([usize; SLOTS]);
static DUMMY: Dummy = Dummy([0; SLOTS]);

#[repr(C)]
struct DummyThread([Top; MEDIUM_CLASSES + 1]);
// SAFETY: never written; its pointers are never followed to be written either.
unsafe impl Sync for DummyThread {}
static DUMMY_THREAD: DummyThread = DummyThread([top(); MEDIUM_CLASSES + 1]);

struct StaticTls(Tls);
// SAFETY: never written: slow paths write through `writable_tls` only.
unsafe impl Sync for StaticTls {}
static NEW: StaticTls = StaticTls(fresh(dummy(), STATE_NEW));
static LATE: StaticTls = StaticTls(fresh(dummy(), STATE_LATE));

static WINDOW: Window = Window {
    base: AtomicUsize::new(0),
    units: AtomicUsize::new(0),
    map: AtomicUsize::new(0),
    granules: AtomicUsize::new(0),
    records: AtomicUsize::new(0),
    heaps: AtomicUsize::new(0),
    wide: AtomicUsize::new(0),
    forking: AtomicUsize::new(0),
};

/// Threads inside `pthread_setspecific`.
static REGISTERING: [AtomicU32; 64] = [const { AtomicU32::new(0) }; 64];

/// What the system calls when a registered thread exits.
pub(crate) const ON_THREAD_EXIT: unsafe extern "C" fn(*mut c_void) = on_exit;

const fn top() -> Top {
    (&raw const DUMMY).cast::<*mut u8>().wrapping_add(SLOTS - 1).cast_mut()
}

const fn dummy() -> *mut Thread {
    (&raw const DUMMY_THREAD).cast::<Thread>().cast_mut()
}

const fn fresh(thread: *mut Thread, state: usize) -> Tls {
    Tls { tops: [top(); SMALL_CLASSES + 1], thread, state, spare: 0 }
}

/// The window's description.
#[inline(always)]
pub(crate) fn window() -> &'static Window {
    &WINDOW
}

/// The top that is both empty and full.
#[inline(always)]
pub(crate) fn dummy_top() -> Top {
    top()
}

/// The record of threads that have none.
#[inline(always)]
pub(crate) fn dummy_thread() -> *mut Thread {
    dummy()
}

/// Names the calling thread; not 0, and the same in the child of a fork.
pub(crate) fn token() -> usize {
    // SAFETY: the address of this thread's errno.
    unsafe { libc::__errno_location() as usize }
}

fn specific() -> *mut Tls {
    if !init::is_complete() {
        return ptr::null_mut();
    }
    // SAFETY: the key exists once initialisation is complete.
    unsafe { libc::pthread_getspecific(init::key()) }.cast()
}

/// This thread's block; read-only if it is one of the static ones.
#[inline]
pub(crate) fn tls() -> *mut Tls {
    let block = specific();
    if block.is_null() { (&raw const NEW.0).cast_mut() } else { block }
}

/// The calling thread's own block, registering it if it is new. `None` if it is late, registering,
/// or cannot be registered.
pub(crate) fn writable_tls() -> Option<*mut Tls> {
    let block = specific();
    if ptr::eq(block, &raw const LATE.0) {
        return None;
    }
    if !block.is_null() {
        return Some(block);
    }
    // In checked mode no thread is registered, so that every call takes one block.
    if crate::check::is_on() || !init::is_complete() {
        return None;
    }
    let id = os::thread_id();
    if REGISTERING.iter().any(|entry| entry.load(Ordering::Relaxed) == id) {
        return None;
    }
    let entry = REGISTERING.iter().find(|entry| {
        entry.compare_exchange(0, id, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    })?;
    let block = register();
    entry.store(0, Ordering::Relaxed);
    block
}

fn register() -> Option<*mut Tls> {
    let record = thread::take_record();
    if record.is_null() {
        return None;
    }
    // SAFETY: this thread holds the record.
    let block = unsafe {
        let block = &raw mut (*record).tls;
        block.write(fresh(record, STATE_ACTIVE));
        block
    };
    // SAFETY: the key exists: `writable_tls` has seen COMPLETE.
    if unsafe { libc::pthread_setspecific(init::key(), block.cast()) } != 0 {
        thread::give_up(record);
        return None;
    }
    Some(block)
}

/// Runs with the block, and again with the late one each time it was set anew.
unsafe extern "C" fn on_exit(block: *mut c_void) {
    let block = block.cast::<Tls>();
    if !ptr::eq(block, &raw const LATE.0) {
        // SAFETY: the exiting thread's own block and record.
        unsafe {
            (*block).state = thread::STATE_BUSY;
            compiler_fence(Ordering::SeqCst);
            thread::flush_all(block);
        }
    }
    // SAFETY: the key exists; from here on calls of this thread work in single-block mode.
    unsafe { libc::pthread_setspecific(init::key(), (&raw const LATE.0).cast()) };
    if !ptr::eq(block, &raw const LATE.0) {
        // SAFETY: as above; nothing uses the block any more.
        thread::give_up(unsafe { (*block).thread });
    }
}
