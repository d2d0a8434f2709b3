//! The operators where no assembly entries exist: the same forms in plain Rust.
//! No exception can pass a frame of Rust, so a `new` that finds no memory and no handler ends the
//! process with a line on stderr, and so does a handler or a replaced operator that throws, in the
//! unwinder; the nothrow forms return NULL as everywhere.
//! Which forms call which others when the program replaces some is said in `family`.

use core::ffi::c_void;
use core::mem::transmute;
use core::sync::atomic::Ordering;

use bitmag::c_face;

use super::failure;
use super::family::{self, BASES, OURS, STATE};
use crate::c::{MIN_ALIGN, release};

/// What the other files of the C face refer to, so that nobody takes them without the operators.
pub const WHOLE_FAMILY: *const () = operator_new as *const ();

type New = unsafe extern "C" fn(usize) -> *mut c_void;
type NewAligned = unsafe extern "C" fn(usize, usize) -> *mut c_void;
type Delete = unsafe extern "C" fn(*mut c_void);
type DeleteAligned = unsafe extern "C" fn(*mut c_void, usize);

/// Whether the base operators are all this library's.
#[inline]
fn ours() -> bool {
    STATE.load(Ordering::Relaxed) == OURS || family::all_ours()
}

/// Tries, calls the new-handler and tries again; NULL when there is no handler.
fn new_nothrow(size: usize, align: usize) -> *mut c_void {
    loop {
        let block = failure::allocate(size, align);
        if !block.is_null() {
            return block;
        }
        let handler = failure::new_handler(align);
        if handler.is_null() {
            return block;
        }
        // SAFETY: the C++ runtime gave it as the installed `void (*)()`.
        unsafe { transmute::<*const c_void, extern "C" fn()>(handler)() }
    }
}

/// As [`new_nothrow`], but never NULL.
fn new(size: usize, align: usize) -> *mut c_void {
    let block = new_nothrow(size, align);
    if block.is_null() {
        c_face::write_line(&[b"bitmag: out of memory in operator new\n"]);
        // SAFETY: `abort` takes no arguments and does not return.
        unsafe { libc::abort() }
    }
    block
}

/// Calls the base operator `$base`, of type `$type`, with `$arguments`.
macro_rules! call {
    ($base:ident: $type:ty, $($argument:expr),*) => {
        // SAFETY: the dynamic linker gave the address of the operator whose type this is.
        unsafe { transmute::<*const c_void, $type>(BASES.$base)($($argument),*) }
    };
}

#[cfg(target_pointer_width = "64")]
macro_rules! named {
    ($wide:literal, $narrow:literal) => {
        $wide
    };
}
#[cfg(target_pointer_width = "32")]
macro_rules! named {
    ($wide:literal, $narrow:literal) => {
        $narrow
    };
}

/// `operator new(size)`
#[unsafe(export_name = named!("_Znwm", "_Znwj"))]
pub unsafe extern "C" fn operator_new(size: usize) -> *mut c_void {
    new(size, MIN_ALIGN)
}

/// `operator new[](size)`
#[unsafe(export_name = named!("_Znam", "_Znaj"))]
pub unsafe extern "C" fn operator_new_array(size: usize) -> *mut c_void {
    if ours() { new(size, MIN_ALIGN) } else { call!(new: New, size) }
}

/// `operator new(size, align)`
#[unsafe(export_name = named!("_ZnwmSt11align_val_t", "_ZnwjSt11align_val_t"))]
pub unsafe extern "C" fn operator_new_aligned(size: usize, align: usize) -> *mut c_void {
    new(size, align)
}

/// `operator new[](size, align)`
#[unsafe(export_name = named!("_ZnamSt11align_val_t", "_ZnajSt11align_val_t"))]
pub unsafe extern "C" fn operator_new_array_aligned(size: usize, align: usize) -> *mut c_void {
    if ours() { new(size, align) } else { call!(new_aligned: NewAligned, size, align) }
}

/// `operator new(size, nothrow)`
#[unsafe(export_name = named!("_ZnwmRKSt9nothrow_t", "_ZnwjRKSt9nothrow_t"))]
pub unsafe extern "C" fn operator_new_nothrow(size: usize, _nothrow: *const c_void) -> *mut c_void {
    if ours() { new_nothrow(size, MIN_ALIGN) } else { call!(new: New, size) }
}

/// `operator new[](size, nothrow)`
#[unsafe(export_name = named!("_ZnamRKSt9nothrow_t", "_ZnajRKSt9nothrow_t"))]
pub unsafe extern "C" fn operator_new_array_nothrow(
    size: usize,
    _nothrow: *const c_void,
) -> *mut c_void {
    if ours() { new_nothrow(size, MIN_ALIGN) } else { call!(new_array: New, size) }
}

/// `operator new(size, align, nothrow)`
#[unsafe(export_name = named!("_ZnwmSt11align_val_tRKSt9nothrow_t", "_ZnwjSt11align_val_tRKSt9nothrow_t"))]
pub unsafe extern "C" fn operator_new_aligned_nothrow(
    size: usize,
    align: usize,
    _nothrow: *const c_void,
) -> *mut c_void {
    if ours() { new_nothrow(size, align) } else { call!(new_aligned: NewAligned, size, align) }
}

/// `operator new[](size, align, nothrow)`
#[unsafe(export_name = named!("_ZnamSt11align_val_tRKSt9nothrow_t", "_ZnajSt11align_val_tRKSt9nothrow_t"))]
pub unsafe extern "C" fn operator_new_array_aligned_nothrow(
    size: usize,
    align: usize,
    _nothrow: *const c_void,
) -> *mut c_void {
    if ours() {
        new_nothrow(size, align)
    } else {
        call!(new_array_aligned: NewAligned, size, align)
    }
}

/// `operator delete(ptr)`
#[unsafe(export_name = named!("_ZdlPv", "_ZdlPv"))]
pub unsafe extern "C" fn operator_delete(ptr: *mut c_void) {
    // SAFETY: the caller gives up what the matching `new` gave, if not NULL.
    unsafe { release::delete(ptr) }
}

/// `operator delete(ptr, size)`
#[unsafe(export_name = named!("_ZdlPvm", "_ZdlPvj"))]
pub unsafe extern "C" fn operator_delete_sized(ptr: *mut c_void, size: usize) {
    if ours() {
        // SAFETY: the caller gives up what the matching `new` gave, if not NULL.
        unsafe { release::delete_sized(ptr, size) }
    } else {
        call!(delete: Delete, ptr)
    }
}

/// `operator delete(ptr, nothrow)`
#[unsafe(export_name = named!("_ZdlPvRKSt9nothrow_t", "_ZdlPvRKSt9nothrow_t"))]
pub unsafe extern "C" fn operator_delete_nothrow(ptr: *mut c_void, _nothrow: *const c_void) {
    if ours() {
        // SAFETY: the caller gives up what the matching `new` gave, if not NULL.
        unsafe { release::delete(ptr) }
    } else {
        call!(delete: Delete, ptr)
    }
}

/// `operator delete(ptr, align)`
#[unsafe(export_name = named!("_ZdlPvSt11align_val_t", "_ZdlPvSt11align_val_t"))]
pub unsafe extern "C" fn operator_delete_aligned(ptr: *mut c_void, _align: usize) {
    // SAFETY: the caller gives up what the matching `new` gave, if not NULL.
    unsafe { release::delete(ptr) }
}

/// `operator delete(ptr, size, align)`
#[unsafe(export_name = named!("_ZdlPvmSt11align_val_t", "_ZdlPvjSt11align_val_t"))]
pub unsafe extern "C" fn operator_delete_sized_aligned(
    ptr: *mut c_void,
    size: usize,
    align: usize,
) {
    if ours() {
        // SAFETY: the caller gives up what the matching `new` gave, if not NULL.
        unsafe { release::delete_aligned(ptr, size, align) }
    } else {
        call!(delete_aligned: DeleteAligned, ptr, align)
    }
}

/// `operator delete(ptr, align, nothrow)`
#[unsafe(export_name = named!("_ZdlPvSt11align_val_tRKSt9nothrow_t", "_ZdlPvSt11align_val_tRKSt9nothrow_t"))]
pub unsafe extern "C" fn operator_delete_aligned_nothrow(
    ptr: *mut c_void,
    align: usize,
    _nothrow: *const c_void,
) {
    if ours() {
        // SAFETY: the caller gives up what the matching `new` gave, if not NULL.
        unsafe { release::delete(ptr) }
    } else {
        call!(delete_aligned: DeleteAligned, ptr, align)
    }
}

/// `operator delete[](ptr)`
#[unsafe(export_name = named!("_ZdaPv", "_ZdaPv"))]
pub unsafe extern "C" fn operator_delete_array(ptr: *mut c_void) {
    if ours() {
        // SAFETY: the caller gives up what the matching `new` gave, if not NULL.
        unsafe { release::delete(ptr) }
    } else {
        call!(delete: Delete, ptr)
    }
}

/// `operator delete[](ptr, size)`
#[unsafe(export_name = named!("_ZdaPvm", "_ZdaPvj"))]
pub unsafe extern "C" fn operator_delete_array_sized(ptr: *mut c_void, size: usize) {
    if ours() {
        // SAFETY: the caller gives up what the matching `new` gave, if not NULL.
        unsafe { release::delete_sized(ptr, size) }
    } else {
        call!(delete_array: Delete, ptr)
    }
}

/// `operator delete[](ptr, nothrow)`
#[unsafe(export_name = named!("_ZdaPvRKSt9nothrow_t", "_ZdaPvRKSt9nothrow_t"))]
pub unsafe extern "C" fn operator_delete_array_nothrow(ptr: *mut c_void, _nothrow: *const c_void) {
    if ours() {
        // SAFETY: the caller gives up what the matching `new` gave, if not NULL.
        unsafe { release::delete(ptr) }
    } else {
        call!(delete_array: Delete, ptr)
    }
}

/// `operator delete[](ptr, align)`
#[unsafe(export_name = named!("_ZdaPvSt11align_val_t", "_ZdaPvSt11align_val_t"))]
pub unsafe extern "C" fn operator_delete_array_aligned(ptr: *mut c_void, align: usize) {
    if ours() {
        // SAFETY: the caller gives up what the matching `new` gave, if not NULL.
        unsafe { release::delete(ptr) }
    } else {
        call!(delete_aligned: DeleteAligned, ptr, align)
    }
}

/// `operator delete[](ptr, size, align)`
#[unsafe(export_name = named!("_ZdaPvmSt11align_val_t", "_ZdaPvjSt11align_val_t"))]
pub unsafe extern "C" fn operator_delete_array_sized_aligned(
    ptr: *mut c_void,
    size: usize,
    align: usize,
) {
    if ours() {
        // SAFETY: the caller gives up what the matching `new` gave, if not NULL.
        unsafe { release::delete_aligned(ptr, size, align) }
    } else {
        call!(delete_array_aligned: DeleteAligned, ptr, align)
    }
}

/// `operator delete[](ptr, align, nothrow)`
#[unsafe(export_name = named!("_ZdaPvSt11align_val_tRKSt9nothrow_t", "_ZdaPvSt11align_val_tRKSt9nothrow_t"))]
pub unsafe extern "C" fn operator_delete_array_aligned_nothrow(
    ptr: *mut c_void,
    align: usize,
    _nothrow: *const c_void,
) {
    if ours() {
        // SAFETY: the caller gives up what the matching `new` gave, if not NULL.
        unsafe { release::delete(ptr) }
    } else {
        call!(delete_array_aligned: DeleteAligned, ptr, align)
    }
}
