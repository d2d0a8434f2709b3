//! The steps of an `operator new`, as calls that assembly strings together: one try, what to do
//! when it failed, and whom to ask for the exception.
//! None of them calls C++ code that may throw: each returns the address of the function, and the
//! caller, which has no frame of Rust on the stack, calls it or jumps to it.
//! The order is the standard's: try, the installed new-handler, try again, and without a handler
//! `std::bad_alloc`.

use core::ffi::c_void;
use core::mem::transmute;

use bitmag::c_face;

use crate::c::weak::Runtime;
use crate::c::{MIN_ALIGN, errno};

/// One try at `size` bytes at a multiple of `align`; NULL with ENOMEM.
///
/// A size of 0 gives a block of its own. An alignment that is not a power of two cannot be met.
pub extern "C" fn allocate(size: usize, align: usize) -> *mut c_void {
    if !align.is_power_of_two() {
        return errno::fail(libc::EINVAL);
    }
    // SAFETY: any size may be asked for, at any power of two.
    errno::or_enomem(unsafe { c_face::allocate(size.max(1), align.max(MIN_ALIGN)) })
}

/// The new-handler to call before the next try, or NULL when there is none or none can help.
#[cold]
pub extern "C" fn new_handler(align: usize) -> *const c_void {
    if !align.is_power_of_two() {
        return core::ptr::null();
    }
    let get = Runtime::GetNewHandler.find();
    if get.is_null() {
        return core::ptr::null();
    }
    // SAFETY: the symbol is `std::new_handler std::get_new_handler() noexcept`, which every C++
    // runtime defines and the standard fixes; its result is a function pointer or NULL.
    let get = unsafe { transmute::<*const c_void, extern "C" fn() -> *const c_void>(get) };
    get()
}

/// The function to jump to instead of returning: it throws `std::bad_alloc`.
///
/// Without a C++ runtime in the process nobody could catch: one line, and the end.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[cold]
pub extern "C" fn thrower() -> *const c_void {
    let throw = Runtime::ThrowBadAlloc.find();
    if throw.is_null() {
        c_face::write_line(&[
            b"bitmag: out of memory in operator new, and no C++ runtime to throw std::bad_alloc\n",
        ]);
        // SAFETY: `abort` takes no arguments and does not return.
        unsafe { libc::abort() }
    }
    throw
}
