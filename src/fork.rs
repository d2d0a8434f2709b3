//! Forks: the child finds every heap whole, whatever each thread of the parent was doing.
//!
//! Before the fork its thread waits for the growth of the window and takes all heap locks, so no
//! local bitmap and no table is half written; it may go on allocating under them, because handlers registered earlier run after ours. The child's image is
//! a prefix of each thread's program order: refills clear bits before they publish pointers and
//! flushes remove pointers before they set bits, so nothing is ever in two places. What a vanished
//! thread had cached leaks: its magazines, a batch on its way, one unit or span, one purge run.

use crate::arena::{shelf, window};
use crate::heap;
use crate::hit;
use crate::sync::{AtomicUsize, Ordering};
use crate::thread;

/// The thread that is forking and takes or holds all locks: its token, or 0.
#[inline(always)]
fn forking() -> &'static AtomicUsize {
    &hit::window().forking
}

/// Whether no thread is forking: what a lock's taker asks first.
#[inline(always)]
pub(crate) fn is_nobody_s() -> bool {
    forking().load(Ordering::Relaxed) == 0
}

/// Names the calling thread; not 0.
#[inline]
pub(crate) fn token() -> usize {
    hit::token()
}

/// Whether the calling thread is forking.
#[inline]
pub(crate) fn is_mine() -> bool {
    let forking = forking().load(Ordering::Relaxed);
    forking != 0 && forking == token()
}

/// Whether another thread is forking and holds all locks, for as long as the system takes.
#[inline]
pub(crate) fn is_another_s() -> bool {
    let forking = forking().load(Ordering::Relaxed);
    forking != 0 && forking != token()
}

pub(crate) unsafe extern "C" fn prepare() {
    // Forks of several threads wait for each other here; from the second line on nobody else takes
    // a lock that is free, so that a busy heap's can be had.
    window::lock_for_fork(token());
    forking().store(token(), Ordering::Relaxed);
    heap::lock_all_for_fork();
}

pub(crate) unsafe extern "C" fn in_parent() {
    heap::unlock_after_fork();
    // Last: who waits for a heap does not count its rounds until the locks can be had.
    forking().store(0, Ordering::Relaxed);
    window::unlock_after_fork();
}

pub(crate) unsafe extern "C" fn in_child() {
    if let Some(recorder) = crate::init::recorder() {
        recorder(crate::trace::Event::Forked);
    }
    let tls = hit::tls();
    // SAFETY: this thread's own block.
    let own = unsafe { (*tls).thread };
    thread::after_fork(own);
    shelf::after_fork();
    heap::reset_threads(if core::ptr::eq(own, hit::dummy_thread()) {
        None
    } else {
        // SAFETY: not the dummy, so a record that this thread holds.
        Some(unsafe { (*own).heap })
    });
    heap::start_resweep();
    crate::background::after_fork();
    heap::unlock_after_fork();
    forking().store(0, Ordering::Relaxed);
    window::unlock_after_fork();
}
