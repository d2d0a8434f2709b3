//! A thread's block where it lies in static thread-local storage: always there, always writable.

use super::tls;
use crate::layout::Tls;
use crate::thread;
use core::ffi::c_void;

/// What the system calls when a registered thread exits.
pub(crate) const ON_THREAD_EXIT: unsafe extern "C" fn(*mut c_void) = thread::on_exit;

/// Names the calling thread; not 0.
#[inline(always)]
pub(crate) fn token() -> usize {
    tls() as usize
}

/// The calling thread's block.
#[inline(always)]
pub(crate) fn writable_tls() -> Option<*mut Tls> {
    Some(tls())
}
