//! The C functions that hand out memory, beside those with an entry of their own (`entry.rs`), and what
//! `calloc`, `realloc` and `aligned_alloc` do where their entries have no answer.
//! Each checks its arguments as glibc 2.38 and later do and then makes one call into the crate.
//! A size of 0 gives a block of its own; more than `PTRDIFF_MAX` bytes is ENOMEM, which the crate
//! decides for plain sizes and these functions for the sums and products they form.

use core::ffi::{c_int, c_void};
use core::ptr::null_mut;

use bitmag::c_face;

use super::errno::{fail, or_enomem, preserve};
use super::{MIN_ALIGN, WHOLE_FAMILY, WholeFamily, foreign, release};

#[used]
static TAKE_ALL: &WholeFamily = &WHOLE_FAMILY;

/// `calloc`: `count * size` bytes of zeros; ENOMEM when the product overflows.
pub fn zeroed(count: usize, size: usize) -> *mut c_void {
    match count.checked_mul(size) {
        // SAFETY: any size may be asked for.
        Some(total) => or_enomem(unsafe { c_face::allocate_zeroed(total.max(1), MIN_ALIGN) }),
        None => fail(libc::ENOMEM),
    }
}

/// `malloc` where it has no assembly entry, under a name that nobody can replace.
pub fn plain(size: usize) -> *mut c_void {
    #[cfg(not(target_arch = "x86_64"))]
    {
        let block = c_face::try_allocate(size);
        if block.is_null() { missed(size) } else { block.cast() }
    }
    // SAFETY: any size may be asked for.
    #[cfg(target_arch = "x86_64")]
    or_enomem(unsafe { c_face::allocate(size.max(1), MIN_ALIGN) })
}

/// `plain` after a miss.
#[cfg(not(target_arch = "x86_64"))]
#[cold]
#[inline(never)]
fn missed(size: usize) -> *mut c_void {
    // SAFETY: any size may be asked for.
    or_enomem(unsafe { c_face::allocate_cold(size) })
}

/// `realloc`: of NULL it is `malloc`; to size 0 it is `free` and returns NULL with errno as it
/// was; without memory it returns NULL with ENOMEM and the old block stays.
///
/// # Safety
/// `ptr` is NULL or a block that the caller owns.
#[inline]
pub unsafe fn resize(ptr: *mut c_void, size: usize) -> *mut c_void {
    if ptr.is_null() {
        return plain(size);
    }
    if size == 0 {
        // SAFETY: the caller gives the block up.
        unsafe { release::release(ptr) };
        return null_mut();
    }
    // SAFETY: the caller owns the block at `ptr`; NULL and 0 were dealt with above.
    match unsafe { c_face::reallocate(ptr.cast(), size) } {
        Ok(block) => or_enomem(block),
        // SAFETY: the crate says that the pointer is not one of its own.
        Err(_) => unsafe { foreign::realloc(ptr, size) },
    }
}

/// `reallocarray`: `realloc` to `count * size` bytes; ENOMEM when the product overflows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reallocarray(ptr: *mut c_void, count: usize, size: usize) -> *mut c_void {
    match count.checked_mul(size) {
        // SAFETY: the caller's promise is that of `realloc`.
        Some(total) => unsafe { resize(ptr, total) },
        None => fail(libc::ENOMEM),
    }
}

/// `aligned_alloc`: EINVAL unless the alignment is a power of two (glibc since 2.38); the size
/// need not be a multiple of it.
pub fn at_multiple(align: usize, size: usize) -> *mut c_void {
    if !align.is_power_of_two() {
        return fail(libc::EINVAL);
    }
    or_enomem(aligned(align, size))
}

/// `memalign`: an alignment that is not a power of two is rounded up to the next one, as glibc
/// does; EINVAL when there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memalign(align: usize, size: usize) -> *mut c_void {
    match align.checked_next_power_of_two() {
        Some(align) => or_enomem(aligned(align, size)),
        None => fail(libc::EINVAL),
    }
}

/// `posix_memalign`: the error is returned; errno and, on failure, `*place` stay as they were.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_memalign(
    place: *mut *mut c_void,
    align: usize,
    size: usize,
) -> c_int {
    if !align.is_power_of_two() || align < size_of::<*mut c_void>() {
        return libc::EINVAL;
    }
    let block = preserve(|| aligned(align, size));
    if block.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: the caller passes a place for one pointer.
    unsafe { *place = block.cast() };
    0
}

/// `valloc`: a block at a page's start.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn valloc(size: usize) -> *mut c_void {
    or_enomem(aligned(page_size(), size))
}

/// `pvalloc`: whole pages at a page's start; ENOMEM when rounding up overflows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pvalloc(size: usize) -> *mut c_void {
    let page = page_size();
    match size.checked_next_multiple_of(page) {
        Some(whole) => or_enomem(aligned(page, whole)),
        None => fail(libc::ENOMEM),
    }
}

/// A block of at least one byte at a multiple of `align`, a power of two; sets no errno.
fn aligned(align: usize, size: usize) -> *mut u8 {
    // SAFETY: any size may be asked for, at any power of two.
    unsafe { c_face::allocate(size.max(1), align.max(MIN_ALIGN)) }
}

fn page_size() -> usize {
    // SAFETY: reads the auxiliary vector; no memory of ours is involved.
    let page = unsafe { libc::getauxval(libc::AT_PAGESZ) } as usize;
    if page.is_power_of_two() { page } else { 4096 }
}
