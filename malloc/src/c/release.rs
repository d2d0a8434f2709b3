//! The C functions that take memory back, beside `free` and `free_sized`.
//! All of them leave errno as they found it.
//! `release` and `release_sized` are what they and the portable `operator delete` are made of.

use core::ffi::c_void;

use bitmag::c_face;

use super::{MIN_ALIGN, WHOLE_FAMILY, WholeFamily, errno, foreign};

#[used]
static TAKE_ALL: &WholeFamily = &WHOLE_FAMILY;

/// Gives back a block of any size, a foreign one by the rule for those.
///
/// # Safety
/// `ptr` is not NULL and the caller gives the block up.
pub unsafe fn release(ptr: *mut c_void) {
    errno::preserve(|| {
        // SAFETY: the caller gives the block up.
        if unsafe { c_face::release(ptr.cast()) }.is_err() {
            // SAFETY: the crate says that the pointer is not one of its own.
            unsafe { foreign::free(ptr) };
        }
    });
}

/// Gives back a block of known size and alignment, a foreign one by the rule for those.
///
/// # Safety
/// `ptr` is not NULL, was asked for with that size and alignment, and the caller gives it up.
unsafe fn release_sized(ptr: *mut c_void, size: usize, align: usize) {
    errno::preserve(|| {
        // SAFETY: the caller gives the block up and says its size.
        if unsafe { c_face::release_sized(ptr.cast(), size, align) }.is_err() {
            // SAFETY: the crate says that the pointer is not one of its own.
            unsafe { foreign::free(ptr) };
        }
    });
}

/// `free_aligned_sized` (C23): gives back a block of `aligned_alloc(align, size)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_aligned_sized(ptr: *mut c_void, align: usize, size: usize) {
    // SAFETY: the caller's promise; `aligned_alloc` and aligned `new` raise size and alignment alike.
    unsafe { delete_aligned(ptr, size, align) }
}

/// `cfree`: `free`, under a name that glibc dropped in 2.26 and old programs still call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cfree(ptr: *mut c_void) {
    if !ptr.is_null() {
        // SAFETY: the caller gives the block up.
        unsafe { release(ptr) };
    }
}

/// `operator delete(ptr)` where it has no assembly entry: `free`, under a name that nobody can
/// replace.
///
/// # Safety
/// `ptr` is NULL or a block that the caller gives up.
#[cfg(not(target_arch = "x86_64"))]
pub unsafe extern "C" fn delete(ptr: *mut c_void) {
    if !ptr.is_null() {
        // SAFETY: the caller's promise.
        unsafe { release(ptr) };
    }
}

/// `operator delete(ptr, size)` where it has no assembly entry: `free_sized`, under a name that
/// nobody can replace.
///
/// # Safety
/// `ptr` is NULL or a block of `size` bytes that the caller gives up.
#[cfg(not(target_arch = "x86_64"))]
pub unsafe extern "C" fn delete_sized(ptr: *mut c_void, size: usize) {
    if !ptr.is_null() {
        // SAFETY: the caller gives the block up and says its size.
        unsafe { release_sized(ptr, size.max(1), MIN_ALIGN) };
    }
}

/// `operator delete(ptr, size, align)`: `free_aligned_sized` with its arguments in C++'s order.
///
/// # Safety
/// `ptr` is NULL or a block of `operator new(size, align)` that the caller gives up.
pub unsafe extern "C" fn delete_aligned(ptr: *mut c_void, size: usize, align: usize) {
    if ptr.is_null() {
        return;
    }
    if !align.is_power_of_two() {
        // Not an alignment that any of our functions accepts: nothing is known of the size either.
        // SAFETY: the caller gives the block up.
        return unsafe { release(ptr) };
    }
    // SAFETY: the caller gives the block up and says its size; both are raised as when it was made.
    unsafe { release_sized(ptr, size.max(1), align.max(MIN_ALIGN)) };
}
