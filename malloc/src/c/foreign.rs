//! What happens to a pointer that is not ours, by `BITMAG_FOREIGN`.
//! `abort` (the default) names it on stderr and ends the process, `ignore` does nothing, and
//! `forward` hands it to the next allocator behind this library, found once by name.
//! A program without a next allocator (a static one) is treated as if it had asked for `abort`.

use core::ffi::{CStr, c_void};
use core::mem::transmute;
use core::sync::atomic::{AtomicPtr, Ordering};

use bitmag::{Foreign, c_face};

use super::weak;

/// A function of the next allocator, looked up on first use.
struct Next {
    name: &'static CStr,
    /// NULL until found. Any thread stores the same value, so relaxed is enough.
    address: AtomicPtr<c_void>,
}

impl Next {
    const fn new(name: &'static CStr) -> Self {
        Next { name, address: AtomicPtr::new(core::ptr::null_mut()) }
    }

    /// The address; ends the process, naming `ptr`, when there is none.
    fn find(&self, ptr: *const c_void) -> *mut c_void {
        let known = self.address.load(Ordering::Relaxed);
        if !known.is_null() {
            return known;
        }
        let found = weak::next(self.name).cast_mut();
        if found.is_null() {
            c_face::report_foreign(ptr.cast());
        }
        self.address.store(found, Ordering::Relaxed);
        found
    }
}

static FREE: Next = Next::new(c"free");
static REALLOC: Next = Next::new(c"realloc");
static USABLE: Next = Next::new(c"malloc_usable_size");

/// `free` of a pointer that is not ours.
///
/// # Safety
/// `ptr` is a block of the next allocator, if the user asked for `forward`.
#[cold]
pub unsafe fn free(ptr: *mut c_void) {
    match c_face::settings().foreign {
        Foreign::Ignore => {}
        Foreign::Forward => {
            // SAFETY: the dynamic linker found a function of that name, and libc fixes its type.
            let next = unsafe {
                transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void)>(FREE.find(ptr))
            };
            // SAFETY: the caller's promise.
            unsafe { next(ptr) }
        }
        _ => c_face::report_foreign(ptr.cast()),
    }
}

/// `realloc` of a pointer that is not ours; NULL when it is to be ignored.
///
/// # Safety
/// `ptr` is a block of the next allocator, if the user asked for `forward`.
#[cold]
pub unsafe fn realloc(ptr: *mut c_void, size: usize) -> *mut c_void {
    match c_face::settings().foreign {
        Foreign::Ignore => super::errno::fail(libc::ENOMEM),
        Foreign::Forward => {
            type Realloc = unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void;
            // SAFETY: the dynamic linker found a function of that name, and libc fixes its type.
            let next = unsafe { transmute::<*mut c_void, Realloc>(REALLOC.find(ptr)) };
            // SAFETY: the caller's promise.
            unsafe { next(ptr, size) }
        }
        _ => c_face::report_foreign(ptr.cast()),
    }
}

/// `malloc_usable_size` of a pointer that is not ours; 0 when it is to be ignored.
///
/// # Safety
/// `ptr` is a block of the next allocator, if the user asked for `forward`.
#[cold]
pub unsafe fn usable(ptr: *mut c_void) -> usize {
    match c_face::settings().foreign {
        Foreign::Ignore => 0,
        Foreign::Forward => {
            type Usable = unsafe extern "C" fn(*mut c_void) -> usize;
            // SAFETY: the dynamic linker found a function of that name, and libc fixes its type.
            let next = unsafe { transmute::<*mut c_void, Usable>(USABLE.find(ptr)) };
            // SAFETY: the caller's promise.
            unsafe { next(ptr) }
        }
        _ => c_face::report_foreign(ptr.cast()),
    }
}
