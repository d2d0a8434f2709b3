//! Where the hot entries go on a miss.
//! Each takes exactly the arguments of its entry in the same registers, so that the assembly gets
//! here by one jump (`free_full` a class as well).
//! They add to the crate's slow side what only C knows: errno, and the rule for foreign pointers.

use core::ffi::c_void;

use bitmag::c_face;

use super::{allocate, errno, foreign};

/// `malloc`, after a miss.
#[cold]
pub extern "C" fn malloc_cold(size: usize) -> *mut c_void {
    if c_face::is_large(size) {
        let block = c_face::allocate_last(size);
        return if block.is_null() { malloc_slowly(size) } else { block.cast() };
    }
    malloc_burst(size)
}

/// The short way of a size that has a class, apart so that the one above has no registers to save.
#[inline(never)]
extern "C" fn malloc_burst(size: usize) -> *mut c_void {
    let block = c_face::allocate_quickly(size);
    if block.is_null() { malloc_slowly(size) } else { block.cast() }
}

/// The rest of `malloc_cold`, apart so that the short way has few registers to save.
#[inline(never)]
extern "C" fn malloc_slowly(size: usize) -> *mut c_void {
    // SAFETY: any size may be asked for.
    errno::or_enomem(unsafe { c_face::allocate_cold(size) })
}

/// `free`, after a miss; `ptr` may be NULL.
///
/// # Safety
/// `ptr` is NULL or a block that the caller gives up.
#[cold]
pub unsafe extern "C" fn free_cold(ptr: *mut c_void) {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        let Some(unit) = c_face::unit_of(ptr.cast()) else { return free_slowly(ptr) };
        if !c_face::release_last(ptr.cast(), unit) {
            free_slowly(ptr);
        }
    }
}

/// `free` of a block in a class slab, where the magazine is full.
///
/// # Safety
/// As for `free_cold`; the class is what the map says.
#[cold]
pub unsafe extern "C" fn free_full(ptr: *mut c_void, class: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if !c_face::release_quickly(ptr.cast(), class) {
            free_slowly(ptr);
        }
    }
}

/// The rest of `free_cold`, apart as `malloc_slowly` is.
///
/// # Safety
/// As for `free_cold`.
#[inline(never)]
unsafe extern "C" fn free_slowly(ptr: *mut c_void) {
    errno::preserve(|| {
        // SAFETY: the caller gives the block up.
        if unsafe { c_face::release_cold(ptr.cast()) }.is_err() {
            // SAFETY: the crate says that the pointer is not one of its own.
            unsafe { foreign::free(ptr) };
        }
    });
}

/// `free_sized`, after a miss; `ptr` may be NULL.
///
/// # Safety
/// `ptr` is NULL or a block of `size` bytes, with no alignment asked for, that the caller gives up.
#[cold]
pub unsafe extern "C" fn free_sized_cold(ptr: *mut c_void, size: usize) {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        if !c_face::is_large(size) {
            free_sized_burst(ptr, size);
        } else if !c_face::release_sized_last(ptr.cast(), size) {
            free_sized_slowly(ptr, size);
        }
    }
}

/// The short way of a size that has a class, apart as `malloc_burst` is.
///
/// # Safety
/// As for `free_sized_cold`.
#[inline(never)]
unsafe extern "C" fn free_sized_burst(ptr: *mut c_void, size: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if !c_face::release_sized_quickly(ptr.cast(), size) {
            free_sized_slowly(ptr, size);
        }
    }
}

/// The rest of `free_sized_cold`, apart as `malloc_slowly` is.
///
/// # Safety
/// As for `free_sized_cold`.
#[inline(never)]
unsafe extern "C" fn free_sized_slowly(ptr: *mut c_void, size: usize) {
    errno::preserve(|| {
        // SAFETY: the caller gives the block up and says its size.
        if unsafe { c_face::release_sized_cold(ptr.cast(), size) }.is_err() {
            // SAFETY: the crate says that the pointer is not one of its own.
            unsafe { foreign::free(ptr) };
        }
    });
}

/// `calloc`, after a miss.
#[cold]
pub extern "C" fn calloc_cold(count: usize, size: usize) -> *mut c_void {
    allocate::zeroed(count, size)
}

/// `realloc`, after a miss; `ptr` may be NULL.
///
/// # Safety
/// `ptr` is NULL or a block that the caller owns.
#[cold]
pub unsafe extern "C" fn realloc_cold(ptr: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: the caller's promise.
    unsafe { allocate::resize(ptr, size) }
}

/// `aligned_alloc`, after a miss.
#[cold]
pub extern "C" fn aligned_alloc_cold(align: usize, size: usize) -> *mut c_void {
    allocate::at_multiple(align, size)
}
