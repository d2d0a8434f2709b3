//! The calling thread's `errno`, which the C face sets and the crate below does not.
//! Allocation functions set it on failure; the `free` family leaves it as it found it, as POSIX
//! asks since 2024 and glibc does since 2.33.
//! Both sides are here so that no other file touches the variable.

use core::ffi::{c_int, c_void};

/// Sets `errno`.
pub fn set(code: c_int) {
    // SAFETY: libc's location of the calling thread's errno is always valid for a write.
    unsafe { *libc::__errno_location() = code }
}

/// Sets `errno` to `code` and returns NULL.
#[cold]
pub fn fail(code: c_int) -> *mut c_void {
    set(code);
    core::ptr::null_mut()
}

/// A block as C sees it: NULL with ENOMEM when there was none.
#[inline]
pub fn or_enomem(block: *mut u8) -> *mut c_void {
    if block.is_null() {
        return fail(libc::ENOMEM);
    }
    block.cast()
}

/// Runs `work` and puts `errno` back to what it was.
#[inline]
pub fn preserve<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: libc's location of the calling thread's errno is always valid for reads and writes.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *place };
    let result = work();
    // SAFETY: as above; `work` does not end the thread.
    unsafe { *place = before };
    result
}
