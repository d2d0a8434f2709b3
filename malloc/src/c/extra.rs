//! What C programs can ask of bitmag alone, as `bitmag.h` declares it: batches and maintenance.
//! None of it replaces a function of libc's, so a static link need not take this file with the rest.

use core::ffi::c_void;

use bitmag::c_face;

use super::errno;

/// `bitmag_alloc_batch`: `count` blocks of `size` bytes into `out`; how many there were, fewer with
/// ENOMEM.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitmag_alloc_batch(
    size: usize,
    out: *mut *mut c_void,
    count: usize,
) -> usize {
    if count == 0 {
        return 0;
    }
    // SAFETY: the caller passes room for `count` pointers.
    let done = unsafe { c_face::allocate_batch(size, out.cast(), count) };
    if done < count {
        errno::set(libc::ENOMEM);
    }
    done
}

/// `bitmag_free_batch`: frees `count` blocks of `size` bytes; NULLs are passed over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitmag_free_batch(size: usize, blocks: *const *mut c_void, count: usize) {
    if count != 0 {
        // SAFETY: the caller passes `count` pointers to blocks of that size.
        errno::preserve(|| unsafe { c_face::release_batch(size, blocks.cast(), count) });
    }
}

/// `bitmag_maintain`: looks at no more than `slabs` slabs with no more than `system_calls` system
/// calls; the bytes returned to the system.
#[unsafe(no_mangle)]
pub extern "C" fn bitmag_maintain(slabs: usize, system_calls: usize) -> usize {
    let budget = bitmag::Budget::new().slabs(slabs).system_calls(system_calls);
    errno::preserve(|| bitmag::maintain(budget).bytes)
}
